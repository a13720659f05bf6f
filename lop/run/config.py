"""The configuration: cfg/*.yaml composed by Hydra, then typed and checked by the dataclasses of lop.run.settings.

`compose(["env=ant", "algo=cbp", "seed=3"])` gives a checked TrainConfig or raises ConfigError with one line.
"""

from __future__ import annotations

import difflib
import importlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lop.run.command import ConfigError
from lop.run.seeds import parse_seeds, resolve_seeds
from lop.run.settings import AlgoSettings, Departures, EnvSettings, SlipperyEnvSettings, TrainConfig

__all__ = [
    "AlgoSettings",
    "ConfigError",
    "Departures",
    "EnvSettings",
    "SlipperyEnvSettings",
    "TrainConfig",
    "compose",
    "config_dir",
    "from_plain",
    "parse_seeds",
    "usage",
]

HELP = "python -m lop.train --help lists them"
SECTIONS = ("env", "algo", "departures", "ppo", "monitor", "progress", "wandb")
NOT_ENVIRONMENTS = ("env", "preset", "cluster")  # folders of cfg/ that hold no algorithms


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
    groups = "  ".join(f"{group}={'|'.join(_choices(directory, group, []))}" for group in ("env", "algo", "preset"))
    return "\n".join([f"usage: {command}", groups, "", *texts])


def compose(overrides: Sequence[str]) -> TrainConfig:
    """The checked configuration that command line words such as `env=ant` select; raises ConfigError."""
    directory = config_dir()
    for word in overrides:
        _check_word(directory, word, overrides)
    config = _typed(_composed(directory, [_quote_seed_list(word) for word in overrides]))
    problems = config.problems()
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def from_plain(plain: dict[str, Any]) -> TrainConfig:
    """The configuration that `dataclasses.asdict` made plain, checked again; cfg/ is not read. Raises ConfigError."""
    config = _typed(OmegaConf.create(plain))
    problems = config.problems()
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def _check_word(directory: Path, word: str, overrides: Sequence[str]) -> None:
    """ConfigError for words that Hydra would refuse in its own terms, or accept although they are no settings."""
    match = re.match(r"\+{0,2}([^=\s+~-][^=\s]*)=(.*)", word, re.DOTALL)
    if not match:
        raise ConfigError(f"{word!r} is not a setting; write key=value, for instance env=ant algo=cbp seed=0")
    key, value = match[1], match[2].strip("'\"")
    if re.match(r"hydra\b", key):
        raise ConfigError(f"{key}: Hydra's own settings cannot be set here")
    if key in ("env.name", "algo.name"):
        raise ConfigError(f"{key}={value}: chosen by {key.partition('.')[0]}=...; name=... tells variations apart")
    if key in ("env", "algo", "preset"):
        allowed = _choices(directory, key, overrides)
        if value not in allowed:
            several = "; one process trains one of them, lop.submit takes several" if re.search(r"[,\[]", value) else ""
            raise ConfigError(f"{key}={value}: must be one of {', '.join(allowed)}{several}")


def _choices(directory: Path, group: str, overrides: Sequence[str]) -> list[str]:
    """What a group such as `algo` may be set to; an algorithm must have a file for the chosen environment."""
    folder = group
    if group == "algo":
        chosen = [word.partition("=")[2] for word in overrides if word.startswith("env=")]
        folder = chosen[-1] if chosen and (directory / "env" / f"{chosen[-1]}.yaml").is_file() else "ant"
    return sorted(path.stem for path in (directory / folder).glob("*.yaml"))


def _quote_seed_list(word: str) -> str:
    # Hydra reads 0,1,2 as a sweep; seeds of one process are meant
    match = re.fullmatch(r"(seeds?)=([\d,\-]+)", word)
    return f"{match[1]}='{match[2]}'" if match else word


def _composed(directory: Path, overrides: list[str]) -> DictConfig:
    _register_algorithms(directory)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(directory), version_base="1.3", job_name="lop"):
        try:
            return hydra_compose("train", overrides=overrides)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            groups = [word for word in overrides if re.match(r"(env|algo|preset)=", word)]
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
        if path.parent.name not in NOT_ENVIRONMENTS:
            store.store(group="algo", name=path.stem, node={"name": path.stem})


