"""`python -m lop.lab.symmetry train|benchmark|analyze|compare`: a rotation-invariant field and a symmetry loss.

Exit codes: 0; 1 a comparison was not fair; 2 the command was wrong; 75 interrupted, a benchmark goes on with the same
command.
"""

from __future__ import annotations

import importlib
import sys

from lop.run.command import Parser, wrong
from lop.run.files import RunError

COMMANDS = {
    "train": "one training, its curves, its field and its units",
    "benchmark": "the grid over symmetry layers, λ and seeds, into a CSV file; resumes",
    "analyze": "tables and figures of a benchmark",
    "compare": "with and without the symmetry loss on the same data, weights and batches, proven by hashes",
}
EXIT_INTERRUPTED = 75


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    lines = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    usage = f"python -m lop.lab.symmetry {'|'.join(COMMANDS)} [options]"
    if words and words[0] in ("-h", "--help"):
        print(f"usage: {usage}\n\n{lines}\n\n<command> --help says more")
        return 0
    if not words or words[0] not in COMMANDS:
        Parser(prog="python -m lop.lab.symmetry").error(
            f"{words[0] if words else 'no command'}: must be one of {', '.join(COMMANDS)}"
        )
    try:
        return importlib.import_module(f"lop.lab.symmetry.{words[0]}").main(words[1:])
    except KeyboardInterrupt:
        return wrong("interrupted", EXIT_INTERRUPTED)
    except (RunError, ImportError) as error:
        return wrong(error)


if __name__ == "__main__":
    sys.exit(main())
