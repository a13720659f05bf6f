"""A process that observes and computes for ever stays as large as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, os, sys
import torch
from lop.monitor import MarginMonitor

torch.set_num_threads(1)
observes, computes = int(sys.argv[1]), int(sys.argv[2])
net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(),
                          torch.nn.Linear(32, 2))
monitor, observations = MarginMonitor(net, buffer_size=500), torch.randn(1000, 8)


def resident_kib():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def use(observes, computes):
    for i in range(observes):
        monitor.observe(observations[i % 1000])
        k, rest = divmod(i, observes // computes)
        if rest == 0:
            monitor.compute(ranks=k % 3 == 0, loss=(lambda: net(observations).square().mean()) if k % 4 == 0 else None)
            monitor.report()


use(2000, 100)
before = resident_kib()
use(observes, computes)
print(before, resident_kib())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    ("observes", "computes"),
    [(5_000, 100), pytest.param(1_000_000, 1_000, marks=pytest.mark.long)],
)
def test_the_process_grows_no_larger(observes, computes):
    words = [sys.executable, "-c", PROGRAM, str(observes), str(computes)]
    before, after = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    # an array of 8 KiB kept by each compute would be 800 KiB, eight bytes by each observation of the long run 8 MiB
    assert after - before < 768, f"{before} KiB before, {after} KiB after"
