"""A network's weights in a JSON file. Reading one runs no code and trusts nothing in it.

    {"format": 1, "activation": "tanh", "hidden_weights": [[w11, w12], [w21, w22]], "hidden_biases": [b1, b2],
     "output_weights": [v1, v2], "output_bias": c, "output": "linear", "inputs": [0, 1]}

hidden_weights: a row for each hidden unit. Optional: format; activation, "tanh" (default) or "relu"; output, "linear"
(default, 1 is said above 0.5), "sigmoid" (above 0.5) or "tanh" (above 0); inputs, how false and true were written while
training, [0, 1] (default) or [-1, 1].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lop.lab.xor_formula.network import HIDDEN, OUTPUT, Network
from lop.run.files import RunError, disk, write_atomic

FORMAT = 1
MAX_BYTES = 100_000
MAX_UNITS = 32
MAX_SIZE = 1e6
REQUIRED = ("hidden_weights", "hidden_biases", "output_weights", "output_bias")
#: key -> the values allowed, the default first
CHOICES = {"format": [FORMAT], "activation": list(HIDDEN), "output": list(OUTPUT), "inputs": [[0, 1], [-1, 1]]}


def write_weights(path: Path, network: Network) -> None:
    """Writes the network with every bit of its numbers. Errors: RunError."""
    content = {
        "format": FORMAT,
        "activation": network.activation,
        "output": network.output,
        "inputs": [0, 1],
        **{key: np.asarray(getattr(network, key)).tolist() for key in REQUIRED},
    }
    write_atomic(path, json.dumps(content, indent=1).encode() + b"\n")


def read_weights(path: Path) -> Network:
    """The network in a file; inputs written -1 and 1 are rewritten for 0 and 1. Errors: RunError, one line."""
    try:
        return _network(_content(path))
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error


def _content(path: Path) -> dict[str, Any]:
    with disk("read", path), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes; weights of at most {MAX_UNITS} units are far smaller")
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"must be one JSON object with {', '.join(REQUIRED)}")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is given twice")
    return content


def _network(content: dict[str, Any]) -> Network:
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    unknown = sorted(content.keys() - {*REQUIRED, *CHOICES})
    if unknown:
        raise ValueError(f"{', '.join(map(repr, unknown))} unknown; known are {', '.join((*REQUIRED, *CHOICES))}")
    chosen = {key: _choice(key, content.get(key, allowed[0])) for key, allowed in CHOICES.items()}
    biases = _numbers("hidden_biases", content["hidden_biases"])
    units = len(biases)
    if not 1 <= units <= MAX_UNITS:
        raise ValueError(f"hidden_biases has {units} numbers; 1 to {MAX_UNITS} hidden units are allowed")
    rows = content["hidden_weights"]
    if not isinstance(rows, list) or len(rows) != units:
        raise ValueError(f"hidden_weights must be a list of {units} rows, one for each number in hidden_biases")
    weights = np.array([_numbers(f"hidden_weights, row {j}", row, 2) for j, row in enumerate(rows, start=1)])
    output_weights = _numbers("output_weights", content["output_weights"], units)
    output_bias = float(_numbers("output_bias", [content["output_bias"]])[0])
    if chosen["inputs"] == [-1, 1]:
        # w·(2A - 1) + b = 2w·A + (b - w1 - w2)
        weights, biases = 2 * weights, biases - weights.sum(1)
    return Network(weights, biases, output_weights, output_bias, chosen["activation"], chosen["output"])


def _choice(key: str, value: Any) -> Any:
    # by their JSON text: True is not 1 there
    if json.dumps(value) not in [json.dumps(allowed) for allowed in CHOICES[key]]:
        allowed = " or ".join(json.dumps(allowed) for allowed in CHOICES[key])
        raise ValueError(f"{key} must be {allowed}, not {_short(value)}")
    return value


def _numbers(key: str, values: Any, length: int | None = None) -> np.ndarray:
    if not isinstance(values, list) or (length is not None and len(values) != length):
        what = "a list of numbers" if length is None else f"a list of {length} numbers"
        raise ValueError(f"{key} must be {what}, not {_short(values)}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_SIZE:
            raise ValueError(f"{key} must hold numbers between -{MAX_SIZE:g} and {MAX_SIZE:g}, not {_short(value)}")
    return np.array(values, dtype=np.float64)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
