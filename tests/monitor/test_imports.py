from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import torch, numpy
before = set(sys.modules)
import lop.monitor
new = {name.partition(".")[0] for name in set(sys.modules) - before}
ours = {name for name in sys.modules if name.startswith("lop.") and not name.startswith("lop.monitor")}
print(sorted(new - set(sys.stdlib_module_names) - {"lop", "torch", "numpy"}), sorted(ours))
"""


def test_importing_the_monitor_brings_torch_and_numpy_and_nothing_else_of_ours():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] []"
