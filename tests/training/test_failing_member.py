"""A member that fails ends alone: it is named, and its companions' files are what they would be without it."""

from __future__ import annotations

import os

import pytest

import lop.train
from lop.run.reader import read_run
from lop.train import main


@pytest.fixture
def alone(tmp_path, lop_train):
    """env, algo, seed -> the folder of that run, trained alone."""

    def train(env, algo, seed):
        assert main(lop_train.words(env, algo, f"seed={seed}", f"runs_dir={tmp_path / 'alone'}")) == 0
        return tmp_path / "alone" / env / algo / f"seed_{seed}"

    return train


def spoil(monkeypatch, seed, update):
    """Make one weight of the member with that seed NaN before it acts for update + 1."""
    save = lop.train.save_what_is_due

    def spoiled(population, i, member, *more):
        save(population, i, member, *more)
        if member.seed == seed and population.update == update:
            population.net.member_tensors(i)["actor.0.bias"][0] = float("nan")

    monkeypatch.setattr(lop.train, "save_what_is_due", spoiled)


def fill_disk_under(monkeypatch, folder, after):
    """From its after-th write on, files below that folder cannot grow."""
    write, count = os.write, 0

    def write_some(descriptor, data):
        nonlocal count
        if str(folder) in os.readlink(f"/proc/self/fd/{descriptor}"):
            count += 1
            if count > after:
                raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_some)


@pytest.mark.parametrize(("env", "algo"), [("ant", "std"), ("sant", "cbp")])
def test_weights_that_are_no_longer_finite_end_one_member_alone(
    env, algo, tmp_path, alone, lop_train, monkeypatch, capsys
):
    expected = [alone(env, algo, seed) for seed in (0, 2)]
    capsys.readouterr()
    with monkeypatch.context() as patch:
        spoil(patch, seed=1, update=3)
        assert main(lop_train.words(env, algo, "seeds=0-2", f"runs_dir={tmp_path / 'together'}")) == 1
    said = capsys.readouterr()
    folders = [tmp_path / "together" / env / algo / f"seed_{seed}" for seed in range(3)]
    assert f"{folders[1]}: FAILED: seed 1: its weights are no longer finite after update 4" in said.out
    assert said.err.count("error: ") == 1
    assert f"error: {folders[1]}: seed 1: its weights are no longer finite" in said.err
    assert [read_run(folder).owner["status"] for folder in folders] == ["finished", "failed", "finished"]
    assert "no longer finite" in read_run(folders[1]).owner["message"]
    for folder, other in zip((folders[0], folders[2]), expected, strict=True):
        lop_train.assert_same_run(other, folder)
    # what was sound is kept: without the spoiling, the same command goes on from there
    assert main(lop_train.words(env, algo, "seeds=0-2", f"runs_dir={tmp_path / 'together'}")) == 0
    lop_train.assert_same_run(alone(env, algo, 1), folders[1])


@pytest.mark.parametrize("after", [15, 40])
def test_a_full_disk_under_one_member_ends_it_alone(after, tmp_path, alone, lop_train, monkeypatch, capsys):
    expected = [alone("sant", "cbp", seed) for seed in (0, 1)]
    capsys.readouterr()
    words = lop_train.words("sant", "cbp", "seeds=0,1", f"runs_dir={tmp_path / 'together'}")
    folders = [tmp_path / "together" / "sant" / "cbp" / f"seed_{seed}" for seed in (0, 1)]
    with monkeypatch.context() as patch:
        fill_disk_under(patch, folders[0], after)
        assert main(words) == 1
    said = capsys.readouterr()
    assert f"{folders[0]}: FAILED: cannot write {folders[0]}/" in said.out
    assert "No space left on device" in said.out
    assert said.err.count("error: ") == 1
    assert read_run(folders[1]).owner["status"] == "finished"
    lop_train.assert_same_run(expected[1], folders[1])
    assert main(words) == 0
    lop_train.assert_same_run(expected[0], folders[0])


def test_all_members_failing_ends_the_process(tmp_path, lop_train, monkeypatch, capsys):
    fill_disk_under(monkeypatch, tmp_path, 40)
    assert main(lop_train.words("ant", "std", "seeds=0,1", f"runs_dir={tmp_path}")) == 1
    said = capsys.readouterr()
    assert said.out.count("FAILED") == 2
    assert [line.split(": ")[0] for line in said.err.splitlines() if "steps/s" not in line] == ["error", "error"]
