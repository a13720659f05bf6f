"""What "dead" means for an activation function: where it lets (almost) no gradient through.

Every rule turns a pre-activation z into a drive: <= 0 exactly where the function is flat, > 0 where it learns, in the
units of z. A unit's margin is its largest drive over the samples: "margin <= 0" means dead for every activation.

    ReLU, ReLU with another threshold   drive z − threshold: the unit is never on
    ReLU6, Hardtanh, Hardsigmoid        drive min(z − lower, upper − z): always below or above the sloped part
    Hardswish                           drive z + 3
    ELU, CELU, SELU, GELU, SiLU, Mish,  drive z − z₀: never above z₀, below which the slope is at most FLAT times the
    Softplus, LogSigmoid                steepest slope of the function (LogSigmoid: never below)
    tanh, sigmoid, Softsign             drive z₀ − ∣z∣: saturated on every sample, on either side
    Hardshrink, Softshrink              drive ∣z∣ − λ: never outside the dead zone
    leaky ReLU, PReLU, RReLU            the negative side is linear: never dead; drive z: margin <= 0 is "never on"
    CReLU                               two units, z and −z, each a ReLU

Always-on units (min drive > 0) are never flat: for ReLU that is "linear on the samples".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 0.01
"""A slope of at most this share of the function's steepest slope counts as flat."""

# Where the slope falls to FLAT of the steepest; found by bisection, checked against autograd in the tests.
GELU_FLAT, GELU_TANH_FLAT = -3.0216626341112987, -3.009357739632181
SILU_FLAT, MISH_FLAT = -6.142915700290446, -6.158741309741714
TANH_FLAT = math.atanh(math.sqrt(1 - FLAT))
SIGMOID_FLAT = 2 * TANH_FLAT
SOFTPLUS_FLAT = math.log(FLAT / (1 - FLAT))
SOFTSIGN_FLAT = FLAT**-0.5 - 1


@dataclass(frozen=True)
class Activation:
    """A rule for one activation function.

    drive: from z to the signed distance from the flat region, in units of z; None: z itself. can_die: False when the
    function is flat nowhere (leaky ReLU): such a unit is never dead, only "never on". non_negative: φ >= 0 everywhere.
    """

    name: str
    drive: Callable[[Tensor], Tensor] | None = None
    can_die: bool = True
    non_negative: bool = False

    def drive_of(self, z: Tensor) -> Tensor:
        return z if self.drive is None else self.drive(z)


RELU = Activation("relu", non_negative=True)
CRELU = Activation("crelu", lambda z: torch.cat((z, -z), -1), non_negative=True)
"""For a module that turns z [..., H] into [relu(z), relu(−z)] [..., 2H]; its units are the 2H outputs."""


def above(name: str, threshold: float, non_negative: bool = False) -> Activation:
    """Flat at and below a threshold."""
    return Activation(name, lambda z: z - threshold, non_negative=non_negative)


def between(name: str, lower: float, upper: float) -> Activation:
    """Flat outside (lower, upper)."""
    return Activation(name, lambda z: torch.minimum(z - lower, upper - z), non_negative=lower >= 0)


def saturating(name: str, limit: float, non_negative: bool = False) -> Activation:
    """Flat where ∣z∣ reaches the limit."""
    return Activation(name, lambda z: limit - z.abs(), non_negative=non_negative)


def leaky(name: str) -> Activation:
    """Linear on both sides: nowhere flat."""
    return Activation(name, can_die=False)


def _relu_like(name: str, *_: object, **__: object) -> Activation:
    return Activation(name, non_negative=True)


