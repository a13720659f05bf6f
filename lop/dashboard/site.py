"""The server: a page per address, saved views under /export. Loopback only.

server = serve(library, port=0)          # 0: a free one
server.io_loop.start()
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Sequence
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.models import CustomJS
from bokeh.server.server import Server
from tornado.web import RedirectHandler, RequestHandler

from lop.dashboard import html
from lop.dashboard.board import Board, look
from lop.dashboard.library import Library
from lop.dashboard.pages import PAGES, Page
from lop.lab.playground import page as playground

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
REFRESH_MS, UNUSED_MS = 1000, 120_000
TYPES = {"html": "text/html; charset=utf-8", "png": "image/png", "pdf": "application/pdf", "csv": "text/csv"}
FIRST_PAGE = next(iter(PAGES))


def serve(library: Library, port: int) -> Server:
    """A server that listens on 127.0.0.1. Errors: OSError if the port is taken."""
    applications = {
        f"/{page.name}": Application(FunctionHandler(functools.partial(open_page, page, library)))
        for page in PAGES.values()
    }
    patterns = [
        (r"/?", RedirectHandler, {"url": f"/{FIRST_PAGE}", "permanent": False}),
        (r"/export", Export, {"library": library}),
        (f"/{html.PLAYGROUND}", Playground),
    ]
    port = open_port(port)
    # another origin may not read the pages through a reader's browser
    origins = [f"{host}:{port}" for host in HOSTS]
    server = Server(
        applications,
        address=ADDRESS,
        port=port,
        extra_patterns=patterns,
        use_index=False,
        allow_websocket_origin=origins,
        # a browser on a busy machine may take its time between a page and its socket
        unused_session_lifetime_milliseconds=UNUSED_MS,
    )
    server.start()
    return server


def open_port(port: int) -> int:
    """The port, or for 0 one that nobody listens on. Errors: OSError if the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((ADDRESS, port))
        return int(probe.getsockname()[1])


def open_page(page: Page, library: Library, document: Document) -> None:
    """Fills the document of a reader who opened a page."""
    context = document.session_context
    arguments = context.request.arguments if context and context.request else {}
    board = Board(page, library, decoded(arguments))
    board.add_to(document)
    document.title = f"{page.title} - lop"
    document.template = html.template()
    document.template_variables.update(html.variables(page.name, board.fields, board.address, live=True))
    document.js_on_event("connection_lost", CustomJS(code="document.getElementById('lost').hidden = false"))
    document.add_periodic_callback(board.refresh, REFRESH_MS)


def decoded(arguments: dict[str, Sequence[bytes]]) -> dict[str, list[str]]:
    """An address's arguments as texts."""
    return {name: [value.decode("utf-8", "replace") for value in values] for name, values in arguments.items()}


class Export(RequestHandler):
    """/export?page=runs&format=png&...: a view as one file."""

    def initialize(self, library: Library) -> None:
        self.library = library

    def get(self) -> None:
        """Sends the file; 404 for a page or format that there is not, 403 under a foreign name of this host."""
        if self.request.host_name not in HOSTS:
            self.send_error(403)
            return
        query = decoded(self.request.arguments)
        page, kind = PAGES.get(self.get_argument("page", "")), self.get_argument("format", "")
        if page is None or kind not in TYPES:
            self.send_error(404)
            return
        self.set_header("Content-Type", TYPES[kind])
        self.set_header("Content-Disposition", f'attachment; filename="lop-{page.name}.{kind}"')
        self.finish(exported(page, self.library, query, kind))

    def write_error(self, status_code: int, **_: Any) -> None:
        self.finish(f"{status_code}: pages are {', '.join(PAGES)}; formats are {', '.join(TYPES)}\n")


class Playground(RequestHandler):
    """/playground: the lab's page, among this site's links."""

    def get(self) -> None:
        """Sends the page; it holds all that it needs."""
        self.set_header("Content-Type", TYPES["html"])
        self.finish(playground(html.LINKS))


def exported(page: Page, library: Library, query: dict[str, list[str]], kind: str) -> str | bytes:
    """A view in one of the formats."""
    if kind == "html":
        return html.offline_page(Board(page, library, query))
    # matplotlib takes a second to import, and most sessions save nothing
    from lop.dashboard import paper

    with library.lock:
        _, view = look(page, library, query)
    return paper.comma_separated(view) if kind == "csv" else paper.picture(view, page.columns, kind)
