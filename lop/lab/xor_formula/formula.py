"""A network as a line of text that can be evaluated by hand, and how far that line is from the network.

    y = 1.23*tanh(2.5*A1 - 2.5*A2 + 0.4)
      - 1.19*tanh(2.6*A1 - 2.4*A2 - 0.5)
      + 0.02

Operators + - *, brackets, the functions tanh, sigmoid and max(0, .), numbers such as -0.25 or 1.5e-07, the inputs A1 and A2.
"""

from __future__ import annotations

import numpy as np

from lop.lab.xor_formula.network import Network


def number(value: float, digits: int) -> str:
    """A number with so many significant digits; 0 has no sign."""
    return f"{value:.{digits}g}" if float(f"{value:.{digits}g}") != 0 else "0"


def total(terms: list[tuple[float, str]], digits: int) -> list[str]:
    """A sum, term by term: (2, "A1"), (-1, "") are "2*A1", "- 1"."""
    texts = []
    for coefficient, factor in terms:
        size = number(abs(coefficient), digits)
        sign = "-" if coefficient < 0 else "+"
        product = f"{size}*{factor}" if factor else size
        texts.append(f"{sign} {product}" if texts else product if sign == "+" else f"-{product}")
    return texts


def formula(network: Network, digits: int) -> list[str]:
    """The lines of the network's formula: one for each hidden unit and one for the output's bias."""
    terms = []
    for weights, bias, factor in zip(
        network.hidden_weights, network.hidden_biases, network.output_weights, strict=True
    ):
        inside = " ".join(total([(weights[0], "A1"), (weights[1], "A2"), (bias, "")], digits))
        terms.append((factor, f"tanh({inside})" if network.activation == "tanh" else f"max(0, {inside})"))
    lines = total([*terms, (network.output_bias, "")], digits)
    if network.output != "linear":
        return [f"y = {network.output}(", *(f"    {line}" for line in lines), "  )"]
    return [f"y = {lines[0]}", *(f"  {line}" for line in lines[1:])]


def rounded(network: Network, digits: int) -> Network:
    """The network whose numbers are those that the formula prints."""
    return network.with_numbers(np.array([float(number(value, digits)) for value in network.numbers]))


def rounding_bound(network: Network, digits: int, inputs: np.ndarray) -> float:
    """The most by which rounding to so many digits can move the output at any of the inputs [N, 2].

    v φ(z) - v' φ(z') = (v - v') φ(z) + v' (φ(z) - φ(z')), and φ and the output function climb at most 1:1.
    """
    near = rounded(network, digits)
    moved_z = np.abs(inputs) @ np.abs(near.hidden_weights - network.hidden_weights).T
    moved_z = moved_z + np.abs(near.hidden_biases - network.hidden_biases)
    moved = np.abs(network.hidden(inputs)) @ np.abs(near.output_weights - network.output_weights)
    moved = moved + moved_z @ np.abs(near.output_weights) + abs(near.output_bias - network.output_bias)
    # what the sums themselves lose in double precision
    sizes = 1 + np.abs(network.hidden(inputs)) @ np.abs(network.output_weights) + abs(network.output_bias)
    return float((moved + 1e-14 * sizes).max())
