"""Colours that are not an algorithm's: of the page in both modes, of margins, of friction."""

from __future__ import annotations

import numpy as np

#: page, panel (behind plots), text, faint text, lines, accent; every text stands out by at least 4.5 : 1 (WCAG AA)
THEMES = {
    "light": {
        "page": "#F6F7F9", "panel": "#FFFFFF", "text": "#1B1F24", "faint": "#59626D", "line": "#D5DAE1", "accent": "#0B62A8",
    },
    "dark": {
        "page": "#14171B", "panel": "#1C2026", "text": "#E6E9EE", "faint": "#A3ACB8", "line": "#3A414B", "accent": "#6DB3F2",
    },
}  # fmt: skip
SPAN = "#5B7C99"
# dark red, orange, and light to middle blue: three lightnesses, told apart without seeing red or green
DEAD, RISK, ALIVE_LOW, ALIVE_HIGH = "#7A0019", "#F2A93B", "#DCE9F5", "#2F6FB0"
MARGIN_AT_RISK = 0.1


def margin_colours(highest: float, count: int = 256) -> list[str]:
    """`count` colours for margins from 0 to `highest`: orange below 0.1, then light to darker blue."""
    low, high = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (ALIVE_LOW, ALIVE_HIGH))
    shares = (np.arange(count) + 0.5) / count
    blues = low + (high - low) * shares[:, None]
    return [
        RISK if share * highest < MARGIN_AT_RISK else "#" + "".join(f"{round(c):02X}" for c in colour)
        for share, colour in zip(shares, blues, strict=True)
    ]


def highest_margin(values: np.ndarray) -> float:
    """Where the scale of margins ends: nearly all finite values are below."""
    finite = values[np.isfinite(values)]
    return max(2 * MARGIN_AT_RISK, float(np.quantile(finite, 0.98))) if len(finite) else 1.0
