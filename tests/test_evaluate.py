"""Playing a run's policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from small_runs import small

from lop.envs import AntVector, Episode
from lop.evaluate import evaluate, friction_at, main, play, summarise, table
from lop.run.reader import load_policy, read_run
from lop.train import main as train

SMALL = small("ppo.steps_per_update=256", "total_steps=1024")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    assert train(["env=ant", "algo=std", *SMALL, f"runs_dir={root}"]) == 0
    assert train(["env=sant", "algo=std", "env.task_steps=300", *SMALL, f"runs_dir={root}"]) == 0
    return {env: root / env / "std" / "seed_0" for env in ("ant", "sant")}


def episode(episode_return, length, terminated, env=0):
    return Episode(0, env, length, episode_return, length, 0, terminated, 1.0)


def test_the_summary_of_three_episodes():
    # mean 4, deviations -2, 0, 2: variance (4 + 0 + 4) / (3 - 1) = 4
    summary = summarise([episode(2.0, 10, True), episode(4.0, 10, False), episode(6.0, 10, False)])
    assert summary["return"] == {"mean": 4.0, "std": 2.0, "min": 2.0, "max": 6.0}
    assert summary["length"] == {"mean": 10.0, "std": 0.0, "min": 10.0, "max": 10.0}
    assert summary["terminated"] == pytest.approx(1 / 3)


def test_one_episode_has_no_standard_deviation():
    assert summarise([episode(2.0, 10, True)])["return"]["std"] is None


def test_episodes_equal_those_of_a_plain_loop_over_one_environment(runs):
    policy = load_policy(runs["ant"])
    vector = AntVector([5], 3, time_limit=60)
    played = play(AntVector([5], 3, time_limit=60), policy)
    for e in range(3):
        model = vector.physics._batch.model
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = vector.physics.qpos[e], vector.physics.qvel[e]
        mujoco.mj_forward(model, data)
        total, length, alive = 0.0, 0, True
        while alive and length < 60:
            # three rows: the bits of a product may depend on how many there are, and contacts make much of a bit
            observed = np.zeros((3, 111), np.float32)
            observed[e, :27] = np.concatenate((data.qpos[2:], data.qvel))
            with torch.inference_mode():
                action = policy(torch.from_numpy(observed)).numpy()[e].clip(-1, 1).astype(np.float64)
            before = data.xpos[1, 0]
            data.ctrl[:] = action
            mujoco.mj_step(model, data, 5)
            total += (data.xpos[1, 0] - before) / 0.05 + 1 - 0.5 * np.square(action).sum()
            length += 1
            alive = 0.2 <= data.qpos[2] <= 1.0
        assert (played[e].length, played[e].terminated) == (length, not alive)
        assert played[e].episode_return == pytest.approx(total, rel=1e-12)


def test_the_same_question_gets_the_same_answer_and_another_seed_another(runs):
    first = evaluate(runs["ant"], episodes=2)
    assert evaluate(runs["ant"], episodes=2) == first
    assert evaluate(runs["ant"], episodes=2, seed=1)["episodes"] != first["episodes"]
    drawn = evaluate(runs["ant"], episodes=2, stochastic=True)
    assert drawn == evaluate(runs["ant"], episodes=2, stochastic=True)
    assert drawn["episodes"] != first["episodes"]


def test_the_friction_matters(runs):
    slippery, rough = (evaluate(runs["ant"], episodes=2, friction=f) for f in (0.02, 2.0))
    assert slippery["episodes"] != rough["episodes"]


def test_the_friction_is_the_run_s_own_at_that_step(runs):
    assert friction_at(read_run(runs["ant"]), 512) == 1.0
    run = read_run(runs["sant"])
    # tasks end at 300, 600, 900: step 256 is in task 0, 512 in task 1, 768 in task 2, 1024 in task 3
    frictions = {row["task"]: row["friction"] for row in run.tasks if row["event"] == "start"}
    assert [friction_at(run, step) for step in (0, 256, 512, 768)] == [frictions[k] for k in (0, 0, 1, 2)]
    assert evaluate(runs["sant"], 512, episodes=1)["friction"] == frictions[1]


def test_every_snapshot_can_be_played_and_the_latest_is_the_checkpoint(runs):
    steps = [0, 256, 512, 768, 1024]
    results = [evaluate(runs["ant"], step, episodes=1) for step in steps]
    assert [result["step"] for result in results] == steps
    assert evaluate(runs["ant"], episodes=1) == results[-1]
    assert len({result["return"]["mean"] for result in results}) == 5


def test_the_command_prints_a_table_and_writes_the_numbers(runs, tmp_path):
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "lop.evaluate", runs["sant"], "--episodes", "3", "--friction", "0.5"]
    done = subprocess.run(
        [*command, "--json", tmp_path / "numbers.json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result = json.loads((tmp_path / "numbers.json").read_text())
    assert done.stderr == ""
    assert done.stdout == table(result) + "\n"
    lines = done.stdout.splitlines()
    assert lines[0] == f"{runs['sant']} at step 1,024, friction 0.5, 3 episodes, mean actions"
    assert [line.split()[0] for line in lines[1:]] == ["mean", "return", "length", "terminated"]
    assert len(result["episodes"]) == 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "the following arguments are required: run"),
        (["nowhere"], "cannot read nowhere/run.json: No such file or directory"),
        (["RUN", "--step", "5"], "has no weights of step 5; there are: 0, 256, 512, 768, 1024"),
        (["RUN", "--step", "x"], "argument --step: invalid int value: 'x'"),
        (["RUN", "--episodes", "0"], "--episodes 0: must be between 1 and 10000"),
        (["RUN", "--friction", "-1"], "--friction -1.0: must be a finite number > 0"),
        (["RUN", "--friction", "nan"], "--friction nan: must be a finite number > 0"),
        (["RUN", "--seed", "-1"], "--seed -1: must be between 0 and 4294967295"),
        (["RUN", "--json", "no/folder/x.json"], "--json no/folder/x.json: must be a file in a folder that exists"),
        (["RUN", "--speed", "2"], "unrecognized arguments: --speed 2"),
        (["FOREIGN"], "run.json describes no environment of ours: 'fidelity'"),
    ],
)
def test_wrong_inputs_are_one_line(words, text, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("checkpoint", "metrics.jsonl"):
        (foreign / name).write_bytes((runs["ant"] / name).read_bytes())
    content = json.loads((runs["ant"] / "run.json").read_text())
    content["configuration"]["env"].pop("fidelity")
    (foreign / "run.json").write_text(json.dumps(content))
    places = {"RUN": str(runs["ant"]), "FOREIGN": str(foreign)}
    try:
        code = main([places.get(word, word) for word in words])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("error: ")
    assert text in said.err
