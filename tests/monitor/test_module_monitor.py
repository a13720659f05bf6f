"""MarginMonitor on ordinary modules: planted pathology, layer choice, wrong use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lop.monitor import MarginMonitor


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 2))


def test_a_planted_pathology_is_reported_exactly_with_its_unit_numbers(mlp, normals):
    x = normals(200, 8).abs() + 0.1
    x[50:60] = 0.0  # at the origin only biases count: ten dead points
    with torch.no_grad():
        weight, bias = mlp[0].weight, mlp[0].bias
        weight.abs_().mul_(0.1)
        bias.fill_(-1e-3)
        bias[[1, 4, 6]] = -5.0
        weight[2], bias[2] = torch.eye(8)[0], -x[:, 0].max() - 1.0
        weight[3], bias[3] = -torch.eye(8)[1], -0.5
    monitor = MarginMonitor(mlp, buffer_size=200)
    for chunk in x.split(7):
        monitor.observe(chunk)
    row, report = monitor.compute(0), monitor.report()
    assert np.flatnonzero(report.units[0]["margin"] <= 0).tolist() == [1, 2, 3, 4, 6]
    assert row["margin/dead_counts/layer_0"] == 5
    assert row["margin/dead_points/layer_0"] == 10
    assert row["margin/dead_point_fractions/layer_0"] == 0.05
    with torch.no_grad():
        mlp[0].bias[4] = 1.0
    assert monitor.compute(1)["margin/revivals/layer_0"] == 1
    assert [(e.unit, e.kind) for e in monitor.report().events if e.layer == 0] == [(4, "revival")]


def test_one_dimensional_observations_are_single_samples(mlp, normals):
    x = normals(30, 8)
    single, batch = MarginMonitor(mlp, 20), MarginMonitor(mlp, 20)
    for row in x:
        single.observe(row)
    batch.observe(x.numpy())
    assert torch.equal(single.window(), x[-20:])
    assert single.compute(0) == batch.compute(0)


def test_a_stacked_population_and_its_members_as_modules_agree(make_stacked, normals):
    net, x = make_stacked(2, [5, 20, 12, 3]), normals(2, 50, 5)
    stacked = MarginMonitor(net)
    stacked.observe(x)
    rows = stacked.compute(0)
    for m in range(2):
        layers = []
        for weight, bias in zip(net.weights, net.biases, strict=True):
            layers += [nn.Linear(weight.shape[2], weight.shape[1]), nn.ReLU()]
            layers[-2].load_state_dict({"weight": weight[m], "bias": bias[m]})
        single = MarginMonitor(nn.Sequential(*layers[:-1]))
        single.observe(x[m])
        row = single.compute(0)
        assert row.keys() == rows[m].keys()
        assert row == pytest.approx(rows[m], rel=1e-5, abs=1e-5)


def test_layers_are_chosen_by_number_by_activation_and_by_weights(mlp, normals):
    x = normals(30, 8)
    whole = MarginMonitor(mlp)
    whole.observe(x)
    row = whole.compute(0)
    for wanted in ([1], ["3"], ["2"]):
        some = MarginMonitor(mlp, layers=wanted)
        some.observe(x)
        chosen = some.compute(0)
        assert [info.path for info in some.layers] == ["3"]
        assert chosen["margin/mean_margins/layer_0"] == row["margin/mean_margins/layer_1"]
        assert not any(key.endswith("layer_1") for key in chosen)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.act, self.unused = nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.ReLU())

    def forward(self, x):
        return self.act(self.trunk(x))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["unused"], "was not called in the forward pass"),
        (["unused.1"], "was not called"),
        (["trnk"], "did you mean 'trunk'"),
        (["nothing like it"], "no such layer"),
        ([1], "layers 0 to 0"),
    ],
)
def test_a_layer_that_does_not_exist_or_was_not_called_is_an_error(normals, wanted, message):
    monitor = MarginMonitor(Branches(), layers=wanted)
    monitor.observe(normals(3, 4))
    with pytest.raises(ValueError, match=message):
        monitor.compute(0)


def test_wrong_use_gets_one_clear_line(mlp, normals):
    monitor = MarginMonitor(mlp)
    with pytest.raises(ValueError, match="nothing observed yet"):
        monitor.compute(0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        monitor.observe(normals(3, 8) / 0)
    assert monitor.inputs.count == 0
    monitor.observe(normals(3, 8))
    with pytest.raises(ValueError, match=r"must have shape \[1, k, 8\], got \[1, 3, 7\]"):
        monitor.observe(normals(3, 7))
    with pytest.raises(ValueError, match="watches the inputs"):
        monitor.observe(normals(3, 8), normals(3, 8))
    with pytest.raises(ValueError, match="same number of samples"):
        MarginMonitor(mlp).observe(normals(3, 8), normals(4, 8))
    with pytest.raises(TypeError, match=r"must be an nn.Module or a stacked network, got builtin_function_or_method"):
        MarginMonitor(torch.relu)
    with pytest.raises(ValueError, match="buffer_size must be >= 1"):
        MarginMonitor(mlp, buffer_size=0)
    plain = MarginMonitor(nn.Linear(8, 2))
    plain.observe(normals(3, 8))
    with pytest.raises(ValueError, match="no activation was found in Linear"):
        plain.compute(0)
    with pytest.raises(ValueError, match="no tensor or array"):
        monitor.observe()


def test_a_network_with_nan_weights_is_counted_and_nothing_else_is_lost(mlp, normals):
    monitor = MarginMonitor(mlp)
    monitor.observe(normals(50, 8))
    with torch.no_grad():
        mlp[0].weight[2] = float("nan")
        mlp[0].bias[5] = float("inf")
    row = monitor.compute(0, ranks=True)
    assert row["margin/non_finite_counts/layer_0"] == 2
    assert sum(row[f"margin/{k}_counts/layer_0"] for k in ("dead", "at_risk", "alive")) == 7
    for key in ("margin/mean_margins", "activity", "srank", "effective_rank", "margin/mean_scale_free_margins"):
        assert np.isfinite(row[f"{key}/layer_0"]), key


def test_a_saved_monitor_goes_on_as_if_nothing_had_happened(mlp, normals):
    first = MarginMonitor(mlp, buffer_size=20)
    first.observe(normals(33, 8))
    first.compute(5)
    second = MarginMonitor(mlp, buffer_size=20)
    with torch.no_grad():
        mlp[0].bias -= 1.0
    second.load_member_state(0, first.member_state())
    for monitor in (first, second):
        monitor.observe(normals(4, 8, seed=9))
    assert first.compute(6) == second.compute(6)
    assert first.report().events == second.report().events
    assert first.report().events


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_network_on_a_gpu_gives_the_numbers_of_the_cpu(mlp, normals):
    x = normals(100, 8)
    here, there = MarginMonitor(mlp), None
    here.observe(x)
    expected = here.compute(0)
    there = MarginMonitor(mlp.cuda())
    there.observe(x)
    assert there.window().is_cuda
    assert there.compute(0) == pytest.approx(expected, rel=1e-4, abs=1e-4)
