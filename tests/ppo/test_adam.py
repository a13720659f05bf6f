"""FlatAdam against a loop over single numbers and against torch.optim.Adam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.nets import StackedActorCritic
from lop.ppo.adam import FlatAdam, bias_correction_table
from lop.run.streams import stream

SETTINGS = {"learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.97, "eps": 1e-5, "weight_decay": 0.02}


def make(seeds, *, per_unit, hidden=(5, 4), dtype=torch.float64, **changed):
    net = StackedActorCritic(len(seeds), 6, hidden, 3, num_live=4, dtype=dtype)
    net.initialise(lambda member, name, layer: stream(seeds[member], f"init/{name}", layer))
    return FlatAdam(net, **(SETTINGS | changed), per_unit_steps=per_unit)


def draw_gradients(adam, seeds, step: int) -> None:
    """Gradients that depend on a member's seed alone."""
    for member, seed in enumerate(seeds):
        generator = stream(seed, "test/gradients", step)
        for view in adam.net.named_member_views(adam.grad_views, member).values():
            view.copy_(torch.from_numpy(generator.standard_normal(tuple(view.shape))))


def reset_units(adam, seeds, step: int) -> list[tuple[int, str, int, int]]:
    """Let some units of every member begin anew: step count and moments 0. Returns (member, net, layer, unit) of each."""
    places = []
    for member, seed in enumerate(seeds):
        moments = [adam.net.named_member_views(views, member) for views in adam.moment_views]
        for layer, steps in enumerate(adam.unit_steps):
            for net, row in zip(("actor", "critic"), steps[member :: len(seeds)], strict=True):
                chosen = stream(seed, f"test/reset/{net}", step, layer).random(len(row)) < 0.1
                for unit in np.flatnonzero(chosen).tolist():
                    row[unit] = 0
                    for moment in moments:
                        forget(moment, net, layer, unit)
                    places.append((member, net, layer, unit))
    return places


def forget(moment: dict, net: str, layer: int, unit: int) -> None:
    """Zero the moment of a unit's incoming weights, bias and outgoing weights."""
    moment[f"{net}.{layer}.weight"][unit] = 0
    moment[f"{net}.{layer}.bias"][unit] = 0
    moment[f"{net}.{layer + 1}.weight"][:, unit] = 0


class SlowAdam:
    """One member's Adam, number by number, with a step count for every hidden unit (Kingma & Ba 2015, algorithm 1)."""

    def __init__(self, parameters: dict[str, np.ndarray], hidden: tuple[int, ...], beta1: float, beta2: float):
        self.parameters, self.hidden, self.steps = parameters, hidden, 0
        self.beta1, self.beta2 = beta1, beta2
        self.m, self.v = ({k: np.zeros_like(p) for k, p in parameters.items()} for _ in range(2))
        self.unit_steps = {net: [[0] * h for h in hidden] for net in ("actor", "critic")}

    def reset(self, net: str, layer: int, unit: int) -> None:
        self.unit_steps[net][layer][unit] = 0
        forget(self.m, net, layer, unit)
        forget(self.v, net, layer, unit)

    def step_count(self, key: str, place: tuple[int, ...]) -> int:
        """Steps that a number has seen: those of the younger of the hidden units that it belongs to."""
        if key == "log_std":
            return self.steps
        net, layer, kind = key.split(".")
        counts = []
        if int(layer) < len(self.hidden):
            counts.append(self.unit_steps[net][int(layer)][place[0]])
        if kind == "weight" and int(layer) > 0:
            counts.append(self.unit_steps[net][int(layer) - 1][place[1]])
        return min(counts, default=self.steps)

    def step(self, gradients: dict[str, np.ndarray]) -> None:
        lr, _, _, eps, decay = SETTINGS.values()
        beta1, beta2, self.steps = self.beta1, self.beta2, self.steps + 1
        self.unit_steps = {net: [[n + 1 for n in layer] for layer in of] for net, of in self.unit_steps.items()}
        for key, parameter in self.parameters.items():
            for place in np.ndindex(parameter.shape):
                t = self.step_count(key, place)
                gradient = float(gradients[key][place]) + decay * float(parameter[place])
                self.m[key][place] = beta1 * float(self.m[key][place]) + (1 - beta1) * gradient
                self.v[key][place] = beta2 * float(self.v[key][place]) + (1 - beta2) * gradient**2
                # epsilon stands beside the uncorrected moment, as at the end of the paper's section 2
                stretch = math.sqrt(1 - beta2**t) / (1 - beta1**t)
                parameter[place] -= lr * stretch * float(self.m[key][place]) / (math.sqrt(self.v[key][place]) + eps)


