"""Every rule against the slope that autograd finds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lop.monitor import CRELU
from lop.monitor.activations import FLAT, rule_for
from lop.monitor.trace import Trace

MODULES = [
    nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.Hardtanh(-2.0, 0.5), nn.Hardsigmoid(), nn.Hardswish(), nn.ELU(),
    nn.ELU(0.3), nn.ELU(2.5),
    nn.CELU(), nn.CELU(0.4), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(),
    nn.Softplus(3.0), nn.LogSigmoid(), nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Hardshrink(), nn.Hardshrink(1.5),
    nn.Softshrink(), nn.Threshold(0.7, 0.0), nn.LeakyReLU(), nn.LeakyReLU(0.0), nn.PReLU(), nn.RReLU(),
]  # fmt: skip


def traced_rule(module, z):
    trace = Trace(module, {})
    with torch.no_grad(), trace.running():
        module.eval()(z)
    (record,) = trace.records
    return record.activation


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_drive_is_positive_exactly_where_the_function_has_slope(module):
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64).add(0.00037).requires_grad_()
    h = module.double().eval()(z)
    (slope,) = torch.autograd.grad(h.sum(), z)
    rule = traced_rule(module, z.detach())
    if not rule.can_die:
        assert (slope != 0).all()
        return
    on = rule.drive_of(z.detach()) > 0
    if rule.name in (
        "gelu",
        "silu",
        "mish",
        "hardswish",
    ):  # not monotone: no flat region is claimed above the threshold
        steep = slope.abs() > FLAT * slope.abs().max()
        first = int(steep.nonzero()[0])
        assert torch.equal(on, torch.arange(len(z)) >= first) or (on != (torch.arange(len(z)) >= first)).sum() <= 1
    else:
        assert (on != (slope.abs() > FLAT * slope.abs().max())).sum() <= 10  # the grid misses the steepest point
    assert not rule.non_negative or (h >= 0).all()


def test_relu_drive_is_the_pre_activation_itself_and_zero_is_not_on():
    rule = rule_for("relu")
    z = torch.tensor([-1.0, 0.0, 2.0])
    assert rule.drive_of(z) is z


def test_clamp_and_maximum_are_activations_only_when_they_rectify():
    assert rule_for("clamp_min", 0).name == "clamp_min"
    assert rule_for("clamp", min=0.0) is not None
    assert rule_for("clamp_min_", 0).drive is None
    assert rule_for("clip", min=torch.tensor(0)) is not None
    assert rule_for("clamp", -1, 1) is None
    assert rule_for("clamp", max=0) is None
    assert rule_for("clamp_min", 0.1) is None
    assert rule_for("clamp", 0, 6).drive_of(torch.tensor([-1.0, 2.0, 7.0])).tolist() == [-1.0, 2.0, -1.0]
    assert rule_for("maximum", torch.zeros(1)) is not None
    assert rule_for("maximum", torch.ones(1)) is None
    assert rule_for("max", 1) is None
    assert rule_for("add", 1) is None


def test_crelu_has_two_rectified_units_for_each_pre_activation():
    z = torch.tensor([[1.0, -2.0]])
    assert CRELU.drive_of(z).tolist() == [[1.0, -2.0, -1.0, 2.0]]
