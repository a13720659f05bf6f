"""compute(loss=..., curvature=True): cases worked by hand, dead units, untouched networks, wrong settings."""

from __future__ import annotations

import gc
import itertools
import random
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from lop.monitor import Curvature, MarginMonitor, always, surrogate
from lop.monitor.curvature import Products, curvature_scalars, exact_count
from lop.monitor.curvature.spectrum import dense


def perceptron(*sizes, seed=0, activation=nn.ReLU):
    torch.manual_seed(seed)
    layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


def test_of_one_weight_the_curvature_is_known():
    # L = mean (wx − y)² at x = 1, 2: L'' = 2·mean x² = 5; the GGN is the same, the model is linear
    net, x = nn.Linear(1, 1, bias=False), torch.tensor([[1.0], [2.0]])

    def at(epsilon):
        return curvature_scalars(
            net, lambda: F.mse_loss(net(x), x), Curvature(epsilon=epsilon, metrics=["ggn", "hessian"])
        )

    nothing = {"ggn_epsilon_rank": 0.0, "hessian_epsilon_rank": 0.0}
    errors = {"ggn_epsilon_rank_error": 0.0, "hessian_epsilon_rank_error": 0.0}
    assert at(5.1) == nothing | errors
    assert at(4.9) == dict.fromkeys(nothing, 1.0) | errors


def test_the_surrogate_at_ratio_1_has_the_curvature_of_the_policys_likelihood():
    # L = −A·exp(log π − log π_old), μ = w, σ = 1: ∂²L/∂μ² = −A·((a − μ)² − 1); a − μ = 2, A = −0.5: 1.5
    net, x = nn.Linear(1, 1, bias=False).double(), torch.ones(1, 1, dtype=torch.float64)
    action, advantage = net(x).detach() + 2, torch.tensor([-0.5], dtype=torch.float64)

    def loss():
        return surrogate(Normal(net(x), 1.0).log_prob(action).sum(-1), advantage)

    unit = torch.ones(1, 1, dtype=torch.float64)
    assert loss().item() == 0.5
    assert Products(net, loss).ggn(unit).item() == pytest.approx(1.5)
    assert Products(net, loss).hessian(unit).item() == pytest.approx(1.5)


def test_dead_units_leave_at_least_the_frozen_union_of_zero_eigenvalues(normals):
    net, x = perceptron(5, 8, 7, 2).double(), normals(60, 5, dtype=torch.float64)
    with torch.no_grad():
        net[0].bias[:] = 0.5
        net[2].bias[:] = 0.5
        net[0].bias[:3] = -50  # three dead units before two dead ones
        net[2].bias[5:] = -50
    monitor = MarginMonitor(net, buffer_size=60, curvature=Curvature(always, epsilon=1e-10))
    monitor.observe(x)

    def loss():
        return F.mse_loss(net(x), torch.ones(60, 2, dtype=torch.float64))

    row = monitor.compute(0, loss=loss)
    # in 3·5 + 3, out 3·7; in 2·8 + 2, out 2·2; the 3·2 weights between them once
    assert row["frozen_parameters"] == 18 + 21 + 18 + 4 - 6
    products, size = Products(net, loss), sum(p.numel() for p in net.parameters())
    like = torch.zeros((), dtype=torch.float64)
    for name in ("ggn", "hessian"):
        eigenvalues = torch.linalg.eigvalsh(dense(getattr(products, name), size, like))
        zeros = int((eigenvalues.abs() <= 1e-10).sum())
        assert zeros >= row["frozen_parameters"]
        assert row[f"{name}_epsilon_rank"] == (size - zeros) / size <= 1 - row["frozen_parameter_fraction"]


def test_the_side_of_the_outputs_counts_what_the_side_of_the_parameters_does(normals):
    net, x = perceptron(6, 12, 12, 2).double(), normals(20, 6, dtype=torch.float64)

    def loss():
        return surrogate(Normal(net(x), 0.3).log_prob(net(x).detach() + 0.5).sum(-1), x[:, 0])

    products, like = Products(net, loss), torch.zeros((), dtype=torch.float64)
    assert products.num_outputs == 40 < products.num_parameters  # the detached call takes no part
    exact = exact_count(dense(products.ggn, products.num_parameters, like), 0.1)
    found = curvature_scalars(net, loss, Curvature(metrics=["ggn"], exact_up_to=40))
    assert found["ggn_epsilon_rank"] == exact.count / products.num_parameters
    assert exact.count > 5


