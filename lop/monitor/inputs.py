"""The window of everything a network is called with: one ring for each tensor among its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lop.monitor.buffer import ObservationBuffer

SINGLE = "args.0"


class Slot(NamedTuple):
    """Stands for a tensor in a remembered call."""

    name: str


class InputWindow:
    """The last `size` samples of all tensors among a network's arguments, in step with each other.

    members: M, or None for a single network. Of a single network's tensors the first axis is samples, and a tensor with
    one axis is one sample; with members the first axis is the member, the second samples; [M, D] is one sample each.
    """

    def __init__(self, size: int, members: int | None = None):
        self.size, self.members = size, members
        self.buffers: dict[str, ObservationBuffer] = {}
        self._call: dict[str, object] | None = None

    @property
    def count(self) -> int:
        return next(iter(self.buffers.values())).count if self.buffers else 0

    def extend(self, args: tuple, kwargs: dict, like: Tensor, check_finite: bool = True) -> None:
        """Append samples in time order. like: floating-point samples are kept in its type, all on its device."""
        samples: dict[str, Tensor] = {}
        call = {"args": args, "kwargs": kwargs}
        call = {key: _map(lambda name, x: _put(samples, name, self._with_axes(x)), call[key], key) for key in call}
        self._require_consistent(samples, check_finite)
        for name, x in samples.items():
            if name not in self.buffers:
                self.add_buffer(name, tuple(x.shape[2:]), x.dtype, like)
            self.buffers[name].extend(x)
        self._call = call

    def _with_axes(self, x: Tensor) -> Tensor:
        """[M or 1, k, ...]."""
        if self.members is None:
            return (x.unsqueeze(0) if x.ndim <= 1 else x).unsqueeze(0)
        if x.shape[0] != self.members:
            raise ValueError(f"observations of {self.members} members begin with that axis, got shape {list(x.shape)}")
        return x.unsqueeze(1) if x.ndim == 2 else x

    def _require_consistent(self, samples: dict[str, Tensor], check_finite: bool) -> None:
        if not samples:
            raise ValueError("observe() got no tensor or array")
        if self.buffers and samples.keys() != self.buffers.keys():
            raise ValueError(f"this monitor watches the inputs {sorted(self.buffers)}, now it got {sorted(samples)}")
        lengths = {name: x.shape[1] for name, x in samples.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all inputs must hold the same number of samples, got {lengths}")
        for x in samples.values() if check_finite else ():
            # a sum is half the work of a test of each number, and never finite if one of them is not
            if x.is_floating_point() and not math.isfinite(x.sum()) and (bad := int((~torch.isfinite(x)).sum())):
                raise ValueError(f"{bad} of the {x.numel()} observed numbers are NaN or infinite")

    def add_buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, like: Tensor) -> None:
        dtype = like.dtype if dtype.is_floating_point else dtype
        self.buffers[name] = ObservationBuffer(self.size, shape, self.members or 1, dtype=dtype, device=like.device)
        if name == SINGLE and self._call is None:
            self._call = {"args": (Slot(SINGLE),), "kwargs": {}}

    def arguments(self, device: torch.device | None = None) -> tuple[Any, Any]:
        """What to call the network with: the last call, its tensors replaced by windows [N, ...] or [M, N, ...].

        device: where the network is now; None: wherever the samples are.
        """
        if self.count == 0:
            raise ValueError("nothing observed yet: call observe(obs) before compute()")
        if self._call is None:
            raise ValueError("a loaded monitor of several inputs must observe once before it computes")
        filled = {key: _fill(value, lambda name: self._window(name).to(device)) for key, value in self._call.items()}
        return filled["args"], filled["kwargs"]

    def clear(self) -> None:
        """Forget all samples."""
        for buffer in self.buffers.values():
            buffer.clear()

    def _window(self, name: str) -> Tensor:
        window = self.buffers[name].window()
        return window[0] if self.members is None else window

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        return {name: buffer.member_state(member)["observations"] for name, buffer in self.buffers.items()}

    def load_member_state(self, member: int, state: dict[str, np.ndarray], like: Tensor) -> None:
        for name, observations in state.items():
            if name not in self.buffers:
                dtype = torch.from_numpy(np.array(observations[:0])).dtype
                self.add_buffer(name, tuple(observations.shape[1:]), dtype, like)
            self.buffers[name].load_member_state(member, {"observations": observations})


def _put(samples: dict[str, Tensor], name: str, x: Tensor) -> Slot:
    samples[name] = x
    return Slot(name)


def _map(function: Callable[[str, Tensor], Slot], value: object, name: str) -> object:
    """The same nesting of dicts, lists and tuples, with function(name, tensor) in place of tensors and arrays."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return function(name, torch.as_tensor(value).detach())
    if isinstance(value, dict):
        return {key: _map(function, item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_map(function, item, f"{name}.{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    return value


def _fill(value: object, window: Callable[[str], Tensor]) -> object:
    if isinstance(value, Slot):
        return window(value.name)
    if isinstance(value, dict):
        return {key: _fill(item, window) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_fill(item, window) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value
