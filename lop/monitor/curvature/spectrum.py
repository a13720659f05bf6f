"""Counting eigenvalues of a symmetric matrix that is only known by its products: exactly, or by Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""Rows [K, P] to the matrix times each of them, [K, P]."""
CHUNK = 16


class Count(NamedTuple):
    """How many eigenvalues have ∣λ∣ > ε, and the standard error of that number; 0 where it is exact."""

    count: float
    error: float


def dense(product: Product, size: int, like: Tensor) -> Tensor:
    """The matrix itself, symmetrised, [size, size] in float64 on the host. like: type and device of the products."""
    rows = []
    for start in range(0, size, CHUNK):
        index = torch.arange(start, min(start + CHUNK, size))
        unit = torch.zeros(len(index), size, dtype=like.dtype, device=like.device)
        unit[torch.arange(len(index)), index] = 1
        rows.append(product(unit).cpu().double())
    matrix = torch.cat(rows)
    return (matrix + matrix.T) / 2


def exact_count(matrix: Tensor, epsilon: float) -> Count:
    """From all eigenvalues of a symmetric [P, P]; NaN if the matrix holds NaN or infinity."""
    if not torch.isfinite(matrix).all():
        return Count(float("nan"), 0.0)
    return Count(float((torch.linalg.eigvalsh(matrix).abs() > epsilon).sum()), 0.0)


def congruent(gram: Tensor, middle: Tensor) -> Tensor:
    """√K M √K [Q, Q], which shares its non-zero eigenvalues with Jᵀ M J where K = J Jᵀ; symmetric for any symmetric M.

    Errors: none; where an entry is NaN or infinite, so is the result.
    """
    if not torch.isfinite(gram).all():
        return gram
    eigenvalues, vectors = torch.linalg.eigh(gram)
    root = vectors * eigenvalues.clamp(min=0).sqrt()
    matrix = root.T @ middle @ root
    return (matrix + matrix.T) / 2


def epsilon_count(
    product: Product, size: int, epsilon: float, like: Tensor, *, steps: int = 64, probes: int = 4, seed: int = 0
) -> Count:
    """#{∣λ∣ > ε} of a symmetric [P, P] from (1 + probes)·steps products, by stochastic Lanczos quadrature.

    A first run finds the outlying eigenvalues: those that have converged are counted one by one and projected out. What
    is left is estimated by Gauss quadrature from random signs, unbiased but for the quadrature (Ubaru et al. 2017; the
    projection as in Meyer et al. 2021). The error covers the random signs, not the quadrature, which can be off by the
    share of the nodes next to ±ε. The signs are a function of the seed alone. Keeps 2·steps vectors of P numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = min(steps, size)

    def signs() -> Tensor:
        return (torch.randint(0, 2, (size,), generator=generator) * 2 - 1).to(like)

    found = like.new_zeros(0, size)
    run = _lanczos(product, signs(), steps, found)
    if run is None:
        return Count(float("nan"), 0.0)
    settled = (run.values.abs() - run.residuals > epsilon) & (run.residuals < 1e-3 * run.values.abs())
    found = _orthonormal(run.vectors[:, settled].T.to(like) @ run.basis)
    estimates = []
    for _ in range(probes):
        start = _without(signs(), found)
        run = _lanczos(product, start, steps, found)
        if run is None:
            return Count(float("nan"), 0.0)
        share = float((run.weights * (run.values.abs() > epsilon)).sum())
        estimates.append(float(start.double().square().sum()) * share)
    rest = torch.tensor(estimates, dtype=torch.float64)
    error = float(rest.std() / probes**0.5) if probes > 1 else float("nan")
    return Count(len(found) + float(rest.mean()), error)


class _Run(NamedTuple):
    """basis [k, P]; values, residuals, weights [k] and vectors [k, k] of the tridiagonal matrix, float64 on the host."""

    basis: Tensor
    values: Tensor
    residuals: Tensor
    weights: Tensor
    vectors: Tensor


def _lanczos(product: Product, start: Tensor, steps: int, found: Tensor) -> _Run | None:
    """Lanczos from `start` with full reorthogonalisation, also against the rows of `found`; None if not finite."""
    basis = start.new_empty(steps, len(start))
    diagonal, off = [], []
    norm = float(start.norm())
    v = start / norm if norm > 0 else start
    for k in range(steps):
        basis[k] = v
        w = product(v.unsqueeze(0))[0].to(v)
        diagonal.append(float(w @ v))
        # twice is enough (Giraud et al. 2005)
        for _ in range(2):
            w = _without(_without(w, found), basis[: k + 1])
        off.append(float(w.norm()))
        largest = max(map(abs, diagonal + off))
        if not off[-1] > 10 * torch.finfo(w.dtype).eps * largest:
            break
        v = w / off[-1]
    size = len(diagonal)
    tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    beside = torch.tensor(off[: size - 1], dtype=torch.float64)
    tridiagonal += torch.diag(beside, 1) + torch.diag(beside, -1)
    if not torch.isfinite(tridiagonal).all():
        return None
    values, vectors = torch.linalg.eigh(tridiagonal)
    return _Run(basis[:size], values, off[-1] * vectors[-1].abs(), vectors[0].square(), vectors)


def _without(w: Tensor, rows: Tensor) -> Tensor:
    """The part of w [P] orthogonal to orthonormal rows [k, P]."""
    return w - rows.T @ (rows @ w) if len(rows) else w


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.T)[0].T.contiguous() if len(rows) else rows