def test_lanczos_on_a_medium_network_is_near_the_exact_count(normals):
    net, x = perceptron(6, 14, 14, 3), normals(100, 6)
    labels = (x[:, :3].argmax(1) + (x[:, 3] > 1).long()) % 3

    def found(exact_up_to):
        settings = Curvature(metrics=["ggn", "hessian"], epsilon=3e-3, exact_up_to=exact_up_to, steps=40)
        return curvature_scalars(net, lambda: F.cross_entropy(net(x), labels), settings)

    exact, near = found(1000), found(0)
    for name in ("ggn_epsilon_rank", "hessian_epsilon_rank"):
        assert exact[f"{name}_error"] == 0 < exact[name]
        assert abs(near[name] - exact[name]) <= 3 * near[f"{name}_error"] + 0.1 * exact[name]


class Awkward(nn.Module):
    """Draws from three generators, writes to buffers even in evaluation mode, and fails on demand."""

    def __init__(self):
        super().__init__()
        self.fc, self.bn, self.out = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.fails_at = -1

    def forward(self, x):
        self.calls += 1
        if int(self.calls) == self.fails_at:
            raise RuntimeError("planned")
        x = F.dropout(torch.tanh(self.bn(self.fc(x))), 0.5, training=True)
        return self.out(x * random.random() * float(np.random.rand()))  # noqa: NPY002


def everything(net):
    tensors = [*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters())]
    return [
        [t.detach().clone() for t in tensors],
        [(id(t), t.requires_grad) for t in tensors],
        [m.training for m in net.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()],
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),  # noqa: NPY002
        [torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled],
        [torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()],
    ]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture
def awkward():
    torch.manual_seed(0)
    net = Awkward().train()
    net.bn.eval()
    net(torch.randn(8, 4)).sum().backward()
    net.calls.zero_()
    return net


@pytest.mark.parametrize("fails_at", [-1, 1])
def test_everything_is_as_before_also_after_an_error(awkward, fails_at, normals):
    monitor, x = MarginMonitor(awkward, curvature=Curvature()), normals(9, 4)
    monitor.observe(x)
    before = everything(awkward)

    def loss():
        return awkward(x).square().mean()

    rows = [monitor.compute(step, loss=loss, curvature=True) for step in range(2)]
    assert same(before, everything(awkward))
    # every run of the loss draws the same numbers, so that the second computation finds what the first one did
    assert [row["input_curvature"] for row in rows] == [rows[0]["input_curvature"]] * 2
    if fails_at == 1:
        awkward.fails_at = 1
        with pytest.raises(RuntimeError, match="planned"):
            curvature_scalars(awkward, loss, Curvature())
        assert same(before, everything(awkward))


def test_the_graph_is_freed(normals):
    net, x = perceptron(3, 4, 1), normals(5, 3)
    monitor, seen = MarginMonitor(net), []
    monitor.observe(x)

    def loss():
        out = net(x)
        seen.append(weakref.ref(out))
        return out.square().mean()

    monitor.compute(0, loss=loss, curvature=True)
    gc.collect()
    assert len(seen) == 1 + 1 + 1 + 2 * 3  # gradients, products, inputs as they are and moved both ways along each axis
    assert not any(ref() is not None for ref in seen)


def test_a_diverged_network_is_not_a_number_and_no_error(normals):
    net, x = perceptron(3, 4, 1), normals(5, 3)
    with torch.no_grad():
        net[2].weight.fill_(float("nan"))
    found = curvature_scalars(net, lambda: net(x).square().mean(), Curvature())
    assert all(np.isnan(found[key]) for key in ("ggn_epsilon_rank", "hessian_epsilon_rank", "input_curvature"))


def test_half_precision_parameters_are_counted_in_single(normals):
    net, x = perceptron(3, 4, 1).bfloat16(), normals(5, 3).bfloat16()
    found = curvature_scalars(net, lambda: net(x).float().square().mean(), Curvature(exact_up_to=0))
    assert 0 < found["ggn_epsilon_rank"] < 0.6


def test_wrong_settings_get_one_line():
    with pytest.raises(ValueError, match=r"\['gnn'\]: the curvature metrics are"):
        Curvature(metrics=["gnn"])
    with pytest.raises(ValueError, match="must be >= 1"):
        Curvature(steps=0)
