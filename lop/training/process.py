"""What a training process sets for itself before it starts any thread. None of it changes a number."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os

import torch

from lop.run.command import ConfigError
from lop.run.settings import TrainConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
FLOAT_BYTES = 4
VECTORS = 5  # as long as the parameters: they, their gradient, Adam's two moments, a copy for the weight change


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


def check_memory(config: TrainConfig) -> None:
    """ConfigError for a population that this machine could not hold even if it were alone."""
    there = memory_bytes(config.device)
    if there is not None and least_bytes(config) > there:
        raise ConfigError(
            f"ppo.hidden_sizes={list(config.ppo.hidden_sizes)} for {len(config.seeds)} seed(s) needs at least "
            f"{least_bytes(config) / 1e9:,.1f} GB, {config.device} has {there / 1e9:,.1f}: use smaller networks or fewer seeds"
        )


def least_bytes(config: TrainConfig) -> int:
    """What the parameters and one rollout's activations of all members take; more is needed."""
    hidden = list(config.ppo.hidden_sizes)
    weights = sum(a * b for a, b in itertools.pairwise(hidden))
    activations = 2 * config.ppo.steps_per_update * sum(hidden)
    return len(config.seeds) * FLOAT_BYTES * (2 * VECTORS * weights + activations)


def memory_bytes(device: str) -> int | None:
    """Memory of the CPU's machine or of a GPU; None if it cannot be told."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _keep_large_blocks() -> None:
    """Let malloc reuse blocks of up to 32 MB instead of mapping each anew: their page faults cost more than their use."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 512 << 20)
