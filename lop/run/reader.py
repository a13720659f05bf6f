"""Reading a run without a trainer: its rows, records, tensors, and its policy as an ordinary torch module.

    run = read_run("runs/ant/cbp/seed_0")
    run.metrics["margin/dead_counts/layer_0"]     # numpy [U], one entry an update
    run.unit_field("margin")                      # float16 [U, H]
    policy = load_policy(run)                     # nn.Sequential, float32

Everything is read when first asked for, and once; read the run again to see what a running trainer added.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lop.run.checkpoint import Checkpoint, Tensors, load_checkpoint, read_tensors
from lop.run.files import RunError, disk
from lop.run.owner import read_owner
from lop.run.records import read_jsonl, read_meta, read_records
from lop.run.store import RUN_JSON, RUN_VERSION, SNAPSHOTS, snapshot_step, stretches

if TYPE_CHECKING:
    import torch

NETWORK = "net/"  # a checkpoint holds the network's parameters under this prefix, beside everything else
_ROWS = ("metrics.jsonl", "timing.jsonl", "tasks.jsonl")


def read_run(folder: str | os.PathLike[str]) -> Run:
    """The run in `folder`. Errors: RunError if there is no run.json, or one of another format."""
    run = Run(Path(folder))
    if run.info.get("format") != RUN_VERSION:
        raise RunError(f"{run.folder / RUN_JSON}: format {run.info.get('format')}, this program reads {RUN_VERSION}")
    if not isinstance(run.configuration, dict) or not isinstance(run.info.get("layers"), list):
        raise RunError(f"{run.folder / RUN_JSON} is damaged: it has no configuration or no layers")
    return run


def list_runs(root: str | os.PathLike[str]) -> list[Path]:
    """Folders below `root` (itself included) that hold a run, sorted."""
    found = []
    for folder, below, files in os.walk(root):
        if RUN_JSON in files:
            found.append(Path(folder))
            below.clear()
    return sorted(found)


def natural(name: str) -> list[list[tuple[bool, str | int]]]:
    """A key that sorts paths of runs folder by folder, and seed_2 before seed_10."""
    folders = [re.split(r"([0-9]+)", folder) for folder in name.split("/")]
    return [[(not part.isdecimal(), int(part) if part.isdecimal() else part) for part in parts] for parts in folders]


def computing_seconds(row: dict[str, Any]) -> float:
    """What the update of one row of timing.jsonl took, saving aside; 0 for other rows."""
    return sum(row.get(part, 0.0) for part in ("collect_s", "learn_s", "observe_s"))


def columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Rows as one array [n] per key; where a row lacks a number: NaN."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys}


class Run:
    """One run folder. U updates; H = units of all hidden actor layers, one layer after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @functools.cached_property
    def info(self) -> dict[str, Any]:
        """run.json: configuration, versions, layers."""
        with disk("read", self.folder / RUN_JSON):
            text = (self.folder / RUN_JSON).read_bytes()
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise RunError(f"{self.folder / RUN_JSON} is damaged: {error}") from error

    @property
    def configuration(self) -> dict[str, Any]:
        """The resolved configuration that the run was started with."""
        return self.info.get("configuration", {})

    @property
    def layers(self) -> list[int]:
        """Units of each hidden actor layer."""
        return self.info["layers"]

    @property
    def owner(self) -> dict[str, Any] | None:
        """Who has the folder or had it last, and how that ended; see lop.run.owner. Read anew each time."""
        return read_owner(self.folder)

    @functools.cached_property
    def metrics_rows(self) -> list[dict[str, Any]]:
        """metrics.jsonl, one dictionary an update."""
        return self._rows("metrics.jsonl")

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """metrics.jsonl by key, [U] each."""
        return columns(self.metrics_rows)

    @functools.cached_property
    def timing(self) -> list[dict[str, Any]]:
        """timing.jsonl: what depended on the clock or the host; work done again after a kill appears again."""
        return self._rows("timing.jsonl")

    @property
    def stretches(self) -> list[dict[str, Any]]:
        """global_step and versions of each process that worked on the run."""
        return stretches(self.timing)

    @functools.cached_property
    def tasks(self) -> list[dict[str, Any]]:
        """tasks.jsonl: a row per task start and end."""
        return self._rows("tasks.jsonl")

    @functools.cached_property
    def episodes(self) -> np.ndarray:
        """Finished episodes [n]; fields: lop.run.tables.EPISODES."""
        return read_records(self.folder / "episodes")

    @functools.cached_property
    def events(self) -> np.ndarray:
        """Deaths and revivals [n]; fields: lop.run.tables.EVENTS."""
        return read_records(self.folder / "events")

    @functools.cached_property
    def units(self) -> np.ndarray:
        """Per update: global_step, update, values [7, H] (lop.run.tables.UNIT_FIELDS)."""
        return read_records(self.folder / "units")

    @functools.cached_property
    def activity(self) -> np.ndarray:
        """Per finished block of 1000 env steps: global_step (its last), counts [H]."""
        return read_records(self.folder / "activity")

    def unit_field(self, name: str, layer: int | None = None) -> np.ndarray:
        """One quantity of every unit and update, float16 [U, H], or [U, units of `layer`]."""
        fields = read_meta(self.folder / "units")["fields"]
        if name not in fields:
            raise RunError(f"no unit field {name!r}; there are {', '.join(fields)}")
        return self.units["values"][:, fields.index(name), self.layer_slice(layer)]

    def layer_slice(self, layer: int | None) -> slice:
        """Where a layer's units stand among the H; None: all."""
        if layer is None:
            return slice(None)
        start = sum(self.layers[:layer])
        return slice(start, start + self.layers[layer])

    def checkpoint(self) -> Checkpoint | None:
        """The newest sound checkpoint. Errors: CheckpointError."""
        return load_checkpoint(self.folder)

    @property
    def snapshots(self) -> dict[int, Path]:
        """Snapshot files by step, ascending; of several at one step the first by name."""
        paths = sorted((self.folder / SNAPSHOTS).glob("*"), reverse=True)
        found = {step: path for path in paths if (step := snapshot_step(path)) is not None}
        return dict(sorted(found.items()))

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return read_jsonl(self.folder / name)


