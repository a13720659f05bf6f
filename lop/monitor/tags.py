"""What is known of a tensor in a forward pass: which axis counts its units, and which weights made them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True, eq=False)
class Tag:
    """axis: which axis of the tensor counts units. key: equal for tensors whose units have the same weights.

    matrix: weight matrix [H, D] (or [M, H, D]) that the units come from. weight, bias, inputs: the same where every
    value is exactly w·x + b, else None; bias None with a weight: 0. source: path of the module that applied them.
    """

    axis: int
    key: object = None
    matrix: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    inputs: Tensor | None = None
    source: str = ""

    def without_hyperplane(self) -> Tag:
        return replace(self, weight=None, bias=None, inputs=None)


class Tags:
    """The tags of one forward pass. parameters: by name, so that weights can be recognised."""

    def __init__(self, parameters: dict[str, Tensor]):
        self._names = {id(tensor): name for name, tensor in parameters.items()}
        self._tags = WeakIdKeyDictionary()

    def get(self, tensor: object) -> Tag | None:
        return self._tags.get(tensor) if isinstance(tensor, Tensor) else None

    def set(self, tensor: Tensor, tag: Tag | None) -> None:
        self._tags.pop(tensor, None)
        if tag is not None:
            self._tags[tensor] = tag

    def key_of(self, weight: Tensor) -> object:
        """What identifies these weights in all calls: a parameter's name and which part of it; None: no parameter."""
        name = self._names.get(id(weight)) or self._names.get(id(weight._base))
        return None if name is None else (name, weight.storage_offset(), tuple(weight.shape))

    def first(self, args: object) -> tuple[Tag, Tensor] | None:
        """The first tagged tensor among arguments and lists of them, with its tag."""
        if isinstance(args, (tuple, list)):
            return next((found for item in args if (found := self.first(item))), None)
        tag = self.get(args)
        return (tag, args) if tag is not None and isinstance(args, Tensor) else None


def inherited(tag: Tag, source: Tensor, out: Tensor) -> Tag | None:
    """The tag of something computed from a tagged tensor by a function that is not known: at most the axis survives."""
    return reshaped(Tag(tag.axis, source=tag.source), source, out)


def reshaped(tag: Tag, source: Tensor, out: Tensor) -> Tag | None:
    """The tag after a change of shape that keeps the order of the numbers; None where units no longer have an axis."""
    if out.ndim == source.ndim:
        return tag
    if tag.axis == source.ndim - 1:
        return replace(tag, axis=out.ndim - 1) if out.ndim and out.shape[-1] == source.shape[-1] else None
    return tag if out.shape[: tag.axis + 1] == source.shape[: tag.axis + 1] else None


def permuted(tag: Tag, source: Tensor, func: Callable, args: tuple, kwargs: dict) -> Tag:
    """The tag after transpose, permute, movedim, ...: found by doing the same to a tensor without data."""
    sizes = [2 + axis for axis in range(source.ndim)]
    probe = torch.empty(sizes, device="meta")
    moved = func(*(probe if arg is source else arg for arg in args), **kwargs)
    return replace(tag, axis=list(moved.shape).index(sizes[tag.axis]))


def shifted(tag: Tag, source: Tensor, other: object, out: Tensor) -> Tag:
    """The tag after `source + other`: still a hyperplane if `other` is one number per unit, its bias."""
    if not isinstance(other, Tensor) or out.shape != source.shape or not _is_per_unit(tag, source, other):
        return tag.without_hyperplane()
    if tag.weight is None or tag.bias is not None:
        return tag.without_hyperplane()
    return replace(tag, bias=other.reshape(tag.weight.shape[:-1]))


def _is_per_unit(tag: Tag, source: Tensor, other: Tensor) -> bool:
    if tag.weight is None or other.numel() != math.prod(tag.weight.shape[:-1]):
        return False
    after = source.ndim - 1 - tag.axis
    return other.ndim > after and other.shape[other.ndim - 1 - after] == source.shape[tag.axis]


def normalised(tag: Tag, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tag:
    """The tag after batch normalisation in evaluation mode, a fixed affine map that is folded into the hyperplanes."""
    if tag.weight is None or tag.axis != 1:
        return tag.without_hyperplane()
    scale = torch.rsqrt(var + eps) * (1 if weight is None else weight)
    shift = (0 if tag.bias is None else tag.bias) - mean
    new_bias = shift * scale + (0 if bias is None else bias)
    return replace(tag, weight=tag.weight * scale.unsqueeze(-1), bias=new_bias)
