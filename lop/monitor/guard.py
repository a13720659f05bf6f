"""Running a module without leaving a trace: modes, buffers and random state are put back, bit for bit."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards modes, buffers and random state are as before, also after an error.

    Parameters and gradients are the caller's duty: run under no_grad, or use autograd.grad. What a module keeps in
    plain attributes (a hidden state, a cache) cannot be put back.
    """
    with _eval_mode(module), _kept_buffers(module), _kept_random_state(module), _eager():
        yield


@contextlib.contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    # the flag itself: a module may override eval() with something that does more
    modes = [(child, child.training) for child in module.modules()]
    try:
        for child, _ in modes:
            child.training = False
        yield
    finally:
        for child, training in modes:
            child.training = training


@contextlib.contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    kept = [
        (child, name, buffer, buffer.detach().clone(), buffer._version)
        for child in module.modules()
        for name, buffer in child._buffers.items()
        if buffer is not None and not buffer.is_inference()
    ]
    try:
        yield
    finally:
        for child, name, buffer, copy, version in kept:
            child._buffers[name] = buffer
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(copy)


@contextlib.contextmanager
def _kept_random_state(module: nn.Module) -> Iterator[None]:
    tensors = [*module.parameters(), *module.buffers()]
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        for device, state in cuda:
            torch.cuda.set_rng_state(state, device)


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Compiled functions run as plain Python, so that their operations can be seen."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel wrappers."""
    while True:
        if isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        else:
            return module
