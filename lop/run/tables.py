"""Record layouts of a run's binary files, shared by the store that writes them and the reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNIT_FIELDS = ("margin", "lowest", "firing_rate", "mean_abs_h", "bias", "weight_norm", "grad_norm")
EVENT_KINDS = ("death", "revival")
ACTIVITY_BLOCK_STEPS = 1000

EPISODES = np.dtype(
    [
        ("global_step", "<i8"),  # env steps of the member at the episode's end
        ("return", "<f8"),
        ("length", "<i4"),
        ("task", "<i4"),
        ("env", "<i4"),
        ("terminated", "?"),
        ("truncated", "?"),
    ]
)

EVENTS = np.dtype(
    [
        ("global_step", "<i8"),
        ("update", "<i8"),
        ("task", "<i4"),
        ("layer", "<i2"),
        ("kind", "<i2"),  # index into EVENT_KINDS
        ("unit", "<i4"),
        ("margin_before", "<f4"),
        ("margin_after", "<f4"),
    ]
)


def units_dtype(layers: Sequence[int]) -> np.dtype:
    """One update: values [7, H], UNIT_FIELDS by the units of all hidden layers, one layer after the other."""
    shape = (len(UNIT_FIELDS), sum(layers))
    return np.dtype([("global_step", "<i8"), ("update", "<i8"), ("values", "<f2", shape)])


def activity_dtype(layers: Sequence[int]) -> np.dtype:
    """One finished block of 1000 env steps: its last step, and how often each unit fired in it [H]."""
    return np.dtype([("global_step", "<i8"), ("counts", "<u2", (sum(layers),))])
