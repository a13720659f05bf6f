"""The playground's mathematics in numpy, float64: the reference that core.js is tested against.

Student y = a·ReLU(w·x + b) + c, an array [w, b, a, c]; teacher t = m·ReLU(s·(x − k)) + c, a Teacher. The student's kink,
slope and side are k = −b/w, m = a·∣w∣, s = sign w. Loss L = mean of ½(y − t)² over N evenly spaced inputs; a mean, so
that a denser data set does not speed learning up. ReLU'(0) = 0, as in torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: over −√3…√3 the inputs have mean 0 and, but for the spacing, variance 1
LOW, HIGH, COUNT = -np.sqrt(3), np.sqrt(3), 201


class Teacher(NamedTuple):
    """Kink k, slope m where it fires, height c where it does not, side s: +1 fires to the right of k, −1 to the left."""

    k: float
    m: float
    c: float
    s: int


def inputs(low: float = LOW, high: float = HIGH, count: int = COUNT) -> Array:
    """`count` evenly spaced inputs from low to high, [N]; by default those of definitions.md, √3/100 apart."""
    return low + (high - low) * np.arange(count) / (count - 1)


def teach(x: Array, teacher: Teacher) -> Array:
    """t = m·ReLU(s·(x − k)) + c at x [N]."""
    return teacher.m * np.maximum(0.0, teacher.s * (x - teacher.k)) + teacher.c


def predict(x: Array, student: Array) -> Array:
    """y = a·ReLU(w·x + b) + c at x [N] for students [..., 4]; returns [..., N]."""
    w, b, a, c = np.moveaxis(np.asarray(student)[..., None], -2, 0)
    return a * np.maximum(0.0, w * x + b) + c


def loss(x: Array, target: Array, student: Array) -> Array:
    """L = mean of ½(y − t)²; students [..., 4] to [...]."""
    return 0.5 * np.square(predict(x, student) - target).mean(-1)


def gradient(x: Array, target: Array, student: Array) -> Array:
    """∂L/∂(w, b, a, c), [..., 4] to [..., 4]; with e = y − t and 1 where w·x + b > 0:

    ∂w = a·mean(e·x·1), ∂b = a·mean(e·1), ∂a = mean(e·ReLU(w·x + b)), ∂c = mean(e).
    """
    w, b, a, _ = np.moveaxis(np.asarray(student)[..., None], -2, 0)
    z = w * x + b
    error = predict(x, student) - target
    fired = np.where(z > 0, error, 0.0)
    parts = (a * fired * x, a * fired, fired * z, error)
    return np.stack([part.mean(-1) for part in parts], -1)


def train(x: Array, target: Array, student: Array, rate: float | Array, steps: int) -> Array:
    """Full-batch gradient descent from students [..., 4]: all states, [steps + 1, ..., 4]. A negative rate climbs.

    target: [N], or [..., N] for a teacher each; rate: one, or [..., 1] for one each.
    """
    states = np.empty((steps + 1, *np.shape(student)))
    states[0] = student
    for t in range(steps):
        states[t + 1] = states[t] - rate * gradient(x, target, states[t])
    return states


def shape(student: Array) -> tuple[Array, Array, Array]:
    """k = −b/w, m = a·∣w∣, s = sign w, each [...]. k is NaN and s is 0 where w = 0: a constant has no kink."""
    w, b, a, _ = np.moveaxis(np.asarray(student, dtype=np.float64), -1, 0)
    k = np.divide(-b, w, out=np.full(w.shape, np.nan), where=w != 0)
    return k, a * np.abs(w), np.sign(w)


def from_shape(k: float, m: float, s: float, size: float, c: float) -> Array:
    """The student [4] with this kink, slope and side whose input weight has the size ∣w∣ > 0."""
    return np.array([s * size, -s * size * k, m / size, c])


def balance(student: Array) -> Array:
    """w² + b² − a², [..., 4] to [...]: conserved by gradient flow (Du, Hu & Lee 2018, arXiv 1806.00900).

    A step of gradient descent changes it by rate²·(∂w² + ∂b² − ∂a²), for the first order cancels.
    """
    w, b, a, _ = np.moveaxis(np.asarray(student), -1, 0)
    return w * w + b * b - a * a


def size_on_surface(k: float, m: float, value: float) -> float:
    """∣w∣ of the neuron with kink k and slope m whose balance is `value`: w²(1 + k²) − m²/w² = value.

    0 for m = 0 and value <= 0: that surface meets m = 0 only where w = 0.
    """
    # of the two roots in w² of (1 + k²)·w⁴ − value·w² − m² = 0 one is positive or zero
    roots = np.roots([1 + k * k, -value, -m * m])
    return float(np.sqrt(max(0.0, roots.real.max())))


def margin(x: Array, student: Array) -> Array:
    """γ = max over the inputs of w·x + b, [..., 4] to [...]. <= 0: dead, no gradient reaches w, b and a."""
    return _pre_activation(x, student).max(-1)


def lowest(x: Array, student: Array) -> Array:
    """Smallest w·x + b over the inputs. > 0: always on, the student is a straight line on the data."""
    return _pre_activation(x, student).min(-1)


def _pre_activation(x: Array, student: Array) -> Array:
    w, b, _, _ = np.moveaxis(np.asarray(student)[..., None], -2, 0)
    return w * x + b
