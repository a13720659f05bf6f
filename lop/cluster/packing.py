"""Runs to jobs: which seeds share a process, and which processes share a job. Pure.

    jobs = pack([Work("sant/cbp", [(0, 20_000_000), (1, 20_000_000)])], Room(processes=15, seeds_per_process=1))

Members of a process share a configuration and compute one behind the other on one core, or together on one GPU. Processes
of a job run side by side and hold its resources until the last has ended: so the longest are put together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: resident memory of `python -m lop.train env=sant algo=cbp` on the CPU, measured with 1 and 4 seeds
PROCESS_GB, SEED_GB = 0.30, 0.04


@dataclass(frozen=True)
class Work:
    """What is left of one configuration: (seed, environment steps still to do)."""

    key: str
    seeds: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Room:
    """What a job holds. seeds_per_job, if given, takes precedence over seeds_per_process; memory_gb over both."""

    processes: int
    seeds_per_process: int = 1
    seeds_per_job: int | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Population:
    """Seeds that share a process. steps: of all its members together."""

    key: str
    seeds: tuple[int, ...]
    steps: float


def pack(works: Sequence[Work], room: Room) -> list[list[Population]]:
    """Populations by job. Members of a process have similar amounts left, and so have the processes of a job.

    Errors: ValueError if not even one seed has room.
    """
    processes, members = shape(room)
    populations = [population for work in works for population in split(work, members)]
    populations.sort(key=lambda population: -population.steps)  # stable: otherwise in the order given
    return [populations[i : i + processes] for i in range(0, len(populations), processes)]


def shape(room: Room) -> tuple[int, int]:
    """Processes of a job, and the most members of each. Errors: ValueError."""
    processes, members = room.processes, room.seeds_per_process
    if room.seeds_per_job is not None:
        processes = min(processes, room.seeds_per_job)
        members = room.seeds_per_job // processes
    if room.memory_gb is not None:
        # fewer members before fewer processes: side by side is faster
        members = min(members, max(1, math.floor((room.memory_gb / processes - PROCESS_GB) / SEED_GB + 1e-9)))
        processes = min(processes, math.floor(room.memory_gb / (PROCESS_GB + members * SEED_GB) + 1e-9))
    if processes < 1:
        raise ValueError(f"memory_gb={room.memory_gb:g}: one seed needs {PROCESS_GB + SEED_GB:g} GB")
    return processes, members


def split(work: Work, most: int) -> list[Population]:
    """The seeds of one configuration in as few populations as `most` allows, of sizes that differ by one at most."""
    seeds = sorted(work.seeds, key=lambda pair: (-pair[1], pair[0]))
    count = math.ceil(len(seeds) / most)
    populations, begin = [], 0
    for i in range(count):
        end = begin + len(seeds) // count + (i < len(seeds) % count)
        part = seeds[begin:end]
        populations.append(Population(work.key, tuple(sorted(seed for seed, _ in part)), sum(s for _, s in part)))
        begin = end
    return populations


def hours(populations: Sequence[Population], seed_steps_per_second: float) -> float:
    """How long a job takes: its longest process. seed_steps_per_second: of one member in such a process."""
    return max(p.steps / len(p.seeds) for p in populations) / seed_steps_per_second / 3600
