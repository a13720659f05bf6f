from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lop.lab.xor_pair import network

AUTOGRAD = {
    "relu": (network.RELU, F.relu),
    "leaky": (network.leaky(0.1), lambda z: F.leaky_relu(z, 0.1)),
    "elu": (network.ELU, F.elu),
    "absolute": (network.ABSOLUTE, torch.abs),
}
POINTS = torch.tensor(network.POINTS, dtype=torch.float64)
LABELS = torch.tensor(network.LABELS, dtype=torch.float64)


def one_member(*units: tuple[float, float, float]) -> Tensor:
    return torch.tensor(units, dtype=torch.float64)[..., None]


def test_output_and_loss_of_a_network_worked_by_hand():
    # unit 1: x₁ + 0.5, unit 2: −x₂; points (−1, −1), (1, −1), (−1, 1), (1, 1)
    parameters = one_member((1, 0, 0.5), (0, -1, 0))
    z = network.pre_activations(parameters)
    assert z[:, :, 0].tolist() == [[-0.5, 1], [1.5, 1], [-0.5, -1], [1.5, -1]]
    y = network.outputs(z, network.RELU)
    assert y[:, 0].tolist() == [1, 2.5, 0, 1.5]
    # errors 1, 1.5, −1, 1.5: squares 1 + 2.25 + 1 + 2.25 = 6.5
    assert network.loss(network.errors(y)).tolist() == [6.5 / 4]
    assert network.right(y)[:, 0].tolist() == [False, True, False, False]


def test_the_mirror_pair_of_the_absolute_difference_solves_xor():
    y = network.outputs(network.pre_activations(one_member((0.5, -0.5, 0), (-0.5, 0.5, 0))), network.RELU)
    assert y[:, 0].tolist() == [0, 1, 1, 0]
    assert network.right(y).all()


def test_an_output_of_exactly_one_half_says_0():
    y = torch.full((4, 1), 0.5)
    assert network.right(y)[:, 0].tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", AUTOGRAD)
def test_gradient_equals_autograd(name):
    activation, function = AUTOGRAD[name]
    parameters = torch.randn(2, 3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z = network.pre_activations(parameters)
    found = network.gradient(z, network.errors(network.outputs(z, activation)), activation)
    for member in range(50):
        leaf = parameters[..., member].clone().requires_grad_()
        loss = F.mse_loss(function(F.linear(POINTS, leaf[:, :2], leaf[:, 2])).sum(-1), LABELS)
        loss.backward()
        torch.testing.assert_close(found[..., member], leaf.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", AUTOGRAD)
def test_slopes_at_zero_are_those_of_torch(name):
    activation, function = AUTOGRAD[name]
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    function(zero).sum().backward()
    assert activation.slope(zero.detach()).item() == zero.grad.item()