# equal betas are the published ones; with unequal ones the two corrections differ
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.99)])
@pytest.mark.parametrize("hidden", [(5, 4), (5,), (3, 6, 4)])
def test_units_reset_at_different_times_equal_a_loop_over_numbers(hidden, betas):
    seeds, seen = [2, 9], set()
    adam = make(seeds, per_unit=True, hidden=hidden, beta1=betas[0], beta2=betas[1])
    loops = [SlowAdam(adam.net.member_state(member), hidden, *betas) for member in range(2)]
    for step in range(40):
        draw_gradients(adam, seeds, step)
        if step % 3 == 2:
            for member, *unit in reset_units(adam, seeds, step):
                loops[member].reset(*unit)
        adam.step()
        for member, loop in enumerate(loops):
            gradients = adam.net.named_member_views(adam.grad_views, member)
            loop.step({key: gradient.numpy() for key, gradient in gradients.items()})
            found = adam.net.member_state(member)
            for key, expected in loop.parameters.items():
                np.testing.assert_allclose(found[key], expected, rtol=1e-10, atol=1e-13, err_msg=key)
            for layer in range(len(hidden)):
                counts = [loop.unit_steps[net][layer] for net in ("actor", "critic")]
                assert adam.member_state(member)[f"unit_steps.{layer}"].tolist() == counts
                seen |= {count for of_net in counts for count in of_net}
    assert len(seen) > 20  # counts of many different ages met


def test_a_units_count_rises_with_every_step_from_its_reset():
    adam = make([0], per_unit=True)
    for _ in range(4):
        adam.step()
    adam.unit_steps[1][0, 2] = 0
    for _ in range(3):
        adam.step()
    state = adam.member_state(0)
    assert state["unit_steps.1"].tolist() == [[7, 7, 3, 7], [7, 7, 7, 7]]
    assert state["unit_steps.0"].tolist() == [[7] * 5] * 2
    assert state["steps"] == 7


@pytest.mark.parametrize("per_unit", [False, True])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.99), (0.0, 0.9)])
def test_without_resets_both_paths_equal_torch_adam(per_unit, betas):
    # the two paths differ in where epsilon stands, which a small one hides
    eps = 1e-20 if per_unit else SETTINGS["eps"]
    adam = make([1, 4], per_unit=per_unit, beta1=betas[0], beta2=betas[1], eps=eps)
    parameter = torch.nn.Parameter(adam.net.flat.clone())
    options = {"lr": SETTINGS["learning_rate"], "eps": eps, "weight_decay": SETTINGS["weight_decay"]}
    plain = torch.optim.Adam([parameter], betas=betas, **options)
    for step in range(30):
        draw_gradients(adam, [1, 4], step)
        parameter.grad = adam.grad.clone()
        adam.step()
        plain.step()
    torch.testing.assert_close(adam.net.flat, parameter.detach(), rtol=1e-11, atol=1e-14)


def test_the_fused_path_has_the_bits_of_torchs_fused_adam():
    adam = make([1, 4], per_unit=False, hidden=(30, 20), dtype=torch.float32)
    parameter = torch.nn.Parameter(adam.net.flat.clone())
    options = {"lr": SETTINGS["learning_rate"], "eps": SETTINGS["eps"], "weight_decay": SETTINGS["weight_decay"]}
    plain = torch.optim.Adam([parameter], betas=(SETTINGS["beta1"], SETTINGS["beta2"]), fused=True, **options)
    for step in range(20):
        draw_gradients(adam, [1, 4], step)
        parameter.grad = adam.grad.clone()
        adam.step()
        plain.step()
    assert torch.equal(adam.net.flat, parameter.detach())


