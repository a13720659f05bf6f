from __future__ import annotations

import pytest
import torch

from lop.monitor import cost


def test_a_table_of_four_networks_is_printed(capsys, monkeypatch):
    # the large ones take seconds even on few samples
    monkeypatch.setattr(cost, "NETWORKS", {name: lambda: cost.perceptron(16) for name in cost.NETWORKS})
    cost.main(["--samples", "20", "--rounds", "1", "--curvature"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "milliseconds, N = 20, one thread, medians of 1 rounds"
    assert lines[2] == (
        "| network | forward | default | + ranks | + gradients | + predictive | observe 1 | observe 20 | + curvature |"
    )
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {name}" for name in cost.NETWORKS]
    assert all(float(cell) for line in lines[4:] for cell in line.strip("| ").split(" | ")[1:])


@pytest.mark.parametrize("name", cost.NETWORKS)
def test_every_network_of_the_table_can_be_measured_in_every_way(name):
    net, shape = cost.NETWORKS[name]()
    calls = cost.calls_of(net, shape, samples=2, curvature=False)
    row = calls["default"]()
    assert row["margin/num_samples"] == (32 if name == "transformer block" else 2)  # sixteen tokens a sample
    assert "srank/layer_0" not in row
    assert "srank/layer_0" in calls["ranks"]()
    with torch.random.fork_rng():
        assert "grama_counts_0.1/layer_0" in calls["gradients"]()
    assert "margin/will_die_counts/layer_0" in calls["predictive"]() | calls["predictive"]()
