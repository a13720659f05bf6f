"""Which curvature to measure, how and when; and the numbers of one computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lop.monitor.curvature.inputs import input_curvature
from lop.monitor.curvature.products import Products
from lop.monitor.curvature.running import Loss
from lop.monitor.curvature.spectrum import Count, congruent, dense, epsilon_count, exact_count
from lop.monitor.guard import untouched
from lop.monitor.schedule import Due, never

METRICS = ("ggn", "hessian", "input")


@dataclass(frozen=True)
class Curvature:
    """Settings of the curvature metrics.

    due: every how many steps, or a schedule; asked only in computations with a loss. metrics: of METRICS. epsilon: of
    the ε-ranks, in units of the loss per squared parameter. exact_up_to: matrices up to this size are decomposed, larger
    ones get `probes` runs of `steps` Lanczos steps, after one that finds outlying eigenvalues. For the GGN the smaller of P
    and the number of output numbers counts. input_probes, input_step: see input_curvature; the ε-ranks' signs and these
    come from `seed` alone. output, input: path of the module whose results the loss is split at for the GGN, and of the
    one whose inputs are meant; "": the watched one.
    """

    due: Due = never
    metrics: Sequence[str] = METRICS
    epsilon: float = 0.1
    exact_up_to: int = 1000
    steps: int = 64
    probes: int = 4
    input_probes: int = 10
    input_step: float = 1e-3
    output: str = ""
    input: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise ValueError(f"metrics={unknown}: the curvature metrics are {list(METRICS)}")
        if min(self.steps, self.probes, self.input_probes) < 1 or min(self.epsilon, self.input_step) <= 0:
            raise ValueError("steps, probes and input_probes must be >= 1, epsilon and input_step > 0")


def curvature_scalars(module: nn.Module, loss: Loss, settings: Curvature) -> dict[str, float]:
    """`ggn_epsilon_rank`, `hessian_epsilon_rank` (each with `_error`) and `input_curvature` of loss() at the present weights.

    Ranks are shares of the P trainable parameters; errors are standard errors, 0 where a count is exact. The loss runs in
    evaluation mode, once for the ranks and twice for each direction of the inputs; module, gradients and random state
    stay as they are. NaN where the loss's derivatives are not finite.
    """
    scalars: dict[str, float] = {}
    with untouched(module):
        if set(settings.metrics) - {"input"}:
            products = Products(module, loss, settings.output)
            for name in ("ggn", "hessian"):
                if name in settings.metrics:
                    count = _count(products, name, settings)
                    scalars[f"{name}_epsilon_rank"] = count.count / products.num_parameters
                    scalars[f"{name}_epsilon_rank_error"] = count.error / products.num_parameters
        if "input" in settings.metrics:
            scalars["input_curvature"] = input_curvature(
                module,
                loss,
                input=settings.input,
                probes=settings.input_probes,
                step=settings.input_step,
                seed=settings.seed,
            )
    return scalars


def _count(products: Products, name: str, settings: Curvature) -> Count:
    size, first = products.num_parameters, products.parameters[0]
    like = first.new_empty(0, dtype=torch.float64 if first.dtype == torch.float64 else torch.float32).detach()
    if name == "ggn":
        products.require_outputs()
        if products.num_outputs < size and products.num_outputs <= settings.exact_up_to:
            return exact_count(_output_side(products, like), settings.epsilon)
    product = getattr(products, name)
    if size <= settings.exact_up_to:
        return exact_count(dense(product, size, like), settings.epsilon)
    return epsilon_count(
        product, size, settings.epsilon, like, steps=settings.steps, probes=settings.probes, seed=settings.seed
    )


def _output_side(products: Products, like: Tensor) -> Tensor:
    """A matrix [Q, Q] with the non-zero eigenvalues of the GGN, Q the number of output numbers."""
    size = products.num_outputs
    middle = dense(products.output_hessian, size, like)
    return congruent(dense(products.output_gram, size, like), middle)
