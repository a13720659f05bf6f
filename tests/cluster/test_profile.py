"""Cluster profiles: those that come with lop, a user's own, and what is impossible about one."""

from __future__ import annotations

import dataclasses
import re

import pytest
import yaml

from lop.cluster.profile import Profile, choices, describe, load_profile, shell_setup
from lop.run.config import ConfigError, config_dir


def test_the_template_explains_every_setting_and_no_other():
    text = (config_dir() / "cluster" / "template.yaml").read_text()
    assert yaml.safe_load(text).keys() == {field.name for field in dataclasses.fields(Profile)}


@pytest.mark.parametrize("name", choices())
def test_every_profile_is_sound_and_names_nothing_of_a_person(name):
    profile = load_profile([f"cluster={name}"])
    assert profile.kind == name or profile.kind == "slurm"
    assert (profile.account, profile.partition, profile.qos, profile.runs_dir, profile.scratch_dir) == (None,) * 5


def test_settings_of_the_command_line_come_last():
    words = ["cluster=gpu", "cluster.partition=long", "cluster.extra.nice=5", "cluster.environment.A=b c"]
    profile = load_profile(words)
    assert (profile.partition, profile.extra, profile.environment) == ("long", {"nice": 5}, {"A": "b c"})
    assert profile.cores_per_job == load_profile(["cluster=gpu"]).cores_per_job
    assert shell_setup(profile) == ["export A='b c'"]


def test_a_file_of_ones_own_starts_from_another_profile_or_from_the_template(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("defaults: [gpu, _self_]\ncores_per_job: 3\n")
    profile = load_profile([f"cluster={path}"])
    assert (profile.cores_per_job, profile.gpus_per_job) == (3, 1)
    path.write_text("cores_per_job: 5\n")
    profile = load_profile([f"cluster={path}", "cluster.time_hours=2"])
    assert (profile.cores_per_job, profile.gpus_per_job, profile.time_hours) == (5, 0, 2.0)


@pytest.mark.parametrize(
    ("gres", "gpus", "num_gpus"),
    [
        (None, 0, 0),
        (None, 2, 2),
        ("gpu:4", 0, 4),
        ("gpu:a100:2", 0, 2),
        ("gpu", 0, 1),
        ("gpu:a100", 0, 1),
        ("nvme:1", 0, 0),
    ],
)
def test_gpus_of_a_job(gres, gpus, num_gpus):
    profile = dataclasses.replace(load_profile(["cluster=cpu"]), gres=gres, gpus_per_job=gpus)
    assert profile.num_gpus == num_gpus
    assert profile.processes == (num_gpus or profile.cores_per_job)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of cpu, debug, gpu, local, preemptible"),
        (["cluster=gpuu"], r"no such profile \(did you mean gpu\?\); there are cpu, debug"),
        (["cluster=template"], "no such profile"),
        (["cluster=/nowhere/mine.yaml"], "no such profile"),
        (["cluster=gpu", "cluster.partiton=x"], "cluster.partiton: no such setting; did you mean partition"),
        (["cluster=gpu", "cluster.cores_per_job=many"], "cluster.cores_per_job=many: must be a whole number"),
        (["cluster=gpu", "cluster.time_hours=null"], "cluster.time_hours: needs a value"),
        (["cluster=gpu", "cluster.time_hours=nan"], "must be a positive number"),
        (["cluster=gpu", "cluster.setup=module"], "cluster.setup: must be a list"),
        (["cluster=gpu", "cluster.kind=pbs"], "must be one of slurm, local, debug"),
        (["cluster=gpu", "cluster.array_parallelism=0"], "must be at least 1"),
        (["cluster=gpu", "cluster.gres=gpu:1"], "gpus_per_job and cluster.gres: give one"),
        (["cluster=gpu", "cluster.gpus_per_job=9"], "9 processes need a core each"),
        (["cluster=gpu", "cluster.time_hours=0.01"], "at least twice cluster.signal_lead_s"),
        (["cluster=gpu", "cluster.environment.WANDB_API_KEY=abc"], "secrets do not belong in files"),
        (["cluster=gpu", "cluster.setup=['export WANDB_API_KEY=abc']"], "cluster.setup: secrets do not belong"),
        (["cluster=gpu", "cluster.environment={a b: c}"], "cannot be the name of a variable"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, told):
    with pytest.raises(ConfigError, match=told) as error:
        load_profile(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partition: [long", "no valid YAML"),
        ("- a", "must hold settings"),
        ("partion: long", "did you mean partition"),
        ("defaults: [gpuu, _self_]", "there are template, cpu"),
        ("cores_per_job: !!python/object/apply:os.system [false]", "no valid YAML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(text, told, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        load_profile([f"cluster={path}"])
    assert "\n" not in str(error.value)


def test_a_job_in_words():
    profile = load_profile(["cluster=gpu", "cluster.partition=long", "cluster.memory_gb=null"])
    assert re.fullmatch(r"\d+ cores, 1 GPU, 24 h, partition long", describe(profile))
