"""Where hyperplanes lie at the start and at the end: distances, dead and at-risk units, clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lop.lab.xor_pair import network
from lop.lab.xor_pair.measures import distances, parameters_of
from lop.lab.xor_pair.network import NEGATIVE, POSITIVE, members_first
from lop.lab.xor_pair.tables import by_strategy
from lop.monitor.margins import classify, lowest, margin

CLUSTER_RADIUS = 0.1
CLUSTERED_RUNS = 1000  # as many as published; more fill the gaps between clusters
CLASSES = {"class 0": NEGATIVE, "class 1": POSITIVE}


def distance_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Signed and absolute distances of the points from both hyperplanes, by class, solved runs, start and end.

    firing: share of the distances that are positive; firing_mean, dark_mean: means of the positive and of the others.
    """
    found = []
    for name, part in by_strategy(rows[rows["solved"]]):
        for when in ("start", "end"):
            values = distances(parameters_of(part, when))
            for label, points in CLASSES.items():
                own = values[:, points].flatten()
                found.append({"strategy": name, "when": when, "points": label} | _spread(own))
    return pd.DataFrame(found, columns=None if found else ["strategy", "when", "points"])


def units(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of dead, at-risk (margin below 0.1) and always-on units on the four points, start and end, all runs."""
    found = []
    for name, part in by_strategy(rows):
        for when in ("start", "end"):
            z = members_first(network.pre_activations(parameters_of(part, when).movedim(0, -1)))
            margins = margin(z)
            classes = classify(margins, lowest(z))
            found.append(
                {"strategy": name, "when": when, "margin_mean": float(margins.mean())}
                | {kind: float(getattr(classes, kind).double().mean()) for kind in ("dead", "at_risk", "always_on")}
            )
    return pd.DataFrame(found)


def clusters(rows: pd.DataFrame) -> pd.DataFrame:
    """Groups of final hyperplanes (w, b) of the first 1000 runs, and the centres of the two largest."""
    found = []
    for name, part in by_strategy(rows[rows["run"] < CLUSTERED_RUNS]):
        points = parameters_of(part, "end").flatten(0, 1).numpy()
        labels = groups(points, CLUSTER_RADIUS)
        sizes = np.bincount(labels[labels >= 0], minlength=2)
        largest = np.argsort(-sizes, kind="stable")[:2]
        found.append(
            {"strategy": name, "hyperplanes": len(points), "clusters": int((sizes > 0).sum())}
            | {"alone": int((labels < 0).sum()), "in_two_largest": float(sizes[largest].sum() / len(points))}
            | {f"centre_{rank + 1}": _centre(points[labels == label]) for rank, label in enumerate(largest)}
        )
    return pd.DataFrame(found)


def groups(points: np.ndarray, radius: float) -> np.ndarray:
    """Labels [K] of points [K, D] linked by steps of at most `radius`; −1: nobody near.

    That is DBSCAN with min_samples = 2 (Ester et al. 1996), which the published analysis used.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
    labels = connected_components(links, directed=False)[1]
    sizes = np.bincount(labels)
    _, kept = np.unique(np.where(sizes[labels] > 1, labels, -1), return_inverse=True)
    return kept - (1 if (sizes == 1).any() else 0)


def _centre(points: np.ndarray) -> str:
    return "({:.2f}, {:.2f}; {:.2f})".format(*points.mean(0)) if len(points) else ""


def _spread(distance: Tensor) -> dict[str, float]:
    firing = distance > 0
    values = {
        "signed_mean": distance.mean(),
        "absolute_mean": distance.abs().mean(),
        "absolute_std": torch.std(distance.abs(), correction=0),
        "firing": firing.double().mean(),
        "firing_mean": distance[firing].mean(),
        "dark_mean": distance[~firing].mean(),
    }
    # means of opposite numbers come out as 1e-19
    return {name: round(float(value), 9) for name, value in values.items()}
