"""Products with GGN and Hessian against dense matrices from explicit Jacobians, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.distributions import Categorical, Normal
from torch.func import functional_call
from torch.nn import functional as F

from lop.monitor.curvature import Products, surrogate


class Heads(nn.Module):
    """Two results in nested containers, a frozen parameter and one that nothing uses."""

    def __init__(self):
        super().__init__()
        self.body, self.policy, self.value = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)
        self.scale, self.unused = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return {"policy": self.policy(h) * self.scale, "rest": (self.value(h),)}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 2, batch_first=True), nn.Linear(2, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0])


def case(name, normals):
    """(module, what the loss is of its outputs, arguments of its calls)."""
    torch.manual_seed(0)
    x, y, a = (normals(7, n, seed=n, dtype=torch.float64) for n in (3, 2, 1))
    a = a[:, 0]
    if name == "heads":
        return Heads(), lambda o: F.mse_loss(o["policy"], y) + o["rest"][0].pow(4).mean(), [x]
    if name == "categorical":
        net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 3))
        return net, lambda o: surrogate(Categorical(logits=o).log_prob((a > 0).long()), a), [x]
    if name == "two calls":
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
        return net, lambda o, p: (o - 0.9 * p.detach() - p * o).square().mean(), [x, 1 - 2 * x]
    if name == "convolution":
        net = nn.Sequential(nn.Conv1d(3, 2, 2), nn.BatchNorm1d(2), nn.ELU(), nn.Flatten(), nn.Linear(6, 2))
        return net, lambda o: F.cross_entropy(o, (y[:4, 0] > 0).long()), [normals(4, 3, 4, dtype=torch.float64)]
    if name == "attention":
        layer = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.2, batch_first=True)
        return layer, lambda o: o.pow(3).mean(), [normals(2, 3, 4, dtype=torch.float64)]
    if name == "recurrent":
        return Recurrent(), lambda o: o.exp().mean(), [normals(2, 4, 3, dtype=torch.float64)]
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    if name == "gaussian":
        return net, lambda o: surrogate(Normal(o, 0.7).log_prob(y).sum(-1), a), [x]
    return net, lambda o: F.mse_loss(o, y), [x]


NAMES = ["squares", "gaussian", "categorical", "heads", "two calls", "convolution", "attention", "recurrent"]


def brute_force(module, loss_of, calls):
    """GGN and Hessian [P, P] from explicit Jacobians."""
    module = module.eval()
    params = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    sizes, shapes = [p.numel() for p in params.values()], [p.shape for p in params.values()]
    theta = torch.cat([p.flatten() for p in params.values()])

    def outputs(theta):
        pieces = [t.reshape(s) for t, s in zip(theta.split(sizes), shapes, strict=True)]
        return [functional_call(module, dict(zip(params, pieces, strict=True)), (x,)) for x in calls]

    tree, spec = torch.utils._pytree.tree_flatten(outputs(theta))

    def flat(theta):
        return torch.cat([t.flatten() for t in torch.utils._pytree.tree_leaves(outputs(theta))])

    def loss(f):
        pieces = f.split([t.numel() for t in tree])
        pieces = [p.reshape(t.shape) for p, t in zip(pieces, tree, strict=True)]
        return loss_of(*torch.utils._pytree.tree_unflatten(pieces, spec))

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        j = jacobian(flat, theta)
        return j.T @ hessian(loss, flat(theta).detach()) @ j, hessian(lambda t: loss(flat(t)), theta)


@pytest.mark.parametrize("name", NAMES)
def test_products_equal_dense_matrices(name, normals):
    module, loss_of, calls = case(name, normals)
    module.double()
    products = Products(module, lambda: loss_of(*(module(x) for x in calls)))
    ggn, hess = brute_force(module, loss_of, calls)
    v = normals(5, products.num_parameters, seed=3, dtype=torch.float64)
    assert torch.allclose(products.ggn(v), v @ ggn, rtol=1e-9, atol=1e-12)
    assert torch.allclose(products.hessian(v), v @ hess, rtol=1e-9, atol=1e-12)
    assert v.shape[1] == len(ggn)
    assert ggn.abs().max() > 1e-6 and not torch.allclose(ggn, hess, rtol=1e-3, atol=1e-6)


def test_parameters_in_the_loss_outside_the_network_count_in_the_hessian_alone(normals):
    net, x = nn.Linear(3, 1).double(), normals(5, 3, dtype=torch.float64)
    plain = Products(net, lambda: net(x).square().mean())
    decayed = Products(net, lambda: net(x).square().mean() + 0.5 * net.weight.square().sum())
    unit = torch.eye(4, dtype=torch.float64)
    assert torch.equal(plain.ggn(unit), decayed.ggn(unit))
    difference = decayed.hessian(unit) - plain.hessian(unit)
    assert torch.allclose(difference, torch.diag(torch.tensor([1.0, 1, 1, 0], dtype=torch.float64)))


def test_the_loss_may_be_any_python(normals):
    net, x = nn.Linear(3, 1).double(), normals(5, 3, dtype=torch.float64)

    def loss():
        out = net(x)
        target = torch.from_numpy(out.detach().numpy() * 0.5)
        return F.mse_loss(out, target) if out.sum().item() < 1e9 else out.sum()

    unit = torch.eye(4, dtype=torch.float64)
    with_ones = torch.cat([x, torch.ones(5, 1, dtype=torch.float64)], 1)
    assert torch.allclose(Products(net, loss).ggn(unit), 2 * with_ones.T @ with_ones / 5)


def test_a_loss_without_curvature_has_none(normals):
    net, x = nn.Linear(3, 1), normals(5, 3)
    products = Products(net, lambda: net(x).mean())
    assert not products.ggn(torch.eye(4)).any()
    assert not products.hessian(torch.eye(4)).any()


def test_the_ggn_can_be_split_at_the_part_that_the_loss_calls(normals):
    net, x = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), normals(5, 3)

    def loss():
        return net[1](net[0](x)).square().mean()  # never net(...)

    with pytest.raises(ValueError, match="name the part that it does call"):
        Products(net, loss).ggn(torch.eye(8))
    products = Products(net, loss, output="1")
    same = Products(net, lambda: net(x).square().mean())
    assert torch.allclose(products.ggn(torch.eye(8)), same.ggn(torch.eye(8)))
    with pytest.raises(ValueError, match="no module '11'"):
        Products(net, loss, output="11")


def test_a_loss_that_cannot_be_differentiated_is_an_error(normals):
    net, x = nn.Linear(3, 2), normals(5, 3)
    with pytest.raises(ValueError, match="must return a scalar"):
        Products(net, lambda: net(x))
    with pytest.raises(ValueError, match="must return a scalar"):
        Products(net, lambda: net(x).detach().sum())
    with pytest.raises(ValueError, match="that require gradients"):
        Products(net.requires_grad_(False), lambda: net(x).sum())
    assert not net._forward_hooks
