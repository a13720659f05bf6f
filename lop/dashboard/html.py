"""The page around the plots: one template for the live page and for the saved file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.resources import INLINE
from jinja2 import Environment, Template

from lop.dashboard.board import Board
from lop.dashboard.choices import Field
from lop.dashboard.look import THEMES
from lop.dashboard.pages import PAGES
from lop.lab.playground import NAME as PLAYGROUND

FORMATS = ("html", "png", "pdf", "csv")
#: address and title of every page
LINKS = [*((page.name, page.title) for page in PAGES.values()), (PLAYGROUND, "Playground")]


@cache
def template() -> Template:
    """page.html; what goes into it is escaped."""
    return Environment(autoescape=True).from_string(_text("page.html"))


def variables(here: str, fields: Sequence[Field], address: str, live: bool) -> dict[str, Any]:
    """What the template asks for beside Bokeh's own."""
    return {
        "style": _text("page.css"),
        "script": _text("page.js").replace("/*THEMES*/", json.dumps(THEMES)),
        "pages": LINKS,
        "formats": FORMATS,
        "here": here,
        "fields": fields,
        "address": address,
        "live": live,
        "saved": f"saved {datetime.now():%Y-%m-%d %H:%M}",
    }


def offline_page(board: Board) -> str:
    """The board as one file that needs nothing else."""
    document = Document()
    board.add_to(document)
    title = f"{board.page.title} - lop"
    return file_html(
        document, INLINE, title, template=template(), template_variables=variables(board.page.name, [], "", live=False)
    )


@cache
def _text(name: str) -> str:
    return files("lop.dashboard").joinpath(name).read_text(encoding="utf-8")
