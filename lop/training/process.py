"""What a training process sets for itself before it starts any thread. None of it changes a number."""

from __future__ import annotations

import contextlib
import ctypes

import torch

from lop.run.settings import ConfigError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def prepare_process(device: str) -> None:
    """Denormals, threads and memory for training on `device`; ConfigError if there is no such device."""
    # moments of dead units decay into denormals, which slow Adam down two-fold
    torch.set_flush_denormal(True)
    # with more, products are shared out differently for one member than for several, and so are their roundings;
    # for matrices of this size they would be slower as well
    torch.set_num_threads(1)
    _keep_large_blocks()
    index = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and index >= torch.cuda.device_count():
        raise ConfigError(f"device={device}: this machine has {torch.cuda.device_count()} CUDA devices, use device=cpu")


def _keep_large_blocks() -> None:
    """Let malloc reuse blocks of up to 32 MB instead of mapping each anew: their page faults cost more than their use."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 512 << 20)
