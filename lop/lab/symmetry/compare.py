"""Is the comparison fair? `python -m lop.lab.symmetry compare --seeds 42-46`.

Trains the same seeds with λ = 0 and with λ > 0, in populations of their own, takes hashes of everything that went in (data,
first weights, every batch, every rotation) as it is used, and only then compares what came out, seed by seed.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from lop.analysis.report import Report, Writer
from lop.lab.study import open_folder
from lop.lab.symmetry import options
from lop.lab.symmetry.data import Stacked
from lop.lab.symmetry.measure import measure
from lop.lab.symmetry.network import Population
from lop.lab.symmetry.results import identity
from lop.lab.symmetry.settings import Member, Seeds, Settings, layer_name
from lop.lab.symmetry.training import Trained, threads, train
from lop.run.command import Parser, wrong


class Evidence(NamedTuple):
    """Hashes of what one training used: its data set, its first weights, all batches and all rotated copies, in order."""

    data: str
    weights: str
    batches: str
    rotations: str


class Witness:
    """Looks at every step of a population whose members all have the same depth, and so keep their order."""

    def __init__(self, members: int):
        self._weights: list[str] = []
        self._batches = [hashlib.sha256() for _ in range(members)]
        self._rotations = [hashlib.sha256() for _ in range(members)]

    def __call__(self, population: Population, batch: Stacked) -> None:
        if not self._weights:
            self._weights = [_hash(row) for row in population.flat]
        for m, (batches, rotations) in enumerate(zip(self._batches, self._rotations, strict=True)):
            batches.update(_bytes(batch.x[m]) + _bytes(batch.y[m]))
            rotations.update(_bytes(batch.rotated[m]))

    def evidence(self, trained: Trained) -> list[Evidence]:
        data = [hashlib.sha256(task.x.tobytes() + task.y.tobytes()).hexdigest() for task in trained.tasks]
        used = ([found.hexdigest() for found in kind] for kind in (self._batches, self._rotations))
        return [Evidence(*hashes) for hashes in zip(data, self._weights, *used, strict=True)]


def side(settings: Settings, members: list[Member], device: str) -> tuple[Trained, list[Evidence]]:
    """Train one side; what it used beside it."""
    witness = Witness(len(members))
    with tqdm(total=settings.epochs, unit="epoch", disable=None, leave=False) as bar:
        trained = train(settings, members, device, witness=witness, tell=lambda epoch: bar.update() and None)
    return trained, witness.evidence(trained)


def frame_of(sides: list[Trained]) -> pd.DataFrame:
    """A row per training, as tables and figures want them."""
    rows = []
    for trained in sides:
        for member, row in zip(trained.members, measure(trained), strict=True):
            seed, layer, _ = identity(member.seeds.data, member)
            rows.append({"seed": int(seed), "symmetry_layer": layer, "lambda_sym_max": member.lambda_max, **row})
    return pd.DataFrame(rows)


def parser() -> Parser:
    parser = options.command_parser("compare", "With and without the symmetry loss, on proven equal terms.")
    options.add_symmetry(parser)
    options.add_settings(parser)
    parser.add_argument("--seeds", nargs="+", default=["42-46"], metavar="SEED", help="42 43, or a range 1-100")
    parser.add_argument("--headless", action="store_true", help="numbers and tables alone; no window is opened ever")
    return parser


def main(words: list[str]) -> int:
    command = parser()
    given = command.parse_args(words)
    options.require_layer(command, given.symmetry_layer, given.num_hidden_layers)
    if given.symmetry_layer is None or given.lambda_sym_max == 0:
        command.error("--symmetry-layer none, --lambda-sym-max 0: nothing to compare; give a layer and a λ > 0")
    seeds = [Seeds.of(seed) for seed in options.seeds_of(command, given.seeds)]
    settings = options.settings_of(given)
    out = open_folder(given.out)
    with threads(given.threads):
        without, before = side(settings, [Member(seed, None, 0.0) for seed in seeds], given.device)
        members = [Member(seed, given.symmetry_layer, given.lambda_sym_max) for seed in seeds]
        with_loss, after = side(settings, members, given.device)
    fairness = table_of(before, after, [seed.data for seed in seeds])
    print(fairness.to_string(index=False))
    if before != after:
        return wrong("the two sides did not get the same data, first weights, batches or rotations", 1)
    print(f"the same data, first weights, batches and rotations with λ = 0 and λ > 0, in all {len(seeds)} seeds")
    title = f"With and without a symmetry loss at {layer_name(given.symmetry_layer)}"
    write(Writer(Report(title), out), fairness, [without, with_loss], figures=not given.headless)
    print(f"{out / 'report.html'}, summary.md and tables (CSV)")
    return 0


def table_of(before: list[Evidence], after: list[Evidence], seeds: list[int]) -> pd.DataFrame:
    """Per seed the beginning of each hash where both sides have the same, else both."""
    shown = [
        {name: a[:12] if a == b else f"{a[:12]} ≠ {b[:12]}" for name, a, b in zip(Evidence._fields, *pair, strict=True)}
        for pair in zip(before, after, strict=True)
    ]
    return pd.DataFrame(shown).assign(seed=seeds)[["seed", *Evidence._fields]]


def write(writer: Writer, fairness: pd.DataFrame, sides: list[Trained], figures: bool) -> None:
    """What came out: printed, and as a report."""
    from lop.lab.symmetry import tables

    frame = frame_of(sides)
    losses = tables.losses(frame)
    print(losses.to_string(index=False))
    writer.report.section("Fairness")
    writer.report.text("SHA-256 of what each training used, taken as it was used: the same on both sides.")
    writer.table(fairness, "fairness")
    writer.report.section("Losses")
    writer.table(losses, "losses")
    writer.file(frame, "rows")
    if figures:
        _draw(writer, frame, sides)
    writer.report.section("Units")
    writer.table(tables.units(frame), "units")
    writer.report.text("With minus without, paired by seed; 95 % t intervals, each for itself.")
    writer.table(tables.differences(frame), "differences")
    writer.close()


def _draw(writer: Writer, frame: pd.DataFrame, sides: list[Trained]) -> None:
    from lop.lab.symmetry import figures

    writer.draw(figures.pairs(frame))
    networks = [trained.population.member(0).cpu() for trained in sides]
    named = {"without": (networks[0], figures.WITHOUT), "with": (networks[1], figures.WITH)}
    writer.draw(figures.field_profiles(named, f"Seed {frame['seed'].iloc[0]}."))
    writer.draw(figures.layers(frame))


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(_bytes(tensor)).hexdigest()
