"""A Lightning callback: margins of a LightningModule, or of a network inside it, in the trainer's loggers.

    Trainer(callbacks=[MarginCallback("net", every_steps=100)])

It works with `lightning` and with `pytorch_lightning`, and changes nothing in training. Under data parallelism the first
process watches its own share of the batches; sharded parameters (FSDP, DeepSpeed) cannot be probed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lop.monitor.monitor import MarginMonitor
from lop.monitor.schedule import Schedule, over_steps

if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        from pytorch_lightning import Callback


def first_of(batch: Any) -> Any:
    """The input of a usual batch: a tensor itself, or the first of a tuple or list (input, target)."""
    if isinstance(batch, (tuple, list)) and batch:
        batch = batch[0]
    if not isinstance(batch, (Tensor, np.ndarray)):
        raise TypeError(
            f"a batch of type {type(batch).__name__} has no obvious input: "
            'pass inputs=lambda batch: batch["x"], or a tuple for several arguments'
        )
    return batch


class MarginCallback(Callback):
    """Feeds a MarginMonitor with every training batch and logs what it computes.

    network: path of the network in the LightningModule, for instance "net" or "model.encoder"; "": the module itself.
    every_steps: optimiser steps between computations, or a schedule.
    inputs: from a batch (as training_step gets it) to what the network is called with, a tuple for several arguments.
    loss: loss(module, batch) gives a scalar; then the metrics that need gradients are computed too. It must not log.
    options: for MarginMonitor (buffer_size, epsilon, prefix, layers, ranks, ...).
    """

    def __init__(
        self,
        network: str = "",
        every_steps: int | Schedule = 100,
        inputs: Callable[[Any], Any] = first_of,
        loss: Callable[[Any, Any], Tensor] | None = None,
        **options: Any,
    ):
        super().__init__()
        if options.get("members") is not None:
            raise ValueError("MarginCallback watches one network; use MarginMonitor itself for members=")
        self.due = over_steps(every_steps, "every_steps")
        self.network, self.inputs, self.loss, self.options = network, inputs, loss, options
        self.monitor: MarginMonitor | None = None
        self.metrics: dict[str, float] = {}
        self._last_step = 0
        self._saved: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        return f"MarginCallback[{self.network}, {self.options.get('prefix', '')}]"

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        if self.monitor is None:
            self.monitor = MarginMonitor(pl_module.get_submodule(self.network), **self.options)
        if self._saved:
            self._last_step = int(self._saved["last_due"])
            state = {key: value.numpy() for key, value in self._saved.items() if key != "last_due"}
            self.monitor.load_member_state(0, state)
            self._saved = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        # before the step, which may change the batch in place
        if self.monitor is not None:
            seen = self.inputs(batch)
            self.monitor.observe(*(seen if isinstance(seen, tuple) else (seen,)))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step, loss = trainer.global_step, self.loss
        if self.monitor is None or not self.due(self._last_step, step):
            return
        self._last_step = step
        closure = None if loss is None else lambda: loss(pl_module, batch)
        self.metrics = cast(dict[str, float], self.monitor.compute(step, loss=closure))
        for logger in trainer.loggers:
            logger.log_metrics(self.metrics, step=step)

    def state_dict(self) -> dict[str, Any]:
        """The monitor's state as tensors, which torch.load reads without running code."""
        if self.monitor is None:
            return {}
        arrays = self.monitor.member_state() | {"last_due": np.array(self._last_step)}
        return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until training starts, when the monitor exists."""
        self._saved = dict(state_dict)