@pytest.mark.parametrize("per_unit", [False, True])
def test_a_step_leaves_gradients_as_they_were_and_padding_zero(per_unit):
    seeds = [2, 9, 5]
    adam = make(seeds, per_unit=per_unit)
    meant = torch.zeros_like(adam.net.flat)
    for view in adam.net.layout.views(meant).values():
        view.fill_(1)
    for step in range(10):
        draw_gradients(adam, seeds, step)
        before = adam.grad.clone()
        adam.step()
        assert torch.equal(adam.grad, before)
    padding = meant == 0
    assert padding.any()
    for vector in (adam.net.flat, adam.exp_avg, adam.exp_avg_sq):
        assert not vector[padding].any()
        assert vector[~padding].any()


@pytest.mark.parametrize("per_unit", [False, True])
def test_a_member_continues_bit_identically_in_another_population(per_unit):
    shape = {"per_unit": per_unit, "dtype": torch.float32, "hidden": (9, 13)}
    first, second = make([2, 9, 5], **shape), make([5, 2], **shape)

    def advance(adam, seeds, begin, end):
        for step in range(begin, end):
            draw_gradients(adam, seeds, step)
            if per_unit and step % 3 == 2:
                reset_units(adam, seeds, step)
            adam.step()

    advance(first, [2, 9, 5], 0, 10)
    for position, member in enumerate((2, 0)):
        second.net.load_member_state(position, first.net.member_state(member))
        second.load_member_state(position, first.member_state(member))
    advance(first, [2, 9, 5], 10, 25)
    advance(second, [5, 2], 10, 25)
    for position, member in enumerate((2, 0)):
        for part in ("net", "adam"):
            one, other = (a.net if part == "net" else a for a in (first, second))
            found, expected = other.member_state(position), one.member_state(member)
            assert found.keys() == expected.keys()
            for key in found:
                assert found[key].tobytes() == expected[key].tobytes(), key


def test_a_saved_state_does_not_change_with_later_steps():
    adam = make([0], per_unit=True)
    draw_gradients(adam, [0], 0)
    adam.step()
    saved = adam.member_state(0)
    kept = {key: array.copy() for key, array in saved.items()}
    adam.step()
    for key in saved:
        np.testing.assert_array_equal(saved[key], kept[key])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99, 0.999])
def test_bias_corrections_come_from_a_table_that_ends_where_they_are_one(beta, dtype):
    table = bias_correction_table(beta, dtype, torch.device("cpu"))
    assert table.dtype == dtype
    steps = range(0, len(table), max(1, len(table) // 50))
    expected = torch.tensor([-math.expm1(t * math.log(beta)) for t in steps], dtype=torch.float64).to(dtype)
    torch.testing.assert_close(table[list(steps)], expected, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=0)
    assert table[0] == 0
    assert table[-1] == 1
    assert (table.diff() >= 0).all()


def test_the_table_by_hand():
    # 1 - 0.5^t
    assert bias_correction_table(0.5, torch.float64, torch.device("cpu"))[:5].tolist() == [0, 0.5, 0.75, 0.875, 0.9375]
    # beta 0: no average at all, nothing to correct from the first step on
    assert bias_correction_table(0.0, torch.float64, torch.device("cpu")).tolist() == [0, 1]


def test_steps_beyond_the_table_are_not_corrected():
    # 1 - 0.5^t is 1 in float32 from t = 25 on; with a constant gradient and no decay each step is lr g / (|g| + eps)
    adam = make([0], per_unit=True, dtype=torch.float32, beta1=0.5, beta2=0.5, weight_decay=0.0, eps=0.0)
    adam.grad.fill_(2.0)
    for _ in range(200):
        before = adam.net.views["0.weight"].clone()
        adam.step()
    moved = before - adam.net.views["0.weight"]
    torch.testing.assert_close(moved, torch.full_like(moved, SETTINGS["learning_rate"]), rtol=1e-3, atol=0)
