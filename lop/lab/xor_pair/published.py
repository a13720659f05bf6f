"""What the study's report says of each strategy, what 4000 runs gave when it was recomputed, and whether we agree.

Report: A. Oursland, tr_xor, reports/relu1 and, for `bounded`, manuscript/relu1 (2025). Recomputed: definitions of this
project, section 4, kept here as counts of 4000 runs.
"""

from __future__ import annotations

from dataclasses import dataclass

#: solved runs of all runs
Count = tuple[int, int]


@dataclass(frozen=True)
class Published:
    """solved: as published. recomputed: the range of solved runs out of so many: (low, high, runs)."""

    solved: Count
    recomputed: tuple[int, int, int] | None = None
    mirror: Count | None = None
    note: str = ""


PUBLISHED = {
    "normal": Published((29, 50), (1840, 1840, 4000), mirror=(29, 50)),
    "reinit": Published((49, 50), (3872, 3872, 4000), mirror=(47, 50)),
    "reinit_margin_0.1": Published((496, 500), (3967, 3967, 4000)),
    "reinit_margin_0.2": Published((499, 500), (3997, 3997, 4000)),
    "reinit_margin_0.3": Published((500, 500), (4000, 4000, 4000)),
    "monitor": Published((1000, 1000), (998, 1000, 1000), mirror=(983, 1000)),
    "mirror": Published((984, 1000), (3932, 3932, 4000), mirror=(984, 1000)),
    "bounded": Published((39, 50), note="published with N(0, 1) weights"),
}


def p_value(ours: Count, theirs: Count) -> float:
    """Two-sided p of two equal rates (Fisher's exact test; exact also where nearly all runs succeed)."""
    from scipy.stats import fisher_exact

    table = [[count, runs - count] for count, runs in (ours, theirs)]
    return float(fisher_exact(table).pvalue)


def p_recomputed(ours: Count, recomputed: tuple[int, int, int]) -> float:
    """p against the recomputed rate; of a range, the rate nearest to ours."""
    low, high, runs = recomputed
    nearest = min(max(round(ours[0] / ours[1] * runs), low), high)
    return p_value(ours, (nearest, runs))
