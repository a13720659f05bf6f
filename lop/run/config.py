"""The configuration: types and limits. Numbers are in cfg/*.yaml, composed by Hydra.

`compose(["env=ant", "algo=cbp", "seed=3"])` gives a checked TrainConfig or raises ConfigError with one line.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

SWITCH = ("fixed", "reference")


class ConfigError(ValueError):
    """One line: what was given, what is allowed."""


@dataclass
class EnvSettings:
    name: str = MISSING
    total_steps: float = MISSING
    time_limit_steps: int = MISSING
    fidelity: str = MISSING
    observation: str = MISSING
    contact_forces: bool = MISSING
    friction: float | None = MISSING

    def problems(self) -> list[str]:
        found = _not_among("env.fidelity", self.fidelity, ("mujoco210", "current"))
        found += _not_among("env.observation", self.observation, ("published", "compact"))
        found += _below("env.time_limit_steps", self.time_limit_steps, 1)
        if self.contact_forces and self.observation == "compact":
            found.append("env.contact_forces=true needs env.observation=published: compact has no room for them")
        if self.friction is not None and not 0 < self.friction < math.inf:
            found.append(f"env.friction={self.friction}: must be a positive number")
        return found


@dataclass
class SlipperyEnvSettings(EnvSettings):
    task_steps: float = MISSING
    friction_low: float = MISSING
    friction_high: float = MISSING
    frictions_file: str | None = MISSING

    def problems(self) -> list[str]:
        found = super().problems() + _below("env.task_steps", self.task_steps, 1)
        if not 0 < self.friction_low <= self.friction_high < math.inf:
            found.append(
                f"env.friction_low={self.friction_low}, env.friction_high={self.friction_high}: needs 0 < low <= high"
            )
        if self.friction is not None:
            found.append("env.friction: tasks set the friction of sant; use env=ant for a constant one")
        return found


@dataclass
class AlgoSettings:
    """Keys that every cfg/<env>/<algo>.yaml sets under `algo`; variants with code add their own."""

    name: str = MISSING
    variant: str | None = MISSING
    adam_beta1: float = MISSING
    adam_beta2: float = MISSING
    weight_decay: float = MISSING

    def problems(self) -> list[str]:
        """What is impossible about the values, each as 'key=given: allowed'."""
        found = _below("algo.weight_decay", self.weight_decay, 0)
        for key in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, key) < 1:
                found.append(f"algo.{key}={getattr(self, key)}: must be in [0, 1)")
        return found


@dataclass
class PpoSettings:
    learning_rate: float = MISSING
    adam_eps: float = MISSING
    discount: float = MISSING
    gae_lambda: float = MISSING
    steps_per_update: int = MISSING
    num_epochs: int = MISSING
    num_minibatches: int = MISSING
    clip_range: float = MISSING
    value_coefficient: float = MISSING
    hidden_sizes: list[int] = MISSING

    def problems(self) -> list[str]:
        found = []
        for key in ("steps_per_update", "num_epochs", "num_minibatches"):
            found += _below(f"ppo.{key}", getattr(self, key), 1)
        for key in ("learning_rate", "adam_eps", "clip_range", "value_coefficient"):
            if not 0 <= getattr(self, key) < math.inf:
                found.append(f"ppo.{key}={getattr(self, key)}: must be >= 0")
        for key in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, key) <= 1:
                found.append(f"ppo.{key}={getattr(self, key)}: must be in [0, 1]")
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            found.append(f"ppo.hidden_sizes={list(self.hidden_sizes)}: needs at least one positive width")
        if not found and self.steps_per_update % self.num_minibatches:
            found.append(
                f"ppo.num_minibatches={self.num_minibatches} does not divide ppo.steps_per_update={self.steps_per_update}"
            )
        if not found and self.steps_per_update < 2:
            found.append(f"ppo.steps_per_update={self.steps_per_update}: normalising advantages needs at least 2")
        return found


@dataclass
class Departures:
    """Each 'fixed' or 'reference'; cfg/preset/fixed.yaml says what they mean."""

    cbp_moments: str = MISSING
    cbp_bias_transfer: str = MISSING
    cbp_adjacent: str = MISSING
    redo_scores: str = MISSING
    redo_moments: str = MISSING
    redo_all_dead: str = MISSING
    time_limit: str = MISSING
    task_clock: str = MISSING
    control_cost: str = MISSING

    def problems(self) -> list[str]:
        return [p for f in dataclasses.fields(self) for p in _not_among(f"departures.{f.name}", getattr(self, f.name), SWITCH)]


@dataclass
class MonitorSettings:
    enabled: bool = MISSING
    buffer_size: int = MISSING
    epsilon: float = MISSING
    every_updates: int = MISSING
    ranks_every_steps: float = MISSING
    critic: bool = MISSING
    units: bool = MISSING

    def problems(self) -> list[str]:
        found = _below("monitor.buffer_size", self.buffer_size, 1) + _below("monitor.every_updates", self.every_updates, 1)
        if not 0 < self.epsilon < math.inf:
            found.append(f"monitor.epsilon={self.epsilon}: must be > 0")
        return found + _below("monitor.ranks_every_steps", self.ranks_every_steps, 0)


@dataclass
class ProgressSettings:
    interval_s: float = MISSING

    def problems(self) -> list[str]:
        return _below("progress.interval_s", self.interval_s, 0)


@dataclass
class WandbSettings:
    mode: str = MISSING
    project: str = MISSING
    entity: str | None = MISSING
    tags: list[str] = MISSING

    def problems(self) -> list[str]:
        return _not_among("wandb.mode", self.mode, ("auto", "online", "offline", "disabled"))


@dataclass
class TrainConfig:
    """Everything a run depends on, resolved. `seeds` are the members of one process."""

    env: EnvSettings = field(default_factory=EnvSettings)
    algo: AlgoSettings = field(default_factory=AlgoSettings)
    preset: str = MISSING
    departures: Departures = field(default_factory=Departures)
    seed: Any = MISSING
    seeds: Any = MISSING
    num_envs: int = MISSING
    total_steps: float | None = MISSING
    runs_dir: str = MISSING
    name: str = MISSING
    device: str = MISSING
    threads: int = MISSING
    resume: str = MISSING
    checkpoint_every_steps: float = MISSING
    snapshots: int = MISSING
    grace_s: float = MISSING
    ppo: PpoSettings = field(default_factory=PpoSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    progress: ProgressSettings = field(default_factory=ProgressSettings)
    wandb: WandbSettings = field(default_factory=WandbSettings)

    @property
    def num_updates(self) -> int:
        return int(self.total_steps) // self.ppo.steps_per_update

    @property
    def label(self) -> str:
        """algo[-name], the folder of this configuration."""
        return f"{self.algo.name}-{self.name}" if self.name else self.algo.name

    def problems(self) -> list[str]:
        found = _below("num_envs", self.num_envs, 1) + _below("threads", self.threads, 1)
        found += _below("checkpoint_every_steps", self.checkpoint_every_steps, 1) + _below("snapshots", self.snapshots, 0)
        found += _below("grace_s", self.grace_s, 0) + _not_among("resume", self.resume, ("auto", "never", "must"))
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            found.append(f"device={self.device}: must be cpu, cuda or cuda:<n>")
        if not re.fullmatch(r"[A-Za-z0-9_.,=+]*", self.name):
            found.append(f"name={self.name!r}: only letters, digits and _ . , = + are allowed (it becomes a folder's name)")
        for part in (self.env, self.algo, self.departures, self.ppo, self.monitor, self.progress, self.wandb):
            found += part.problems()
        return found or self._joint_problems()

    def _joint_problems(self) -> list[str]:
        found, per_update = [], self.ppo.steps_per_update
        if per_update % self.num_envs:
            found.append(f"num_envs={self.num_envs} does not divide ppo.steps_per_update={per_update}")
        if self.total_steps < per_update:
            found.append(f"total_steps={self.total_steps:g}: less than one update of {per_update} steps")
        if isinstance(self.env, SlipperyEnvSettings):
            if self.departures.task_clock == "reference" and self.num_envs != 1:
                found.append("departures.task_clock=reference: the published clock exists for num_envs=1 only")
            if self.env.task_steps % self.num_envs:
                found.append(f"num_envs={self.num_envs} does not divide env.task_steps={self.env.task_steps:g}")
        return found


def config_dir() -> Path:
    """cfg/ of the checkout, or the copy inside the installed package."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package.parent / "cfg", package / "cfg"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise ConfigError(f"no cfg/train.yaml beside or inside {package}: the installation is incomplete")


