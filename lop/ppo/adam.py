"""Adam on one flat parameter vector, optionally with a step count for every unit.

Weight decay is Adam's own (added to the gradient), as in torch.optim.Adam and the published code.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic, copy_from_numpy, copy_to_numpy

#: a step count at which 1 - beta^t has been 1 for long, for any beta below 1 - 1e-7
UNCORRECTED_STEP = 1e9


def bias_correction_table(beta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 - beta^step for step = 0, 1, ... until it rounds to 1; larger steps use the last entry.

    A table because elementwise `pow` gives other bits in the vectorised and the scalar part of a tensor.
    """
    last = math.ceil(math.log(torch.finfo(dtype).eps / 4) / math.log(beta)) if beta > 0 else 1
    return torch.from_numpy(1.0 - np.power(beta, np.arange(last + 1, dtype=np.float64))).to(device, dtype)


def step_scale_table(beta1: float, beta2: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """sqrt(1 - beta2^step) / (1 - beta1^step) for step = 0 (as for 1), 1, ...; larger steps use the last entry."""
    first, second = (bias_correction_table(beta, torch.float64, torch.device("cpu")) for beta in (beta1, beta2))
    length = max(len(first), len(second))
    first, second = (torch.cat((table, table[-1:].expand(length - len(table)))) for table in (first, second))
    first[0], second[0] = first[1], second[1]
    return (second.sqrt() / first).to(device, dtype)


class FlatAdam:
    """Kingma & Ba 2015, algorithm 1, over net.flat with gradients `grad` of the same layout.

    Without per_unit_steps this is torch.optim.Adam, by its fused kernel. With it, the bias corrections count the steps since
    each unit was last reset (its entry in `unit_steps` set to 0), as continual backprop needs; a weight between two units
    uses the smaller of both counts. A step is then lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps): epsilon beside
    the uncorrected sqrt(v), as in Kingma & Ba's own reformulation (end of section 2) and in the published code's Adam.
    """

    def __init__(
        self,
        net: StackedActorCritic,
        *,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        per_unit_steps: bool = False,
    ):
        self.net = net
        self.learning_rate, self.beta1, self.beta2 = learning_rate, beta1, beta2
        self.eps, self.weight_decay = eps, weight_decay
        self.grad = torch.zeros_like(net.flat)
        self.grad_views = net.layout.views(self.grad)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(net.flat), torch.zeros_like(net.flat)
        self.moment_views = [net.layout.views(self.exp_avg), net.layout.views(self.exp_avg_sq)]
        self.steps = 0
        self.unit_steps: list[Tensor] | None = None
        self._kernel_step = torch.zeros((), device=net.device)
        if per_unit_steps:
            self._init_unit_steps()

    def _init_unit_steps(self) -> None:
        net = self.net
        self.unit_steps = [
            torch.zeros(2 * net.num_members, width, dtype=torch.int32, device=net.device) for width in net.hidden_sizes
        ]
        self._scales = step_scale_table(self.beta1, self.beta2, net.dtype, net.device)
        self._falling = bool((self._scales.diff() <= 0).all())
        self._scale = torch.ones_like(net.flat)
        self._scale_views = net.layout.views(self._scale)
        self._target = torch.empty_like(net.flat)

    def step(self) -> None:
        """One step along `grad`, which is left as it was."""
        self.steps += 1
        if self.unit_steps is None:
            self._kernel_step += 1
            self._fused_kernel(self.net.flat)
        else:
            self._step_per_unit()

    def _fused_kernel(self, parameters: Tensor) -> None:
        # the kernel of torch.optim.Adam(fused=True), without the 0.2 ms that Optimizer.step spends around it
        torch._fused_adam_(
            [parameters],
            [self.grad],
            [self.exp_avg],
            [self.exp_avg_sq],
            [],
            [self._kernel_step],
            lr=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def _step_per_unit(self) -> None:
        """A step of the kernel without any bias correction, stretched for every entry by its own."""
        for steps in self.unit_steps:
            steps += 1
        self._fill_scale()
        self._kernel_step.fill_(UNCORRECTED_STEP)
        self._fused_kernel(self._target.copy_(self.net.flat))
        self.net.flat.lerp_(self._target, self._scale)

    def _fill_scale(self) -> None:
        """Write each entry's stretch: that of its unit, for a weight between two units that of the younger one."""
        net, views, table = self.net, self._scale_views, self._scales
        steps = [steps.clamp(max=len(table) - 1) for steps in self.unit_steps]
        units = [table[s] for s in steps]  # [2M, H] per layer
        views["0.weight"].copy_(units[0].unsqueeze(1).expand_as(views["0.weight"]))
        for layer, unit in enumerate(units):
            views[f"{layer}.bias"].copy_(unit)
            if layer == 0:
                continue
            if self._falling:
                # equal betas: the younger unit has the larger stretch, and no weight needs a look-up of its own
                torch.maximum(units[layer - 1].unsqueeze(2), unit.unsqueeze(1), out=views[f"{layer}.weight"])
            else:
                younger = torch.minimum(steps[layer - 1].unsqueeze(2), steps[layer].unsqueeze(1))
                views[f"{layer}.weight"].copy_(table[younger])
        output = views[f"{net.num_hidden}.weight"]
        output.copy_(units[-1].unsqueeze(2).expand_as(output))
        common = table[min(self.steps, len(table) - 1)]
        for name in (f"{net.num_hidden}.bias", "log_std"):
            views[name].copy_(common.expand_as(views[name]))

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        """Moments and step counts of one member."""
        state = {"steps": np.array(self.steps, dtype=np.int64)}
        for name, views in zip(("exp_avg", "exp_avg_sq"), self.moment_views, strict=True):
            for key, value in copy_to_numpy(self.net.named_member_views(views, member)).items():
                state[f"{name}.{key}"] = value
        for layer, steps in enumerate(self.unit_steps or []):
            state[f"unit_steps.{layer}"] = steps[member :: self.net.num_members].cpu().numpy().copy()
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        self.steps = int(state["steps"])
        for name, views in zip(("exp_avg", "exp_avg_sq"), self.moment_views, strict=True):
            named = self.net.named_member_views(views, member)
            copy_from_numpy(named, {key: state[f"{name}.{key}"] for key in named})
        for layer, steps in enumerate(self.unit_steps or []):
            steps[member :: self.net.num_members] = torch.from_numpy(state[f"unit_steps.{layer}"]).to(steps.device)
        self._kernel_step.fill_(self.steps)
