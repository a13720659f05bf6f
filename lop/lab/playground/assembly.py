"""The playground as one HTML text that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

#: in the order in which they need each other; in the page they are one script
SCRIPTS = (
    "core",
    "state",
    "plane",
    "views",
    "landscape",
    "theme",
    "trail",
    "draw",
    "hand",
    "panel",
    "address",
    "main",
)
NAME = "playground"
ZOOM = (
    '<span class="zoom"><button type="button" data-zoom="out" aria-label="zoom out" title="zoom out">−</button>'
    '<button type="button" data-zoom="in" aria-label="zoom in" title="zoom in">+</button>'
    '<button type="button" data-zoom="home" aria-label="undo zoom" title="undo zoom and pan">⌂</button></span>'
)


def page(pages: Sequence[tuple[str, str]] = ((NAME, "Playground"),)) -> str:
    """The page. pages: (address, title) of every page of the site that it is part of; its own is called `playground`."""
    links = [
        f'<span class="here">{html.escape(title)}</span>'
        if name == NAME
        else f'<a href="{html.escape(name)}">{html.escape(title)}</a>'
        for name, title in pages
    ]
    parts = {
        "/*STYLE*/": read("page.css"),
        "<!--NAV-->": "".join(links),
        "<!--ZOOM-->": ZOOM,
        "/*PRESETS*/": read("presets.json").strip(),
        "/*SCRIPT*/": "\n".join(read(f"{name}.js") for name in SCRIPTS),
    }
    text = read("page.html")
    for place, content in parts.items():
        text = text.replace(place, content)
    return text


@cache
def read(name: str) -> str:
    """A file beside this one."""
    return files("lop.lab.playground").joinpath(name).read_text(encoding="utf-8")
