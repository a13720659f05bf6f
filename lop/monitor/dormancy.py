"""How much each unit does: pure functions of activations h [..., N, H] or of their means [..., H]."""

from __future__ import annotations

import torch
from torch import Tensor


def firing_counts(h: Tensor, non_negative: bool = False) -> Tensor:
    """On how many of the N samples each unit has h_j > 0; [..., N, H] to [..., H], whole numbers in h's type.

    non_negative: h is known to have no negative entries, as after ReLU, which saves a pass.
    """
    # a comparison and a sum over booleans takes five times as long as signs; pieces stay in the cache
    pieces = [(piece if non_negative else piece.clamp(min=0)).sign().sum(-2) for piece in h.split(512, -2)]
    return pieces[0] if len(pieces) == 1 else torch.stack(pieces).sum(0)


def activity(h: Tensor) -> Tensor:
    """The fraction of the samples with h_j > 0, [..., H]. 0: never on; 1: on for every sample."""
    return firing_counts(h) / h.shape[-2]


def mean_magnitude(h: Tensor, non_negative: bool = False) -> Tensor:
    """E∣h_j∣ over the samples; [..., N, H] to [..., H]. non_negative as in firing_counts."""
    return h.mean(-2) if non_negative else h.abs().mean(-2)


def relative_score(magnitude: Tensor) -> Tensor:
    """s_j = m_j / mean_k m_k, [..., H] from non-negative magnitudes [..., H].

    With m = E∣h∣ the dormant score (Sokar et al. 2023, arXiv 2302.12902), with m = E∣∂L/∂h∣ GraMa (2505.24061).
    All magnitudes 0: every score 0, never NaN. A non-finite magnitude gives its unit NaN and leaves the others alone.
    """
    finite = torch.isfinite(magnitude)
    kept = torch.where(finite, magnitude, 0.0)
    mean = kept.sum(-1, keepdim=True) / finite.sum(-1, keepdim=True).clamp(min=1)
    score = torch.where(mean > 0, kept / mean, 0.0)
    return torch.where(finite, score, torch.nan)


def dormant(score: Tensor, tau: float) -> Tensor:
    """Boolean [..., H]: the τ-dormant units, s_j <= τ. In an all-dead layer every unit is dormant; NaN is not."""
    return score <= tau


def rarely_active_percent(activity: Tensor, threshold: float = 0.01) -> Tensor:
    """The percentage of a layer's units that were on for at most `threshold` of the samples; [..., H] to [...].

    Applied to the last 1000 acting steps this is the published `pol_features_activity`.
    """
    return 100.0 * (activity <= threshold).sum(-1) / activity.shape[-1]
