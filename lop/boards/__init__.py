"""wandb boards as code, and offline runs sent to wandb: `python -m lop.boards push|sync`. Needs the extra `[boards]`."""

from __future__ import annotations

import importlib.util

NEEDS = ("wandb", "wandb_workspaces", "orjson", "safetensors")


def check_extra() -> None:
    """Errors: ImportError, in one line, if a package of the extra is missing."""
    missing = [package for package in NEEDS if importlib.util.find_spec(package) is None]
    if missing:
        names = ", ".join(name.replace("_", "-") for name in missing)
        raise ImportError(f"lop.boards needs {names}: pip install 'lop-rl[boards]'")
