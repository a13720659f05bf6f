"""docs/monitor.md says what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

import lop.monitor
from lop.monitor import MarginMonitor
from lop.monitor.glossary import GLOSSARY, markdown

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "monitor.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_glossary_is_the_one_that_the_code_prints():
    assert GUIDE.endswith("\n\n" + markdown()), (
        "run: python -m lop.monitor.glossary, and put it at the end of the guide"
    )


def test_every_name_that_the_examples_import_exists():
    names = [
        (node.module, alias.name)
        for block in BLOCKS
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert len(names) > 8
    for module, name in names:
        if module == "lop.monitor":
            assert hasattr(lop.monitor, name), name
        else:
            path = ROOT / (module.replace(".", "/") + ".py")
            assert f"class {name}(" in path.read_text(), (module, name)


def test_every_metric_of_the_reading_table_is_in_the_glossary():
    table = GUIDE.partition("## How to read the numbers")[2].partition("## A worked diagnosis")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    keys = {row.key for row in GLOSSARY}
    assert len(named) > 15
    for name in named:
        assert name in keys or name.startswith("_") or name.endswith("_*"), name


def test_the_schedules_of_the_guide_work():
    (block,) = [block for block in BLOCKS if "log_spaced(3)" in block]
    torch.manual_seed(0)
    net, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)), torch.randn(30, 3)
    scope = {"net": net, "x": x, "y": x.sum(1, keepdim=True), "F": torch.nn.functional, "step": 0}
    setup, first, by_hand = block.partition("metrics = ")[0], *re.findall(r"^metrics = .*$", block, re.MULTILINE)
    exec(setup, scope)
    scope["monitor"].observe(x)
    exec(first, scope)
    assert {"srank/layer_0", "grama_counts_0.1/layer_0", "ggn_epsilon_rank"} <= scope["metrics"].keys()
    scope["step"] = 1
    exec(by_hand, scope)
    assert "srank/layer_0" in scope["metrics"]
    assert not {"grama_counts_0.1/layer_0", "ggn_epsilon_rank"} & scope["metrics"].keys()


def test_the_rules_of_the_guide_work():
    (block,) = [block for block in BLOCKS if 'Activation("sine"' in block]

    class Sines(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 4)

        def forward(self, x):
            return torch.sin(self.fc(x))

    scope = {"net": Sines(), "MyGate": torch.nn.Softmax, "torch": torch}
    exec(block, scope)
    monitor = scope["monitor"]
    assert isinstance(monitor, MarginMonitor)
    monitor.observe(torch.zeros(2, 3))
    monitor.compute(0)
    assert [info.operation for info in monitor.layers] == ["sine"]


@pytest.mark.parametrize("path", ["examples/cleanrl_ppo.py", "examples/diagnosis.py", "scripts/monitor_cost_sb3.py"])
def test_files_that_the_guide_names_are_there(path):
    assert path in GUIDE
    assert (ROOT / path).is_file()
