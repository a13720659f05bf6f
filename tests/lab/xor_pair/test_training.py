from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lop.lab.xor_pair import network, starts
from lop.lab.xor_pair.training import ALIVE, REASONS, train

POINTS = torch.tensor(network.POINTS, dtype=torch.float64)
LABELS = torch.tensor(network.LABELS, dtype=torch.float64)


class Watchdog:
    """The monitor of the study, once more, point by point and unit by unit."""

    def __init__(self) -> None:
        self.dead, self.lost = [0] * 4, [0] * 2

    @torch.no_grad()
    def act(self, layer: nn.Linear) -> None:
        z = layer(POINTS)
        for n in range(4):
            wrong = (float(z[n].clamp(min=0).sum()) > 0.5) != (LABELS[n] == 1)
            self.dead[n] = self.dead[n] + 1 if bool((z[n] <= 0).all()) and wrong else 0
        for j in range(2):
            away = abs(float(layer.bias[j])) / float(layer.weight[j].norm())
            self.lost[j] = self.lost[j] + 1 if away > 1.4 else 0
        for n in range(4):
            if self.dead[n] > 5:
                z_n = layer(POINTS[n])
                j = int((z_n.abs() / layer.weight.norm(dim=1)).argmin())
                layer.weight[j] += max(0.0, 1e-4 - float(z_n[j])) / 2 * POINTS[n]
                self.dead[n] = 0
        for j in range(2):
            if self.lost[j] > 3:
                layer.bias[j] = 0
                self.lost[j] = 0


def plain_loop(start: Tensor, max_epochs: int, mend: bool) -> tuple[Tensor, int, str]:
    """One run with nn.Linear and torch.optim.Adam: parameters at the end, epochs, reason."""
    layer = nn.Linear(2, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(start[:, :2])
        layer.bias.copy_(start[:, 2])
    adam = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.9, 0.99))
    watchdog, best, unimproved = Watchdog(), float("inf"), 0
    for epoch in range(1, max_epochs + 1):  # noqa: B007
        adam.zero_grad()
        loss = F.mse_loss(layer(POINTS).relu().sum(-1), LABELS)
        loss.backward()
        if mend:
            watchdog.act(layer)
        adam.step()
        reason = None
        if best - loss.item() > 1e-24:
            best, unimproved = loss.item(), 0
        else:
            unimproved += 1
        if loss.item() < 1e-7:
            reason = "converged"
        elif unimproved >= 10 and not mend:
            reason = "stalled"
        if reason:
            break
    end = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
    return end, epoch, reason or "ran out"


@pytest.mark.parametrize(("mend", "max_epochs"), [(False, 800), (False, 60), (True, 150)])
def test_runs_equal_those_of_a_plain_loop_with_torchs_adam(mend, max_epochs):
    begun = starts.normal(0, 8).parameters
    trained = train(begun, network.RELU, max_epochs, mend)
    found = [REASONS[reason] for reason in trained.reason.tolist()]
    for run in range(8):
        end, epochs, reason = plain_loop(begun[..., run], max_epochs, mend)
        assert (int(trained.epochs[run]), found[run]) == (epochs, reason)
        torch.testing.assert_close(trained.end[..., run], end, rtol=1e-9, atol=1e-9)
    # the cases that the loop is there to tell apart do occur
    expected = {(False, 800): {"converged", "stalled"}, (False, 60): {"stalled", "ran out"}}
    assert expected.get((mend, max_epochs), set()) <= set(found)
    assert not mend or int(trained.nudges.sum()) > 0


@pytest.mark.parametrize(
    ("activation", "mend"),
    [(network.RELU, False), (network.RELU, True), (network.leaky(0.01), False), (network.ELU, False)],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_run_alone_gives_the_bits_it_gives_in_company(activation, mend, dtype):
    begun = starts.normal(0, 37).parameters.to(dtype)
    together = train(begun, activation, 250, mend)
    for members in (torch.tensor([5]), torch.tensor([36]), torch.arange(3, 20)):
        apart = train(begun[..., members], activation, 250, mend)
        for name, value in vars(apart).items():
            assert torch.equal(value, getattr(together, name)[..., members]), name


def test_training_leaves_the_starts_as_they_were():
    begun = starts.normal(0, 5).parameters
    before = begun.clone()
    train(begun, network.RELU, 20, mend=True)
    assert torch.equal(begun, before)


def test_dead_since_tells_the_start_a_death_and_a_life_apart():
    # both units fire at x₁ < 0 only, for ever after: the points (1, ∓1) are dead from the start
    half = torch.tensor([[-0.5, 0, 0], [-0.5, 0, 0]], dtype=torch.float64)
    # a mirror pair across the solution and long: all four points die on the way (see failures.in_trap)
    across = torch.tensor([[0.8, 0.81, 0], [-0.8, -0.81, 0]], dtype=torch.float64)
    solved = torch.tensor([[0.6, -0.5, 0], [-0.6, 0.5, 0]], dtype=torch.float64)
    since = train(torch.stack([half, across, solved], dim=-1), network.RELU, 400).dead_since
    assert since[[1, 3], 0].tolist() == [0, 0]
    assert 0 < int(since[1, 1]) == int(since[2, 1]) < int(since[0, 1])
    assert since[[1, 2], 2].tolist() == [ALIVE, ALIVE]


def test_what_cannot_die_is_never_dead():
    assert (train(starts.normal(0, 30).parameters, network.leaky(0.01), 50).dead_since == ALIVE).all()


def test_a_watcher_sees_every_step_of_every_run_and_none_after_its_end():
    seen: list[tuple[int, int]] = []
    last = torch.zeros(2, 3, 6, dtype=torch.float64)

    def watch(epoch: int, index: Tensor, parameters: Tensor) -> None:
        seen.extend((run, epoch) for run in index.tolist())
        last[..., index] = parameters

    trained = train(starts.normal(0, 6).parameters, network.RELU, 800, watch=watch)
    assert sorted(seen) == [(run, epoch) for run in range(6) for epoch in range(1, int(trained.epochs[run]) + 1)]
    assert torch.equal(last, trained.end)
