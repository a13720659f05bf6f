"""The grid over symmetry layers, λ and seeds: `python -m lop.lab.symmetry benchmark --seeds 42-46`.

Members are trained in populations; each one's row is appended to OUT/results.csv. Stopped at any moment, the same command
goes on with the rows that are missing, and the file becomes the same, byte for byte.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lop.lab.study import open_folder, whole
from lop.lab.symmetry.measure import measure
from lop.lab.symmetry.options import add_settings, command_parser, layers_of, not_negative, seeds_of, settings_of
from lop.lab.symmetry.results import FILE, ResultsFile, identity
from lop.lab.symmetry.settings import Member, Seeds, Settings, layer_name
from lop.lab.symmetry.training import threads, train
from lop.run.command import Parser
from lop.run.progress import duration

LAMBDAS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)


def grid(seeds: list[int], layers: list[int], lambdas: list[float]) -> Iterator[tuple[int, Member]]:
    """Seed by seed: without a symmetry loss if 0 is among the λ (once: the layer makes no difference), then the rest."""
    for seed in seeds:
        if 0 in lambdas:
            yield seed, Member(Seeds.of(seed), None, 0.0)
        for layer in layers:
            yield from ((seed, Member(Seeds.of(seed), layer, value)) for value in lambdas if value)


def run(settings: Settings, wanted: list[tuple[int, Member]], path: Path, together: int, device: str) -> None:
    """Train what the file lacks, `together` members at once. Errors: RunError."""
    with ResultsFile(path, settings) as results:
        missing = [pair for pair in wanted if identity(*pair) not in results.done]
        there = len(wanted) - len(missing)
        print(f"{len(wanted)} trainings, {there} of them in {path} already", flush=True)
        began = time.monotonic()
        for first in range(0, len(missing), together):
            part = missing[first : first + together]
            rows = measure(train(settings, [member for _, member in part], device))
            for (seed, member), row in zip(part, rows, strict=True):
                results.append(seed, member, row)
                print(line(seed, member, row), flush=True)
            finished = first + len(part)
            left_s = (time.monotonic() - began) / finished * (len(missing) - finished)
            print(f"{there + finished}/{len(wanted)} | ETA {duration(left_s)}", file=sys.stderr, flush=True)


def line(seed: int, member: Member, row: dict[str, float]) -> str:
    """What a training gave, in one line."""
    where = layer_name(member.layer) if member.layer is None else f"{layer_name(member.layer)}, λ {member.lambda_max:g}"
    return f"seed {seed}, {where}: test task loss {row['test_task_loss']:.3e}, symmetry loss {row['test_sym_loss']:.3e}"


def parser() -> Parser:
    parser = command_parser("benchmark", "Train the grid over symmetry layers, λ and seeds; a row a training.")
    add_settings(parser)
    parser.add_argument("--seeds", nargs="+", default=["42"], metavar="SEED", help="42 43, or a range 1-100")
    parser.add_argument("--layers", nargs="+", default=["all"], metavar="LAYER", help="-1 the output, 1-6, or all")
    parser.add_argument(
        "--lambdas", nargs="+", type=not_negative, default=list(LAMBDAS), metavar="λ", help="values of λ_max"
    )
    parser.add_argument("--members", type=whole(1, 100_000), default=8, help="trainings at once, in one population")
    return parser


def main(words: list[str]) -> int:
    options = parser()
    given = options.parse_args(words)
    layers = layers_of(options, given.layers, given.num_hidden_layers)
    wanted = list(grid(seeds_of(options, given.seeds), layers, list(dict.fromkeys(given.lambdas))))
    settings = settings_of(given)
    path = open_folder(given.out) / FILE
    with threads(given.threads):
        run(settings, wanted, path, given.members, given.device)
    print(f"{path} is complete; python -m lop.lab.symmetry analyze --out {given.out} shows it")
    return 0
