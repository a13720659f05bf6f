"""The written parts of a page as HTML: legend, caption, notes, table. Everything found in files is escaped.

They live in shadow roots, which the page's style reaches through its custom properties alone (--text and others).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lop.dashboard.view import Cell, Key, Table

STYLE = """
:host { color: var(--text); font: 13px/1.45 system-ui, sans-serif; width: 100%; }
.bk-clearfix { display: block !important; width: 100%; }
.keys { display: flex; flex-wrap: wrap; gap: 2px 18px; }
.key { display: inline-flex; align-items: center; gap: 6px; }
.faint { color: var(--faint); font-size: 12px; }
.note { color: var(--text); font-size: 12px; border-left: 3px solid var(--accent); padding-left: 8px; margin-top: 3px; }
.rows { max-height: 420px; overflow: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--panel); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: var(--panel); text-align: left; color: var(--faint); font-weight: 600; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:last-child { white-space: normal; }
a { color: var(--accent); }
"""
SVG_DASHES = {"solid": "", "dashed": "9 4", "dotted": "2 3", "dotdash": "2 3 9 3"}


def legend(keys: Sequence[Key]) -> str:
    """A line per key, side by side."""
    return f'<div class="keys">{"".join(_key(key) for key in keys)}</div>'


def _key(key: Key) -> str:
    if not key.dash and not key.patch:
        return f'<span class="key">{escape(key.label)}</span>'
    colour = escape(key.colour) or "var(--text)"
    if key.patch:
        drawn = f'<rect width="26" height="10" y="1" rx="2" style="fill:{colour}"/>'
    else:
        dashes = SVG_DASHES[key.dash]
        drawn = f'<line x1="0" x2="26" y1="6" y2="6" style="stroke:{colour};stroke-width:3;stroke-dasharray:{dashes}"/>'
    return f'<span class="key"><svg width="26" height="12">{drawn}</svg>{escape(key.label)}</span>'


def remarks(caption: str, notes: Sequence[str], definitions: Sequence[str]) -> str:
    """Notes first: they are what the reader must know."""
    lines = [f'<div class="note">{escape(note)}</div>' for note in notes]
    lines += [f'<div class="faint">{escape(caption)}</div>'] * bool(caption)
    if definitions:
        each = "".join(f"<div>{escape(text)}</div>" for text in definitions)
        lines.append(f'<details class="faint"><summary>What is drawn</summary>{each}</details>')
    return "".join(lines)


def table(rows: Table | None) -> str:
    """The table, in a box that scrolls."""
    if rows is None or not rows.rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in rows.head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows.rows)
    return f'<div class="rows"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.link:
        text = f'<a href="{escape(cell.link)}" title="{escape(cell.title)}">{text}</a>'
    return f"<td>{text}</td>"
