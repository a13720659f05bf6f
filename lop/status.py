"""How all runs are: `python -m lop.status [runs/] [--watch [S]] [--json] [--match 'sant/cbp*'] [--state dead,failed]`.

One line a run, then the totals. Right with and without Slurm, its accounting and its controller: what cannot be asked is
said in one line, and the run folders tell the rest.

    running     a process that lives works on it          starting    its job runs, training has not begun
    queued      its job waits                             preempted   it began, was interrupted, and its job waits again
    finished    all steps done                            stopped     ended by a signal or cancelled; resume it
    stale       its process is silent or stuck            dead        its process is gone without a word
    failed      ended by an error, which is shown         missing     it was sent, and there is no trace of it

Exit codes: 0; 2 the command was wrong.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import shutil
import sys
import time

from lop.cluster.judge import NEEDS_CARE, STATES
from lop.cluster.survey import RunStatus, Survey, look
from lop.run.command import Parser, wrong
from lop.run.files import RunError
from lop.run.progress import duration, number, short

COLUMNS = ("run", "state", "steps", "steps/s", "left", "return", "dead", "job")
RIGHT = {"steps", "steps/s", "left", "return", "dead"}
MIN_WATCH_S = 1.0


def table(survey: Survey, width: int | None = None, height: int | None = None) -> str:
    """One line a run under a head, and the totals; no line longer than `width`, no more lines than `height`."""
    rows = [_cells(run) for run in survey.runs]
    # columns that nobody has anything to say in are left out
    shown = [c for c in COLUMNS if c in ("run", "state") or any(row[c] not in ("", "-") for row in rows)]
    size = {c: max(len(c), *(len(row[c]) for row in rows)) for c in shown} if rows else {}

    def line(cells: dict[str, str], note: str) -> str:
        padded = (cells[c].rjust(size[c]) if c in RIGHT else cells[c].ljust(size[c]) for c in shown)
        text = "  ".join([*padded, note]).rstrip()
        return text if width is None or len(text) <= width else text[: max(width - 1, 1)] + "…"

    lines = [line({c: c for c in shown}, "")] if rows else []
    lines += [line(row, run.note) for row, run in zip(rows, survey.runs, strict=True)]
    end = [summary(survey), *(f"note: {text}" for text in survey.problems)]
    room = math.inf if height is None else max(2, height - len(end) - 2)
    if len(lines) > room:
        lines[room:] = [f"… and {len(lines) - room} more"]
    return "\n".join([*lines, *[""][: len(lines)], *end])


def _cells(run: RunStatus) -> dict[str, str]:
    standing, total = run.standing, run.total_steps
    share = f" {math.floor(100 * min(1, standing.step / total)):3d}%" if total else ""
    return {
        "run": run.run,
        "state": run.state,
        "steps": f"{short(standing.step)}/{short(total)}{share}" if total else short(standing.step),
        "steps/s": number(run.steps_per_s),
        "left": duration(run.eta_s),
        "return": number(standing.last_return),
        "dead": "/".join(map(number, standing.dead)) or "-",
        "job": f"{run.job}{'@' * bool(run.job and run.nodes)}{run.nodes}",
    }


def summary(survey: Survey) -> str:
    """The totals in one line."""
    totals = survey.totals()
    if not totals["runs"]:
        return "no runs"
    counts = ", ".join(f"{count} {state}" for state, count in totals["states"].items())
    done, whole = totals["step"], totals["total_steps"]
    percent = 100 * done / whole if whole else 0.0
    parts = [f"{totals['runs']} run{'s' * (totals['runs'] > 1)}: {counts}"]
    parts.append(f"{short(done)} of {short(whole)} steps, {math.floor(percent * 10) / 10:.1f}%")
    if totals["steps_per_s"]:
        parts.append(f"{number(totals['steps_per_s'])} steps/s")
        parts.append(f"running ones done in {duration(totals['eta_s'])}")
    return " | ".join(parts)


def as_json(survey: Survey, runs_dir: str) -> str:
    """Everything that is known, for programs."""
    content = {"format": 1, "runs_dir": runs_dir, "time": round(time.time(), 3), "problems": survey.problems}
    return json.dumps({**content, "totals": survey.totals(), "runs": [run.as_json() for run in survey.runs]}, indent=1)


def chosen(survey: Survey, match: str | None, states: list[str] | None) -> Survey:
    """Only the runs that fit."""
    runs = [
        r for r in survey.runs if match is None or fnmatch.fnmatch(r.run, match) or fnmatch.fnmatch(r.run, f"{match}/*")
    ]
    return Survey([run for run in runs if states is None or run.state in states], survey.problems)


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m lop.status", description="How all runs are: queued, running, done, dead, and how far."
    )
    parser.add_argument("runs_dir", nargs="?", default="runs", help="folder of the runs, default runs")
    parser.add_argument(
        "--watch", type=float, nargs="?", const=10.0, metavar="S", help="show it again every S seconds, default 10"
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--match", metavar="GLOB", help="only runs such as 'sant/cbp*'")
    parser.add_argument(
        "--state", metavar="STATES", help=f"only these: {','.join(STATES)}; care = {','.join(NEEDS_CARE)}"
    )
    given = parser.parse_args(words)
    if given.watch is not None and not MIN_WATCH_S <= given.watch < math.inf:
        parser.error(f"--watch {given.watch:g}: at least {MIN_WATCH_S:g} s")
    given.states = None if given.state is None else given.state.split(",")
    if given.states and "care" in given.states:
        given.states += NEEDS_CARE
    for state in given.states or []:
        if state not in (*STATES, "care"):
            parser.error(f"--state {state}: must be of {', '.join(STATES)}, care")
    return given


def show(given: argparse.Namespace) -> str:
    survey = chosen(look(given.runs_dir), given.match, given.states)
    if given.json:
        return as_json(survey, given.runs_dir)
    if not sys.stdout.isatty():
        return table(survey)
    columns, lines = shutil.get_terminal_size()
    return table(survey, columns, lines - 1 if given.watch else None)


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        text = show(given)
        if given.watch is None:
            print(text)
            return 0
        while True:
            # home, the text with every line cleared behind it, and clear what is below: no flicker
            clean = text.replace("\n", "\033[K\n")
            print(f"\033[H{clean}\033[K\033[J" if sys.stdout.isatty() else text, flush=True)
            time.sleep(given.watch)
            text = show(given)
    except RunError as error:
        return wrong(error)
    except (KeyboardInterrupt, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
