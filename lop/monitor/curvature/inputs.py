"""Curvature of a loss in the inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lop.monitor.curvature.running import Loss, differentiable, part_of, value_of

EXACT_INPUTS = 32
Shift = Callable[[int, int, Tensor], Tensor]


def input_curvature(
    module: nn.Module, loss: Loss, *, input: str = "", probes: int = 10, step: float = 1e-3, seed: int = 0
) -> float:
    """E_x Tr(H_x²), H_x the Hessian of one sample's loss in that sample's input (Garg & Roy 2023, arXiv 2307.05831).

    loss: a mean over the samples (of a sum the result is N² times as large), which must not interact; samples are the
    first axis of what the module at path `input` ("": the watched one) is called with, in its first call that the loss
    depends on. Tr(H²) = E‖Hv‖² over random signs v, other ones for each sample; for inputs of at most 32 numbers the sum
    over the unit vectors, which is exact. Hv is a central difference of gradients over ±step times the inputs' root
    mean square: where a network has kinks (ReLU), those within that distance of an input count.
    NaN if there is no gradient in floating-point inputs, as for tokens.
    """
    runner = _Runner(module, loss, part_of(module, input))
    found = _reached(runner.gradients(lambda call, leaf, x: x))
    if found is None:
        return float("nan")
    chosen, inputs = found
    samples, width = _sizes(inputs)
    h = step * (math.sqrt(sum(_squares(x) for x in inputs.values()) / (samples * width)) or 1.0)
    vectors, total = _vectors(inputs, width, probes, seed), 0.0
    for vector in vectors:
        up, down = (_moved(runner, chosen, vector, side * h) for side in (1, -1))
        total += sum(_squares(a - b) for a, b in zip(up, down, strict=True))
    directions = 1 if width <= EXACT_INPUTS else len(vectors)
    # gradients are those of the mean over samples: N² too small in the square, of which the mean over N is wanted
    return total / directions * samples / (2 * h) ** 2


def _reached(calls: list[list[tuple[Tensor, Tensor | None]]]) -> tuple[int, dict[int, Tensor]] | None:
    """The first call whose inputs the loss depends on, and those inputs by number; None if there are none."""
    if not calls:
        raise ValueError(
            "the loss never calls the watched module itself, so its inputs are unknown: name the part that it calls "
            "first, Curvature(input='path.of.module'), or leave 'input' out of Curvature(metrics=...)"
        )
    for number, call in enumerate(calls):
        if inputs := {leaf: x for leaf, (x, gradient) in enumerate(call) if gradient is not None and x.numel()}:
            return number, inputs
    return None


def _sizes(inputs: dict[int, Tensor]) -> tuple[int, int]:
    """N, and how many numbers one sample has."""
    lengths = {x.shape[0] if x.ndim else 1 for x in inputs.values()}
    if len(lengths) > 1:
        shapes = [list(x.shape) for x in inputs.values()]
        raise ValueError(f"input curvature needs samples as the first axis of all inputs, got shapes {shapes}")
    samples = lengths.pop()
    return samples, sum(x.numel() for x in inputs.values()) // samples


def _squares(x: Tensor) -> float:
    return float(x.double().square().sum())


def _moved(runner: _Runner, chosen: int, vector: dict[int, Tensor], h: float) -> list[Tensor]:
    """Gradients in the inputs of one call, all moved by h·vector."""
    calls = runner.gradients(lambda call, leaf, x: x + h * vector[leaf] if call == chosen and leaf in vector else x)
    return [torch.zeros_like(x) if g is None else g for x, g in (calls[chosen][leaf] for leaf in vector)]


def _vectors(inputs: dict[int, Tensor], width: int, probes: int, seed: int) -> list[dict[int, Tensor]]:
    """Directions for all samples at once, by input: the unit vectors of one sample, or random signs for each."""
    if width > EXACT_INPUTS:
        generator = torch.Generator().manual_seed(seed)
        return [
            {leaf: (torch.randint(0, 2, x.shape, generator=generator) * 2 - 1).to(x) for leaf, x in inputs.items()}
            for _ in range(probes)
        ]
    units = []
    for leaf, x in inputs.items():
        for place in range(x[0].numel()):
            unit = {other: torch.zeros_like(y) for other, y in inputs.items()}
            unit[leaf].view(len(x), -1)[:, place] = 1
            units.append(unit)
    return units


class _Runner:
    """Runs the loss with the floating-point inputs of one module replaced, and takes the gradients in them."""

    def __init__(self, module: nn.Module, loss: Loss, part: nn.Module):
        self.module, self.loss, self.part = module, loss, part

    def gradients(self, shift: Shift) -> list[list[tuple[Tensor, Tensor | None]]]:
        """(input, gradient) of each floating-point input of each call; shift(call, leaf, x) is put in place of x."""
        calls: list[list[Tensor]] = []

        def enter(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            calls.append([])
            return _replaced(args, replace), _replaced(kwargs, replace)

        def replace(x: Tensor) -> Tensor:
            leaf = shift(len(calls) - 1, len(calls[-1]), x.detach()).contiguous().clone().requires_grad_()
            calls[-1].append(leaf)
            return leaf.clone()  # the module may write to it, which a leaf forbids

        handle = self.part.register_forward_pre_hook(enter, with_kwargs=True)
        with differentiable(self.module):
            try:
                value = value_of(self.loss)
            finally:
                handle.remove()
            flat = [x for call in calls for x in call]
            found = iter(torch.autograd.grad(value, flat, allow_unused=True) if flat else ())
        return [[(x.detach(), next(found)) for x in call] for call in calls]


def _replaced(value: object, replace: Callable[[Tensor], Tensor]) -> object:
    """The same nesting of dicts, lists and tuples, with other floating-point tensors."""
    if isinstance(value, Tensor):
        return replace(value) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _replaced(item, replace) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_replaced(item, replace) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
