"""What the reader of a page chose, as it stands in the page's address; and the form that asks.

Whatever an address holds, a choice is one of the options: others are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Field:
    """A question: one of the options, or any of them (`several`; none chosen means all of them)."""

    name: str
    label: str
    options: list[tuple[str, str]]  # value, text
    chosen: tuple[str, ...]
    several: bool = False


def one(query: Query, name: str, label: str, options: Sequence[tuple[str, str]], default: str = "") -> Field:
    """A question with one answer: the asked one, else the default, else the first option."""
    values = [value for value, _ in options]
    asked = next((value for value in query.get(name, ()) if value in values), None)
    answer = asked if asked is not None else default if default in values else values[0] if values else ""
    return Field(name, label, list(options), (answer,))


def several(
    query: Query, name: str, label: str, options: Sequence[tuple[str, str]], default: Sequence[str] = ()
) -> Field:
    """A question with any number of answers."""
    asked = tuple(value for value, _ in options if value in query.get(name, ()))
    return Field(name, label, list(options), asked or tuple(default), several=True)


def plain(values: Sequence[str]) -> list[tuple[str, str]]:
    """Options whose text is their value."""
    return [(value, value) for value in values]
