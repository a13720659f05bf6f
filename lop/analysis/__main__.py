"""Figures, tables and one report of all runs: `python -m lop.analysis runs/ --out figures/`.

Writes report.html (offline, everything inline), summary.md, every figure as PNG and PDF, every table as CSV.

    --export data/       the published code's files instead: data/<env>/bp/{std,ns}/<seed>.log, .pth, .done; data/<env>/<algo>/
    --import-logs data/  run folders from the published code's .log files, into the folder `runs/`

Exit codes: 0; 2 the command was wrong, or nothing could be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lop.analysis import check_extra
from lop.run.command import INTERRUPTED, Parser, wrong
from lop.run.files import RunError, make_folder


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m lop.analysis", description="Figures, tables and one report of all runs.")
    parser.add_argument("runs", help="the folder that holds the runs")
    parser.add_argument("--out", default="figures", metavar="DIR", help="where everything is written, default figures/")
    parser.add_argument("--env", action="append", help="only this environment; may be repeated")
    parser.add_argument("--algo", action="append", help="only this algorithm; may be repeated")
    parser.add_argument(
        "--bin-steps", type=int, metavar="N", help="steps in a bin; by default fitted to the longest run"
    )
    parser.add_argument(
        "--no-units", action="store_true", help="leave the per-unit files alone (350 MB a run of 100 M steps)"
    )
    parser.add_argument("--export", metavar="DIR", help="write the published code's files there, and nothing else")
    parser.add_argument(
        "--import-logs", metavar="DIR", help="make run folders from the published code's logs below DIR"
    )
    given = parser.parse_args(words)
    if given.bin_steps is not None and given.bin_steps < 1:
        parser.error(f"--bin-steps {given.bin_steps}: must be at least 1")
    if given.export and given.import_logs:
        parser.error("--export and --import-logs: give one of the two")
    return given


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        check_extra()
        return _run(given)
    except (RunError, ImportError) as error:
        return wrong(error)
    except KeyboardInterrupt:
        return wrong("interrupted", INTERRUPTED)


def _run(given: argparse.Namespace) -> int:
    if given.import_logs:
        from lop.analysis.published import import_logs

        return _listed(import_logs(Path(given.import_logs), Path(given.runs)))
    from lop.analysis.runs import load

    runs = load(given.runs)
    for column in ("env", "algo"):
        wanted = getattr(given, column)
        if wanted and not set(wanted) <= set(runs.table[column]):
            there = ", ".join(sorted(set(runs.table[column])))
            raise RunError(f"--{column} {' '.join(wanted)}: the runs below {given.runs} are of {there}")
        runs = runs.where(**{column: wanted}) if wanted else runs
    if given.export:
        from lop.analysis.published import export_all

        return _listed(export_all(runs, Path(given.export)))
    from lop.analysis.rows import brief
    from lop.analysis.write import write_all

    make_folder(Path(given.out))
    write_all(runs, Path(given.out), given.bin_steps, not given.no_units)
    for text in brief(runs.left_out):
        print(f"note: {text}", file=sys.stderr)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    print(f"{count}: {Path(given.out) / 'report.html'}, summary.md, figures (PNG, PDF), tables (CSV)")
    return 0


def _listed(done: tuple[list[Path], list[str]]) -> int:
    from lop.analysis.rows import brief

    written, left_out = done
    for path in written:
        print(path)
    for text in brief(left_out):
        print(f"note: {text}", file=sys.stderr)
    return 0 if written else 2


if __name__ == "__main__":
    sys.exit(main())
