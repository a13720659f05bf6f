"""MarginMonitor on stacked populations: against brute force, bits, resume, planted pathology."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop.monitor import Event, MarginMonitor
from lop.monitor.ranks import RANKS


@pytest.mark.parametrize("hidden", [10, 100])
def test_every_statistic_equals_brute_force_in_float64(make_stacked, normals, brute_force, hidden):
    net, x = make_stacked(2, [5, hidden, hidden, 3]), normals(2, 60, 5)
    for bias in net.biases[:2]:
        bias -= 1.0  # some dead, some at risk
    monitor = MarginMonitor(net, buffer_size=60)
    monitor.observe(x)
    rows, report = monitor.compute(0), monitor.report()
    for m in range(2):
        h = x[m].double().numpy()
        for i in range(2):
            z = h @ net.weights[i][m].double().numpy().T + net.biases[i][m].double().numpy()
            slow, h = brute_force(z), np.maximum(z, 0)
            for name in ("dead", "at_risk", "alive", "always_on", "selective"):
                assert rows[m][f"margin/{name}_counts/layer_{i}"] == slow[name], name
            assert rows[m][f"margin/dead_points/layer_{i}"] == slow["dead_points"]
            assert rows[m][f"margin/dead_point_fractions/layer_{i}"] == slow["dead_points"] / 60
            assert rows[m][f"margin/mean_margins/layer_{i}"] == pytest.approx(
                np.mean(slow["margin"]), rel=1e-5, abs=1e-6
            )
            for tau in (0.025, 0.1):
                assert rows[m][f"dormant_counts_{tau}/layer_{i}"] == slow[f"dormant_{tau}"]
            for name in ("margin", "lowest", "activity", "mean_abs_activation"):
                assert report.units[i][name][m] == pytest.approx(slow[name], rel=1e-5, abs=1e-5), name
            norms = np.sqrt((net.weights[i][m].double().numpy() ** 2).sum(1))
            assert report.units[i]["weight_norm"][m] == pytest.approx(norms, rel=1e-6)
            assert report.units[i]["scale_free_margin"][m] == pytest.approx(slow["margin"] / norms, rel=1e-4, abs=1e-5)
            assert np.array_equal(report.units[i]["bias"][m], net.biases[i][m].double().numpy())
            sigma = np.linalg.svd(h, compute_uv=False)
            assert rows[m][f"stable_rank/layer_{i}"] == pytest.approx((sigma**2).sum() / sigma[0] ** 2, rel=1e-5)
        for i, w in enumerate(net.weights):
            assert rows[m][f"pol_weights/layer_{i}"] == pytest.approx(w[m].abs().double().mean().item(), rel=1e-6)


def pathological(make_stacked, normals):
    """Eight positive inputs; units 1, 4, 6 biased to −5; 2 and 3 beyond the data; ten samples that nothing fires on."""
    net = make_stacked(1, [8, 9, 4, 2])
    x = normals(1, 200, 8).abs() + 0.1
    x[0, 50:60] = 0.0  # at the origin only biases count
    weight, bias = net.weights[0][0], net.biases[0][0]
    weight.copy_(weight.abs() * 0.1)
    bias.fill_(-1e-3)
    bias[[1, 4, 6]] = -5.0
    weight[2], bias[2] = torch.eye(8)[0], -float(x[0, :, 0].max()) - 1.0
    weight[3], bias[3] = -torch.eye(8)[1], -0.5
    return net, x


def test_a_planted_pathology_is_reported_exactly_with_its_unit_numbers(make_stacked, normals):
    net, x = pathological(make_stacked, normals)
    monitor = MarginMonitor(net, buffer_size=200)
    monitor.observe(x)
    (row,) = monitor.compute(0)
    margin = monitor.report().units[0]["margin"][0]
    assert np.flatnonzero(margin <= 0).tolist() == [1, 2, 3, 4, 6]
    assert row["margin/dead_counts/layer_0"] == 5
    assert margin[2] == pytest.approx(-1.0, abs=1e-6)
    assert margin[3] == -0.5
    assert row["margin/dead_points/layer_0"] == 10
    assert row["margin/dead_point_fractions/layer_0"] == 0.05
    # five dead units of nine: 8 incoming, a bias, 4 outgoing each; and what is dead in the second layer, once
    dead = int((monitor.report().units[1]["margin"] <= 0).sum())
    assert row["frozen_parameters"] == 5 * (8 + 1 + 4) + dead * (9 - 5 + 1 + 2)


def test_deaths_and_revivals_are_reported_by_unit_with_margins_before_and_after(make_stacked, normals):
    net, x = make_stacked(2, [4, 6, 3, 1]), normals(2, 50, 4)
    for bias in net.biases:
        bias.fill_(1.0)
    monitor = MarginMonitor(net, buffer_size=50)
    monitor.observe(x)
    first = monitor.compute(0)
    assert monitor.report().events == [[], []]
    assert first[0]["margin/deaths/layer_0"] == 0
    before = monitor.report().units[0]["margin"][1, 4]
    net.biases[0][1, 4] = -100.0
    rows = monitor.compute(1)
    after = monitor.report().units[0]["margin"][1, 4]
    assert [row["margin/deaths/layer_0"] for row in rows] == [0, 1]
    assert Event(0, 4, "death", before, after) in monitor.report().events[1]
    assert monitor.report().events[0] == []
    net.biases[0][1, 4] = 1.0
    assert monitor.compute(2)[1]["margin/revivals/layer_0"] == 1
    assert Event(0, 4, "revival", after, before) in monitor.report().events[1]


def test_weight_change_is_counted_between_computes_and_first_from_construction(make_stacked, normals):
    net = make_stacked(2, [4, 6, 1])
    monitor = MarginMonitor(net)
    monitor.observe(normals(2, 5, 4))
    net.weights[1][1, 0, 3] += 2.0
    net.biases[0] += 1.0  # biases are not counted
    assert [row["weight_change"] for row in monitor.compute(0)] == pytest.approx([0.0, 2.0])
    net.weights[0][0, :2] -= 0.5
    assert [row["weight_change"] for row in monitor.compute(1)] == pytest.approx([2 * 4 * 0.5, 0.0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("hidden", [10, 100, 256])
@pytest.mark.parametrize("samples", [1000, 37])
def test_a_member_has_the_same_bits_alone_and_among_four(make_stacked, normals, hidden, samples, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        net, x = make_stacked(4, [27, hidden, hidden, 8]), normals(4, samples, 27)
        together = MarginMonitor(net, buffer_size=samples)
        together.observe(x)
        rows = together.compute(0, ranks=True)
        for group in ([0], [3], [1, 2]):
            few = MarginMonitor(net.take(group), buffer_size=samples)
            few.observe(x[group].clone())
            assert few.compute(0, ranks=True) == [rows[m] for m in group]
            for mine, all_units in zip(few.report().units, together.report().units, strict=True):
                assert all(np.array_equal(mine[name], all_units[name][group]) for name in all_units)
    finally:
        torch.set_num_threads(before)


def test_a_member_goes_on_identically_after_a_regroup(make_stacked, normals):
    net, x = make_stacked(4, [5, 20, 20, 2]), normals(4, 90, 5)
    net.biases[0] -= 1.5
    four = MarginMonitor(net, buffer_size=40, ranks=25)
    four.observe(x[:, :50])
    four.compute(20)
    states = [four.member_state(m) for m in range(4)]
    pair_net, group = net.take([2, 1]), [2, 1]
    for changed in (net, pair_net):
        changed.weights[0] *= 0.9
    pair = MarginMonitor(pair_net, buffer_size=40, ranks=25)
    for i, m in enumerate(group):
        pair.load_member_state(i, states[m])
    for monitor, members in ((four, slice(None)), (pair, group)):
        monitor.observe(x[members, 50:])
    rows, pair_rows = four.compute(27), pair.compute(27)
    assert pair_rows == [rows[m] for m in group]
    assert "srank/layer_0" in pair_rows[0]
    assert pair.report().events == [four.report().events[m] for m in group]
    assert any(pair.report().events)
    assert four.compute(49) == four.compute(49)
    assert "srank/layer_0" not in four.compute(49)[0]


def test_measuring_a_kept_copy_leaves_the_monitor_alone(make_stacked, normals):
    net, x = make_stacked(2, [5, 20, 20, 2]), normals(2, 90, 5)
    kept = net.take([0, 1])
    monitor = MarginMonitor(net, buffer_size=40)
    monitor.observe(x)
    net.weights[0] *= 0.5
    rows = monitor.compute(0)
    states = [monitor.member_state(m) for m in range(2)]
    other = MarginMonitor(kept, buffer_size=40)
    other.observe(x)
    expected = other.compute(0)
    measured = monitor.measure(x[:, -40:], network=kept)
    assert measured != rows
    assert set(measured[0]) < set(expected[0])
    assert all(measured[m][key] == expected[m][key] for m in range(2) for key in measured[m])
    assert monitor.measure(monitor.window())[0]["margin/mean_margins/layer_0"] == rows[0]["margin/mean_margins/layer_0"]
    for m, state in enumerate(states):
        again = monitor.member_state(m)
        assert state.keys() == again.keys()
        assert all(np.array_equal(state[k], again[k]) for k in state)


def test_names_that_dashboards_look_for(make_stacked, normals):
    net, x = make_stacked(1, [5, 20, 20, 2]), normals(1, 30, 5)
    actor, critic = MarginMonitor(net), MarginMonitor(net, prefix="critic/")
    actor.observe(x)
    critic.observe(x)
    (row,), (value_row,) = actor.compute(0), critic.compute(0)
    names = ("margin/dead_counts", "margin/at_risk_counts", "margin/mean_margins", *RANKS)
    for name in names:
        for i in range(2):
            assert type(row[f"{name}/layer_{i}"]) is float
            assert f"critic/{name}/layer_{i}" in value_row
    assert {f"pol_weights/layer_{i}" for i in range(3)} < set(row)
    assert {f"val_weights/layer_{i}" for i in range(3)} < set(value_row)
    assert row["margin/num_samples"] == 30
    assert "critic/weight_change" in value_row
    assert all(key.startswith(("critic/", "val_weights/")) for key in value_row)


def test_one_sick_member_is_reported_and_its_companion_untouched(make_stacked, normals):
    net, x = make_stacked(2, [5, 20, 20, 2]), normals(2, 30, 5)
    healthy = MarginMonitor(net.take([1]))
    healthy.observe(x[1:])
    net.weights[0][0, 3] = float("nan")
    monitor = MarginMonitor(net)
    monitor.observe(x)
    sick, well = monitor.compute(0)
    assert sick["margin/non_finite_counts/layer_0"] == 1
    assert sick["margin/non_finite_counts/layer_1"] == 20
    assert (
        sick["margin/alive_counts/layer_0"] + sick["margin/dead_counts/layer_0"] + sick["margin/at_risk_counts/layer_0"]
        == 19
    )
    assert np.isfinite(sick["margin/mean_margins/layer_0"])
    assert np.isfinite(sick["srank/layer_0"])
    assert sick["srank/layer_1"] == 0
    assert well == healthy.compute(0)[0] | {"weight_change": well["weight_change"]}


def test_wrong_use_gets_one_clear_line(make_stacked, normals):
    net = make_stacked(2, [5, 20, 20, 2])
    monitor = MarginMonitor(net)
    with pytest.raises(ValueError, match="nothing observed yet"):
        monitor.compute(0)
    with pytest.raises(ValueError, match="nothing computed yet"):
        monitor.report()
    bad = normals(2, 3, 5)
    bad[0, 1, 2] = float("nan")
    with pytest.raises(ValueError, match="1 of the 30 observed numbers are NaN or infinite"):
        monitor.observe(bad)
    monitor.observe(normals(2, 3, 5))
    with pytest.raises(ValueError, match=r"must have shape \[2, k, 5\], got \[2, 3, 6\]"):
        monitor.observe(normals(2, 3, 6))
