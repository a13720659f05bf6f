"""What the studies share: their command line, their folder, and the interval of a rate."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from lop.run.command import Parser
from lop.run.files import RunError, disk, make_folder
from lop.run.seeds import MAX_SEED

NEEDS = ("matplotlib", "orjson", "pandas", "scipy")


def study_parser(study: str, description: str, seed: int | None = 0) -> Parser:
    """A parser with --out and, unless None, --seed with this default."""
    parser = Parser(
        prog=f"python -m lop.lab.{study}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("lab") / study, metavar="DIR", help="figures, tables and report go there"
    )
    if seed is not None:
        parser.add_argument("--seed", type=whole(0, MAX_SEED), default=seed, help="of everything random")
    return parser


def whole(low: int, high: int) -> Callable[[str], int]:
    """A type for add_argument: whole numbers from low to high, both included; 1e4 is understood."""

    def convert(text: str) -> int:
        # as an integer first: a float has no room for the digits of a large one
        for kind in (int, float):
            with contextlib.suppress(ValueError, OverflowError):  # not a number; nan; inf
                value = kind(text)
                if value == int(value) and low <= value <= high:
                    return int(value)
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from {low} to {high}")

    return convert


def open_folder(out: Path, needs: Sequence[str] = NEEDS) -> Path:
    """The folder that a study writes into, made if need be. Errors: RunError; ImportError if it lacks a package."""
    missing = [package for package in needs if importlib.util.find_spec(package) is None]
    if missing:
        raise ImportError(f"lop.lab needs {', '.join(missing)}: pip install 'lop-rl[lab]'")
    with disk("look at", out):  # a name may be too long to be one
        if out.exists() and not out.is_dir():
            raise RunError(f"--out {out}: is a file; give a folder")
    make_folder(out)
    return out


def wilson(successes: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a rate, both ends within [0, 1] (Wilson 1927, J. Am. Stat. Assoc. 22:209). runs >= 1."""
    from scipy.stats import binomtest

    interval = binomtest(successes, runs).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)
