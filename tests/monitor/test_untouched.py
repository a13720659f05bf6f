"""Observing changes nothing, bit for bit, also when the network fails; and it does not grow."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop.monitor import MarginMonitor


class Awkward(nn.Module):
    """Draws from three generators, writes to buffers even in evaluation mode, and fails on demand."""

    def __init__(self):
        super().__init__()
        self.fc, self.bn, self.drop = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.frozen, self.out = nn.Linear(6, 6), nn.Linear(6, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))
        self.fail = False

    def forward(self, x):
        self.calls += 1
        self.last = x.mean(0)[:2]
        x = self.drop(F.relu(self.bn(self.fc(x))))
        x = x + torch.randn_like(x) * random.random() * float(np.random.rand())  # noqa: NPY002
        if self.fail:
            raise RuntimeError("planned")
        return self.out(F.dropout(F.relu(self.frozen(x)), 0.5, training=True))


def everything(net: nn.Module) -> list[object]:
    tensors = [*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters())]
    hooks = [
        len(getattr(m, name))
        for m in net.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_backward_hooks")
    ]
    return [
        [None if t is None else (t.detach().clone(), t.requires_grad) for t in tensors],
        [id(t) for t in net.buffers()],
        [m.training for m in net.modules()],
        hooks,
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),  # noqa: NPY002
        torch.is_grad_enabled(),
    ]


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture
def awkward():
    torch.manual_seed(0)
    net = Awkward().train()
    net.frozen.eval()
    net.frozen.requires_grad_(False)
    net(torch.randn(8, 4)).sum().backward()
    return net


def test_everything_is_as_before_after_computing(awkward, normals):
    monitor, before = MarginMonitor(awkward, buffer_size=16), everything(awkward)
    for step in range(3):
        monitor.observe(normals(5, 4, seed=step))
        monitor.compute(step, ranks=True)
        monitor.report()
    assert same(before, everything(awkward))


def test_everything_is_as_before_when_the_forward_raises(awkward, normals):
    monitor, before = MarginMonitor(awkward, buffer_size=16), everything(awkward)
    monitor.observe(normals(5, 4))
    awkward.fail = True
    with pytest.raises(RuntimeError, match="planned"):
        monitor.compute(0)
    assert same(before, everything(awkward))
    awkward.fail = False
    monitor.compute(0)
    assert same(before, everything(awkward))


def test_hooks_of_others_stay_and_run(awkward, normals):
    seen = []
    handle = awkward.fc.register_forward_hook(lambda *_: seen.append(1))
    monitor = MarginMonitor(awkward)
    monitor.observe(normals(5, 4))
    monitor.compute(0)
    assert len(awkward.fc._forward_hooks) == 1
    assert seen == [1]
    handle.remove()


@pytest.mark.parametrize("watched", [True, False])
def test_training_with_the_monitor_is_training_without(watched, normals, tmp_path):
    """Run with and without; the second run compares with what the first one left, kept on the function itself."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    optimizer, monitor = torch.optim.Adam(net.parameters(), 1e-2), MarginMonitor(net, buffer_size=30)
    for step in range(20):
        x = torch.randn(32, 4)
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if watched:  # between backward and step, where a slip would hurt most
            monitor.observe(x)
            monitor.compute(step, ranks=True)
        optimizer.step()
    result = [t.detach().clone() for t in net.state_dict().values()]
    earlier = _RESULTS.setdefault("training", result)
    assert all(torch.equal(a, b) for a, b in zip(earlier, result, strict=True))


_RESULTS: dict[str, list[torch.Tensor]] = {}


def test_observations_are_copied_and_never_changed(normals):
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True)), normals(5, 4)
    kept, monitor = x.clone(), MarginMonitor(net)
    monitor.observe(x)
    x += 100.0
    first = monitor.compute(0, ranks=False)
    assert torch.equal(monitor.window(), kept)
    assert {**monitor.compute(1, ranks=False)} == first


def test_hundreds_of_computes_leave_no_tensor_and_no_object_behind(normals):
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    monitor, x = MarginMonitor(net, buffer_size=50), normals(1000, 4)

    def rounds(n):
        for step in range(n):
            monitor.observe(x[step % 900])
            monitor.observe(x)
            monitor.compute(step, ranks=step % 50 == 0)
        gc.collect()
        return sum(type(o) is torch.Tensor for o in gc.get_objects()), len(gc.get_objects())

    rounds(50)
    tensors, objects = rounds(50)
    more_tensors, more_objects = rounds(300)
    assert more_tensors <= tensors
    assert more_objects <= objects + 50
