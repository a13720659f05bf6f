"""One training, its curves, its field and its units: `python -m lop.lab.symmetry train --symmetry-layer -1`."""

from __future__ import annotations

import argparse
import math
import sys

import pandas as pd
from tqdm import tqdm

from lop.analysis.report import Report, Writer
from lop.lab.study import open_folder, whole
from lop.lab.symmetry import options
from lop.lab.symmetry.data import VALIDATE, Task, stacked
from lop.lab.symmetry.measure import OF_LAYER, margin_rows, measure, orbit_rows
from lop.lab.symmetry.network import Population
from lop.lab.symmetry.settings import Member, Seeds, Settings, layer_name
from lop.lab.symmetry.training import Row, Trained, threads, train
from lop.run.command import Parser
from lop.run.seeds import MAX_SEED


def parser() -> Parser:
    parser = options.command_parser("train", "Train one network on the rotation-invariant field and look at it.")
    options.add_symmetry(parser)
    options.add_settings(parser)
    seed = whole(0, MAX_SEED)
    parser.add_argument("--run-seed", type=seed, default=42, help="of everything random, if not told apart:")
    for kind, what in (("data", "points and batches"), ("model", "first weights"), ("augmentation", "rotations")):
        parser.add_argument(f"--{kind}-seed", type=seed, default=argparse.SUPPRESS, help=f"of {what}; --run-seed's")
    parser.add_argument("--headless", action="store_true", help="numbers and tables alone; no window is opened ever")
    return parser


def watched_train(settings: Settings, member: Member, device: str) -> Trained:
    """The training of one member, with orbit variances and units after every epoch, on its validation points."""
    points = stacked({member.seeds: Task(settings, member.seeds).held_out(VALIDATE)}, [member.seeds], device)

    def watch(population: Population) -> list[Row]:
        return [orbit_rows(population, points)[0] | margin_rows(population, points)[0]]

    with tqdm(total=settings.epochs, unit="epoch", disable=None, leave=False) as bar:
        return train(settings, [member], device, watch=watch, tell=lambda epoch: bar.update() and None)


def summary(trained: Trained, row: Row) -> list[str]:
    """What came out, in lines."""
    (member,), settings = trained.members, trained.settings
    layers = range(1, settings.num_hidden_layers + 1)
    counts = {name: "/".join(f"{row[f'{name}_{k}']:.0f}" for k in layers) for name in ("dead", "at_risk", "always_on")}
    where = f"at {layer_name(member.layer)}, λ from 0 to {member.lambda_max:g}"
    return [
        f"symmetry loss {where if member.depth(settings) else 'none'}; weights of epoch {row['best_epoch'] + 1}",
        f"test task loss {row['test_task_loss']:.3e}",
        f"test symmetry loss {row['test_sym_loss']:.3e}",
        "units of each hidden layer: " + ", ".join(f"{name.replace('_', '-')} {text}" for name, text in counts.items()),
    ]


def main(words: list[str]) -> int:
    command = parser()
    given = command.parse_args(words)
    options.require_layer(command, given.symmetry_layer, given.num_hidden_layers)
    settings = options.settings_of(given)
    seeds = Seeds(*(getattr(given, f"{kind}_seed", given.run_seed) for kind in Seeds._fields))
    member = Member(seeds, given.symmetry_layer, given.lambda_sym_max)
    out = open_folder(given.out)
    with threads(given.threads):
        trained = watched_train(settings, member, given.device)
        (row,) = measure(trained)
    lines = summary(trained, row)
    print("\n".join(lines))
    if not math.isfinite(row["test_task_loss"]):
        print("note: the training diverged; a smaller --learning-rate may help", file=sys.stderr)
    write(Writer(Report("A rotation-invariant field"), out), trained, row, lines, figures=not given.headless)
    print(f"{out / 'report.html'}, summary.md, history.csv, result.csv")
    return 0


def write(writer: Writer, trained: Trained, row: Row, lines: list[str], figures: bool) -> None:
    """The report of one training, with its tables and, if wanted, its figures."""
    (member,), settings = trained.members, trained.settings
    writer.report.items([f"{settings}", f"{member.seeds}", *lines])
    writer.file(pd.DataFrame(trained.history[0]), "history")
    writer.file(pd.DataFrame([row]), "result")
    hidden = [
        {"hidden layer": k, **{name: row[f"{name}_{k}"] for name in ("orbit_variance", "orbit_share", *OF_LAYER)}}
        for k in range(1, settings.num_hidden_layers + 1)
    ]
    writer.report.table(pd.DataFrame(hidden).rename(columns=lambda name: name.replace("_", " ")))
    if figures:
        from lop.lab.symmetry.figures import WITH, field_profiles, field_slices, training

        network = trained.population.member(0).cpu()
        title = f"symmetry loss at {layer_name(member.layer)}" if member.depth(settings) else "no symmetry loss"
        writer.draw(training(trained.history[0]))
        writer.draw(field_profiles({title: (network, WITH)}, ""))
        writer.draw(field_slices(network))
    writer.close()