def load_policy(run: Run | str | os.PathLike[str], step: int | None = None) -> torch.nn.Sequential:
    """The policy mean of a run as Linear, ReLU, ..., Linear in float32, on the CPU.

    step: of a snapshot or of the checkpoint; None: the latest there is. Errors: RunError naming the steps there are.
    """
    run = run if isinstance(run, Run) else read_run(run)
    return policy_from(weights_at(run, step)[1])


def policy_from(tensors: Mapping[str, np.ndarray]) -> torch.nn.Sequential:
    """Linear, ReLU, ..., Linear from `actor.{l}.weight` [out, in] and `actor.{l}.bias` [out], l = 0, 1, ..."""
    import torch

    modules: list[torch.nn.Module] = []
    while (name := f"actor.{len(modules) // 2}.weight") in tensors:
        weight, bias = tensors[name], tensors[name.replace("weight", "bias")]
        # on "meta" no initial weights are drawn from the global generator
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, torch.nn.ReLU()]
    if not modules:
        raise RunError(f"no tensor actor.0.weight; there are {', '.join(sorted(tensors)) or 'none'}")
    return torch.nn.Sequential(*modules[:-1])


def weights_at(run: Run, step: int | None = None) -> tuple[int, Tensors]:
    """The step, and one member's parameters by name, of a snapshot or of the checkpoint; None: the latest there is.

    Names: `actor.{l}.weight` [outputs, inputs], `actor.{l}.bias`, the same for the critic, `log_std` [A].
    Errors: RunError naming the steps there are.
    """
    snapshots, checkpoint = run.snapshots, run.checkpoint()
    steps: list[int] = sorted({*snapshots, *([checkpoint.meta["global_step"]] if checkpoint else [])})
    wanted = max(steps, default=None) if step is None else step
    if wanted is None or wanted not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise RunError(f"{run.folder} has no weights of step {'any' if step is None else step}; there are: {there}")
    if checkpoint and wanted == checkpoint.meta["global_step"]:
        return wanted, {name.removeprefix(NETWORK): array for name, array in checkpoint.tensors.items()}
    return wanted, read_tensors(snapshots[wanted]).tensors
