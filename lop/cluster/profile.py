"""A cluster profile: what a queue is asked for, and how runs are packed. Numbers are in cfg/cluster/*.yaml.

profile = load_profile(["cluster=gpu", "cluster.partition=long"])     # ConfigError, one line, for anything wrong
profile = load_profile(["cluster=/home/me/mine.yaml"])                # a file of one's own; `defaults: [gpu, _self_]`
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lop.cluster.words import many
from lop.run.config import ConfigError, config_dir

KINDS = ("slurm", "local", "debug")
#: names of environment variables whose values have no business in a file
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
TEMPLATE = "template"


@dataclass
class Profile:
    """See cfg/cluster/template.yaml for what each setting means."""

    kind: str = MISSING
    runs_dir: str | None = MISSING
    partition: str | None = MISSING
    account: str | None = MISSING
    qos: str | None = MISSING
    constraint: str | None = MISSING
    exclude: str | None = MISSING
    cores_per_job: int = MISSING
    memory_gb: float | None = MISSING
    time_hours: float = MISSING
    gpus_per_job: int = MISSING
    gres: str | None = MISSING
    array_parallelism: int = MISSING
    max_requeues: int = MISSING
    signal_lead_s: int = MISSING
    extra: dict[str, Any] = MISSING
    processes_per_job: int | None = MISSING
    seeds_per_job: int | None = MISSING
    seeds_per_process: int = MISSING
    steps_per_second: float | None = MISSING
    setup: list[str] = MISSING
    environment: dict[str, str] = MISSING
    overrides: list[str] = MISSING
    scratch_dir: str | None = MISSING

    @property
    def has_gpu(self) -> bool:
        """Whether a job is given GPUs, by either way of asking."""
        return self.num_gpus > 0

    @property
    def num_gpus(self) -> int:
        """GPUs of a job: gpus_per_job, or what gres says of gpu."""
        found = re.search(r"\bgpu(?::[A-Za-z][\w.-]*)?(?::(\d+))?", self.gres or "")
        return self.gpus_per_job or (int(found[1] or 1) if found else 0)

    @property
    def processes(self) -> int:
        """Populations side by side in one job: one a GPU, or one a core."""
        return self.processes_per_job or self.num_gpus or self.cores_per_job

    def problems(self) -> list[str]:
        """What is impossible about the values, each as 'key=given: allowed'."""
        found = []
        if self.kind not in KINDS:
            found.append(f"cluster.kind={self.kind}: must be one of {', '.join(KINDS)}")
        at_least_1 = ("cores_per_job", "array_parallelism", "processes_per_job", "seeds_per_job", "seeds_per_process")
        limits = dict.fromkeys(at_least_1, 1) | {"gpus_per_job": 0, "max_requeues": 0, "signal_lead_s": 30}
        for key, least in limits.items():
            value = getattr(self, key)
            if value is not None and value < least:
                found.append(f"cluster.{key}={value}: must be at least {least}")
        for key in ("memory_gb", "time_hours", "steps_per_second"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                found.append(f"cluster.{key}={value:g}: must be a positive number")
        return found or self._joint_problems()

    def _joint_problems(self) -> list[str]:
        found = []
        if self.gpus_per_job and self.gres:
            found.append("cluster.gpus_per_job and cluster.gres: give one of them")
        if self.processes > self.cores_per_job:
            found.append(f"cluster.cores_per_job={self.cores_per_job}: {self.processes} processes need a core each")
        if self.time_hours * 3600 < 2 * self.signal_lead_s:
            found.append(
                f"cluster.time_hours={self.time_hours:g}: must be at least twice cluster.signal_lead_s={self.signal_lead_s}"
            )
        if any(re.search(rf"\w*({SECRET.pattern})\w*=", line, re.IGNORECASE) for line in self.setup):
            found.append("cluster.setup: secrets do not belong in files; export them in your shell, jobs inherit them")
        for name in self.environment:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                found.append(f"cluster.environment: {name!r} cannot be the name of a variable")
            elif SECRET.search(name):
                found.append(
                    f"cluster.environment.{name}: secrets do not belong in files; export it in your shell, jobs inherit it"
                )
        return found

    def time_minutes(self) -> int:
        return max(1, math.ceil(self.time_hours * 60))


def choices() -> list[str]:
    """Names of the profiles in cfg/cluster/."""
    return sorted(path.stem for path in (config_dir() / "cluster").glob("*.yaml") if path.stem != TEMPLATE)


def load_profile(words: Sequence[str]) -> Profile:
    """The profile of `cluster=<name or file>` with `cluster.<key>=<value>` applied. Raises ConfigError."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("cluster=")]
    if not chosen:
        raise ConfigError(f"cluster=...: say where to; one of {', '.join(choices())}, or the path of your own file")
    # ++: names of variables and of sbatch's options are the user's own
    changes = [
        re.sub(r"^(cluster\.(?:environment|extra)\b)", r"++\1", w) for w in words if not w.startswith("cluster=")
    ]
    name = _registered(chosen[-1])
    profile = _typed(_composed(name, changes))
    problems = profile.problems()
    if problems:
        raise ConfigError("; ".join(problems))
    return profile


