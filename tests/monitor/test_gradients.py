"""compute(loss=...): GraMa, gradient norms and KFAC factors against gradients taken by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop.monitor import MarginMonitor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv1d(2, 5, 2), nn.Linear(15, 6), nn.Linear(6, 1)
        self.w = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        x = F.relu(self.conv(x)).flatten(1)
        x = F.relu(self.fc(x), inplace=True)
        return self.out(torch.tanh(x @ self.w))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net().double()
    with torch.no_grad():
        net.conv.bias[3] = -50.0
        net.fc.bias[2] = -50.0
    return net


def test_gradients_of_units_and_weights_equal_those_taken_by_hand(net, normals):
    x = normals(20, 2, 4, dtype=torch.float64)
    monitor, other = MarginMonitor(net), nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    monitor.observe(x)
    row = monitor.compute(0, loss=lambda: (other(net(x)) - 1).square().mean())
    report = monitor.report()

    z0 = net.conv(x)
    h0 = F.relu(z0)
    h1 = F.relu(net.fc(h0.flatten(1)))
    z2 = h1 @ net.w
    h2 = torch.tanh(z2)
    loss = (other(net.out(h2)) - 1).square().mean()
    wanted = torch.autograd.grad(loss, [h0, h1, h2, z2, net.conv.weight, net.fc.weight, net.w])
    magnitudes = [wanted[0].abs().mean((0, 2)), wanted[1].abs().mean(0), wanted[2].abs().mean(0)]
    norms = [wanted[4].flatten(1).norm(dim=1), wanted[5].norm(dim=1), wanted[6].norm(dim=0)]
    for i in range(3):
        assert report.units[i]["mean_abs_gradient"] == pytest.approx(magnitudes[i].numpy())
        assert report.units[i]["gradient_norm"] == pytest.approx(norms[i].numpy())
        assert row[f"gradient_norms/layer_{i}"] == pytest.approx(norms[i].mean().item())
        score = magnitudes[i] / magnitudes[i].mean()
        for tau in (0.025, 0.1):
            assert row[f"grama_counts_{tau}/layer_{i}"] == int((score <= tau).sum())
    sigma = np.linalg.svd(wanted[3].numpy(), compute_uv=False)
    p = sigma**2 / (sigma**2).sum()
    assert row["kfac_gradient_rank/layer_2"] == pytest.approx(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))
    sigma = np.linalg.svd(h1.detach().numpy(), compute_uv=False)
    p = sigma**2 / (sigma**2).sum()
    assert row["kfac_input_rank/layer_2"] == pytest.approx(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))
    # a dead unit's weights get no gradient
    assert report.units[0]["gradient_norm"][3] == 0
    assert report.units[1]["gradient_norm"][2] == 0


def test_nothing_of_it_is_there_without_a_loss_and_nothing_changes_with_one(net, normals):
    x = normals(20, 2, 4, dtype=torch.float64)
    net(x).sum().backward()
    before = [(p.detach().clone(), p.grad.clone()) for p in net.parameters()]
    monitor = MarginMonitor(net)
    monitor.observe(x)
    plain = monitor.compute(0)
    assert not any(key.startswith(("grama", "gradient", "kfac")) for key in plain)
    assert plain.items() <= monitor.compute(0, ranks=True, loss=lambda: net(x).mean()).items()
    assert all(torch.equal(p, a) and torch.equal(p.grad, g) for p, (a, g) in zip(net.parameters(), before, strict=True))
    assert net.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_an_unreached_layer_has_none_and_a_wrong_loss_is_an_error(net, normals, make_stacked):
    x = normals(20, 2, 4, dtype=torch.float64)
    monitor = MarginMonitor(net)
    monitor.observe(x)
    row = monitor.compute(0, loss=lambda: net.conv(x).sum() + net.fc.weight.sum())
    assert not any(key.startswith("grama") for key in row)
    with pytest.raises(ValueError, match="must return a scalar"):
        monitor.compute(1, loss=lambda: net(x))
    stacked = MarginMonitor(make_stacked(1, [3, 4, 1]))
    stacked.observe(normals(1, 5, 3))
    with pytest.raises(ValueError, match="needs a single"):
        stacked.compute(0, loss=lambda: torch.zeros(()))
