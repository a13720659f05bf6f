"""XOR as a formula, taught in four stages that check themselves: `python -m lop.lab.xor_formula`.

Writes report.html (offline), summary.md and a picture for each stage into --out. With --weights FILE it reads the formula
off a network that was trained elsewhere, and nothing else (the file: lop/lab/xor_formula/recorded.py).

Exit codes: 0; 1 a check failed, named on stderr; 2 the command was wrong, or a file cannot be read or written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lop.lab.study import open_folder, study_parser, whole
from lop.run.command import INTERRUPTED, wrong
from lop.run.files import RunError

MAX_STARTS = 100


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = study_parser("xor_formula", "XOR as a formula, taught in four stages that check themselves.")
    parser.add_argument("--digits", type=whole(2, 10), default=6, help="significant digits of the printed numbers")
    parser.add_argument(
        "--starts", type=whole(1, 10_000), default=MAX_STARTS, help="at most so many starts are tried in a stage"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--weights", type=Path, metavar="FILE", help="explain these recorded weights (JSON) instead")
    which.add_argument("--record", type=Path, metavar="FILE", help="write stage 1's weights there (JSON)")
    given = parser.parse_args(words)
    if given.record and (given.record.is_dir() or not given.record.parent.is_dir()):
        parser.error(f"--record {given.record}: must be a file in a folder that exists")
    return given


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        return 0 if _run(given) else 1
    except (RunError, ImportError) as error:
        return wrong(error)
    except KeyboardInterrupt:
        return wrong("interrupted", INTERRUPTED)


def _run(given: argparse.Namespace) -> bool:
    from lop.lab.xor_formula.recorded import read_weights, write_weights

    network = read_weights(given.weights) if given.weights else None
    out = open_folder(given.out)
    from lop.lab.xor_formula import stage_fold, stage_line, stage_product, stage_tanh
    from lop.lab.xor_formula.lesson import Lesson

    lesson = Lesson("XOR as a formula", out)
    if network:
        lesson.stage(f"The network in {given.weights}")
        explain = stage_tanh.explain if network.activation == "tanh" else stage_fold.explain
        explain(lesson, network, given.digits)
        return lesson.close()
    network = stage_tanh.teach(lesson, given.seed, given.digits, given.starts)
    if network and given.record:
        write_weights(given.record, network)
        lesson.text(f"All nine numbers, with every bit: {given.record}. --weights {given.record} explains them again.")
    stage_line.teach(lesson, given.seed, given.digits, network)
    stage_fold.teach(lesson, given.seed, given.digits, given.starts)
    stage_product.teach(lesson, given.seed, given.digits)
    return lesson.close()


if __name__ == "__main__":
    sys.exit(main())
