"""Curvature of a loss: ε-ranks of its GGN and its Hessian in the parameters, and its curvature in the inputs.

`MarginMonitor(net, curvature=Curvature(due=1_000_000))` and `compute(step, loss=closure)` are all that most people need.

    loss=lambda: F.mse_loss(net(x), y)                                          # supervised
    loss=lambda: F.mse_loss(critic(observations), returns)                      # critic, over the last rollout
    loss=lambda: surrogate(Normal(actor(observations), std).log_prob(actions).sum(-1), advantages)           # actor

products has the matrix products, spectrum counts eigenvalues, inputs differs in the inputs, measure joins them.
"""

from lop.monitor.curvature.inputs import input_curvature
from lop.monitor.curvature.measure import Curvature, curvature_scalars
from lop.monitor.curvature.products import Products, surrogate
from lop.monitor.curvature.spectrum import Count, epsilon_count, exact_count

__all__ = [
    "Count",
    "Curvature",
    "Products",
    "curvature_scalars",
    "epsilon_count",
    "exact_count",
    "input_curvature",
    "surrogate",
]
