from __future__ import annotations

import pytest
import torch
from torch import nn

from lop.monitor import MarginMonitor, always, any_of, at_tasks, calls, every, log_spaced, never
from lop.monitor.schedule import Clock, is_due, over_steps


def due_steps(schedule, steps):
    previous, found = None, []
    for step in steps:
        if schedule(previous, step):
            found.append(step)
        previous = step
    return found


def test_every_is_due_in_the_first_call_at_or_past_each_multiple():
    updates = range(2048, 50_000, 2048)
    assert due_steps(every(10_000), updates) == [2048, 10_240, 20_480, 30_720, 40_960]
    assert due_steps(every(3), range(8)) == [0, 3, 6]


def test_log_spaced_grows_rarer():
    assert due_steps(log_spaced(1), range(1, 2000)) == [1, 10, 100, 1000]


def test_always_and_never():
    assert due_steps(always, range(3)) == [0, 1, 2]
    assert due_steps(never, range(3)) == []


def test_an_impossible_interval_is_refused():
    with pytest.raises(ValueError, match=">= 1"):
        every(0)


def test_a_schedule_can_count_computations_in_place_of_steps():
    clocks = [Clock(step, call) for call, step in enumerate(range(0, 700, 100))]
    previous = [None, *clocks]
    found = [now.call for before, now in zip(previous, clocks, strict=False) if is_due(calls(3), before, now)]
    assert found == [0, 3, 6]
    found = [now.call for before, now in zip(previous, clocks, strict=False) if is_due(250, before, now)]
    assert found == [0, 3, 5]  # at 0, 300 and 500


def test_any_of_joins_schedules_of_different_kinds():
    both = any_of(at_tasks, 1000)
    assert is_due(both, None, Clock(0))
    assert is_due(both, Clock(10, 0, 0), Clock(20, 1, 1))  # a task began
    assert is_due(both, Clock(990, 0, 1), Clock(1010, 1, 1))  # 1000 was passed
    assert not is_due(both, Clock(20, 0, 1), Clock(30, 1, 1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def groups(row):
    """Which groups of metrics a row holds."""
    keys = {"ranks": "srank/layer_0", "weights": "weight_change", "gradients": "gradient_norms/layer_0"}
    keys |= {"curvature": "ggn_epsilon_rank"}
    assert "margin/dead_counts/layer_0" in row
    return {group for group, key in keys.items() if key in row}


def test_each_group_of_metrics_follows_its_own_schedule(net):
    monitor = MarginMonitor(net, ranks=20, weights=calls(3), gradients=calls(2), curvature=at_tasks)
    monitor.observe(torch.randn(10, 2))

    def loss():
        return net(torch.ones(4, 2)).square().mean()

    found = [groups(monitor.compute(step, loss=loss)) for step in (0, 10, 20)]
    assert found == [{"ranks", "weights", "gradients", "curvature"}, set(), {"ranks", "gradients"}]
    monitor.task("b")
    monitor.observe(torch.randn(10, 2))
    assert groups(monitor.compute(30)) == {"weights"}
    # without a loss nothing was due, so it still is; a computation by hand needs no schedule
    assert groups(monitor.compute(35, loss=loss)) == {"gradients", "curvature"}
    assert groups(monitor.compute(36, loss=loss, gradients=False, curvature=True)) == {"curvature"}
    assert groups(monitor.compute(37, ranks=True, weights=True)) == {"ranks", "weights"}


def test_the_weight_change_is_that_since_it_was_last_computed(net):
    monitor = MarginMonitor(net, weights=calls(2))
    monitor.observe(torch.randn(10, 2))
    monitor.compute(0)
    for step in (1, 2):
        with torch.no_grad():
            net[0].weight[0, 0] += 0.5
        row = monitor.compute(step)
        assert ("weight_change" in row) == (step == 2)
    assert row["weight_change"] == pytest.approx(1.0)
    never_kept = MarginMonitor(net, weights=never)
    never_kept.observe(torch.randn(10, 2))
    assert "weight_change" not in never_kept.compute(0)


def test_schedules_go_on_after_loading(net):
    options = {"ranks": calls(2), "gradients": calls(2)}
    first, second = MarginMonitor(net, **options), MarginMonitor(net, **options)

    def loss():
        return net(torch.ones(4, 2)).square().mean()

    first.observe(torch.randn(10, 2))
    first.compute(0, loss=loss)
    second.load_member_state(0, first.member_state())
    assert [groups(monitor.compute(1, loss=loss)) for monitor in (first, second)] == [{"weights"}] * 2
    assert [groups(monitor.compute(2, loss=loss)) for monitor in (first, second)] == [
        {"ranks", "weights", "gradients"}
    ] * 2


def test_a_group_that_needs_a_loss_says_so(net):
    monitor = MarginMonitor(net)
    monitor.observe(torch.randn(10, 2))
    with pytest.raises(ValueError, match=r"curvature=True.*needs loss="):
        monitor.compute(0, curvature=True)
    # a refused computation leaves no trace
    assert "srank/layer_0" in monitor.compute(0)


def test_what_counts_steps_alone_refuses_schedules_over_calls_and_tasks():
    assert over_steps(10, "every_steps")(9, 10)
    assert over_steps(never, "every_steps") is never
    with pytest.raises(ValueError, match="every_steps takes a number of steps"):
        over_steps(calls(3), "every_steps")
