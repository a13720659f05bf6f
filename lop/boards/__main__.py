"""`python -m lop.boards push --entity E --project P` and `python -m lop.boards sync runs/`; docs/boards.md.

Exit codes: 0; 1 some runs were not sent, or not whole; 2 the command was wrong, or wandb could not be asked; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lop.boards import check_extra
from lop.run.command import INTERRUPTED, Parser, wrong
from lop.run.files import RunError, disk

if TYPE_CHECKING:
    from lop.boards.server import Server

MAX_LAYERS = 100


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m lop.boards", description="wandb boards as code, and offline runs sent to wandb.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="push|sync", parser_class=Parser)
    push = verbs.add_parser("push", help="make the workspace and the report, or update those made before")
    push.add_argument("--entity", metavar="E", help="user or team at wandb")
    push.add_argument("--project", metavar="P", help="project at wandb")
    push.add_argument("--layers", type=int, default=2, metavar="N", help="hidden layers that get panels, default 2")
    push.add_argument("--json", type=Path, metavar="FILE", help="write the boards there and send nothing")
    sync = verbs.add_parser("sync", help="send what wandb does not have of the runs below a folder")
    sync.add_argument("runs", type=Path, help="folder below which the runs are")
    sync.add_argument("--entity", metavar="E", help="user or team; by default what each run was started with")
    sync.add_argument("--project", metavar="P", help="project; by default what each run was started with")
    sync.add_argument("--all", action="store_true", help="also runs that were made with wandb.mode=disabled")
    sync.add_argument("--anew", action="store_true", help="send the one run in this folder whole, as a new one")
    given = parser.parse_args(words)
    if given.verb == "push" and not given.json and not (given.entity and given.project):
        push.error("--entity and --project are needed, for instance --entity my-team --project lop")
    if given.verb == "push" and not 1 <= given.layers <= MAX_LAYERS:
        push.error(f"--layers {given.layers}: 1 to {MAX_LAYERS} is allowed")
    return given


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    try:
        check_extra()
        return run_push(given) if given.verb == "push" else run_sync(given)
    except (RunError, ImportError) as error:
        return wrong(error)
    except KeyboardInterrupt:
        again = "the command without --anew" if getattr(given, "anew", False) else "the same command"
        return wrong(f"stopped; {again} goes on", INTERRUPTED)


def run_push(given: argparse.Namespace) -> int:
    server = None if given.json else connect()
    from lop.boards.push import push
    from lop.boards.spec import views

    boards = views(given.layers)
    if server is None:
        with disk("write", given.json):
            given.json.write_text(json.dumps([dataclasses.asdict(board) for board in boards], indent=1) + "\n")
        print(given.json)
        return 0
    for line in push(server, given.entity, given.project, boards):
        print(line)
    return 0


def run_sync(given: argparse.Namespace) -> int:
    if not given.runs.is_dir():
        return wrong(f"{given.runs} is no folder; give the one that runs are written to (runs_dir, `runs` by default)")
    from lop.boards.sync import Sync

    return Sync(connect(), given.entity, given.project, untracked=given.all, anew=given.anew).everything(given.runs)


def connect() -> Server:
    """The connection to wandb, before anything that takes time. Errors: ServerError."""
    from lop.boards.server import Server

    return Server()


if __name__ == "__main__":
    sys.exit(main())
