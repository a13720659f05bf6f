"""`python -m lop.dashboard runs/ [--port N]`: the pages of the runs below a folder, live, on this machine alone.

Exit codes: 0 ended by Ctrl-C; 2 the command was wrong.
"""

from __future__ import annotations

import importlib.util
import logging
import signal
import sys
from pathlib import Path
from types import FrameType

from lop.run.command import Parser, wrong

NEEDS = ("bokeh", "jinja2", "matplotlib", "orjson", "safetensors")


def main(words: list[str] | None = None) -> int:
    parser = Parser(prog="python -m lop.dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder below which the runs are")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; 0 (default): a free one")
    asked = parser.parse_args(words)
    if missing := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
        return wrong(f"the dashboard needs {', '.join(missing)}: pip install 'lop-rl[dashboard]'")
    if not asked.runs.is_dir():
        return wrong(f"{asked.runs} is no folder; give the one that runs are written to (runs_dir, `runs` by default)")
    if not 0 <= asked.port <= 65535:
        return wrong(f"--port {asked.port}: 0 to 65535 is allowed")
    return watch(asked.runs, asked.port)


def watch(runs: Path, port: int) -> int:
    """Serves until Ctrl-C or SIGTERM."""
    from lop.dashboard.library import Library, Watch
    from lop.dashboard.site import ADDRESS, serve

    # a reader who closes a page, or asks for one that there is not, is nothing to warn of
    for name in ("bokeh", "tornado.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    library = Library(runs)
    try:
        server = serve(library, port)
    except OSError as error:
        return wrong(f"cannot listen on port {port}: {error.strerror or error}; --port 0 takes a free one")

    def end(number: int, frame: FrameType | None) -> None:
        server.io_loop.add_callback_from_signal(server.io_loop.stop)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)
    Watch(library).start()
    print(f"http://{ADDRESS}:{server.port}/", flush=True)
    server.io_loop.start()
    return 0


if __name__ == "__main__":
    sys.exit(main())
