"""A small population with a variant, disturbed by random steps whose numbers belong to each member's seed."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lop.nets import StackedActorCritic
from lop.ppo.adam import FlatAdam
from lop.run.config import Departures
from lop.run.streams import stream
from lop.variants import VariantContext, module

NETS = ("actor", "critic")


def departures(**changed: str) -> Departures:
    """Everything as `fixed` but for what is given."""
    return Departures(**({field.name: "fixed" for field in dataclasses.fields(Departures)} | changed))


def settings(name: str, **values):
    """The variant's settings."""
    common = {"name": name, "variant": name, "adam_beta1": 0.9, "adam_beta2": 0.95, "weight_decay": 1e-3}
    return module(name).Settings(**common, **values)


class Disturbed:
    """M members under a variant. Each step follows a random gradient, and activations are random too.

    unit: what activations are multiples of. With 1/16 their means over the samples are exact, with 0.1 they are rounded.
    """

    def __init__(
        self,
        settings,
        departures,
        seeds,
        *,
        hidden=(12, 9),
        minibatches=8,
        dtype=torch.float64,
        unit=1 / 16,
        samples=16,
    ):
        self.seeds, self.hidden, self.minibatches = seeds, hidden, minibatches
        self.unit, self.samples = unit, samples
        self.net = StackedActorCritic(len(seeds), 7, hidden, 3, num_live=5, dtype=dtype)
        self.net.initialise(lambda member, net, layer: stream(seeds[member], f"init/{net}", layer))
        code = module(settings.variant).VARIANT
        self.adam = FlatAdam(
            self.net,
            learning_rate=1e-2,
            beta1=settings.adam_beta1,
            beta2=settings.adam_beta2,
            eps=1e-8,
            weight_decay=settings.weight_decay,
            per_unit_steps=code.counts_steps_per_unit(settings, departures),
        )
        self.variant = code(settings, VariantContext(self.net, self.adam, seeds, minibatches, departures))

    def step(self, minibatch: int) -> None:
        """The optimiser step of one minibatch, along random gradients."""
        for member, seed in enumerate(self.seeds):
            generator = stream(seed, "test/gradients", minibatch)
            for view in self.net.named_member_views(self.adam.grad_views, member).values():
                view.copy_(torch.from_numpy(generator.standard_normal(tuple(view.shape))))
        self.adam.step()

    def activations(self, minibatch: int) -> list[list[np.ndarray]]:
        """One list a member, of [2, N, H] per layer; half of them are zero.

        Units 2 and 5 of every layer are never on, so that utilities tie.
        """
        drawn = []
        for seed in self.seeds:
            generator = stream(seed, "test/hidden", minibatch)
            layers = [generator.integers(-16, 17, (2, self.samples, h)).clip(0) * self.unit for h in self.hidden]
            for layer in layers:
                layer[:, :, [2, 5]] = 0
            drawn.append(layers)
        return drawn

    def after_step(self, minibatch: int, activations: list[list[np.ndarray]]) -> None:
        """Let the variant act."""
        if minibatch % self.minibatches == 0:
            self.variant.begin_update(minibatch // self.minibatches)
        hidden = [
            torch.from_numpy(np.stack([member[layer][net] for net in range(2) for member in activations]))
            for layer in range(len(self.hidden))
        ]
        self.variant.after_step([h.to(self.net.dtype) for h in hidden], minibatch % self.minibatches)

    def run(self, begin: int, end: int) -> None:
        for minibatch in range(begin, end):
            self.step(minibatch)
            self.after_step(minibatch, self.activations(minibatch))

    def member_state(self, member: int) -> dict[str, np.ndarray]:
        """Weights, optimiser and variant of one member."""
        parts = {"net": self.net, "adam": self.adam, "variant": self.variant}
        return {f"{name}/{k}": v for name, part in parts.items() for k, v in part.member_state(member).items()}

    def load_member_state(self, member: int, state: dict[str, np.ndarray], update: int) -> None:
        own = {
            p: {k[len(p) + 1 :]: v for k, v in state.items() if k.startswith(f"{p}/")}
            for p in ("net", "adam", "variant")
        }
        self.net.load_member_state(member, own["net"])
        self.adam.load_member_state(member, own["adam"])
        self.variant.load_member_state(member, own["variant"], update)


def restart_unit(weights, adam, net, layer, unit, fresh, forget: bool) -> None:
    """Fresh incoming weights, zero bias, zero outgoing weights; `forget`: zero moments and step count. One unit."""
    incoming, bias, outgoing = f"{net}.{layer}.weight", f"{net}.{layer}.bias", f"{net}.{layer + 1}.weight"
    for i, number in enumerate(fresh):
        weights[incoming][unit, i] = number
    weights[bias][unit] = 0
    for k in range(weights[outgoing].shape[0]):
        weights[outgoing][k, unit] = 0
    if not forget:
        return
    for moment in ("exp_avg", "exp_avg_sq"):
        adam[f"{moment}.{incoming}"][unit, :] = 0
        adam[f"{moment}.{bias}"][unit] = 0
        adam[f"{moment}.{outgoing}"][:, unit] = 0
    if f"unit_steps.{layer}" in adam:
        adam[f"unit_steps.{layer}"][NETS.index(net)][unit] = 0


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], where: str = "") -> None:
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=f"{key} {where}")


@pytest.fixture
def kit():
    return SimpleNamespace(
        NETS=NETS,
        Disturbed=Disturbed,
        settings=settings,
        departures=departures,
        restart_unit=restart_unit,
        assert_equal=assert_equal,
    )
