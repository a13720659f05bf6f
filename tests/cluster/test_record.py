"""The record of a submission: what is read is what was written, and nothing else."""

from __future__ import annotations

import json

import pytest

from lop.cluster.record import JobPlan, Process, new_submission, read_submission, read_submissions


def submission(runs_dir, words=("env=ant",)):
    process = Process({"seeds": [0, 1], "algo": {"name": "cbp"}}, ["ant/cbp/seed_0", "ant/cbp/seed_1"])
    jobs = [JobPlan(0, [process]), JobPlan(1, [Process({"seeds": [2]}, ["ant/cbp/seed_2"])])]
    return new_submission(runs_dir, "slurm", list(words), {"partition": "gpu"}, jobs)


def test_what_was_written_is_read(tmp_path):
    written = submission(tmp_path)
    written.write()
    (read,) = read_submissions(tmp_path)
    assert read == written
    assert read.state == "submitting" and read.array_job_id is None
    assert read.runs == ["ant/cbp/seed_0", "ant/cbp/seed_1", "ant/cbp/seed_2"]
    assert read.runs_dir == tmp_path


def test_ids_follow_the_order_of_jobs(tmp_path):
    submission(tmp_path).sent("12", ["12_0", "12_1"]).write()
    (read,) = read_submissions(tmp_path)
    assert (read.state, read.array_job_id, [job.job_id for job in read.jobs]) == ("submitted", "12", ["12_0", "12_1"])


def test_it_names_no_person(tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "somebody-by-name")
    written = submission(tmp_path / "runs")
    written.write()
    assert "somebody-by-name" not in (written.folder / "submission.json").read_text()


def test_the_oldest_comes_first(tmp_path):
    first, second = submission(tmp_path, ["first"]), submission(tmp_path, ["second"])
    second.write()
    first.write()
    assert [read.words for read in read_submissions(tmp_path)] == [["first"], ["second"]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"jobs"', '"gobs"'),
        lambda text: json.dumps(json.loads(text) | {"jobs": [{"index": 0, "job_id": None, "processes": [{}]}]}),
        lambda text: text.replace('"ant/cbp/seed_1"', '"ant/cbp/seed_1", "ant/cbp/seed_9"'),
    ],
)
def test_torn_and_foreign_files_are_skipped(damage, tmp_path):
    whole, damaged = submission(tmp_path), submission(tmp_path)
    whole.write()
    damaged.write()
    path = damaged.folder / "submission.json"
    path.write_text(damage(path.read_text()))
    assert read_submission(damaged.folder) is None
    assert read_submissions(tmp_path) == [whole]


def test_foreign_folders_and_no_folder_are_no_error(tmp_path):
    assert read_submissions(tmp_path / "nothing") == []
    (tmp_path / ".submissions" / "empty").mkdir(parents=True)
    (tmp_path / ".submissions" / "file").write_text("")
    assert read_submissions(tmp_path) == []
