"""What each hidden unit says about the four corners: its side of its line, the name of that in logic, its distance.

Distances and classes of units are the monitor's own (lop.monitor.margins), with the four corners as the data.
"""

from __future__ import annotations

import numpy as np
import torch

from lop.lab.xor_formula.network import CORNERS, OUTPUT, THRESHOLD, XOR, Network, right
from lop.monitor import margins

#: a statement about A1 and A2 by its truth at the corners 00, 01, 10, 11
NAMES = {
    "0000": "never",
    "0001": "A1 AND A2",
    "0010": "A1 AND NOT A2",
    "0011": "A1",
    "0100": "A2 AND NOT A1",
    "0101": "A2",
    "0110": "XOR",
    "0111": "A1 OR A2",
    "1000": "NOT (A1 OR A2)",
    "1001": "NOT XOR",
    "1010": "NOT A2",
    "1011": "A1 OR NOT A2",
    "1100": "NOT A1",
    "1101": "A2 OR NOT A1",
    "1110": "NOT (A1 AND A2)",
    "1111": "always",
}
#: a line that cuts one corner off keeps at most half a half-diagonal from the nearest corner
LARGEST_MARGIN = float(np.sqrt(2) / 4)


def name(truth: np.ndarray) -> str:
    """The name of a statement from its truth [4] at the corners."""
    return NAMES["".join("1" if t else "0" for t in truth)]


def corner_names(chosen: np.ndarray) -> str:
    """The chosen corners as text: a boolean [4] to "00, 11"."""
    return ", ".join(f"{a:.0f}{b:.0f}" for (a, b), c in zip(CORNERS, chosen, strict=True) if c) or "none"


def signs(network: Network) -> np.ndarray:
    """The side of each unit's line that each corner is on, [4, H]: +1 where z > 0, else -1."""
    return np.where(network.drives(CORNERS) > 0, 1.0, -1.0)


def distances(network: Network) -> np.ndarray:
    """The signed distance (w·A + b)/‖w‖ from each corner to each unit's line, [4, H]; infinite if w = 0."""
    norms = torch.from_numpy(np.linalg.norm(network.hidden_weights, axis=1))
    return margins.input_distances(torch.from_numpy(network.drives(CORNERS)), norms).numpy()


def nearest(network: Network) -> np.ndarray:
    """How far each unit's line is from the corner nearest to it, [H]; infinite for weights 0, which draw no line."""
    return np.where((network.hidden_weights == 0).all(1), np.inf, np.abs(distances(network)).min(0))


def states(network: Network) -> list[str]:
    """What the monitor calls each unit on the four corners: "dead", "always-on" or "selective"."""
    z = torch.from_numpy(network.drives(CORNERS))
    classes = margins.classify(margins.margin(z), margins.lowest(z))
    return [
        "dead" if dead else "always-on" if on else "selective"
        for dead, on in zip(classes.dead.tolist(), classes.always_on.tolist(), strict=True)
    ]


def fit_signs(network: Network) -> np.ndarray | None:
    """The output numbers [v, c], [H + 1], with which Σ v_j sign(z_j) + c is XOR exactly; None if there are none."""
    table = np.column_stack([signs(network), np.ones(len(XOR))])
    # the numbers are halves and ones where two units do it: what is beyond 12 decimals is rounding
    solution = np.linalg.lstsq(table, XOR, rcond=None)[0].round(12) + 0.0
    return solution if np.allclose(table @ solution, XOR, atol=1e-9) else None


def sign_answers(network: Network) -> np.ndarray:
    """What the network would say at the corners [4], 0 or 1, with sign in the place of tanh."""
    outputs = OUTPUT[network.output](signs(network) @ network.output_weights + network.output_bias)
    return (outputs > THRESHOLD[network.output]).astype(np.float64)


def readable(network: Network) -> bool:
    """Whether the sides of the lines are all that the network's answers need: with sign for tanh they stay right."""
    return right(sign_answers(network)) == len(XOR) and fit_signs(network) is not None


def patterns(network: Network) -> list[tuple[tuple[str, ...], str, bool]]:
    """Each pattern of sides that occurs, e.g. ("+", "-"), the corners that have it, and whether XOR is 1 there.

    Corners that share a pattern and differ in XOR give two entries.
    """
    sides = signs(network)
    rows = sorted({(tuple(row), truth) for row, truth in zip(sides.tolist(), XOR.tolist(), strict=True)}, reverse=True)
    return [
        (
            tuple("+" if s > 0 else "-" for s in row),
            corner_names((sides == row).all(1) & (truth == XOR)),
            bool(truth),
        )
        for row, truth in rows
    ]


def as_logic(network: Network) -> str:
    """XOR as AND or OR of what the units say, e.g. "(A1 OR A2) AND (NOT (A1 AND A2))"; "" if it is neither."""
    sides = signs(network) > 0
    found = patterns(network)
    for wanted, word in ((True, "AND"), (False, "OR")):
        alone = [pattern for pattern, _, truth in found if truth == wanted]
        if len(alone) == 1:
            # a unit is asked for its side in this pattern, or, for OR, for any other side
            ask = [(sides[:, j] == (side == "+")) == wanted for j, side in enumerate(alone[0])]
            return f" {word} ".join(f"({name(truth)})" for truth in ask)
    return ""
