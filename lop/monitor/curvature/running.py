"""Running a loss so that it can be differentiated twice, and looking at the calls of one module in it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lop.monitor.guard import untouched

Loss = Callable[[], Tensor]


@contextlib.contextmanager
def differentiable(module: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients, and only kernels that can be differentiated twice; all as before afterwards."""
    recurrent_on_gpu = any(isinstance(m, nn.RNNBase) and _on_gpu(m) for m in module.modules())
    with contextlib.ExitStack() as stack:
        stack.enter_context(untouched(module))
        stack.enter_context(torch.enable_grad())
        # the fused attention has no second derivative, cuDNN's recurrent layers not even a first one in evaluation mode
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent_on_gpu:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


def value_of(loss: Loss) -> Tensor:
    """loss() as a tensor of shape (). Errors: ValueError if it is no scalar, or depends on nothing differentiable."""
    value = loss()
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise ValueError("loss() must return a scalar tensor that depends on the watched module's parameters")
    return value.sum()


def part_of(module: nn.Module, path: str) -> nn.Module:
    """The submodule at `path`, "" for the module itself. Errors: ValueError, with the nearest path there is."""
    parts = dict(module.named_modules())
    if path in parts:
        return parts[path]
    near = difflib.get_close_matches(path, parts, 1)
    raise ValueError(f"there is no module {path!r} here" + (f", did you mean {near[0]!r}?" if near else ""))


def leaves(value: object) -> list[Tensor]:
    """The tensors in nested dicts, lists and tuples, in order."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [leaf for item in items for leaf in leaves(item)]


def _on_gpu(module: nn.Module) -> bool:
    return any(p.is_cuda for p in module.parameters())
