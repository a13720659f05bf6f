"""What can be told of a call of a torch function from the function and its arguments alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

RECTIFIERS = ("relu", "relu6", "threshold", "_threshold", "leaky_relu", "rrelu", "elu", "celu", "selu")
INPLACE_BY_POSITION = frozenset((*RECTIFIERS, "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "dropout"))
"""Functions whose last positional argument may be inplace=True."""


def is_function(key: object) -> bool:
    """Whether the key of a rule is a function, not a module's class or path."""
    return callable(key) and not isinstance(key, type)


def operation(func: object) -> str:
    """A function's name; of a custom operation without its overload."""
    func = getattr(func, "_opoverload", func)
    name = getattr(func, "__name__", type(func).__name__)
    return name.partition(".")[0] if isinstance(func, OpOverload) else name


def writes(func: object, name: str, args: tuple, kwargs: dict) -> bool:
    """Whether a torch function changes one of its arguments."""
    if name.startswith("__"):
        return (name.startswith("__i") and name != "__invert__") or name == "__setitem__"
    overload = getattr(func, "default", None) if isinstance(func, OpOverloadPacket) else func
    if isinstance(overload, OpOverload) and overload._schema.is_mutable:
        return True
    by_option = kwargs.get("inplace", False) is True or "out" in kwargs
    return name.endswith("_") or by_option or (name in INPLACE_BY_POSITION and bool(args) and args[-1] is True)


def version(tensor: Tensor) -> int:
    """How often a tensor was changed in place; inference tensors do not count."""
    return 0 if tensor.is_inference() else tensor._version


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a tensor exists only inside vmap, grad or another transform of torch.func."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)