def usage(command: str) -> str:
    """Help: how to call a command, and every setting with its meaning and default."""
    directory = config_dir()
    files = [directory / "train.yaml", directory / "env" / "ant.yaml", directory / "env" / "sant.yaml"]
    texts = [f"# {path.relative_to(directory.parent)}\n{path.read_text()}" for path in files]
    variations = ", ".join(path.stem for path in sorted((directory / "ant").glob("*.yaml")))
    choices = f"env=ant|sant  algo=one of {variations}  preset=fixed|reference"
    return "\n".join([f"usage: {command}", choices, "", *texts])


def compose(overrides: list[str]) -> TrainConfig:
    """The checked configuration that command line words such as `env=ant` select; raises ConfigError."""
    config = _typed(_composed([_quote_seed_list(word) for word in overrides]))
    problems = config.problems()
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def _quote_seed_list(word: str) -> str:
    # Hydra reads 0,1,2 as a sweep; seeds of one process are meant
    match = re.fullmatch(r"(seeds?)=([\d,\-]+)", word)
    return f"{match[1]}='{match[2]}'" if match else word


def _composed(overrides: list[str]) -> DictConfig:
    directory = config_dir()
    _register_algorithms(directory)
    for word in overrides:
        if not re.match(r"[^=\s]+=", word):
            raise ConfigError(f"{word!r} is not a setting; write key=value, for instance env=ant algo=cbp seed=0")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(directory), version_base="1.3", job_name="lop"):
        try:
            return hydra_compose("train", overrides=overrides)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            groups = [word for word in overrides if re.match(r"(env|algo)=(ant|sant|[a-z0-9]+)$", word)]
            raise ConfigError(_one_line(error, _known_keys(groups))) from error


