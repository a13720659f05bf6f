"""Runs on a node-local folder leave the same result folder as runs without one, whenever they are cut short."""

from __future__ import annotations

import importlib
import shutil

import pytest
from small_runs import BUSY_CBP, assert_same_run, contents, small

from lop.cluster.scratch import Mirror, train_on_scratch
from lop.run.checkpoint import load_checkpoint, save_checkpoint
from lop.run.config import compose
from lop.run.files import RunError
from lop.run.owner import OwnedElsewhere, OwnershipLost, claim, read_owner

WORDS = small(
    "env=ant", "algo=cbp", "seeds=0-1", "monitor.ranks_every_steps=500", "checkpoint_every_steps=256", *BUSY_CBP
)


def config(runs_dir, steps=1024):
    return compose([*WORDS, f"total_steps={steps}", f"runs_dir={runs_dir}"])


@pytest.fixture(scope="module")
def train():
    return importlib.import_module("lop.train").train


@pytest.fixture(scope="module")
def plain(train, tmp_path_factory):
    """The same run without scratch."""
    folder = tmp_path_factory.mktemp("plain")
    assert train(config(folder)) == 0
    return folder


def assert_same(runs, plain):
    for seed in (0, 1):
        assert_same_run(runs / f"ant/cbp/seed_{seed}", plain / f"ant/cbp/seed_{seed}")


def test_the_result_is_that_of_a_run_without_scratch(train, plain, tmp_path):
    assert train_on_scratch(config(tmp_path / "runs"), str(tmp_path / "scratch"), train, every_s=0.05) == 0
    assert_same(tmp_path / "runs", plain)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert read_owner(tmp_path / "runs/ant/cbp/seed_0")["status"] == "finished"


def test_a_copy_taken_at_any_moment_is_gone_on_with(train, plain, tmp_path, monkeypatch):
    runs, scratch = tmp_path / "runs", tmp_path / "scratch"
    copies = []
    push = Mirror.push

    def push_and_keep(self):
        push(self)
        copies.append(shutil.copytree(runs, tmp_path / f"copy{len(copies)}"))

    monkeypatch.setattr(Mirror, "push", push_and_keep)
    assert train_on_scratch(config(runs), str(scratch), train, every_s=0.02) == 0
    monkeypatch.setattr(Mirror, "push", push)
    # as after a node's death: what had been copied by then is all there is. The first with a checkpoint, and a later one
    begun = [copy for copy in copies if load_checkpoint(copy / "ant/cbp/seed_0")]
    for copy in (begun[0], begun[len(begun) // 2]):
        for seed in (0, 1):
            (copy / f"ant/cbp/seed_{seed}/owner.json").unlink()
        assert train_on_scratch(config(copy), str(scratch), train) == 0
        assert_same(copy, plain)


def test_a_longer_run_goes_on_from_the_result_folder(train, plain, tmp_path):
    runs, scratch = tmp_path / "runs", str(tmp_path / "scratch")
    assert train_on_scratch(config(runs, steps=512), scratch, train) == 0
    assert load_checkpoint(runs / "ant/cbp/seed_0").meta["global_step"] == 512
    assert train_on_scratch(config(runs), scratch, train) == 0
    one, other = contents(runs / "ant/cbp/seed_0"), contents(plain / "ant/cbp/seed_0")
    shared = one.keys() & other.keys()
    # snapshots fall on other steps in a run that was to be shorter
    assert [name for name in shared if one[name] != other[name]] == []


def test_a_result_folder_that_somebody_owns_is_left_alone(train, tmp_path):
    other = claim(tmp_path / "runs/ant/cbp/seed_1")
    with pytest.raises(OwnedElsewhere):
        train_on_scratch(config(tmp_path / "runs"), str(tmp_path / "scratch"), train)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "runs/ant/cbp/seed_0").exists()
    other.abandon()


def test_a_mirror_that_lost_its_folder_copies_nothing(tmp_path):
    mirror = Mirror(tmp_path / "scratch", tmp_path / "result")
    mirror.fetch()
    (mirror.source / "metrics.jsonl").write_text("late\n")
    (mirror.target / "owner.json").unlink()
    with pytest.raises(OwnershipLost):
        mirror.push()
    assert not (mirror.target / "metrics.jsonl").exists()
    with pytest.raises(OwnershipLost):
        mirror.finish()


def test_what_cannot_be_copied_is_kept_on_the_node(tmp_path):
    def train(given):
        folder = tmp_path / "runs/ant/cbp/seed_0"
        (folder / "metrics.jsonl").mkdir()
        for path in (tmp_path / "scratch").glob("lop-*/ant/cbp"):
            (path / "seed_0" / "metrics.jsonl").write_text("row\n")
        return 0

    with pytest.raises(RunError, match="the runs are still in"):
        train_on_scratch(config(tmp_path / "runs"), str(tmp_path / "scratch"), train)
    assert (next((tmp_path / "scratch").iterdir()) / "ant/cbp/seed_0/metrics.jsonl").read_text() == "row\n"
    assert read_owner(tmp_path / "runs/ant/cbp/seed_0")["status"] == "failed"


def test_a_checkpoint_comes_last_and_only_while_the_folder_is_ours(tmp_path, monkeypatch):
    mirror = Mirror(tmp_path / "scratch", tmp_path / "result")
    mirror.fetch()
    (mirror.source / "metrics.jsonl").write_text("row\n")
    save_checkpoint(mirror.source, {}, {"offsets": {"metrics.jsonl": 4}})

    def lost(self):
        (self.target / "owner.json").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(Mirror, "_copy_snapshots", lost)
        with pytest.raises(OwnershipLost):
            mirror.push()
    assert (mirror.target / "metrics.jsonl").read_text() == "row\n"
    assert not (mirror.target / "checkpoint").exists()


def test_a_checkpoint_that_could_not_be_copied_is_copied_next_time(tmp_path):
    mirror = Mirror(tmp_path / "scratch", tmp_path / "result")
    mirror.fetch()
    save_checkpoint(mirror.source, {}, {"offsets": {}})
    (mirror.target / "checkpoint.tmp").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        mirror.push()
    (mirror.target / "checkpoint.tmp").rmdir()
    mirror.push()
    assert load_checkpoint(mirror.target).meta == {"offsets": {}}
    mirror.finish()


def test_only_what_is_new_is_copied_and_rows_that_were_cut_are_cut(tmp_path):
    mirror = Mirror(tmp_path / "scratch", tmp_path / "result")
    (mirror.target / "metrics.jsonl").write_text("old\nto be done again\n")
    save_checkpoint(mirror.target, {}, {"offsets": {"metrics.jsonl": 4}})
    mirror.fetch()
    assert (mirror.source / "metrics.jsonl").read_text() == "old\nto be done again\n"
    # the trainer cut to the checkpoint and wrote one row; its first four bytes are not read any more
    (mirror.source / "metrics.jsonl").write_text("???\nrow\n")
    mirror.push()
    assert (mirror.target / "metrics.jsonl").read_text() == "old\nrow\n"
    mirror.finish()
