"""Activations that have no rule or cannot be seen into: found, so that they are named instead of silently left out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils._python_dispatch import TorchDispatchMode

from lop.monitor.tags import Tags

SCRIPTED = "ScriptModule"
CELLS = tuple(name + cell for name in ("lstm", "gru", "rnn_tanh", "rnn_relu") for cell in ("", "_cell"))
OPAQUE = frozenset(("glu", "tanhshrink", *CELLS))
"""Functions with an activation inside that cannot be seen."""
CURVES = frozenset(("sin", "cos", "sinc", "erf", "special_erf", "atan", "arctan", "asinh", "arcsinh", "logaddexp"))
"""Functions without a rule that serve as activations: suspicious where they get what weights made."""
GATES = frozenset(("where", "mul", "__mul__", "__rmul__", "masked_fill", "masked_fill_"))
OWN_OPERATIONS = frozenset(("torch._ops.aten", "torch._ops.prims", "torch._ops.prim"))


def message(path: str, kind: str) -> str:
    """The warning for something in the module at `path`."""
    advice = "probe the module it was scripted from" if kind == SCRIPTED else "pass a rule for it in rules="
    return (
        f"margin monitor: {kind} in module {path!r} is left out: it looks like an activation, but has no rule or cannot "
        f"be seen into; {advice}, or rules={{{path!r}: None}} to silence this"
    )


def hides_activation(tags: Tags, func: Callable, name: str, args: tuple, kwargs: dict, out: object) -> bool:
    """Whether a function without a rule may be an activation; not asked of OPAQUE ones."""
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    if not given:
        return False
    if isinstance(func, (OpOverload, OpOverloadPacket)) and func.__module__ not in OWN_OPERATIONS:
        changed = out if isinstance(out, Tensor) else given[0]
        return changed.is_floating_point() and changed.shape == given[0].shape
    if name in GATES:
        # where(z > 0, z, 0), z * (z > 0): each unit is chosen by something computed from the units themselves
        found = [tag for x in given if x.shape == given[0].shape and (tag := tags.get(x))]
        origins = {(tag.source, tag.axis) for tag in found}
        return len(found) == 2 and len(origins) == 1 and sum(tag.matrix is None for tag in found) == 1
    return name in CURVES and any((tag := tags.get(x)) and tag.matrix is not None for x in given)


class Below(TorchDispatchMode):
    """Shows every operation that reaches torch's dispatcher, whoever called it: note(func, args, kwargs)."""

    def __init__(self, note: Callable[[OpOverload, tuple, dict], None]):
        super().__init__()
        self._note = note

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        self._note(func, args, kwargs or {})
        with torch._C.DisableTorchFunction():
            return func(*args, **(kwargs or {}))
