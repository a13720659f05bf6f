"""How tags pass through torch functions: linear maps start them, reshaping and normalising carries them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from lop.monitor.tags import Tag, Tags, inherited, normalised, permuted, reshaped, shifted


def follow(tags: Tags, name: str, func: Callable, args: tuple, kwargs: dict, out: object, path: str) -> None:
    """Tag the result of func(*args, **kwargs), called inside the module at `path`."""
    if isinstance(out, (tuple, list)):
        if found := tags.first(args):
            for item in out:
                if isinstance(item, Tensor):
                    tags.set(item, inherited(*found, item))
    elif isinstance(out, Tensor) and not tags.key_of(out):
        start = STARTS.get(name)
        tag = start(tags, *args, **kwargs) if start else None
        if tag is not None:
            tag = replace(tag, axis=tag.axis % max(out.ndim, 1), source=path)
        else:
            tag = _carried(tags, name, func, args, kwargs, out)
        tags.set(out, tag)


def _carried(tags: Tags, name: str, func: Callable, args: tuple, kwargs: dict, out: Tensor) -> Tag | None:
    found = tags.first([*args, *kwargs.values()])
    if found is None:
        return None
    tag, source = found
    if name in SAME or (name in ("__get__", "data") and out.shape == source.shape and source.ndim == 1):
        return reshaped(tag, source, out)
    if name in PERMUTING or (name == "__get__" and getattr(func, "__self__", None) is not None):
        return permuted(tag, source, func, args, kwargs) if _moves_axes(name, func) else reshaped(tag, source, out)
    if name in SUMS:
        return _sum(tags, tag, source, args, out)
    if name == "batch_norm":
        return _batch_norm(tag, *args, **kwargs)
    if name in NORMS and out.shape == source.shape:
        return tag.without_hyperplane()
    return inherited(tag, source, out)


CASTS = ("to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda", "detach", "alias", "clone")
DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
SHAPES = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "contiguous")
SAME = frozenset((*CASTS, *DROPOUTS, *SHAPES))
"""Functions that keep every number, in evaluation mode."""
PERMUTING = frozenset(("transpose", "permute", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "adjoint"))
SUMS = frozenset(("add", "add_", "__add__", "__radd__", "__iadd__"))
NORMS = frozenset(("layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"))


def _moves_axes(name: str, func: Callable) -> bool:
    return name != "__get__" or getattr(getattr(func, "__self__", None), "__name__", "") in ("T", "mT", "H", "mH")


def _sum(tags: Tags, tag: Tag, source: Tensor, args: tuple, out: Tensor) -> Tag:
    others = [arg for arg in args if arg is not source]
    if len(others) == 1 and tags.get(others[0]) is None:
        return shifted(tag, source, others[0], out)
    keys = [t.key for arg in args if (t := tags.get(arg)) and t.key is not None]
    return replace(tag.without_hyperplane(), key=keys[0] if keys else None)


def _batch_norm(
    tag: Tag, input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
) -> Tag:
    if training or running_mean is None:
        return tag.without_hyperplane()
    return normalised(tag, running_mean, running_var, weight, bias, eps)


def _linear(tags: Tags, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tag:
    return Tag(-1, tags.key_of(weight), matrix=weight, weight=weight, bias=bias, inputs=input)


def _convolution(tags: Tags, input: Tensor, weight: Tensor, bias: Tensor | None = None, *_, **__) -> Tag:
    matrix = weight.flatten(1)
    return Tag(1 if input.ndim == weight.ndim else 0, tags.key_of(weight), matrix=matrix, weight=matrix, bias=bias)


def _transposed_convolution(tags: Tags, input: Tensor, weight: Tensor, *_, groups: int = 1, **__) -> Tag:
    # weights are [C_in, C_out / groups, ...]: only without groups is a unit's vector one slice of them
    matrix = weight.transpose(0, 1).flatten(1) if groups == 1 else None
    return Tag(1 if input.ndim == weight.ndim else 0, tags.key_of(weight), matrix=matrix)


def _product(tags: Tags, input: Tensor, mat2: Tensor | None = None, other: Tensor | None = None, **_) -> Tag | None:
    weight = mat2 if other is None else other
    if not isinstance(weight, Tensor) or tags.key_of(weight) is None or weight.ndim not in (2, 3):
        return None
    return Tag(-1, tags.key_of(weight), matrix=weight.mT, weight=weight.mT, inputs=input)


def _product_with_bias(tags: Tags, input: Tensor, a: Tensor, b: Tensor, *, beta=1, alpha=1) -> Tag | None:
    tag = _product(tags, a, b)
    if tag is None or tag.weight is None:
        return None
    per_unit = tag.weight.shape[:-1]
    if (beta, alpha) != (1, 1) or input.numel() != per_unit.numel():
        return tag.without_hyperplane()
    return replace(tag, bias=input.reshape(per_unit))


def _einsum(tags: Tags, equation: str, *operands) -> Tag | None:
    """einsum("...d,hd->...h") or so: the label that only the weights bring is the unit, the summed one the input."""
    terms, _, result = equation.replace(" ", "").partition("->")
    labels = terms.split(",")
    operands = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    if len(labels) != 2 or len(operands) != 2 or not result or tags.key_of(operands[1]) is None:
        return None
    unit = [c for c in labels[1] if c in result and c not in labels[0]]
    summed = [c for c in labels[1] if c in labels[0] and c not in result]
    shared = [c for c in labels[1] if c in labels[0] and c in result]
    if len(unit) != 1 or len(summed) != 1 or "." in labels[1]:
        return None
    axis = result.index(unit[0]) - len(result) if "..." in result else result.index(unit[0])
    matrix = operands[1].permute([labels[1].index(c) for c in (*shared, *unit, *summed)])
    plain = labels[0].endswith(summed[0]) and len(shared) <= 1
    return Tag(axis, tags.key_of(operands[1]), matrix, matrix if plain else None, None, operands[0] if plain else None)


def _embedding(tags: Tags, *_, **__) -> Tag:
    return Tag(-1)


STARTS: dict[str, Callable[..., Tag | None]] = {
    "linear": _linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _product_with_bias),
    "einsum": _einsum,
    "embedding": _embedding,
}
