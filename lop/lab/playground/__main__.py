"""`python -m lop.lab.playground [--out DIR] [--open]`: writes the playground as one HTML file, which any browser opens.

Exit codes: 0; 2 the command was wrong, or the file could not be written.
"""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

from lop.lab.playground.assembly import page
from lop.lab.study import open_folder, study_parser
from lop.run.command import wrong
from lop.run.files import RunError, write_atomic

FILE = "playground.html"


def main(words: list[str] | None = None) -> int:
    parser = study_parser("playground", "One neuron learns another: a page to try it by hand, as one file.", seed=None)
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    asked = parser.parse_args(words)
    try:
        path = write(asked.out)
    except RunError as error:
        return wrong(error)
    print(path)
    if asked.open and not webbrowser.open(path.resolve().as_uri()):
        print("no browser could be started: open the file by hand", file=sys.stderr)
    return 0


def write(folder: Path) -> Path:
    """Writes the page into the folder and returns its path. Errors: RunError."""
    path = open_folder(folder, needs=()) / FILE
    write_atomic(path, page().encode())
    return path


if __name__ == "__main__":
    sys.exit(main())
