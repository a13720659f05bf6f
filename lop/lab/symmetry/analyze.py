"""Tables and figures of a benchmark: `python -m lop.lab.symmetry analyze [results.csv ...]`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lop.analysis.report import Report, Writer
from lop.lab.study import open_folder
from lop.lab.symmetry import options
from lop.lab.symmetry.results import CONFIGURATION, FILE, IDENTITY, columns, rows_of
from lop.lab.symmetry.settings import Settings
from lop.run.command import Parser
from lop.run.files import RunError, disk


def parser() -> Parser:
    parser = options.command_parser("analyze", "Tables and figures of a benchmark.")
    parser.set_defaults(out=Path("lab") / "symmetry" / "benchmark")
    parser.add_argument("files", nargs="*", type=Path, help="of benchmark; OUT/results.csv by default")
    parser.add_argument("--headless", action="store_true", help="tables alone; no window is opened ever")
    return parser


def load(paths: list[Path]) -> pd.DataFrame:
    """The rows of the files, that must be of one configuration: seed an int, symmetry_layer a text, the rest numbers.

    A line without its end, which a running benchmark may leave, is passed over. Errors: RunError.
    """
    rows: list[dict[str, str]] = []
    for path in paths:
        with disk("read", path):
            text = path.read_bytes()
        found = rows_of(text[: text.rfind(b"\n") + 1].decode(errors="replace"), path)
        for row in found:
            _require_same(rows[0] if rows else row, row, path)
        rows += found
    if not rows:
        raise RunError(f"{', '.join(map(str, paths))}: holds no finished training yet")
    frame = pd.DataFrame(rows).drop_duplicates(list(IDENTITY))
    numbers = [name for name in frame.columns if name not in ("symmetry_layer", *CONFIGURATION)]
    try:
        frame[numbers] = frame[numbers].astype(float)
    except ValueError as error:
        raise RunError(f"{paths[0]}: {error}") from error
    return frame.astype({"seed": int})


def _require_same(first: dict[str, str], row: dict[str, str], path: Path) -> None:
    different = [name for name in CONFIGURATION if row[name] != first[name]]
    if different:
        raise RunError(f"{path}: its rows differ from the others in {', '.join(different)}; analyze them apart")
    missing = set(columns(Settings(num_hidden_layers=int(row["num_hidden_layers"])))) - row.keys()
    if missing:
        raise RunError(f"{path}: lacks the column {min(missing)}")


def main(words: list[str]) -> int:
    given = parser().parse_args(words)
    paths = given.files or [given.out / FILE]
    if not given.files and not paths[0].exists():
        raise RunError(f"{paths[0]} is not there: run benchmark first, or name its file")
    frame = load(paths)
    write(Writer(Report("Symmetry loss across λ and layers"), open_folder(given.out)), frame, not given.headless)
    print(f"{given.out / 'report.html'}, summary.md and tables (CSV)")
    return 0


def write(writer: Writer, frame: pd.DataFrame, figures: bool) -> None:
    """The report of a benchmark."""
    from lop.lab.symmetry import tables

    same = ", ".join(f"{name.replace('_', ' ')} {frame[name].iloc[0]}" for name in CONFIGURATION[1:])
    writer.report.items([f"{len(frame)} trainings of {frame['seed'].nunique()} seeds", same])
    writer.report.section("Best λ")
    writer.report.text("Chosen by the validation loss, per symmetry layer; the losses are those on the test points.")
    writer.table(tables.best(frame), "best")
    writer.report.section("Losses")
    writer.report.text(
        "Geometric means over seeds with 95 % t intervals of the logarithms; the ratio is paired by seed. Intervals are "
        "each for itself, not adjusted for their number."
    )
    writer.table(tables.losses(frame), "losses")
    if figures:
        _draw(writer, frame)
    writer.file(tables.units(frame), "units")
    writer.close()


def _draw(writer: Writer, frame: pd.DataFrame) -> None:
    from lop.lab.symmetry import figures

    if (frame["symmetry_layer"] == "none").all():
        return
    for column, name, title in (
        ("test_task_loss", "task_over_lambda", "Test task loss over λ"),
        ("orbit_variance_*", "symmetry_over_lambda", "Symmetry loss of the layer itself over λ"),
        ("orbit_share_*", "share_over_lambda", "Share of the layer's variance that is orientation, over λ"),
    ):
        writer.draw(figures.over_lambda(frame, column, name, title))
    writer.report.section("Units")
    writer.draw(figures.units_over_lambda(frame))
