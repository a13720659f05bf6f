"""Runs that take a second: their settings, and what two runs must share to be the same run."""

from __future__ import annotations

from pathlib import Path

from lop.run.checkpoint import load_checkpoint

_SETTINGS = (
    "wandb.mode=disabled",
    "progress.interval_s=1000",
    "snapshots=4",
    "ppo.steps_per_update=128",
    "ppo.num_minibatches=4",
    "ppo.num_epochs=2",
    "ppo.hidden_sizes=[10,10]",
    "monitor.buffer_size=100",
)
#: of a run folder, what depends on configuration and seed alone; checkpoint and snapshots besides
FILES = ("metrics.jsonl", "tasks.jsonl", "episodes", "units", "events", "activity")
#: makes cbp's rare replacements happen often
BUSY_CBP = ("algo.replacement_rate=0.02", "algo.maturity_minibatches=5")


def small(*more: str) -> list[str]:
    """Settings of a small run, `key=value` each; `more` come after, or instead of one with the same key."""
    return list({word.partition("=")[0]: word for word in (*_SETTINGS, *more)}.values())


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that a run leaves and that must not depend on how it was run."""
    found = {name: (folder / name).read_bytes() for name in FILES}
    found |= {f"snapshots/{path.name}": path.read_bytes() for path in (folder / "snapshots").glob("*")}
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    found |= {f"checkpoint/{name}": array.tobytes() for name, array in checkpoint.tensors.items()}
    return found | {"checkpoint/meta": repr(checkpoint.meta).encode()}


def assert_same_run(one: Path, other: Path) -> None:
    """Both folders hold the same bytes."""
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
