"""One colour per algorithm, the same in every figure and on every page. Imports nothing.

Near the hues of the published figures. Each stands out by at least 3 : 1 on white and on near-black (WCAG 2.1, graphics),
and any two differ by at least 25 in CIELAB, also as protanopes, deuteranopes and tritanopes see them (Machado et al. 2009).
"""

from __future__ import annotations

COLOURS = {
    "std": "#A84539",  # brick red
    "ns": "#BD871C",  # amber
    "cbp": "#0261DA",  # blue
    "l2": "#8E4D9F",  # purple
    "redo": "#28A67A",  # green
}
#: for algorithms of your own, in alphabetical order
OTHERS = ("#7A6FE0", "#8A8A00", "#C0504D", "#3D8FA0", "#8D7B68")
#: the publications' order of the algorithms
ORDER = tuple(COLOURS)


def colour_of(algo: str, algos: tuple[str, ...] | list[str] = ()) -> str:
    """The colour of an algorithm, "#RRGGBB". algos: all that are shown, so that unknown ones get different colours."""
    if algo in COLOURS:
        return COLOURS[algo]
    others = sorted({algo, *algos} - COLOURS.keys())
    return OTHERS[others.index(algo) % len(OTHERS)]


def in_order(algos: list[str] | tuple[str, ...]) -> list[str]:
    """The algorithms, each once: those of the publications first, the others by name."""
    return sorted(set(algos), key=lambda algo: (ORDER.index(algo) if algo in ORDER else len(ORDER), algo))
