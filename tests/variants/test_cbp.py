"""Continual backprop against a loop over members, networks, layers and units."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.run.streams import stream
from lop.variants.cbp import ReplacementSchedule

SWITCHES = ("cbp_moments", "cbp_bias_transfer", "cbp_adjacent")


class SlowContinualBackprop:
    """One member's continual backprop, unit by unit, on weights and optimiser state under torch's names."""

    def __init__(self, kit, seed, hidden, settings, departures, minibatches):
        self.kit, self.seed, self.hidden = kit, seed, hidden
        self.settings, self.departures, self.minibatches = settings, departures, minibatches
        self.utility, self.mean_activation, self.age = (
            {net: [[0.0] * h for h in hidden] for net in kit.NETS} for _ in range(3)
        )
        self.replaced = []  # (minibatch, net, [units of each layer])

    def after_step(self, minibatch, weights, adam, hidden) -> None:
        for number, net in enumerate(self.kit.NETS):
            chosen = []
            for layer in range(len(self.hidden)):
                for unit in range(self.hidden[layer]):
                    self._age(net, layer, unit, hidden[layer][number], weights[f"{net}.{layer + 1}.weight"])
                chosen.append(self._choose(minibatch, number, net, layer))
            for layer, units in enumerate(chosen):
                for rank, unit in enumerate(units):
                    address = (minibatch, number * len(self.hidden) + layer, rank)
                    self._replace(weights, adam, net, layer, unit, chosen[layer - 1] if layer else [], address)
            self.replaced.append((minibatch, net, chosen))

    def _age(self, net, layer, unit, h, outgoing) -> None:
        eta = self.settings.utility_decay
        activation = sum(abs(float(x)) for x in h[:, unit]) / len(h)
        magnitude = sum(abs(float(w)) for w in outgoing[:, unit]) / len(outgoing)
        self.age[net][layer][unit] += 1
        for average, latest in ((self.utility, activation * magnitude), (self.mean_activation, activation)):
            average[net][layer][unit] = eta * average[net][layer][unit] + (1 - eta) * latest

    def _corrected(self, average, net, layer, unit) -> float:
        # numpy's power: its last bit may differ from that of **
        correction = 1.0 - np.power(self.settings.utility_decay, float(self.age[net][layer][unit]))
        return average[net][layer][unit] / float(correction)

    def _choose(self, minibatch, number, net, layer) -> list[int]:
        eligible = [u for u, age in enumerate(self.age[net][layer]) if age > self.settings.maturity_minibatches]
        expected = self.settings.replacement_rate * len(eligible)
        update, index = divmod(minibatch, self.minibatches)
        draws = stream(self.seed, "cbp/counts", update).random((self.minibatches, 2, len(self.hidden)))
        count = int(draws[index, number, layer] < expected) if expected < 1 else math.floor(expected)
        return sorted(eligible, key=lambda unit: (self._corrected(self.utility, net, layer, unit), unit))[:count]

    def _replace(self, weights, adam, net, layer, unit, replaced_below, address) -> None:
        outgoing, next_bias = weights[f"{net}.{layer + 1}.weight"], weights[f"{net}.{layer + 1}.bias"]
        if self.departures.cbp_bias_transfer == "fixed":
            mean = self._corrected(self.mean_activation, net, layer, unit)
            for k in range(len(next_bias)):
                next_bias[k] += outgoing[k, unit] * mean
        fan_in = weights[f"{net}.{layer}.weight"].shape[1]
        fresh = stream(self.seed, "cbp/weights", *address).random(fan_in, dtype=np.float32)
        fresh = (fresh * 2 - 1) * np.float32(math.sqrt(3 / fan_in))
        if self.departures.cbp_adjacent == "fixed":
            fresh[replaced_below] = 0
        self.kit.restart_unit(weights, adam, net, layer, unit, fresh, self.departures.cbp_moments == "fixed")
        for average in (self.utility, self.mean_activation, self.age):
            average[net][layer][unit] = 0

    def assert_same_statistics(self, state) -> None:
        for layer in range(len(self.hidden)):
            for number, net in enumerate(self.kit.NETS):
                np.testing.assert_array_equal(state[f"age.{layer}"][number], self.age[net][layer])
                np.testing.assert_array_equal(
                    state[f"mean_activation.{layer}"][number], self.mean_activation[net][layer]
                )
                np.testing.assert_allclose(
                    state[f"utility.{layer}"][number], self.utility[net][layer], rtol=1e-12, atol=0
                )


def cbp(kit, **changed):
    values = {"replacement_rate": 0.3, "maturity_minibatches": 5, "utility_decay": 0.9} | changed
    return kit.settings("cbp", **values)


def run_beside_the_loop(kit, settings, departures, num_minibatches, **shape):
    """Both implementations, compared after every minibatch; returns the loops."""
    population = kit.Disturbed(settings, departures, [4, 11], **shape)
    loops = [
        SlowContinualBackprop(kit, seed, population.hidden, settings, departures, population.minibatches)
        for seed in population.seeds
    ]
    for minibatch in range(num_minibatches):
        population.step(minibatch)
        activations = population.activations(minibatch)
        expected = [(population.net.member_state(m), population.adam.member_state(m)) for m in range(len(loops))]
        for member, loop in enumerate(loops):
            loop.after_step(minibatch, *expected[member], activations[member])
        population.after_step(minibatch, activations)
        for member, loop in enumerate(loops):
            kit.assert_equal(population.net.member_state(member), expected[member][0], f"at {minibatch}")
            kit.assert_equal(population.adam.member_state(member), expected[member][1], f"at {minibatch}")
            loop.assert_same_statistics(population.variant.member_state(member))
    return loops


CASES = [{}, *({switch: "reference"} for switch in SWITCHES), dict.fromkeys(SWITCHES, "reference")]


@pytest.mark.parametrize("changed", CASES, ids=lambda changed: ",".join(changed) or "fixed")
def test_every_step_equals_a_loop_over_units(kit, changed):
    loops = run_beside_the_loop(kit, cbp(kit), kit.departures(**changed), 320)
    counts = [[len(units) for units in chosen] for loop in loops for _, _, chosen in loop.replaced]
    # the run means something only if all of these occur
    assert max(map(max, counts)) >= 3
    assert sum(min(pair) > 0 for pair in counts) >= 20
    assert [0, 0] in counts


@pytest.mark.parametrize("hidden", [(6,), (6, 9, 7)])
def test_one_and_three_layers_equal_the_loop(kit, hidden):
    run_beside_the_loop(kit, cbp(kit), kit.departures(), 120, hidden=hidden)


def test_rare_replacements_equal_the_loop(kit):
    # 0.004 of at most 12 units: always a Bernoulli draw, as in the published runs
    loops = run_beside_the_loop(kit, cbp(kit, replacement_rate=0.004), kit.departures(), 400, minibatches=10)
    counts = [len(units) for loop in loops for _, _, chosen in loop.replaced for units in chosen]
    assert set(counts) == {0, 1}


def test_rate_one_replaces_every_unit_that_is_old_enough(kit):
    loops = run_beside_the_loop(kit, cbp(kit, replacement_rate=1.0, maturity_minibatches=3), kit.departures(), 12)
    for loop in loops:
        for minibatch, _, chosen in loop.replaced:
            # ages reach 4 > 3 after minibatches 3, 7 and 11
            assert [len(units) for units in chosen] == ([12, 9] if minibatch % 4 == 3 else [0, 0])


def test_maturity_zero_makes_every_unit_eligible_at_once(kit):
    loops = run_beside_the_loop(kit, cbp(kit, replacement_rate=0.5, maturity_minibatches=0), kit.departures(), 10)
    assert all([len(units) for units in chosen] == [6, 4] for loop in loops for _, _, chosen in loop.replaced)


def test_of_equal_utilities_the_lowest_unit_number_goes(kit):
    population = kit.Disturbed(cbp(kit, replacement_rate=0.25, maturity_minibatches=0), kit.departures(), [0])
    silent = [[np.zeros((2, 16, h)) for h in population.hidden]]
    population.after_step(0, silent)
    state = population.variant.member_state(0)
    # 0.25 x 12 = 3 and 0.25 x 9 = 2.25 units; all utilities are 0
    assert (np.flatnonzero(state["age.0"][0] == 0)).tolist() == [0, 1, 2]
    assert (np.flatnonzero(state["age.1"][1] == 0)).tolist() == [0, 1]


def test_units_younger_than_maturity_are_never_replaced(kit):
    maturity = 9
    population = kit.Disturbed(cbp(kit, replacement_rate=0.5, maturity_minibatches=maturity), kit.departures(), [2, 3])
    youngest = math.inf
    for minibatch in range(150):
        before = [population.variant.member_state(m) for m in range(2)]
        population.run(minibatch, minibatch + 1)
        for member in range(2):
            after = population.variant.member_state(member)
            for layer in ("age.0", "age.1"):
                ages = before[member][layer][after[layer] == 0] + 1
                youngest = min([youngest, *ages])
    assert youngest == maturity + 1


def test_bias_transfer_by_hand(kit):
    # unit 0 had mean |h| = 3/4 in its only minibatch, so its running mean is 0.1 * 0.75 and corrected by 1 - 0.9 it is
    # 0.75 again; w_out = (1, -2, 0.5) and next biases 10 give 10 + 0.75 w_out = (10.75, 8.5, 10.375)
    population = kit.Disturbed(
        cbp(kit, replacement_rate=0.5, maturity_minibatches=0), kit.departures(), [0], hidden=(2,)
    )
    weights = population.net.member_tensors(0)
    weights["actor.1.weight"].copy_(torch.tensor([[1.0, 50], [-2, 50], [0.5, 50]]))
    weights["actor.1.bias"].fill_(10)
    h = np.zeros((2, 16, 2))
    h[:, :12] = 1
    population.after_step(0, [[h]])
    np.testing.assert_allclose(weights["actor.1.bias"].numpy(), [10.75, 8.5, 10.375], rtol=1e-15)
    np.testing.assert_array_equal(weights["actor.1.weight"].numpy(), [[0, 50], [0, 50], [0, 50]])


@pytest.mark.parametrize(("rate", "maturity"), [(0.3, 5), (0.01, 12), (1.0, 4), (0.2, 0), (0.0, 1)])
def test_the_schedule_equals_counting_eligible_units(rate, maturity):
    seeds, hidden, minibatches = [7, 1, 30], (12, 9, 4), 6
    schedule = ReplacementSchedule(seeds, hidden, rate, maturity)
    resumed = ReplacementSchedule(seeds, hidden, rate, maturity)
    places = [(m, net, layer) for m in range(3) for net in range(2) for layer in range(3)]
    ages = {place: np.zeros(hidden[place[2]]) for place in places}
    generator, total = np.random.default_rng(0), 0
    for update in range(40):
        found = schedule.counts(update, minibatches)
        if update >= 25:
            again = resumed.counts(update, minibatches)
            assert {k: v.tolist() for k, v in again.items()} == {k: v.tolist() for k, v in found.items()}
        for index in range(minibatches):
            expected = np.zeros((3, 2, 3), dtype=int)
            for place in places:
                ages[place] += 1
                old = np.flatnonzero(ages[place] > maturity)
                share = rate * len(old)
                draw = stream(seeds[place[0]], "cbp/counts", update).random((minibatches, 2, 3))[index][place[1:]]
                expected[place] = int(share) if share >= 1 else int(draw < share)
                # which units go does not matter to how many do
                ages[place][generator.permutation(old)[: expected[place]]] = 0
            np.testing.assert_array_equal(found.get(index, np.zeros_like(expected)), expected)
            total += expected.sum()
        if update == 24:
            resumed.restore(ages, 25 * minibatches)
    assert (total > 0) == (rate > 0)


@pytest.mark.parametrize("changed", [{}, {"cbp_moments": "reference"}])
def test_a_member_continues_bit_identically_in_another_population(kit, changed):
    settings, departures = cbp(kit, replacement_rate=0.1, maturity_minibatches=11), kit.departures(**changed)
    shape = {"minibatches": 8, "dtype": torch.float32, "unit": 0.1}
    first = kit.Disturbed(settings, departures, [3, 5, 8], **shape)
    first.run(0, 5 * 8)
    second = kit.Disturbed(settings, departures, [8, 3], **shape)
    for position, member in enumerate((2, 0)):
        second.load_member_state(position, first.member_state(member), update=5)
    for population in (first, second):
        population.run(5 * 8, 12 * 8)
    for position, member in enumerate((2, 0)):
        kit.assert_equal(second.member_state(position), first.member_state(member))
        assert second.variant.statistics(position) == first.variant.statistics(member)


@pytest.mark.parametrize("width", [10, 100, 256])
def test_a_member_keeps_its_bits_alone_and_among_three(kit, width):
    settings = cbp(kit, replacement_rate=0.02, maturity_minibatches=3)
    shape = {"hidden": (width, width), "dtype": torch.float32, "unit": 0.1, "samples": 128}
    together = kit.Disturbed(settings, kit.departures(), [3, 5, 8], **shape)
    together.run(0, 24)
    for member, seed in enumerate((3, 5, 8)):
        alone = kit.Disturbed(settings, kit.departures(), [seed], **shape)
        alone.run(0, 24)
        kit.assert_equal(alone.member_state(0), together.member_state(member))


def test_statistics_count_the_replacements_of_an_update(kit):
    # 0.06 of at most 12 units: Bernoulli draws, which differ between members, networks and layers
    settings = cbp(kit, replacement_rate=0.06, maturity_minibatches=2)
    population = kit.Disturbed(settings, kit.departures(), [4, 11])
    loops = run_beside_the_loop(kit, settings, kit.departures(), 32)
    population.run(0, 32)
    found = [population.variant.statistics(member) for member in range(2)]
    for member, loop in enumerate(loops):
        last = [(net, chosen) for minibatch, net, chosen in loop.replaced if minibatch >= 24]
        for prefix, name in (("", "actor"), ("critic/", "critic")):
            for layer in range(2):
                expected = sum(len(chosen[layer]) for net, chosen in last if net == name)
                assert found[member][f"{prefix}cbp/replaced/layer_{layer}"] == expected
    assert len({tuple(statistics.values()) for statistics in found}) == 2
    assert found[0]["cbp/replaced/layer_0"] != found[0]["critic/cbp/replaced/layer_0"]
