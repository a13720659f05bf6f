"""How the dashboard does with many long runs: `python tests/dashboard/measure.py RUNS` (made by synthetic_runs.py).

Prints seconds to the first page with every run on it, seconds of a refresh when every run gained a row, and the
resident memory, before and after the long files have been read to their end. Adds rows to RUNS.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson

BEGIN = time.perf_counter()

from lop.dashboard.board import Board  # noqa: E402
from lop.dashboard.library import Library  # noqa: E402
from lop.dashboard.pages import PAGES  # noqa: E402


def memory_gb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e9


def tell(what: str, since: float) -> None:
    print(f"{what:45s} {time.perf_counter() - since:7.3f} s   {memory_gb():.2f} GB", flush=True)


def grow(library: Library) -> None:
    """One row more for every run."""
    for run in library.runs:
        row = dict(run.curves.latest)
        row["global_step"] += run.curves.base_steps
        with (run.folder / "metrics.jsonl").open("ab") as file:
            file.write(orjson.dumps(row) + b"\n")


def refreshes(library: Library, boards: dict[str, Board], when: str) -> None:
    grow(library)
    begin = time.perf_counter()
    library.look()
    tell(f"{when}: reading what {len(library.runs)} runs gained", begin)
    for name, board in boards.items():
        begin = time.perf_counter()
        board.refresh()
        tell(f"{when}: refresh of {name}", begin)


def main() -> None:
    library = Library(Path(sys.argv[1]))
    tell("imports", BEGIN)
    begin = time.perf_counter()
    library.look()
    tell(f"first look at {len(library.runs)} runs", begin)
    boards = {}
    for page in PAGES.values():
        begin = time.perf_counter()
        boards[page.name] = Board(page, library, {})
        tell(f"first {page.name}", begin)
    refreshes(library, boards, "preview")
    begin = time.perf_counter()
    library.fill(float("inf"))
    tell("every row read", begin)
    library.version += 1
    for name, board in boards.items():
        begin = time.perf_counter()
        board.refresh()
        tell(f"all anew: refresh of {name}", begin)
    refreshes(library, boards, "exact")
    refreshes(library, boards, "exact again")


if __name__ == "__main__":
    main()