def _number(value: object) -> float | None:
    """A plain number, or the number in a tensor of one; None for anything else."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _clamp(name: str, min: object = None, max: object = None, **_: object) -> Activation | None:
    """clamp(0, ...) is a ReLU; with other bounds it is a limit, not an activation, and is left alone."""
    if _number(min) != 0:
        return None
    if max is None:
        return Activation(name, non_negative=True)
    upper = _number(max)
    return None if upper is None else between(name, 0.0, upper)


def _maximum(name: str, other: object = None, **options: object) -> Activation | None:
    """torch.maximum(x, 0) is a ReLU; of two ordinary tensors it is not an activation."""
    zero = isinstance(other, Tensor) and not options and not bool(torch.count_nonzero(other))
    return Activation(name, non_negative=True) if zero else None


def _threshold(name: str, threshold: float, value: float, *_: object, **__: object) -> Activation:
    return above(name, float(threshold), non_negative=threshold >= 0 and value >= 0)


def _leaky(name: str, negative_slope: float = 0.01, *_: object, **__: object) -> Activation:
    return leaky(name) if negative_slope != 0 else Activation(name, non_negative=True)


def _elu(name: str, alpha: float = 1.0, *_: object, **__: object) -> Activation:
    # slope alpha·exp(z) below 0, steepest slope max(1, alpha)
    return above(name, math.log(FLAT * max(1.0, alpha) / alpha)) if alpha > 0 else Activation(name)


def _celu(name: str, alpha: float = 1.0, *_: object, **__: object) -> Activation:
    return above(name, alpha * math.log(FLAT))


def _gelu(name: str, approximate: str = "none") -> Activation:
    return above(name, GELU_TANH_FLAT if approximate == "tanh" else GELU_FLAT)


def _softplus(name: str, beta: float = 1.0, *_: object, **__: object) -> Activation:
    return above(name, SOFTPLUS_FLAT / beta, non_negative=True)


def _shrink(name: str, lambd: float = 0.5) -> Activation:
    return Activation(name, lambda z: z.abs() - lambd)


def _hardtanh(name: str, min_val: float = -1.0, max_val: float = 1.0, *_: object, **__: object) -> Activation:
    return between(name, float(min_val), float(max_val))


def _fixed(make: Callable[[str], Activation]) -> Maker:
    """A rule that no argument changes."""
    return lambda name, *_, **__: make(name)


Maker = Callable[..., Activation | None]
"""From an operation's name and its arguments after the input to a rule; None: with these it is no activation."""

RULES: dict[str, Maker] = {
    "relu": _relu_like,
    "clamp_min": _clamp,
    "clamp": _clamp,
    "clip": _clamp,
    "maximum": _maximum,
    "max": _maximum,
    "threshold": _threshold,
    "_threshold": _threshold,
    "leaky_relu": _leaky,
    "prelu": _fixed(leaky),
    "rrelu": _fixed(leaky),
    "elu": _elu,
    "celu": _celu,
    "selu": _fixed(lambda name: above(name, math.log(FLAT))),
    "gelu": _gelu,
    "silu": _fixed(lambda name: above(name, SILU_FLAT)),
    "mish": _fixed(lambda name: above(name, MISH_FLAT)),
    "softplus": _softplus,
    "log_sigmoid": _fixed(lambda name: Activation(name, lambda z: -SOFTPLUS_FLAT - z)),
    "logsigmoid": _fixed(lambda name: Activation(name, lambda z: -SOFTPLUS_FLAT - z)),
    "hardswish": _fixed(lambda name: above(name, -3.0)),
    "hardsigmoid": _fixed(lambda name: saturating(name, 3.0, non_negative=True)),
    "relu6": _fixed(lambda name: between(name, 0.0, 6.0)),
    "hardtanh": _hardtanh,
    "tanh": _fixed(lambda name: saturating(name, TANH_FLAT)),
    "sigmoid": _fixed(lambda name: saturating(name, SIGMOID_FLAT, non_negative=True)),
    "special_expit": _fixed(lambda name: saturating("sigmoid", SIGMOID_FLAT, non_negative=True)),
    "softsign": _fixed(lambda name: saturating(name, SOFTSIGN_FLAT)),
    "hardshrink": _shrink,
    "softshrink": _shrink,
}


def rule_for(operation: str, *arguments: object, **options: object) -> Activation | None:
    """The rule of a torch function by its name and its arguments after the input; None: not an activation.

    A trailing underscore (in place) makes no difference.
    """
    name = operation.removesuffix("_")
    maker = RULES.get(name)
    return maker(name.removeprefix("_"), *arguments, **options) if maker else None