def _registered(chosen: str) -> str:
    """The name under which Hydra knows the chosen profile; a file of one's own is registered first."""
    if chosen in choices():
        return chosen
    path = Path(chosen).expanduser()
    if not chosen.endswith((".yaml", ".yml")) or not path.is_file():
        near = difflib.get_close_matches(chosen, choices(), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"cluster={chosen}: no such profile{hint}; there are {', '.join(choices())}, or give the path of a .yaml file"
        )
    try:
        node = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise ConfigError(f"cluster={chosen}: cannot be read: {' '.join(str(error).split())}") from error
    except Exception as error:  # PyYAML's errors, which OmegaConf lets through
        raise ConfigError(f"cluster={chosen}: no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, DictConfig):
        raise ConfigError(f"cluster={chosen}: must hold settings, one `key: value` a line")
    if "defaults" not in node:
        node = OmegaConf.merge({"defaults": [TEMPLATE, "_self_"]}, node)
    ConfigStore.instance().store(group="cluster", name="_own", node=node)
    return "_own"


def _composed(name: str, changes: list[str]) -> DictConfig:
    ConfigStore.instance().store(name="_submit", node={"defaults": ["_self_", {"cluster": "???"}]})
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3", job_name="lop"):
        try:
            return compose("_submit", overrides=[f"cluster={name}", *changes]).cluster
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_hydra_problem(error)) from error


def _typed(raw: DictConfig) -> Profile:
    schema = OmegaConf.structured(Profile)
    unknown = sorted(set(raw) - set(schema))
    if unknown:
        raise ConfigError(_unknown(unknown[0]))
    try:
        OmegaConf.resolve(raw)
        return OmegaConf.to_object(OmegaConf.merge(schema, raw))
    except OmegaConfBaseException as error:
        raise ConfigError(_typing_problem(error)) from error


def _unknown(key: str) -> str:
    names = [field.name for field in dataclasses.fields(Profile)]
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"cluster.{key}: no such setting; {hint}cfg/cluster/template.yaml explains them all"


def _hydra_problem(error: Exception) -> str:
    text = " ".join(str(error).split())
    if match := re.search(r"Could not override 'cluster\.([^']+)'", text):
        return _unknown(match[1])
    if match := re.search(r"Could not (?:load|find) 'cluster/([^']+)'", text):
        return f"a profile's defaults name {match[1]!r}: there are {', '.join([TEMPLATE, *choices()])}"
    if match := re.search(r"^(.*) See https://hydra.cc\S*", text):
        return f"a setting cannot be read: {match[1]}"
    return text


def _typing_problem(error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or ""
    message = str(getattr(error, "msg", None) or error).splitlines()[0]
    if match := re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", message):
        kind = {"Integer": "a whole number", "Float": "a number"}.get(match[2], match[2])
        return f"cluster.{key}={match[1]}: must be {kind}"
    if "ListConfig" in message:
        return f"cluster.{key}: must be a list, for instance cluster.{key}=[a,b]"
    if "NoneType" in message or "'None'" in message or "not Optional" in message:
        return f"cluster.{key}: needs a value"
    return f"cluster.{key}: {message}"


def describe(profile: Profile) -> str:
    """What one job asks for, in words."""
    parts = [many(profile.cores_per_job, "core")]
    if profile.has_gpu:
        parts.append(many(profile.num_gpus, "GPU"))
    if profile.memory_gb:
        parts.append(f"{profile.memory_gb:g} GB")
    if profile.kind == "slurm":
        parts.append(f"{profile.time_hours:g} h")
        keys = ("partition", "account", "qos", "constraint")
        parts += [f"{key} {value}" for key in keys if (value := getattr(profile, key)) is not None]
    return ", ".join(parts)


def shell_setup(profile: Profile) -> list[str]:
    """Shell lines before the training: the environment, then the profile's own."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]
    return [*exports, *profile.setup]


def expanded(path: str) -> str:
    """A folder with ~ and $VARIABLES put in, as seen where this is called."""
    return os.path.expandvars(os.path.expanduser(path))
