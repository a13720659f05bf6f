"""Input curvature against Hessians of one sample's loss at a time, by torch.func in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian

from lop.monitor.curvature import input_curvature


def mean_trace(loss_of_one, samples):
    """E_x Tr(H_x²), one sample at a time."""
    total = 0.0
    for x in samples:
        h = hessian(loss_of_one, x).reshape(x.numel(), x.numel())
        total += float(torch.trace(h @ h))
    return total / len(samples)


def test_of_a_line_it_is_4_w_to_the_fourth():
    # ℓ = (wx − y)², H = 2w² = 18, Tr(H²) = 324 at every x
    net = nn.Linear(1, 1, bias=False).double()
    net.weight.data.fill_(3.0)
    x = torch.tensor([[1.0], [2.0], [-4.0]], dtype=torch.float64)
    assert input_curvature(net, lambda: (net(x) - 1).square().mean()) == pytest.approx(324)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 3)])
def test_small_inputs_are_exact(shape, normals):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(math.prod(shape), 6), nn.Tanh(), nn.Linear(6, 2)).double()
    x = normals(8, *shape, dtype=torch.float64)

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.flatten(1))

    flat = Flat()
    exact = mean_trace(lambda one: (net(one.flatten()) - 1).pow(4).mean(), x)
    assert input_curvature(flat, lambda: (flat(x) - 1).pow(4).mean()) == pytest.approx(exact, rel=1e-4)


def test_of_larger_inputs_it_is_estimated_from_fixed_signs(normals):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(34, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = normals(50, 34, dtype=torch.float64)
    exact = mean_trace(lambda one: net(one).square().mean(), x)

    def found(**options):
        return input_curvature(net, lambda: net(x).square().mean(), **options)

    assert found() == pytest.approx(exact, rel=0.15)
    assert found(probes=300) == pytest.approx(exact, rel=0.04)
    assert found() == found() != found(seed=1)


def test_several_inputs_and_a_module_that_writes_to_them(normals):
    class Two(nn.Module):
        def forward(self, a, *, rest):
            b, tokens = rest["b"], rest["tokens"]
            a.mul_(2)  # (2a)·b and so on
            return a[:, 0] ** 2 * b[:, 0] + tokens.double()

    net, out = Two(), nn.Linear(1, 1).double()
    a, b = normals(6, 1, dtype=torch.float64), normals(6, 1, seed=2, dtype=torch.float64)
    tokens = torch.ones(6, dtype=torch.long)
    kept = a.clone()
    found = input_curvature(net, lambda: (net(a * 1, rest={"b": b, "tokens": tokens}) + out.weight[0]).mean())
    # f = 4a²b: H = [[8b, 8a], [8a, 0]], Tr(H²) = 64b² + 128a²
    assert found == pytest.approx(float((64 * b**2 + 128 * a**2).mean()), rel=1e-5)
    assert torch.equal(a, kept)


def test_only_the_call_that_the_loss_depends_on_is_moved(normals):
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, following = normals(9, 2, dtype=torch.float64), normals(9, 2, seed=5, dtype=torch.float64)

    def bootstrapped():
        target = net(following).detach()
        return (net(x) - target).square().mean()

    fixed = net(following).detach()
    wanted = input_curvature(net, lambda: (net(x) - fixed).square().mean())
    assert input_curvature(net, bootstrapped) == pytest.approx(wanted, rel=1e-9)


def test_tokens_have_none_and_what_cannot_be_found_is_an_error(normals):
    net = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 1))
    tokens = torch.tensor([0, 1, 2])
    assert math.isnan(input_curvature(net, lambda: net(tokens).sum()))
    with pytest.raises(ValueError, match="never calls the watched module"):
        input_curvature(net, lambda: net[1](net[0](tokens)).sum())
    assert input_curvature(net, lambda: net[1](net[0](tokens)).sum(), input="1") == 0


def test_inputs_of_different_lengths_are_an_error(normals):
    class Odd(nn.Module):
        def forward(self, a, b):
            return a.sum() * b.square().sum()

    net, weight = Odd(), nn.Linear(1, 1).weight
    with pytest.raises(ValueError, match=r"first axis of all inputs, got shapes \[\[3, 2\], \[2, 3\]\]"):
        input_curvature(net, lambda: net(normals(3, 2), normals(2, 3)) * weight.sum())
