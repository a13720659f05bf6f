from __future__ import annotations

import pytest
import torch
from torch import nn

from lop.monitor import FiringBlocks, MarginMonitor
from lop.monitor.glossary import GLOSSARY, UNIT, markdown, row_of


@pytest.fixture
def everything():
    """Every key and every unit array that the monitor gives."""
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.LeakyReLU(), nn.Linear(6, 2))
    keys, units = set(), set()
    for prefix in ("", "critic/"):
        monitor = MarginMonitor(net, buffer_size=20, prefix=prefix, predictive=True)
        for name in ("a", "b", "c"):
            if task := monitor.task(name):
                keys |= task.summary().keys()
            monitor.observe(torch.randn(20, 4))
            keys |= monitor.compute(
                ranks=True, curvature=True, loss=lambda: net(torch.ones(3, 4)).square().sum()
            ).keys()
            units |= {key for layer in monitor.report().units for key in layer}
    blocks = FiringBlocks([4], block=2)
    blocks.add([torch.ones(1, 2, 4)])
    return keys | blocks.percent()[0].keys(), units


def test_every_key_has_a_row_and_every_row_a_key(everything):
    keys, units = everything
    used = {row_of(key) for key in keys}
    assert used == {row for row in GLOSSARY if row.scope != UNIT}
    assert units == {row.key for row in GLOSSARY if row.scope == UNIT}


def test_scopes_say_whether_a_key_ends_in_a_layer(everything):
    for key in everything[0]:
        assert (row_of(key).scope == "layer") == ("/layer_" in key), key


def test_an_unknown_key_is_an_error_and_the_table_has_a_line_for_each_row():
    with pytest.raises(KeyError, match="no glossary row"):
        row_of("margin/nothing/layer_0")
    assert len(markdown().splitlines()) == len(GLOSSARY) + 2
    assert len({(row.key, row.scope) for row in GLOSSARY}) == len(GLOSSARY)
