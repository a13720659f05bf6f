"""A run's numbers depend on its configuration and seed alone: resumed, killed, regrouped, watched or not."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from lop.run.reader import read_run

ALGORITHMS = ["std", "ns", "l2", "cbp", "redo"]
PAIRS = [(env, algo) for env in ("ant", "sant") for algo in ALGORITHMS]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, lop_train):
    """(env, algo, seeds, more settings) -> runs_dir of an uninterrupted run; each is computed once."""
    done = {}

    def get(env, algo, seed, *more):
        key = (env, algo, seed, *more)
        if key not in done:
            runs = tmp_path_factory.mktemp("runs")
            assert lop_train.run_here(lop_train.words(env, algo, f"seed={seed}", f"runs_dir={runs}", *more)) == 0
            done[key] = runs / env / algo / f"seed_{seed}"
        return done[key]

    return get


@pytest.mark.parametrize(("env", "algo"), PAIRS)
def test_two_processes_of_n_updates_equal_one_of_2n(env, algo, uninterrupted, tmp_path, lop_train):
    words = lop_train.words(env, algo, "seed=3", f"runs_dir={tmp_path}", "snapshots=0")
    # 1024 steps end in the middle of a task and of an episode
    lop_train.run([*words, "total_steps=1024"])
    lop_train.run(words)
    lop_train.assert_same_run(uninterrupted(env, algo, 3, "snapshots=0"), tmp_path / env / algo / "seed_3")


@pytest.mark.parametrize("env", ["ant", "sant"])
@pytest.mark.parametrize("width", [100, 256])
def test_resuming_is_exact_for_wider_networks(env, width, uninterrupted, tmp_path, lop_train):
    shape = [f"ppo.hidden_sizes=[{width},{width}]", "snapshots=0"]
    words = lop_train.words(env, "cbp", "seed=1", f"runs_dir={tmp_path}", *shape)
    lop_train.run([*words, "total_steps=1024"])
    lop_train.run(words)
    lop_train.assert_same_run(uninterrupted(env, "cbp", 1, *shape), tmp_path / env / "cbp" / "seed_1")


@pytest.mark.parametrize(("env", "algo"), [("ant", "std"), ("sant", "cbp"), ("sant", "redo")])
def test_a_run_killed_at_random_moments_equals_an_uninterrupted_one(env, algo, uninterrupted, tmp_path, lop_train):
    expected = uninterrupted(env, algo, 5)
    size = (expected / "metrics.jsonl").stat().st_size
    words, folder = lop_train.words(env, algo, "seed=5", f"runs_dir={tmp_path}"), tmp_path / env / algo / "seed_5"
    kills = 0
    for share in np.random.default_rng(0).uniform(0.1, 0.95, size=4):
        kills += lop_train.kill_when(lop_train.start(words), folder / "metrics.jsonl", int(share * size))
    assert kills >= 2
    lop_train.run(words)
    lop_train.assert_same_run(expected, folder)


@pytest.mark.parametrize(("env", "algo"), PAIRS)
def test_four_members_together_equal_four_alone_and_two_and_two(env, algo, uninterrupted, tmp_path, lop_train):
    words = lop_train.words(env, algo, f"runs_dir={tmp_path}", "snapshots=0")
    lop_train.run_here([*words, "seeds=0-3", "total_steps=1024"])
    lop_train.run_here([*words, "seeds=0,1"])
    lop_train.run_here([*words, "seeds=3,2"])
    for seed in range(4):
        lop_train.assert_same_run(uninterrupted(env, algo, seed, "snapshots=0"), tmp_path / env / algo / f"seed_{seed}")


def test_the_number_of_physics_threads_changes_nothing(uninterrupted, tmp_path, lop_train):
    words = lop_train.words("sant", "cbp", f"runs_dir={tmp_path}", "seeds=0-2", "threads=2", "snapshots=0")
    lop_train.run_here(words)
    expected = uninterrupted("sant", "cbp", 2, "snapshots=0")
    lop_train.assert_same_run(expected, tmp_path / "sant" / "cbp" / "seed_2")


def test_members_that_are_behind_catch_up_first(uninterrupted, tmp_path, lop_train):
    words = lop_train.words("sant", "cbp", f"runs_dir={tmp_path}", "snapshots=0")
    lop_train.run_here([*words, "seed=0", "total_steps=512"])
    lop_train.run_here([*words, "seed=1", "total_steps=1280"])
    lop_train.run_here([*words, "seeds=0-2"])
    for seed in range(3):
        expected = uninterrupted("sant", "cbp", seed, "snapshots=0")
        lop_train.assert_same_run(expected, tmp_path / "sant" / "cbp" / f"seed_{seed}")


@pytest.mark.parametrize(("env", "algo"), [("ant", "std"), ("sant", "cbp")])
def test_watching_changes_nothing(env, algo, uninterrupted, tmp_path, lop_train):
    watched, plain = uninterrupted(env, algo, 0), tmp_path / env / algo / "seed_0"
    words = lop_train.words(env, algo, f"runs_dir={tmp_path}", "monitor.enabled=false", "wandb.mode=offline")
    lop_train.run(words)
    assert (plain / "wandb").is_dir()
    assert (plain / "episodes").read_bytes() == (watched / "episodes").read_bytes()
    for one, other in (
        (read_run(plain).metrics_rows, read_run(watched).metrics_rows),
        (read_run(plain).tasks, read_run(watched).tasks),
    ):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            common = {key: value for key, value in b.items() if key in a}
            assert a == common
    a, b = read_run(plain).checkpoint().tensors, read_run(watched).checkpoint().tensors
    for part in ("net/", "adam/", "env/", "variant/"):
        assert [k for k in b if k.startswith(part) and a[k].tobytes() != b[k].tobytes()] == []


@pytest.mark.parametrize("switches", ["preset=reference", "num_envs=4"])
def test_resuming_is_exact_with(switches, uninterrupted, tmp_path, lop_train):
    words = lop_train.words("sant", "cbp", switches, f"runs_dir={tmp_path}", "snapshots=0")
    lop_train.run_here([*words, "total_steps=1024"])
    lop_train.run_here(words)
    lop_train.assert_same_run(
        uninterrupted("sant", "cbp", 0, switches, "snapshots=0"), tmp_path / "sant" / "cbp" / "seed_0"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_with_a_checkpoint_and_the_same_command_goes_on(number, uninterrupted, tmp_path, lop_train):
    words = lop_train.words("sant", "cbp", "seed=5", f"runs_dir={tmp_path}")
    folder = tmp_path / "sant" / "cbp" / "seed_5"
    process = lop_train.start(words)
    while not (folder / "metrics.jsonl").is_file() or not (folder / "metrics.jsonl").stat().st_size:
        assert process.poll() is None
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 75
    assert "goes on" in out
    assert read_run(folder).owner["status"] == "stopped"
    assert "goes on at" in lop_train.run(words)
    lop_train.assert_same_run(uninterrupted("sant", "cbp", 5), folder)


def test_a_finished_run_says_so_and_is_left_alone(uninterrupted, lop_train):
    folder = uninterrupted("ant", "std", 5)
    before = (folder / "checkpoint").stat().st_mtime_ns
    text = lop_train.run(lop_train.words("ant", "std", "seed=5", f"runs_dir={folder.parents[2]}"))
    assert "finished at 2.05k steps, nothing to do" in text
    assert (folder / "checkpoint").stat().st_mtime_ns == before


def test_a_damaged_checkpoint_falls_back_to_the_one_before(uninterrupted, tmp_path, lop_train):
    words = lop_train.words("sant", "cbp", "seed=5", f"runs_dir={tmp_path}")
    folder = tmp_path / "sant" / "cbp" / "seed_5"
    lop_train.kill_when(lop_train.start(words), folder / "checkpoint.previous", 1)
    data = bytearray((folder / "checkpoint").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "checkpoint").write_bytes(data)
    assert "checkpoint" in lop_train.run(words)
    lop_train.assert_same_run(uninterrupted("sant", "cbp", 5), folder)
