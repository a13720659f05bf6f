"""Adam on one flat parameter vector, optionally with a step count for every unit.

Weight decay is Adam's own (added to the gradient), as in torch.optim.Adam and the published code.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lop.nets.actor_critic import StackedActorCritic, copy_from_numpy, copy_to_numpy


def bias_correction_table(beta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 - beta^step for step = 0, 1, ... until it rounds to 1; larger steps use the last entry.

    A table because elementwise `pow` gives other bits in the vectorised and the scalar part of a tensor.
    """
    last = math.ceil(math.log(torch.finfo(dtype).eps / 4) / math.log(beta)) if beta > 0 else 1
    return torch.from_numpy(1.0 - np.power(beta, np.arange(last + 1, dtype=np.float64))).to(device, dtype)


class FlatAdam:
    """Kingma & Ba 2015, algorithm 1, over net.flat with gradients `grad` of the same layout.

    With per_unit_steps the bias corrections count the steps since each unit was last reset (`reset_unit_steps`), as
    continual backprop needs (Dohare et al. 2024, the Adam of their generate-and-test): a weight between two units uses the
    smaller of both counts. Without, torch's fused kernel does the whole step.
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
        self._fused_step = torch.zeros((), device=net.device)
        if per_unit_steps:
            self._init_unit_steps()

    def _init_unit_steps(self) -> None:
        net = self.net
        self.unit_steps = [
            torch.zeros(2 * net.num_members, width, dtype=torch.int32, device=net.device) for width in net.hidden_sizes
        ]
        first = bias_correction_table(self.beta1, torch.float64, net.device)
        second = bias_correction_table(self.beta2, torch.float64, net.device).sqrt()
        length = max(len(first), len(second))
        first, second = (torch.cat((t, t[-1:].expand(length - len(t)))) for t in (first, second))
        # the step is lr * (m / first) / (sqrt(v) / second + eps) = lr * m / (sqrt(v) * scale + offset)
        scale, offset = first / second.clamp(min=torch.finfo(net.dtype).tiny), first * self.eps
        self._tables = [scale.to(net.dtype), offset.to(net.dtype)]
        self._rising = all(bool((table.diff() >= 0).all()) for table in self._tables)
        self._corrections = [torch.ones_like(net.flat) for _ in range(2)]
        self._correction_views = [net.layout.views(flat) for flat in self._corrections]
        self._scratch = torch.empty_like(net.flat)

    def step(self) -> None:
        """One step along `grad`, which is left as it was."""
        self.steps += 1
        if self.unit_steps is None:
            self._step_fused()
        else:
            self._step_per_unit()

    def _step_fused(self) -> None:
        # the kernel of torch.optim.Adam(fused=True), without the 0.2 ms that Optimizer.step spends around it
        self._fused_step += 1
        torch._fused_adam_(
            [self.net.flat],
            [self.grad],
            [self.exp_avg],
            [self.exp_avg_sq],
            [],
            [self._fused_step],
            lr=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def _step_per_unit(self) -> None:
        for steps in self.unit_steps:
            steps += 1
        for table, views in zip(self._tables, self._correction_views, strict=True):
            self._fill_corrections(table, views)
        scale, offset = self._corrections
        parameters, scratch = self.net.flat, self._scratch
        decayed = torch.add(self.grad, parameters, alpha=self.weight_decay, out=scratch)
        self.exp_avg.lerp_(decayed, 1 - self.beta1)
        self.exp_avg_sq.mul_(self.beta2).addcmul_(decayed, decayed, value=1 - self.beta2)
        denominator = torch.sqrt(self.exp_avg_sq, out=scratch)
        torch.addcmul(offset, denominator, scale, out=denominator)
        parameters.addcdiv_(self.exp_avg, denominator, value=-self.learning_rate)

    def _fill_corrections(self, table: Tensor, views: dict[str, Tensor]) -> None:
        """Write each entry's correction: that of its unit, for a weight between two units that of the younger one."""
        net, last = self.net, table.shape[0] - 1
        clamped = [steps.clamp(max=last) for steps in self.unit_steps]
        units = [table[steps] for steps in clamped]  # [2M, H] per layer
        views["0.weight"].copy_(units[0].unsqueeze(1).expand_as(views["0.weight"]))
        for layer, unit in enumerate(units):
            views[f"{layer}.bias"].copy_(unit)
            if layer > 0:
                below, weight = units[layer - 1].unsqueeze(2), views[f"{layer}.weight"]
                if self._rising:
                    # the smaller correction is that of the smaller step: no look-up for every weight
                    torch.minimum(below, unit.unsqueeze(1), out=weight)
                else:
                    weight.copy_(table[torch.minimum(clamped[layer - 1].unsqueeze(2), clamped[layer].unsqueeze(1))])
        output = views[f"{net.num_hidden}.weight"]
        output.copy_(units[-1].unsqueeze(2).expand_as(output))
        common = table[min(self.steps, last)]
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
        self._fused_step.fill_(self.steps)
