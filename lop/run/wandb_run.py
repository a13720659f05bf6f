"""How a run folder and its run at wandb belong together; shared by the tracker and by lop.boards.

`wandb.json` in the run folder, the sidecar, keeps the run's id at wandb, the last step that was logged, and whether it went
online. It never holds a key.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lop.run.files import disk, lock
from lop.run.store import RUN_JSON

SIDECAR = "wandb.json"
VERSION = 1
#: of a row of tasks.jsonl, what is sent beside the next row of metrics, as task/start_... and task/end_...
TASK_KEYS = ("dead_counts", "mean_margins")
SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,  # a remote's address may hold a token
    "disable_code": True,
    "x_disable_stats": True,
}


def about_run(
    folder: Path, group: str, config: dict[str, Any], project: str, entity: str | None, tags: Sequence[str]
) -> dict[str, Any]:
    """How a run folder is shown at wandb: arguments of wandb.init. `label`, algo[-name], is what boards group by."""
    return {
        "name": f"{group}/{folder.name}",
        "group": group,
        "config": {**config, "label": group.partition("/")[2] or group},
        "project": project,
        "entity": entity,
        "tags": list(tags),
    }


def define_axis(run: Any) -> None:
    """Makes global_step the x-axis of everything that the wandb run logs."""
    run.define_metric("global_step")
    run.define_metric("*", step_metric="global_step")


def images(pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """PNG files as what wandb logs. Errors: ImportError without pillow."""
    import wandb
    from PIL import Image

    return {key: wandb.Image(Image.open(io.BytesIO(png))) for key, png in pictures.items()}


def task_columns(tasks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Rows of tasks.jsonl as columns of the next row of metrics: task/start_dead_counts/layer_0 and so on."""
    columns = {}
    for row in tasks:
        for key in (key for key in row if key.startswith("margin/")):
            name, _, layer = key.removeprefix("margin/").partition("/")
            if name in TASK_KEYS:
                columns[f"task/{row['event']}_{name}/{layer}"] = row[key]
    return columns


def read_sidecar(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """id, last_step and mode of the folder's wandb run; None if there is none that can be read."""
    try:
        content = json.loads((Path(folder) / SIDECAR).read_bytes())
        mode = "online" if content.get("mode") == "online" else "offline"
        return {"format": VERSION, "id": str(content["id"]), "last_step": int(content["last_step"]), "mode": mode}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_sidecar(folder: Path, sidecar: dict[str, Any]) -> None:
    """Puts wandb.json in place. Errors: RunError (disk)."""
    # not fsynced, once an update: what a lost machine forgets here is at worst a row sent twice
    path = folder / SIDECAR
    temporary = path.with_name(path.name + ".tmp")
    with disk("write", path):
        temporary.write_text(json.dumps(sidecar) + "\n")
        os.replace(temporary, path)


def new_sidecar(group: str) -> dict[str, Any]:
    """That of a run which wandb does not know yet, with a new id."""
    readable = re.sub(r"[^\w-]+", "-", group)
    return {"format": VERSION, "id": f"{readable}-{secrets.token_hex(6)}", "last_step": -1, "mode": "offline"}


@contextlib.contextmanager
def sending(folder: Path) -> Iterator[bool]:
    """Keeps others from sending what the run folder holds; yields False if another process is at it."""
    with disk("open", folder / RUN_JSON):
        try:
            descriptor = os.open(folder / RUN_JSON, os.O_RDWR)
        except FileNotFoundError:  # nobody can have found the run yet
            yield True
            return
    try:
        yield lock(descriptor) is not False
    finally:
        os.close(descriptor)
