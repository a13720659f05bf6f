"""Command line words to configurations: `env=sant algo=std,cbp seeds=0-29` are two, of thirty members each.

Sweeps are written as in Hydra (`a,b`, `choice(a,b)`, `range(0,3)`), except for seeds, which have lop's notation. Every point is
composed and checked before anything is sent.
"""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lop.run.config import ConfigError, TrainConfig, compose
from lop.run.files import RunError
from lop.run.store import folder_for
from lop.run.trackers import asked_mode

MAX_POINTS = 1000


@dataclass(frozen=True)
class Point:
    """One configuration of the sweep with all its seeds; words: what selects it among the others."""

    words: tuple[str, ...]
    config: TrainConfig

    @property
    def label(self) -> str:
        return f"{self.config.env.name}/{self.config.label}"

    def run(self, seed: int) -> str:
        """The folder of one member, relative to runs_dir."""
        env, algo, name = self.config.env.name, self.config.algo.name, self.config.name
        return str(folder_for("", env, algo, name, seed))

    def folder(self, seed: int) -> Path:
        return Path(self.config.runs_dir) / self.run(seed)


def expand(words: Sequence[str], defaults: Sequence[str] = ()) -> list[Point]:
    """All points of a sweep, checked. Raises ConfigError naming the point.

    defaults: settings that hold where the words say nothing else (of the profile).
    """
    choices = [_choices(word) for word in words]
    swept = [len(values) > 1 for values in choices]
    points = []
    for combination in itertools.product(*choices):
        selecting = tuple(word for word, is_swept in zip(combination, swept, strict=True) if is_swept)
        points.append(_point(selecting, [*defaults, *combination]))
        if len(points) > MAX_POINTS:
            raise ConfigError(f"more than {MAX_POINTS} configurations: send them in several submissions")
    _check_folders(points)
    return points


def check_folders(points: Sequence[Point]) -> None:
    """ConfigError if a run folder holds something that the trainer would refuse, or a table does not reach."""
    # by name: the trainer is not imported where nothing is sent
    train = importlib.import_module("lop.train")
    for point in points:
        try:
            # not its memory and its device: those of this machine say nothing about a node's
            train.task_schedule(point.config, point.config.seeds)
            asked_mode(point.config.wandb.mode)
            for seed in point.config.seeds:
                train.Member(point.config, seed).check()
        except (ConfigError, RunError) as error:
            raise ConfigError(_named(point.words, error)) from error


def _choices(word: str) -> list[str]:
    """The words that one word stands for: itself, unless it is a sweep."""
    if re.match(r"\+{0,2}seeds?=", word):
        return [word]
    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override():
            return [word]
        key = word.partition("=")[0]
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    except (HydraException, ValueError):
        # compose says what is wrong with it
        return [word]


def _point(selecting: tuple[str, ...], words: list[str]) -> Point:
    try:
        return Point(selecting, compose(words))
    except ConfigError as error:
        raise ConfigError(_named(selecting, error)) from error


def _named(selecting: tuple[str, ...], error: Exception) -> str:
    return f"{' '.join(selecting)}: {error}" if selecting else str(error)


def _check_folders(points: list[Point]) -> None:
    """ConfigError if two points share a folder."""
    owners: dict[tuple[str, str], Point] = {}
    for point in points:
        other = owners.setdefault((point.config.runs_dir, point.label), point)
        if other is point:
            continue
        differing = sorted(set(point.words) - set(other.words))
        keys = [word.partition("=")[0] for word in differing]
        if not keys:
            raise ConfigError(f"{' '.join(point.words)}: given twice")
        name = "_".join(f"{key.rpartition('.')[2]}_${{{key}}}" for key in keys)
        raise ConfigError(
            f"{' '.join(other.words)} and {' '.join(point.words)} would share the folder {point.label}: "
            f"add 'name={name}' (in single quotes) to tell them apart"
        )
