"""Each start shows what its name says, by the reference."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lop.lab.playground import core
from lop.lab.playground.assembly import read

PRESETS = json.loads(read("presets.json"))
STEPS = 10_000


NAMES = [f"{preset['group']}: {preset['name']}" for preset in PRESETS]
X = core.inputs()


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    """Each start's targets, [starts, N]."""
    return np.stack([core.teach(X, core.Teacher(**preset["teacher"])) for preset in PRESETS])


@pytest.fixture(scope="module")
def paths(targets) -> np.ndarray:
    """Where each start leads, [STEPS + 1, starts, 4]."""
    starts = np.array([[preset["student"][key] for key in "wbac"] for preset in PRESETS])
    rates = np.array([[preset["rate"]] for preset in PRESETS])
    return core.train(X, targets, starts, rates, STEPS)


def signs(values: np.ndarray) -> str:
    """The signs in their order, each once: "+-+"."""
    found = np.sign(values)
    assert found.all()
    return "".join("+" if sign > 0 else "-" for sign in found[np.r_[True, np.diff(found) != 0]])


def best_line(target: np.ndarray) -> float:
    """The loss of the best straight line."""
    residue = target - np.polynomial.Polynomial.fit(X, target, 1)(X)
    return 0.5 * float(np.square(residue).mean())


@pytest.mark.parametrize("which", range(len(PRESETS)), ids=NAMES)
def test_a_start_leads_where_it_says(which, targets, paths):
    preset, target, states = PRESETS[which], targets[which], paths[:, which]
    assert {"w": signs(states[:, 0]), "a": signs(states[:, 2])} == preset["signs"]
    loss, gamma = core.loss(X, target, states[-1]), core.margin(X, states)
    if preset["end"] == "learned":
        assert loss < 1e-3 and (gamma > 0).all()
    elif preset["end"] == "line":
        assert loss == pytest.approx(best_line(target), rel=1e-4) and (gamma > 0).all()
    else:
        assert preset["end"] == "dead" and gamma[-1] <= 0
        np.testing.assert_allclose(loss, 0.5 * np.var(target), rtol=1e-6)  # only c has learned: the mean


def test_of_the_starts_that_end_dead_one_is_dead_before(paths):
    dead = core.margin(X, paths[0]) <= 0
    assert [name for name, is_dead in zip(NAMES, dead, strict=True) if is_dead] == ["Death: dead from the start"]


def test_a_death_announces_itself(targets, paths):
    which = NAMES.index("Death: dies while it learns")
    gamma, loss = core.margin(X, paths[:, which]), core.loss(X, targets[which], paths[:, which])
    assert int(np.argmax(gamma <= 0)) == 112  # docs/lab/playground.md says so
    assert (np.diff(gamma[:113]) < 0).all() and (np.diff(loss[:112]) < 0).all()
    assert gamma[56] < 0.1 < gamma[45]


def test_the_balance_tells_whether_the_output_weight_can_change_its_sign(paths):
    balances = dict(zip(NAMES, core.balance(paths).T, strict=True))
    assert (balances["Output weight a changes sign: − → 0, then dies"] < 0).all()
    assert (balances["Output weight a changes sign: − → +, then learns"] > 0).all()


def test_it_is_the_large_step_that_kills(targets, paths):
    which = NAMES.index("Death: killed by one large step")
    assert core.margin(X, paths[1, which]) <= 0
    gently = core.train(X, targets[which], paths[0, which], 0.05, 4000)
    assert core.loss(X, targets[which], gently[-1]) < 1e-3
