"""ReDo against a loop over members, networks, layers and units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.run.streams import stream

SWITCHES = ("redo_scores", "redo_moments", "redo_all_dead")
# not a short fraction: a score exactly at it would be a question of rounding
THRESHOLD = 0.6180339


class SlowReDo:
    """One member's ReDo, unit by unit, on weights and optimiser state under torch's names."""

    def __init__(self, kit, seed, hidden, settings, departures):
        self.kit, self.seed, self.hidden = kit, seed, hidden
        self.settings, self.departures = settings, departures
        self.since_check: list[list[np.ndarray]] = []
        self.recycled = []  # (minibatch, net, [units of each layer])

    def after_step(self, minibatch, weights, adam, hidden) -> None:
        self.since_check.append(hidden)
        if (minibatch + 1) % self.settings.period_minibatches:
            return
        window = self.since_check[-1:] if self.departures.redo_scores == "reference" else self.since_check
        for number, net in enumerate(self.kit.NETS):
            dormant = [self._dormant([h[layer][number] for h in window]) for layer in range(len(self.hidden))]
            for layer, units in enumerate(dormant):
                self._recycle(weights, adam, number, layer, units, dormant[layer - 1] if layer else [], minibatch)
            self.recycled.append((minibatch, net, dormant))
        self.since_check = []

    def _dormant(self, window) -> list[int]:
        units = window[0].shape[1]
        activity = [np.mean([[abs(float(x)) for x in h[:, unit]] for h in window]) for unit in range(units)]
        if not any(activity):
            return [] if self.departures.redo_all_dead == "reference" else list(range(units))
        return [unit for unit in range(units) if activity[unit] / np.mean(activity) <= self.settings.threshold]

    def _recycle(self, weights, adam, number, layer, units, recycled_below, minibatch) -> None:
        net = self.kit.NETS[number]
        fan_in = weights[f"{net}.{layer}.weight"].shape[1]
        drawn = stream(self.seed, "redo/weights", minibatch, number, layer)
        drawn = drawn.random((fan_in, self.hidden[layer]), dtype=np.float32)
        drawn = (drawn * 2 - 1) * np.float32(math.sqrt(3 / fan_in))
        drawn[recycled_below, :] = 0
        for unit in units:
            forget = self.departures.redo_moments == "fixed"
            self.kit.restart_unit(weights, adam, net, layer, unit, drawn[:, unit], forget)


def redo(kit, **changed):
    return kit.settings("redo", **{"threshold": THRESHOLD, "period_minibatches": 7} | changed)


def silence(activations, minibatch) -> None:
    """Now and then a whole layer is dead: for the first member's actor, layer 1; for the second's critic, layer 0."""
    if minibatch // 7 % 4 == 1:
        activations[0][1][0] = 0
    if minibatch // 7 % 4 == 3:
        activations[1][0][1] = 0


def run_beside_the_loop(kit, settings, departures, num_minibatches, **shape):
    """Both implementations, compared after every minibatch; returns the population and the loops."""
    population = kit.Disturbed(settings, departures, [4, 11], minibatches=10, **shape)
    loops = [SlowReDo(kit, seed, population.hidden, settings, departures) for seed in population.seeds]
    for minibatch in range(num_minibatches):
        population.step(minibatch)
        activations = population.activations(minibatch)
        silence(activations, minibatch)
        expected = [(population.net.member_state(m), population.adam.member_state(m)) for m in range(2)]
        for member, loop in enumerate(loops):
            loop.after_step(minibatch, *expected[member], activations[member])
        population.after_step(minibatch, activations)
        for member in range(2):
            kit.assert_equal(population.net.member_state(member), expected[member][0], f"at {minibatch}")
            kit.assert_equal(population.adam.member_state(member), expected[member][1], f"at {minibatch}")
    return population, loops


CASES = [{}, *({switch: "reference"} for switch in SWITCHES), dict.fromkeys(SWITCHES, "reference")]


@pytest.mark.parametrize("changed", CASES, ids=lambda changed: ",".join(changed) or "fixed")
def test_every_step_equals_a_loop_over_units(kit, changed):
    # every 7 of 10 minibatches an update: most checks look back across the start of an update
    _, loops = run_beside_the_loop(kit, redo(kit), kit.departures(**changed), 300)
    counts = [[len(units) for units in dormant] for loop in loops for _, _, dormant in loop.recycled]
    # the run means something only if adjacent layers are recycled together, and whole layers where that is possible
    assert sum(min(pair) > 0 for pair in counts) >= 20
    whole = any(a == 12 or b == 9 for a, b in counts)
    assert whole == (changed.get("redo_all_dead") != "reference")


@pytest.mark.parametrize("hidden", [(6,), (6, 9, 7)])
def test_one_and_three_layers_equal_the_loop(kit, hidden, monkeypatch):
    monkeypatch.setitem(globals(), "silence", lambda activations, minibatch: None)
    run_beside_the_loop(kit, redo(kit), kit.departures(), 80, hidden=hidden)


def constant(population, values) -> list:
    """Activations of one member: every unit of the only layer has the same value in all samples."""
    return [[np.broadcast_to(np.array(values, dtype=float), (2, 16, len(values))).copy()] for _ in population.seeds]


def test_scores_by_hand_and_a_unit_at_the_threshold_is_recycled(kit):
    # means over the two minibatches since the start: (0, 2, 0.5, 1.5); their mean is 1; threshold 0.5 takes units 0, 2
    settings = redo(kit, threshold=0.5, period_minibatches=2)
    population = kit.Disturbed(settings, kit.departures(), [0], hidden=(4,))
    before = population.net.member_state(0)["actor.0.weight"]
    population.after_step(0, constant(population, [0, 3, 1, 0]))
    np.testing.assert_array_equal(population.net.member_state(0)["actor.0.weight"], before)
    population.after_step(1, constant(population, [0, 1, 0, 3]))
    after = population.net.member_state(0)["actor.0.weight"]
    assert np.flatnonzero((after != before).any(axis=1)).tolist() == [0, 2]
    assert population.variant.statistics(0) == {"redo/recycled/layer_0": 2.0, "critic/redo/recycled/layer_0": 2.0}


def test_reference_scores_come_from_the_last_minibatch_alone(kit):
    # (0, 1, 0, 3): mean 1, threshold 0.5 takes units 0 and 2; both minibatches together, (9, 1, 9, 3), would take unit 1
    settings = redo(kit, threshold=0.5, period_minibatches=2)
    population = kit.Disturbed(settings, kit.departures(redo_scores="reference"), [0], hidden=(4,))
    before = population.net.member_state(0)["critic.0.weight"]
    population.after_step(0, constant(population, [9, 0, 9, 0]))
    population.after_step(1, constant(population, [0, 1, 0, 3]))
    after = population.net.member_state(0)["critic.0.weight"]
    assert np.flatnonzero((after != before).any(axis=1)).tolist() == [0, 2]


@pytest.mark.parametrize(("switch", "recycled"), [("fixed", 4.0), ("reference", 0.0)])
def test_a_layer_without_any_activity_is_wholly_dormant_or_nothing(kit, switch, recycled):
    settings = redo(kit, threshold=0.1, period_minibatches=1)
    population = kit.Disturbed(settings, kit.departures(redo_all_dead=switch), [0], hidden=(4,))
    population.after_step(0, constant(population, [0, 0, 0, 0]))
    assert population.variant.statistics(0)["redo/recycled/layer_0"] == recycled
    assert torch.isfinite(population.net.flat).all()


def test_statistics_count_the_recycled_units_of_an_update(kit):
    population, loops = run_beside_the_loop(kit, redo(kit), kit.departures(), 40)
    for member, loop in enumerate(loops):
        for prefix, name in (("", "actor"), ("critic/", "critic")):
            for layer in range(2):
                last = [dormant[layer] for minibatch, net, dormant in loop.recycled if minibatch >= 30 and net == name]
                found = population.variant.statistics(member)[f"{prefix}redo/recycled/layer_{layer}"]
                assert found == sum(map(len, last)) > 0


def test_a_member_continues_bit_identically_in_another_population(kit):
    settings, shape = redo(kit, period_minibatches=7), {"minibatches": 10, "dtype": torch.float32, "unit": 0.1}
    first = kit.Disturbed(settings, kit.departures(), [3, 5, 8], **shape)
    # 50 minibatches: one is already summed up for the check after minibatch 55
    first.run(0, 50)
    second = kit.Disturbed(settings, kit.departures(), [8, 3], **shape)
    for position, member in enumerate((2, 0)):
        second.load_member_state(position, first.member_state(member), update=5)
    for population in (first, second):
        population.run(50, 120)
    for position, member in enumerate((2, 0)):
        kit.assert_equal(second.member_state(position), first.member_state(member))


@pytest.mark.parametrize("width", [10, 100, 256])
def test_a_member_keeps_its_bits_alone_and_among_three(kit, width):
    settings = redo(kit, period_minibatches=5)
    shape = {"hidden": (width, width), "dtype": torch.float32, "unit": 0.1, "samples": 128}
    together = kit.Disturbed(settings, kit.departures(), [3, 5, 8], **shape)
    together.run(0, 24)
    for member, seed in enumerate((3, 5, 8)):
        alone = kit.Disturbed(settings, kit.departures(), [seed], **shape)
        alone.run(0, 24)
        kit.assert_equal(alone.member_state(0), together.member_state(member))
