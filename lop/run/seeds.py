"""The notations for the members of one process: seed=3, seeds=[0,1], seeds=0,1, seeds=0-29, seeds=0-3,8."""

from __future__ import annotations

import re
from typing import Any

from lop.run.command import ConfigError

MAX_SEED = 2**32 - 1
MAX_MEMBERS = 100_000


def parse_seeds(text: Any, key: str = "seeds") -> list[int]:
    """[0, 1, 2] from a list, 3, "3", "0-2" or "0-1,2"; raises ConfigError."""
    parts = list(text) if isinstance(text, list | tuple) else str(text).split(",")
    seeds: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", str(part).strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last <= MAX_SEED or last - first >= MAX_MEMBERS:
            raise ConfigError(
                f"{key}={_shown(text)}: must be whole numbers from 0 to {MAX_SEED}, a list [0,1,2] or a range 0-29"
            )
        seeds += range(first, last + 1)
    if not seeds:
        raise ConfigError(f"{key}={_shown(text)}: needs at least one seed")
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"{key}={_shown(text)}: every seed must be given once")
    return seeds


def resolve_seeds(seed: Any, seeds: Any) -> list[int]:
    """The members that the settings `seed` and `seeds` mean together, [0] if neither is given; raises ConfigError."""
    if seed is not None and seeds is not None:
        raise ConfigError(f"seed={_shown(seed)} and seeds={_shown(seeds)}: give one of them (seed=n means seeds=[n])")
    if seed is not None:
        if isinstance(seed, bool) or not re.fullmatch(r"\d{1,10}", str(seed)) or int(seed) > MAX_SEED:
            raise ConfigError(
                f"seed={_shown(seed)}: must be a whole number from 0 to {MAX_SEED}; use seeds=... for several"
            )
        return [int(seed)]
    return [0] if seeds is None else parse_seeds(seeds)


def _shown(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
