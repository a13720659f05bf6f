"""Products of vectors with the Hessian and the generalized Gauss-Newton matrix (GGN) of a loss in the parameters.

One run of the loss is enough: its graph is kept and differentiated again for each product (Pearlmutter 1994; for the GGN
Schraudolph 2002). So the loss may be any closure, also one with branches, other networks or numpy in it. That is why this
does not go through curvlinops 3.0, which runs model and loss apart under torch.func, whose second derivatives of LayerNorm
weights are wrong in torch 2.13; where both work, the two agreed to 1e-9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lop.monitor.curvature.running import Loss, differentiable, leaves, part_of, value_of


def surrogate(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """The policy's surrogate loss −E[ratio·A] at ratio 1, as it is before the first minibatch of PPO; [...] to ().

    log_prob: of the actions taken, by the present policy, [...]; advantages [...]. Nothing is clipped at ratio 1.
    """
    return -((log_prob - log_prob.detach()).exp() * advantages.detach()).mean()


class Products:
    """v -> H v and v -> G v for vectors v [K, P], P the trainable parameters in order of registration.

    H is the Hessian of loss(); G = Jᵀ (∇²_f loss) J with f all that `output` returned while the loss ran (several calls
    together) and J its Jacobian. output: path of a module in `module`, "" for itself. Parameters that the loss does not
    reach have zero rows. Errors: ValueError if the loss is no differentiable scalar or never calls that module.
    """

    def __init__(self, module: nn.Module, loss: Loss, output: str = ""):
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.num_parameters = sum(p.numel() for p in self.parameters)
        if not self.parameters:
            raise ValueError("curvature needs parameters that require gradients, the watched module has none")
        part, returned = part_of(module, output), []
        handle = part.register_forward_hook(lambda _module, _args, out: returned.extend(leaves(out)))
        with differentiable(module):
            try:
                value = value_of(loss)
            finally:
                handle.remove()
            self._gradient = _gradients([value], self.parameters, create_graph=True)
            self._keep_outputs(value, [tensor for tensor in returned if tensor.requires_grad])

    def _keep_outputs(self, value: Tensor, outputs: list[Tensor]) -> None:
        slopes = _gradients([value], outputs, create_graph=True)
        reached = [(f, slope) for f, slope in zip(outputs, slopes, strict=True) if slope is not None]
        self._outputs, self._slopes = [f for f, _ in reached], [slope for _, slope in reached]
        self.num_outputs = sum(f.numel() for f in self._outputs)
        # Jᵀu is linear in u, so its derivative in u, transposed, is J
        self._seeds = [torch.zeros_like(f, requires_grad=True) for f in self._outputs]
        self._pulled = _gradients(self._outputs, self.parameters, self._seeds, create_graph=True)

    def hessian(self, v: Tensor) -> Tensor:
        """H v for each row of v [K, P]."""
        return _joined(_batched(self._gradient, self.parameters, _split(v, self.parameters)))

    def ggn(self, v: Tensor) -> Tensor:
        """G v for each row of v [K, P]."""
        self.require_outputs()
        jacobian_v = _batched(self._pulled, self._seeds, _split(v, self.parameters))
        curved = _batched(self._slopes, self._outputs, jacobian_v)
        return _joined(_batched(self._outputs, self.parameters, curved))

    def output_gram(self, u: Tensor) -> Tensor:
        """J Jᵀ u for each row of u [K, Q], Q numbers in all outputs."""
        pulled = _batched(self._outputs, self.parameters, _split(u, self._outputs))
        return _joined(_batched(self._pulled, self._seeds, pulled))

    def output_hessian(self, u: Tensor) -> Tensor:
        """(∇²_f loss) u for each row of u [K, Q]."""
        return _joined(_batched(self._slopes, self._outputs, _split(u, self._outputs)))

    def require_outputs(self) -> None:
        if not self._outputs:
            raise ValueError(
                "the loss uses no tensor that the watched module returned, so its GGN is not defined: name the part "
                "that it does call, Curvature(output='path.of.module'), or leave 'ggn' out of Curvature(metrics=...)"
            )


def _gradients(
    ys: Sequence[Tensor], xs: Sequence[Tensor], vs: Sequence[Tensor] | None = None, **options: bool
) -> list[Tensor | None]:
    """Σ_i v_i·∂y_i/∂x for each x; None where there is no way from x to a y."""
    if not ys or not xs:
        return [None] * len(xs)
    return list(torch.autograd.grad(list(ys), list(xs), vs, allow_unused=True, retain_graph=True, **options))


def _batched(ys: Sequence[Tensor | None], xs: Sequence[Tensor], vs: Sequence[Tensor]) -> list[Tensor]:
    """The same for K vectors at once, vs [K, *y.shape], to [K, *x.shape]; zeros where there is no way."""
    known = [(y, v) for y, v in zip(ys, vs, strict=True) if y is not None and y.requires_grad]
    found = _gradients([y for y, _ in known], xs, [v for _, v in known], is_grads_batched=True)
    count = vs[0].shape[0]
    return [x.new_zeros(count, *x.shape) if g is None else g for g, x in zip(found, xs, strict=True)]


def _split(v: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = v.split([tensor.numel() for tensor in like], dim=1)
    return [x.reshape(v.shape[0], *t.shape).to(t) for x, t in zip(pieces, like, strict=True)]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten(1) for part in parts], dim=1)
