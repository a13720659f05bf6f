"""The loop: exactness in company, nothing but the task where λ = 0, and a slow second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lop.lab.symmetry.data import VALIDATE, Task
from lop.lab.symmetry.measure import measure
from lop.lab.symmetry.network import Population
from lop.lab.symmetry.settings import Member, Seeds, Settings
from lop.lab.symmetry.training import train


def plainly_trained(settings: Settings, seeds: Seeds) -> Population:
    """One network and its task, in a loop that has never heard of symmetry."""
    population, task = Population(1, settings), Task(settings, seeds)
    population.initialise([seeds])
    adam = torch.optim.AdamW([population.flat], lr=settings.learning_rate, weight_decay=0.0, fused=True)
    for epoch in range(settings.epochs):
        points = task.epoch(epoch)
        for first in range(0, settings.num_train, settings.batch_size):
            rows = slice(first, first + settings.batch_size)
            x, y = torch.from_numpy(points.x[rows])[None], torch.from_numpy(points.y[rows])[None]
            for weight, bias in zip(population.weights[:-1], population.biases[:-1], strict=True):
                x = torch.relu(torch.baddbmm(bias[:, None], x, weight))
            said = torch.baddbmm(population.biases[-1][:, None], x, population.weights[-1])[..., 0]
            population.backward((said - y).square().mean(1).sum())
            adam.step()
    return population


@pytest.mark.parametrize("layer", [None, -1, 1])
def test_with_no_weight_training_equals_one_without_symmetry_code_bit_for_bit(small, layer):
    trained = train(small, [Member(Seeds.of(5), layer, 0.0)])
    assert torch.equal(trained.population.flat, plainly_trained(small, Seeds.of(5)).flat)


def test_with_no_weight_it_does_so_in_company_too(small, mixed):
    trained = train(small, mixed)
    plain = plainly_trained(small, Seeds.of(42)).flat[0]
    assert torch.equal(trained.population.flat[0], plain)
    assert torch.equal(trained.population.flat[4], plain)
    assert not torch.equal(trained.population.flat[2], plain)


@pytest.mark.parametrize(("hidden_dim", "early_stop"), [(20, 0), (33, 0), (64, 2)])
def test_a_member_is_the_same_alone_and_in_company(small, mixed, hidden_dim, early_stop):
    settings = Settings(**{**vars(small), "hidden_dim": hidden_dim, "early_stop": early_stop, "learning_rate": 3e-3})
    together = train(settings, mixed)
    rows = measure(together)
    for m, member in enumerate(mixed):
        alone = train(settings, [member])
        assert torch.equal(alone.population.flat[0], together.population.flat[m])
        assert str(alone.history[0]) == str(together.history[m])
        assert str(measure(alone)[0]) == str(rows[m])


def by_hand(settings: Settings, member: Member, network: nn.Sequential) -> None:
    """The same training with an ordinary module, torch's own loss and optimiser, and the formula of the symmetry loss."""
    task = Task(settings, member.seeds)
    depth = len(network) if member.layer == -1 else 2 * (member.layer or 0)
    adam = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    for epoch in range(settings.epochs):
        points = task.epoch(epoch)
        weight = member.lambda_max * (1 - math.cos(math.pi * epoch / (settings.epochs - 1))) / 2
        for first in range(0, settings.num_train, settings.batch_size):
            rows = slice(first, first + settings.batch_size)
            x, y = torch.from_numpy(points.x[rows]), torch.from_numpy(points.y[rows])
            one, two = (network[:depth](torch.from_numpy(copy[rows])) for copy in points.rotated)
            symmetry = sum(((a - b) ** 2).sum() / 2 for a, b in zip(one, two, strict=True)) / len(x)
            adam.zero_grad()
            (nn.functional.mse_loss(network(x)[:, 0], y) + weight * symmetry).backward()
            adam.step()


@pytest.mark.parametrize("layer", [1, 2, -1])
def test_training_agrees_with_an_ordinary_module_and_the_formula(small, layer):
    member = Member(Seeds(1, 2, 3), layer, 2.0)
    first = Population(1, small)
    first.initialise([member.seeds])
    network = first.member(0)
    by_hand(small, member, network)
    ours = train(small, [member]).population.member(0)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=2e-5, rtol=1e-4, msg=name)


def test_the_first_weights_are_those_of_torch_and_follow_the_model_seed(small):
    population = Population(3, Settings(hidden_dim=100, num_hidden_layers=2))
    population.initialise([Seeds(1, 1, 1), Seeds(2, 1, 3), Seeds(1, 2, 1)])
    assert torch.equal(population.flat[0], population.flat[1])
    assert not torch.equal(population.flat[0], population.flat[2])
    # nn.Linear: uniform on ±1/√fan_in, weights and biases
    for layer, fan_in in ((0, 3), (1, 100)):
        for leaf in (population.weights[layer][0], population.biases[layer][0]):
            assert 0.9 / math.sqrt(fan_in) < leaf.abs().max().item() <= 1 / math.sqrt(fan_in)
    assert population.weights[2][0, :, 1].abs().max() == 0


def test_a_symmetry_loss_lowers_the_orbit_variance_of_its_layer(small):
    settings = Settings(**{**vars(small), "epochs": 10, "learning_rate": 5e-3})
    seeds = Seeds.of(11)
    members = [Member(seeds, None, 0.0), *(Member(seeds, layer, 30.0) for layer in (1, 2, -1))]
    rows = measure(train(settings, members))
    for m, column in enumerate(("orbit_variance_1", "orbit_variance_2", "orbit_variance_out"), start=1):
        assert rows[m][column] < 0.9 * rows[0][column]
        assert rows[m]["test_sym_loss"] == rows[m][column]


def test_early_stopping_keeps_the_weights_of_the_best_epoch(small):
    settings = Settings(**{**vars(small), "epochs": 30, "early_stop": 3, "learning_rate": 0.02})
    trained = train(settings, [Member(Seeds.of(seed), -1, 1.0) for seed in range(4)])
    assert any(len(history) < 30 for history in trained.history)
    for m, (task, history) in enumerate(zip(trained.tasks, trained.history, strict=True)):
        losses = [row["validation_task_loss"] for row in history]
        assert trained.best_epoch[m] == int(np.argmin(losses))
        assert len(history) == min(30, trained.best_epoch[m] + 3 + 1)
        points = task.held_out(VALIDATE)
        with torch.no_grad():
            said = trained.population.member(m)(torch.from_numpy(points.x))[:, 0].numpy()
        assert np.square(said - points.y).mean() == pytest.approx(min(losses), rel=1e-4)


def test_no_global_generator_is_touched(small, mixed):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    measure(train(small, mixed))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_measured_units_and_ranks_are_those_of_the_activations(small, mixed):
    trained = train(small, mixed)
    row = measure(trained)[3]
    network, x = trained.population.member(3), torch.from_numpy(trained.tasks[3].held_out(1).x)
    with torch.no_grad():
        z = network[:3](x)
    assert row["dead_2"] == (z.amax(0) <= 0).sum()
    assert row["mean_margin_2"] == pytest.approx(z.amax(0).mean().item(), rel=1e-5)
    sigma = torch.linalg.svdvals(z.relu().double())
    p = sigma[sigma > 0] / sigma.sum()
    assert row["effective_rank_2"] == pytest.approx(math.exp(-(p * p.log()).sum()), rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_nearly_the_same(small, mixed):
    here, there = measure(train(small, mixed)), measure(train(small, mixed, "cuda"))
    for a, b in zip(here, there, strict=True):
        assert b["test_task_loss"] == pytest.approx(a["test_task_loss"], rel=1e-3)
