"""XOR, and a network with one hidden layer small enough to be written down."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64)
XOR = np.array([0, 1, 1, 0], dtype=np.float64)

HIDDEN = {"tanh": np.tanh, "relu": lambda z: np.maximum(0.0, z)}
#: of z: half of exp(z) / (1 + exp(z)) is written with tanh, which cannot overflow
OUTPUT = {"linear": lambda z: z, "tanh": np.tanh, "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(z / 2)}
#: an output above this says 1
THRESHOLD = {"linear": 0.5, "tanh": 0.0, "sigmoid": 0.5}


@dataclass(frozen=True)
class Network:
    """y = o(Σ_j v_j φ(w_j·A + b_j) + c), the inputs A = (A1, A2) written 0 and 1.

    hidden_weights w [H, 2], hidden_biases b [H], output_weights v [H], output_bias c; activation φ: a key of HIDDEN;
    output o: a key of OUTPUT, "linear" in what this study trains.
    """

    hidden_weights: np.ndarray
    hidden_biases: np.ndarray
    output_weights: np.ndarray
    output_bias: float
    activation: str = "tanh"
    output: str = "linear"

    def drives(self, inputs: np.ndarray) -> np.ndarray:
        """What goes into each hidden unit, z = w·A + b: inputs [N, 2] to [N, H]. z = 0 is the unit's line."""
        return inputs @ self.hidden_weights.T + self.hidden_biases

    def hidden(self, inputs: np.ndarray) -> np.ndarray:
        """What comes out of each hidden unit, [N, H]."""
        return HIDDEN[self.activation](self.drives(inputs))

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs [N] for inputs [N, 2]."""
        return OUTPUT[self.output](self.hidden(inputs) @ self.output_weights + self.output_bias)

    def says(self, inputs: np.ndarray) -> np.ndarray:
        """The answers [N], 0 or 1: whether the output is above the threshold."""
        return (self(inputs) > THRESHOLD[self.output]).astype(np.float64)

    def with_numbers(self, numbers: np.ndarray) -> Network:
        """The same network with other numbers, in the order of `numbers`."""
        units = len(self.hidden_biases)
        weights, biases, output_weights, bias = np.split(numbers, [2 * units, 3 * units, 4 * units])
        return replace(
            self,
            hidden_weights=weights.reshape(units, 2),
            hidden_biases=biases,
            output_weights=output_weights,
            output_bias=float(bias[0]),
        )

    @property
    def numbers(self) -> np.ndarray:
        """All weights and biases in one row: w unit by unit, b, v, c; [4 H + 1]."""
        return np.concatenate(
            [self.hidden_weights.ravel(), self.hidden_biases, self.output_weights, [self.output_bias]]
        )


def right(answers: np.ndarray) -> int:
    """How many of the four corners get their XOR."""
    return int((answers == XOR).sum())
