"""Two ReLUs on XOR, thousands of runs a strategy: python -m lop.lab.xor_pair [--runs N] [--seed N] [--out DIR]"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lop.lab.study import open_folder, study_parser, whole
from lop.run.command import INTERRUPTED, wrong
from lop.run.files import RunError

MAX_RUNS = 100_000


def main(arguments: list[str] | None = None) -> int:
    """Runs every strategy, prints what came of it, writes the folder; returns the exit code."""
    parser = study_parser("xor_pair", "Two ReLUs on XOR: which starts fail, when and how, and what mends them.")
    parser.add_argument("--runs", type=whole(1, MAX_RUNS), default=4000, metavar="N", help="runs of each strategy")
    options = parser.parse_args(arguments)
    # the tensors are small: threads cost more than they bring
    torch.set_num_threads(1)
    try:
        out = open_folder(options.out)
        _study(options.runs, options.seed, out)
    except (RunError, ImportError) as error:
        return wrong(error)
    except KeyboardInterrupt:
        return wrong("interrupted", INTERRUPTED)
    return 0


def _study(runs: int, seed: int, out: Path) -> None:
    # pandas and scipy only once it is known that they are there
    import pandas as pd

    from lop.lab.xor_pair import failures, show, tables
    from lop.lab.xor_pair.measures import run_rows
    from lop.lab.xor_pair.strategies import STRATEGIES
    from lop.lab.xor_pair.write import write

    found = []
    for strategy in STRATEGIES:
        begun = strategy.start(seed, runs)
        found.append(run_rows(strategy, begun, strategy.train(begun)))
        solved = int(found[-1]["solved"].sum())
        print(f"{strategy.name}: {solved:,} of {runs:,} solved", file=sys.stderr)
    rows = pd.concat(found, ignore_index=True)
    write(rows, seed, out)
    print(show.aligned(show.success_text(tables.success(rows))))
    print("\n" + "\n".join(f"{strategy.name}: {strategy.meaning}" for strategy in STRATEGIES))
    print("\n" + show.aligned(show.starts_text(failures.by_start(rows))))
    print(f"\n{out}/report.html")


if __name__ == "__main__":
    sys.exit(main())
