"""The ranks of an activation matrix, all from one set of singular values σ [..., K], in any order.

The matrix is A = activations [N, H], not centred. Every rank of a zero matrix is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

RANKS = ("stable_rank", "effective_rank", "covariance_effective_rank", "srank", "approximate_rank", "feature_rank")
EPSILON = torch.finfo(torch.float64).eps


def singular_values(a: Tensor) -> Tensor:
    """Singular values of [..., N, H], descending, float64, [..., min(N, H)].

    They are square roots of the eigenvalues of the smaller Gram matrix in float64: an error of about K·1e-16·σ₁² there
    is √K·1e-8·σ₁ in σ, about the rounding of float32 activations, in half the time of a decomposition of A. Values
    below that error are returned as exactly 0.
    """
    tall = a if a.shape[-2] >= a.shape[-1] else a.mT
    leading = a.shape[:-2]
    if a.device.type == "cpu" and leading:
        # member by member: a batched product of many threads splits its sums in another way than that of one member
        members = tall.reshape(-1, *tall.shape[-2:])
        return torch.stack([_from_gram(member) for member in members]).reshape(*leading, -1)
    return _from_gram(tall)


def _from_gram(tall: Tensor) -> Tensor:
    eigenvalues = torch.linalg.eigvalsh(_lower_gram(tall.double())).flip(-1)
    floor = eigenvalues[..., :1] * (eigenvalues.shape[-1] * EPSILON)
    return torch.where(eigenvalues > floor, eigenvalues, 0.0).sqrt()


def _lower_gram(a: Tensor) -> Tensor:
    """aᵀa without its upper right quarter: eigvalsh reads the lower triangle only."""
    gram, half = a.new_empty((*a.shape[:-2], a.shape[-1], a.shape[-1])), a.shape[-1] // 2
    gram[..., :, :half] = a.mT @ a[..., :half]
    gram[..., half:, half:] = a[..., half:].mT @ a[..., half:]
    return gram


def stable_rank(sigma: Tensor) -> Tensor:
    """‖A‖_F² / ‖A‖₂² = Σσ² / max σ² (Rudelson & Vershynin 2007); [..., K] to [...].

    NOT what the loss-of-plasticity reference calls stable_rank: that is srank.
    """
    squares = sigma.double().square()
    return _ratio(squares.sum(-1), squares.amax(-1))


def effective_rank(sigma: Tensor) -> Tensor:
    """exp(−Σ p ln p) with p = σ/Σσ (Roy & Vetterli 2007); [..., K] to [...]."""
    sigma = sigma.double()
    total = sigma.sum(-1, keepdim=True)
    entropy = -torch.xlogy(_ratio(sigma, total), _ratio(sigma, total)).sum(-1)
    return torch.where(total.squeeze(-1) > 0, entropy.exp(), 0.0)


def covariance_effective_rank(sigma: Tensor) -> Tensor:
    """exp(−Σ p ln p) with p = σ²/Σσ², the effective rank of the uncentred covariance E[h hᵀ]; [..., K] to [...]."""
    return effective_rank(sigma.double().square())


def srank(sigma: Tensor, share: float = 0.99) -> Tensor:
    """The least k with Σ_{i<=k} σ_i >= share·Σσ (Kumar et al. 2020, arXiv 2010.14498); [..., K] to [...].

    This is what the loss-of-plasticity reference logs under the name `stable_rank`.
    """
    return _least_count(sigma.double(), share)


def approximate_rank(sigma: Tensor, share: float = 0.99) -> Tensor:
    """The least k with Σ_{i<=k} σ_i² >= share·Σσ² (Yang et al. 2019, arXiv 1909.12255); [..., K] to [...]."""
    return _least_count(sigma.double().square(), share)


def feature_rank(sigma: Tensor, num_samples: int, threshold: float = 0.01) -> Tensor:
    """#{i : σ_i(A/√N) > threshold} (Lyle et al. 2022, arXiv 2204.09560); [..., K] to [...]."""
    return (sigma.double() / num_samples**0.5 > threshold).sum(-1).double()


def all_ranks(sigma: Tensor, num_samples: int) -> dict[str, Tensor]:
    """Every rank of this file by its name (RANKS), each [...]."""
    return {
        "stable_rank": stable_rank(sigma),
        "effective_rank": effective_rank(sigma),
        "covariance_effective_rank": covariance_effective_rank(sigma),
        "srank": srank(sigma),
        "approximate_rank": approximate_rank(sigma),
        "feature_rank": feature_rank(sigma, num_samples),
    }


def _least_count(values: Tensor, share: float) -> Tensor:
    cumulated = values.sort(dim=-1, descending=True).values.cumsum(-1)
    total = cumulated[..., -1:]
    return torch.where(total.squeeze(-1) > 0, (cumulated < share * total).sum(-1) + 1, 0).double()


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole, 0.0)
