"""Tables as people read them: percentages with their intervals, on a terminal and in the report."""

from __future__ import annotations

import math

import pandas as pd


def percent(value: float) -> str:
    """A rate as "47.2"; with two digits near 0 and 100, so that 99.97 is not 100; "–" for NaN."""
    if math.isnan(value):
        return "–"
    shown = 100 * value
    if shown in (0, 100):
        return f"{shown:.0f}"
    return f"{shown:.2f}" if shown > 99 or shown < 1 else f"{shown:.1f}"


def interval(row: pd.Series, name: str) -> str:
    """ "47.2 [45.7, 48.7]" from the columns of `tables.rate`."""
    rate = row.get(f"{name}_rate", math.nan)
    if math.isnan(rate):
        return "–"
    return f"{percent(rate)} [{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"


def recomputed(row: pd.Series) -> str:
    """The recomputed rate or its range."""
    low, high = row.get("recomputed_from", math.nan), row.get("recomputed_to", math.nan)
    return percent(low) if not low < high else f"{percent(low)} to {percent(high)}"


def success_text(frame: pd.DataFrame) -> pd.DataFrame:
    """`tables.success` for reading."""
    rows = []
    for _, row in frame.iterrows():
        published = "–"
        if not math.isnan(row.get("published_rate", math.nan)):
            published = f"{row['published']:.0f}/{row['published_of']:.0f}"
        rows.append(
            {
                "strategy": row["strategy"],
                "solved": f"{row['solved']:,}",
                "% [95 %]": interval(row, "solved"),
                "published": published,
                "published % [95 %]": interval(row, "published"),
                "recomputed %": recomputed(row),
                "p": _digits(row.get("p_recomputed", math.nan)),
            }
        )
    return pd.DataFrame(rows)


def starts_text(frame: pd.DataFrame) -> pd.DataFrame:
    """`failures.by_start` for reading."""
    rows = [
        {
            "start of normal": row["start"],
            "theory %": percent(row["theory"]),
            "found % [95 %]": interval(row, "share"),
            "solved of these % [95 %]": interval(row, "solved"),
        }
        for _, row in frame.iterrows()
    ]
    return pd.DataFrame(rows)


def symmetry_text(frame: pd.DataFrame) -> pd.DataFrame:
    """`tables.symmetry` for reading."""
    rows = [
        {
            "strategy": row["strategy"],
            "mirror % [95 %]": interval(row, "mirror"),
            "published": row["published"] or "–",
            "p": _digits(row["p_published"]),
            "perfect %": percent(row["perfect_rate"]),
            "w₁ from −w₂, deg": f"{row['deviation_deg_mean']:.1f} ± {row['deviation_deg_std']:.1f}",
            "b₁ + b₂": f"{row['bias_sum_mean']:.2f} ± {row['bias_sum_std']:.2f}",
            "turn, deg": f"{row['turn_deg_mean']:.1f} ± {row['turn_deg_std']:.1f}",
            "‖w start‖/‖w end‖ 10 %, 50 %, 90 %": ", ".join(
                f"{row[f'norm_ratio_{q}']:.2f}" for q in ("10%", "50%", "90%")
            ),
        }
        for _, row in frame.iterrows()
    ]
    return pd.DataFrame(rows)


def aligned(frame: pd.DataFrame) -> str:
    """A table for the terminal: the first column left, the others right."""
    cells = [[str(column) for column in frame.columns], *(list(map(str, row)) for row in frame.itertuples(index=False))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def _digits(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.2g}"
