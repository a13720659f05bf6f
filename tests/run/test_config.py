"""Every configuration that the command line can name, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest

from lop.run.config import ConfigError, SlipperyEnvSettings, compose, config_dir, parse_seeds, usage

ENVIRONMENTS = ["ant", "sant"]
# definitions.md, section 2: Adam betas, weight decay, and what the variant adds
ALGORITHMS = {
    "std": (0.9, 0.999, 0.0, {}),
    "ns": (0.99, 0.99, 0.0, {}),
    "l2": (0.99, 0.99, 1e-3, {}),
    "cbp": (0.99, 0.99, 1e-4, {"replacement_rate": 1e-4, "maturity_minibatches": 10_000, "utility_decay": 0.99}),
    "redo": (0.99, 0.99, 1e-4, {"threshold": 0.1, "period_minibatches": 100}),
}
SWITCHES = [
    "cbp_moments",
    "cbp_bias_transfer",
    "cbp_adjacent",
    "redo_scores",
    "redo_moments",
    "redo_all_dead",
    "time_limit",
    "task_clock",
    "control_cost",
]


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_pair_has_the_numbers_of_its_definition(env, algo):
    beta1, beta2, weight_decay, extra = ALGORITHMS[algo]
    expected = {
        "name": algo,
        "variant": algo if extra else None,
        "adam_beta1": beta1,
        "adam_beta2": beta2,
        "weight_decay": weight_decay,
        **extra,
    }
    config = compose([f"env={env}", f"algo={algo}"])
    assert dataclasses.asdict(config.algo) == expected
    assert config.label == algo


def test_nothing_on_the_command_line_is_ant_with_std_and_seed_0():
    config = compose([])
    assert (config.env.name, config.algo.name, config.seeds, config.preset) == ("ant", "std", [0], "fixed")


def test_the_numbers_of_ppo_are_the_published_ones():
    assert dataclasses.asdict(compose([]).ppo) == {
        "learning_rate": 1e-4,
        "adam_eps": 1e-8,
        "discount": 0.99,
        "gae_lambda": 0.95,
        "steps_per_update": 2048,
        "num_epochs": 10,
        "num_minibatches": 16,
        "clip_range": 0.2,
        "value_coefficient": 1.0,
        "hidden_sizes": [256, 256],
    }


def test_ant_is_the_published_environment_for_100_million_steps():
    config = compose(["env=ant"])
    assert config.total_steps == 100_000_000
    assert config.num_updates == 48_828  # floor(100,000,000 / 2048)
    env = config.env
    assert (env.time_limit_steps, env.fidelity, env.observation, env.contact_forces) == (
        1000,
        "mujoco210",
        "published",
        False,
    )
    assert env.friction == 1.0
    assert not isinstance(env, SlipperyEnvSettings)


def test_sant_has_ten_tasks_of_2_million_steps_and_is_ant_otherwise():
    ant, sant = compose(["env=ant"]), compose(["env=sant"])
    assert (sant.total_steps, sant.env.task_steps) == (20_000_000, 2_000_000)
    assert (sant.env.friction_low, sant.env.friction_high, sant.env.frictions_file) == (0.02, 2.0, None)
    assert sant.env.friction is None
    for key in ("time_limit_steps", "fidelity", "observation", "contact_forces"):
        assert getattr(sant.env, key) == getattr(ant.env, key)


def test_the_monitor_watches_as_defined():
    monitor = compose([]).monitor
    assert (monitor.buffer_size, monitor.epsilon, monitor.every_updates, monitor.ranks_every_steps) == (
        1000,
        0.1,
        1,
        10_000,
    )
    assert (monitor.enabled, monitor.critic) == (True, False)


@pytest.mark.parametrize("preset", ["fixed", "reference"])
def test_a_preset_sets_every_switch(preset):
    switches = dataclasses.asdict(compose([f"preset={preset}"]).departures)
    assert switches == dict.fromkeys(SWITCHES, preset)


@pytest.mark.parametrize(("preset", "other"), [("fixed", "reference"), ("reference", "fixed")])
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_single_switch_can_be_set_on_top_of_either_preset(preset, other, switch):
    for words in (
        [f"preset={preset}", f"departures.{switch}={other}"],
        [f"departures.{switch}={other}", f"preset={preset}"],
    ):
        switches = dataclasses.asdict(compose(words).departures)
        assert switches == {**dict.fromkeys(SWITCHES, preset), switch: other}


def test_the_reference_preset_takes_the_published_frictions_unless_another_table_is_named():
    assert compose(["env=sant", "preset=reference"]).env.frictions_file == "published"
    assert compose(["env=sant", "preset=reference", "env.frictions_file=my.json"]).env.frictions_file == "my.json"
    assert compose(["env=sant"]).env.frictions_file is None


@pytest.mark.parametrize(
    ("word", "steps"), [("1e6", 1_000_000), ("1000000", 1_000_000), ("2.5e3", 2500), ("1_000_000", 1_000_000)]
)
def test_step_counts_may_be_written_with_an_exponent(word, steps):
    config = compose(["env=sant", f"total_steps={word}", f"env.task_steps={word}", f"checkpoint_every_steps={word}"])
    for value in (config.total_steps, config.env.task_steps, config.checkpoint_every_steps):
        assert value == steps
        assert isinstance(value, int)


def test_the_last_update_is_whole():
    assert compose(["total_steps=1e6"]).num_updates == 488  # 488 * 2048 = 999,424


@pytest.mark.parametrize(
    ("word", "seeds"),
    [
        ("seed=3", [3]),
        ("seeds=3", [3]),
        ("seeds=0-2", [0, 1, 2]),
        ("seeds=[0,1]", [0, 1]),
        ("seeds=0,1", [0, 1]),
        ("seeds=0-1,5", [0, 1, 5]),
        ("seeds=[0-1,5]", [0, 1, 5]),
        ("seeds=[2,0]", [2, 0]),
        ("seeds='0, 4'", [0, 4]),
        ("seeds=4294967295", [4294967295]),
    ],
)
def test_seeds_in_every_notation(word, seeds):
    assert compose([word]).seeds == seeds


def test_seeds_without_a_configuration():
    assert parse_seeds("0-29") == list(range(30))
    with pytest.raises(ConfigError, match=r"^SEEDS=x: must be whole numbers from 0 to 4294967295"):
        parse_seeds("x", "SEEDS")


def test_a_name_becomes_part_of_the_label():
    assert compose(["algo=cbp", "name=wide"]).label == "cbp-wide"


def test_composing_twice_gives_equal_configurations_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["env=sant", "algo=redo", "preset=reference", "algo.threshold=0.2"]
    first = compose(words)
    compose(["algo=cbp"])
    assert compose(words) == first
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_setting_and_what_may_be_chosen():
    text = usage("prog")
    assert text.startswith("usage: prog\nenv=ant|sant  algo=cbp|l2|ns|redo|std  preset=fixed|reference\n")
    for line in (config_dir() / "train.yaml").read_text().splitlines():
        assert line in text


WRONG = {
    "foo": "'foo' is not a setting; write key=value",
    "=3": "'=3' is not a setting",
    "~algo": "'~algo' is not a setting",
    "--multirun": "'--multirun' is not a setting",
    "env=antt": "env=antt: must be one of ant, sant",
    "algo=ppo": "algo=ppo: must be one of cbp, l2, ns, redo, std",
    "algo=std,ns": "algo=std,ns: must be one of .*lop.submit takes several",
    "env=[ant,sant]": r"env=\[ant,sant\]: must be one of ant, sant",
    "preset=old": "preset=old: must be one of fixed, reference",
    "env.name=sant": "env.name=sant: chosen by env=",
    "++algo.name=x": "algo.name=x: chosen by algo=",
    "hydra.run.dir=x": "hydra.run.dir: Hydra's own settings",
    "ppo.lr=1": r"ppo.lr: no such setting \(there are ppo.learning_rate, ",
    "ppo.learning_rat=1": r"ppo.learning_rat: no such setting \(did you mean ppo.learning_rate\?\)",
    "+ppo.speed=1": "ppo.speed: no such setting",
    "ppo=3": "ppo is a group of settings: write ppo.<setting>=<value>",
    "algo.replacement_rate=1": "algo.replacement_rate: no such setting",
    "env.task_steps=5": "env.task_steps: no such setting",
    "ppo.learning_rate=abc": "ppo.learning_rate=abc: must be a number",
    "ppo.learning_rate=null": "ppo.learning_rate: needs a value",
    "ppo.learning_rate=nan": "ppo.learning_rate=nan: must be >= 0",
    "ppo.discount=1.5": r"ppo.discount=1.5: must be in \[0, 1\]",
    "ppo.hidden_sizes=64": r"ppo.hidden_sizes: must be a list, for instance ppo.hidden_sizes=\[256,256\]",
    "ppo.hidden_sizes=[64,0]": r"ppo.hidden_sizes=\[64, 0\]: needs one width a layer, between 1 and 65536",
    "ppo.num_minibatches=7": "ppo.num_minibatches=7 does not divide ppo.steps_per_update=2048",
    "ppo.adam_eps=0": "ppo.adam_eps=0.0: must be > 0",
    "algo.adam_beta1=1": r"algo.adam_beta1=1.0: must be in \[0, 1\)",
    "num_envs=1.5": "num_envs=1.5: must be a whole number",
    "num_envs=3": "num_envs=3 does not divide ppo.steps_per_update=2048",
    "total_steps=-5": "total_steps=-5: must be a whole number >= 0",
    "total_steps=1e400": "total_steps=inf: must be a whole number",
    "total_steps=2047": "total_steps=2047: less than one update of 2048 steps",
    "checkpoint_every_steps=0": "checkpoint_every_steps=0: must be >= 1",
    "grace_s=inf": "grace_s=inf: must be >= 0",
    "threads=0": "threads=0: must be between 1 and 1024",
    "device=gpu": "device=gpu: must be cpu, cuda or cuda:<n>",
    "resume=yes": "resume=.*: must be one of auto, never, must",
    "runs_dir=": "runs_dir is empty",
    "name=a/b": "name='a/b': at most 100 letters",
    "name=[1": "a setting cannot be read",
    "wandb.mode=on": "wandb.mode=.*: must be one of auto, online, offline, disabled",
    "wandb.tags=3": "wandb.tags: must be a list",
    "departures.time_limit=maybe": "departures.time_limit=maybe: must be one of fixed, reference",
    "monitor.epsilon=0": "monitor.epsilon=0.0: must be > 0",
    "env.friction=0": "env.friction=0.0: must be a positive number",
    "env.observation=small": "env.observation=small: must be one of published, compact",
    "seed=-1": "seed=-1: must be a whole number from 0",
    "seed=1.5": "seed=1.5: must be a whole number from 0",
    "seed=true": "seed=True: must be a whole number from 0",
    "seed=4294967296": "seed=4294967296: must be a whole number from 0 to 4294967295",
    "seeds=2-0": "seeds=2-0: must be whole numbers",
    "seeds=[]": r"seeds=\[\]: needs at least one seed",
    "seeds=[0,0]": r"seeds=\[0,0\]: every seed must be given once",
    "seeds=0-9999999999": "seeds=0-9999999999: must be whole numbers from 0 to 4294967295",
}
TOGETHER = {
    "seed=0 seeds=1": "seed=0 and seeds=1: give one of them",
    "env=sant env.friction_low=3": "env.friction_low=3.0, env.friction_high=2.0: needs 0 < low <= high",
    "env=sant env.friction=1": "env.friction=1.0: tasks set the friction of sant",
    "env=sant preset=reference num_envs=4": "departures.task_clock=reference: the published clock exists for num_envs=1 only",
    "env=sant num_envs=4 env.task_steps=1001": "num_envs=4 does not divide env.task_steps=1001",
    "env.contact_forces=true env.observation=compact": "env.contact_forces=true needs env.observation=published",
    "algo=cbp algo.replacement_rate=2": r"algo.replacement_rate=2.0: must be in \[0, 1\]",
    "algo=cbp algo.threshold=1": r"algo.threshold: no such setting",
    "algo=redo algo.threshold=nan": "algo.threshold=nan: must be >= 0",
    "threads=0 num_envs=0": "num_envs=0: must be >= 1; threads=0: must be between 1 and 1024",
}


@pytest.mark.parametrize("words", [*([word] for word in WRONG), *(words.split() for words in TOGETHER)], ids=" ".join)
def test_what_is_wrong_is_said_in_one_line(words):
    with pytest.raises(ConfigError, match="^" + (WRONG | TOGETHER)[" ".join(words)]) as caught:
        compose(words)
    assert "\n" not in str(caught.value)


def test_a_limit_that_is_just_kept_is_no_error():
    config = compose(["ppo.discount=1", "ppo.gae_lambda=0", "total_steps=2048", "num_envs=2048", "grace_s=0", "name=a"])
    assert config.num_updates == 1
    assert math.isclose(config.ppo.gae_lambda, 0.0)
