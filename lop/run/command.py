"""Command lines of lop: whatever is wrong with one is said in one line."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any, NoReturn

INTERRUPTED = 130  # exit code after Ctrl-C, as in a shell


class ConfigError(ValueError):
    """One line: what was given, what is allowed."""


class Parser(argparse.ArgumentParser):
    """argparse's parser; an error is one line and no usage text, and options have to be spelt out.

    Parser(prog="python -m lop.evaluate", description="Play episodes of a run's policy.")
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Ends the program: "error: <message>; <program> --help says more"."""
        print(f"{error_line(message)}; {self.prog} --help says more", file=sys.stderr)
        sys.exit(2)


def wrong(error: Exception | str, code: int = 2) -> int:
    """Says on stderr what is wrong, in one line; returns the exit code."""
    print(error_line(error), file=sys.stderr)
    return code


def shorten_warnings() -> None:
    """From now on a warning is one line on stderr, without the place in the source."""
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)


def error_line(error: Exception | str) -> str:
    """The text of an error with "error: " before it and without line breaks."""
    return f"error: {' '.join(str(error).split())}"