def _one_line(error: Exception, known: list[str]) -> str:
    """What Hydra says in several lines, in ours."""
    text = " ".join(str(error).split()).removeprefix("In 'train': ")
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"{match[1]}: no such setting{_did_you_mean(match[1], known)}; {HELP}"
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{match[1]}: one value is allowed here; lop.submit takes several"
    if match := re.search(r"^(.*) See https://hydra.cc\S*", text):
        return f"a setting cannot be read: {match[1]}; special characters need quotes, for instance \"key='a b'\""
    return text


def _did_you_mean(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=2, cutoff=0.75)
    if close:
        return f" (did you mean {' or '.join(close)}?)"
    section = key.rpartition(".")[0]
    siblings = [name for name in known if section and name.rpartition(".")[0] == section]
    return f" (there are {', '.join(siblings)})" if siblings else ""


def _dotted(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    return [key for name, value in node.items() for key in _dotted(value, f"{prefix}.{name}" if prefix else str(name))]


def _typed(raw: DictConfig) -> TrainConfig:
    """raw merged into the dataclasses: unknown keys and wrong types raise ConfigError."""
    for section in SECTIONS:
        if not isinstance(raw.get(section), DictConfig):
            raise ConfigError(f"{section} is a group of settings: write {section}.<setting>=<value>; {HELP}")
    schema = OmegaConf.structured(TrainConfig)
    try:
        schema.env = OmegaConf.structured(SlipperyEnvSettings if "task_steps" in raw.env else EnvSettings)
        schema.algo = OmegaConf.structured(_algo_schema(raw.algo.get("variant")))
        OmegaConf.resolve(raw)
        config: TrainConfig = OmegaConf.to_object(OmegaConf.merge(schema, raw))
    except OmegaConfBaseException as error:
        raise ConfigError(_typing_problem(error, _dotted(OmegaConf.to_container(schema)))) from error
    config.seeds, config.seed = resolve_seeds(config.seed, config.seeds), None
    _make_whole(config)
    if isinstance(config.env, SlipperyEnvSettings) and config.preset == "reference":
        config.env.frictions_file = config.env.frictions_file or "published"
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


def _typing_problem(error: OmegaConfBaseException, known: list[str]) -> str:
    """What OmegaConf says of a value, in ours."""
    key = getattr(error, "full_key", None) or ""
    message = str(getattr(error, "msg", None) or error).splitlines()[0]
    if "not in" in message:
        return f"{key}: no such setting{_did_you_mean(key, known)}; {HELP}"
    if "is not a ListConfig" in message:
        return f"{key}: must be a list, for instance {key}=[{'256,256' if 'sizes' in key else 'a,b'}]"
    if "missing mandatory value" in message or "'None'" in message or "NoneType" in message:
        return f"{key}: needs a value"
    if match := re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", message):
        kind = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}.get(match[2], match[2])
        return f"{key}={match[1]}: must be {kind}"
    return f"{key}: {message}" if key else message


def _make_whole(config: TrainConfig) -> None:
    """Turn counts that may be written as 1e6 into integers."""
    total = config.env.total_steps if config.total_steps is None else config.total_steps
    config.total_steps = _whole("total_steps", total)
    config.checkpoint_every_steps = _whole("checkpoint_every_steps", config.checkpoint_every_steps)
    config.monitor.ranks_every_steps = _whole("monitor.ranks_every_steps", config.monitor.ranks_every_steps)
    if isinstance(config.env, SlipperyEnvSettings):
        config.env.task_steps = _whole("env.task_steps", config.env.task_steps)


def _whole(key: str, value: float) -> int:
    """An integer from a number such as 1e6; fractions and non-finite numbers are refused."""
    if not math.isfinite(value) or value != int(value) or value < 0:
        raise ConfigError(f"{key}={value:g}: must be a whole number >= 0 (1e6 is accepted)")
    return int(value)