def _known_keys(groups: list[str]) -> list[str]:
    try:
        return _dotted(OmegaConf.to_container(hydra_compose("train", overrides=groups)))
    except (HydraException, OmegaConfBaseException, ValueError):
        return []


def _register_algorithms(directory: Path) -> None:
    """Make `algo=<stem>` available for every cfg/<env>/<stem>.yaml."""
    store = ConfigStore.instance()
    for path in sorted(directory.glob("*/*.yaml")):
        if path.parent.name not in ("env", "preset"):
            store.store(group="algo", name=path.stem, node={"name": path.stem})


def _one_line(error: Exception, raw_keys: list[str]) -> str:
    text = " ".join(str(error).split()).removeprefix("In 'train': ")
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"{match[1]}: no such setting{_did_you_mean(match[1], raw_keys)}; python -m lop.train --help lists them"
    if match := re.search(r"Could not find '(\w+)/([^']*)' Available options in '\w+': (.*?) Config search path", text):
        return f"{match[1]}={match[2]}: must be one of {', '.join(match[3].split())}"
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{match[1]}: one value is allowed here; lop.submit takes several"
    return text


def _did_you_mean(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    return f" (did you mean {', '.join(close)}?)" if close else ""


def _dotted(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [key for name, value in node.items() for key in _dotted(value, f"{prefix}.{name}" if prefix else str(name))]


def _typed(raw: DictConfig) -> TrainConfig:
    """raw merged into the dataclasses: unknown keys and wrong types raise ConfigError."""
    schema = OmegaConf.structured(TrainConfig)
    try:
        schema.env = OmegaConf.structured(SlipperyEnvSettings if "task_steps" in raw.env else EnvSettings)
        schema.algo = OmegaConf.structured(_algo_schema(raw.algo.get("variant")))
        OmegaConf.resolve(raw)
        config: TrainConfig = OmegaConf.to_object(OmegaConf.merge(schema, raw))
    except OmegaConfBaseException as error:
        raise ConfigError(_typing_problem(error)) from error
    config.seeds, config.seed = _resolve_seeds(config.seed, config.seeds), None
    total = config.env.total_steps if config.total_steps is None else config.total_steps
    config.total_steps = _whole("total_steps", total)
    config.checkpoint_every_steps = _whole("checkpoint_every_steps", config.checkpoint_every_steps)
    config.monitor.ranks_every_steps = _whole("monitor.ranks_every_steps", config.monitor.ranks_every_steps)
    if isinstance(config.env, SlipperyEnvSettings):
        config.env.task_steps = _whole("env.task_steps", config.env.task_steps)
        if config.preset == "reference" and config.env.frictions_file is None:
            config.env.frictions_file = "published"
    return config


def _algo_schema(variant: str | None) -> type[AlgoSettings]:
    if variant is None:
        return AlgoSettings
    # by name: variants are plugins, and they import this module
    variants = importlib.import_module("lop.variants")
    try:
        return variants.module(variant).Settings
    except ValueError as error:
        raise ConfigError(f"algo.variant={variant}: {error}") from error


def _typing_problem(error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or "?"
    message = str(getattr(error, "msg", None) or error).splitlines()[0]
    if "not in" in message:
        return f"{key}: no such setting"
    return f"{key}: {message}"


def _whole(key: str, value: float) -> int:
    """An integer from a number such as 1e6; fractions and non-finite numbers are refused."""
    if not math.isfinite(value) or value != int(value) or value < 0:
        raise ConfigError(f"{key}={value}: must be a whole number >= 0 (1e6 is accepted)")
    return int(value)


def parse_seeds(text: Any, key: str = "seeds") -> list[int]:
    """[0, 1, 2] from a list, 3, "3", "0-2" or "0-1,2"; raises ConfigError."""
    parts = list(text) if isinstance(text, list | tuple) else str(text).split(",")
    seeds: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(part).strip())
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ConfigError(f"{key}={text}: must be whole numbers >= 0, a list [0,1,2] or a range 0-29")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(seeds)) != len(seeds) or not seeds:
        raise ConfigError(f"{key}={text}: every seed must be given once")
    return seeds


def _resolve_seeds(seed: Any, seeds: Any) -> list[int]:
    if seed is not None and seeds is not None:
        raise ConfigError(f"seed={seed} and seeds={seeds}: give one of them (seed=n means seeds=[n])")
    if seed is not None:
        if isinstance(seed, bool) or not re.fullmatch(r"\d+", str(seed)):
            raise ConfigError(f"seed={seed}: must be a whole number >= 0; use seeds=... for several")
        return [int(seed)]
    return [0] if seeds is None else parse_seeds(seeds)


def _not_among(key: str, value: Any, allowed: tuple[str, ...]) -> list[str]:
    return [] if value in allowed else [f"{key}={value}: must be one of {', '.join(allowed)}"]


def _below(key: str, value: float, minimum: float) -> list[str]:
    return [] if value >= minimum else [f"{key}={value}: must be >= {minimum}"]
