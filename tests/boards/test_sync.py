"""wandb gets every row of a run once and in order, whatever was killed, resumed or sent before."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("wandb")

from lop.run.owner import claim
from lop.run.trackers import WandbTracker
from lop.run.wandb_run import read_sidecar, sending

OFFLINE = """
import sys
from pathlib import Path
from lop.run.trackers import WandbTracker
tracker = WandbTracker(Path(sys.argv[1]), "ant/cbp", {}, project="lop")
for update in range(int(sys.argv[2]), int(sys.argv[3])):
    tracker.log({"global_step": 10 * update, "update": update, "margin/dead_counts/layer_0": 0.5 * update})
tracker.finish("stopped")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs/ant/cbp/seed_0"


def tracked_offline(folder: Path, number: str = "ant-cbp-1", last_step: int = 0) -> str:
    """A run folder that a tracker without connection left; returns its id at wandb."""
    content = {"format": 1, "id": number, "last_step": last_step, "mode": "offline"}
    (folder / "wandb.json").write_text(json.dumps(content))
    return number


def test_parts_of_a_requeued_run_arrive_once_and_in_order_and_never_again(boards, wandb_server, local, folder, account):
    # killed after update 6, resumed from a checkpoint of update 4: rows 5 and 6 are computed twice
    environment = {**os.environ, "WANDB_MODE": "offline"}
    for updates, cut_from in ((range(1, 7), None), (range(5, 10), 4)):
        local.write_rows(folder, updates, cut_from=cut_from)
        words = [sys.executable, "-c", OFFLINE, str(folder), str(updates.start), str(updates.stop)]
        subprocess.run(words, env=environment, check=True)
    local.end(folder)
    parts = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(parts) == 2
    done = boards("sync", folder.parents[2])
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{folder}: sent 9 rows up to step 90\n"
    number = read_sidecar(folder)["id"]
    assert list(wandb_server.runs) == [number]
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    values = [row["margin/dead_counts/layer_0"] for row in wandb_server.history(number)]
    assert values == [0.5 * update for update in range(1, 10)]
    assert all(part.with_name(part.name + ".synced").is_file() for part in parts)
    about = wandb_server.runs[number]["about"]
    assert (about["groupName"], about["displayName"], about["project"]) == ("ant/cbp", "ant/cbp/seed_0", "lop")
    assert json.loads(about["config"])["label"] == {"value": "cbp"}
    assert json.loads(wandb_server.runs[number]["summary"])["status"] == "finished"

    wandb_server.asked.clear()
    again = boards("sync", folder.parents[2])
    assert (again.code, again.out) == (0, f"{folder}: nothing new\n")
    assert "UpsertBucket" not in wandb_server.asked
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_a_sync_that_was_cut_off_goes_on_where_wandb_stopped_hearing(boards, wandb_server, local, folder, monkeypatch):
    monkeypatch.setattr("lop.boards.sync.CONFIRM_S", 0.5)
    local.write_rows(folder, range(1, 10))
    number = tracked_offline(folder, last_step=90)
    wandb_server.lines = 4
    done = boards("sync", folder)
    assert done.code == 1 and done.out == ""
    assert done.err == f"error: {folder}: wandb has it up to step 40 of 90; the same command goes on there\n"
    assert read_sidecar(folder)["mode"] == "offline"
    wandb_server.lines = 100
    done = boards("sync", folder)
    assert (done.code, done.out) == (0, f"{folder}: sent 5 rows up to step 90\n")
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_a_killed_sync_is_repeated_without_a_double_row(boards, wandb_server, local, folder, account):
    local.write_rows(folder, range(1, 3000))
    number = tracked_offline(folder)
    wandb_server.lines = 1000
    words = [sys.executable, "-m", "lop.boards", "sync", str(folder)]
    process = subprocess.Popen(words, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while (
        process.poll() is None
        and time.monotonic() < until
        and len(wandb_server.runs.get(number, {}).get("history", ())) < 1000
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(wandb_server.steps(number)) == 1000
    wandb_server.lines = 10**9
    done = boards("sync", folder)
    assert done.out == f"{folder}: sent 1,999 rows up to step 29,990\n", done.err
    assert wandb_server.steps(number) == [10 * update for update in range(1, 3000)]


def test_a_host_that_falls_silent_while_rows_are_sent_is_given_up(boards, wandb_server, local, folder, monkeypatch):
    monkeypatch.setattr("lop.boards.server.TIMEOUT_S", 2)
    monkeypatch.setattr("lop.boards.sync.FINISH_S", 2)
    local.write_rows(folder, range(1, 10))
    number = tracked_offline(folder)
    wandb_server.broken = "stream"
    begin = time.monotonic()
    done = boards("sync", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: wandb at 127.0.0.1") and done.err.count("\n") == 1
    assert time.monotonic() - begin < 40
    wandb_server.broken = ""
    assert boards("sync", folder).out == f"{folder}: sent 9 rows up to step 90\n"
    assert len(wandb_server.steps(number)) == 9


def test_a_run_in_training_without_connection_is_sent_up_to_what_there_is(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 4))
    number = tracked_offline(folder, last_step=30)
    owner = claim(folder)
    try:
        done = boards("sync", folder)
    finally:
        owner.release("stopped")
    assert done.out == f"{folder}: sent 3 rows up to step 30 (still in training)\n"
    assert read_sidecar(folder)["mode"] == "offline"  # the trainer's file is not touched
    local.write_rows(folder, range(4, 6))
    assert boards("sync", folder).out == f"{folder}: sent 2 rows up to step 50\n"
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50]


def test_a_run_that_sends_by_itself_is_left_alone(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 4))
    (folder / "wandb.json").write_text('{"format": 1, "id": "x", "last_step": 30, "mode": "online"}')
    owner = claim(folder)
    try:
        done = boards("sync", folder)
    finally:
        owner.release("stopped")
    assert done.out == f"{folder}: left alone: it is in training and sends its rows itself\n"
    assert wandb_server.runs == {}


def test_runs_without_wandb_are_sent_on_request_only(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 4))
    assert "not sent: it was made with wandb.mode=disabled" in boards("sync", folder).out
    assert wandb_server.runs == {} and not (folder / "wandb.json").exists()
    assert boards("sync", folder, "--all", "--entity", "team", "--project", "other").code == 0
    (run,) = wandb_server.runs.values()
    assert (run["about"]["entity"], run["about"]["project"]) == ("team", "other")


def test_a_hole_is_named_and_anew_sends_the_run_whole(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 6))
    number = tracked_offline(folder)
    rows = ['{"global_step": 10, "_step": 0}', '{"global_step": 40, "_step": 1}']
    wandb_server.runs[number] = {"history": rows, "summary": "{}", "config": "{}", "complete": False, "about": {}}
    done = boards("sync", folder)
    assert done.out == f"{folder}: sent 1 rows up to step 50; wandb lacks 2 earlier rows, --anew sends it whole\n"
    assert boards("sync", folder, "--anew").out == f"{folder}: sent 5 rows up to step 50\n"
    assert wandb_server.steps(read_sidecar(folder)["id"]) == [10, 20, 30, 40, 50]


def test_a_run_that_anew_sent_in_part_stays_offline_until_all_of_it_has_arrived(
    boards, wandb_server, local, folder, monkeypatch
):
    monkeypatch.setattr("lop.boards.sync.CONFIRM_S", 0.5)
    local.write_rows(folder, range(1, 6))
    tracked_offline(folder)
    wandb_server.lines = 2
    assert boards("sync", folder, "--anew").code == 1
    wandb_server.lines = 100
    tracker = WandbTracker(folder, "ant/cbp", {}, project="lop")
    tracker.log({"global_step": 60})
    tracker.finish("stopped")
    (number,) = wandb_server.runs
    assert wandb_server.steps(number) == [10, 20]
    local.write_rows(folder, range(6, 7))
    assert boards("sync", folder).out == f"{folder}: sent 4 rows up to step 60\n"
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50, 60]


def test_a_run_that_is_resumed_while_it_is_being_sent_stays_offline(wandb_server, local, folder, account):
    local.write_rows(folder, range(1, 3))
    number = tracked_offline(folder, last_step=20)
    (folder / "wandb.json").write_text((folder / "wandb.json").read_text().replace("offline", "online"))
    for alone, steps in ((False, []), (True, [40])):
        with sending(folder) if not alone else contextlib.nullcontext():
            tracker = WandbTracker(folder, "ant/cbp", {}, project="lop", mode="online")
            tracker.log({"global_step": 40 if alone else 30})
            tracker.finish("stopped")
        assert (wandb_server.steps(number) if number in wandb_server.runs else []) == steps


def test_what_is_sent_elsewhere_still_waits_for_home(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 4))
    tracked_offline(folder, last_step=30)
    before = (folder / "wandb.json").read_text()
    assert boards("sync", folder, "--project", "other").out == f"{folder}: sent 3 rows up to step 30\n"
    assert (folder / "wandb.json").read_text() == before
    assert boards("sync", folder).code == 0
    assert read_sidecar(folder)["mode"] == "online"


def test_anew_is_for_one_run(boards, wandb_server, local, folder):
    for run in (folder, folder.with_name("seed_1")):
        local.write_rows(run, range(1, 4))
        tracked_offline(run)
    done = boards("sync", folder.parent, "--anew")
    assert (done.code, done.out) == (2, "") and "--anew sends one run" in done.err
    assert wandb_server.runs == {}


def test_rows_that_a_resume_cut_back_are_not_sent_again_when_it_goes_on_online(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 7))
    number = tracked_offline(folder, last_step=60)
    assert boards("sync", folder).code == 0
    # resumed from a checkpoint of update 3, and killed again after update 4
    local.write_rows(folder, range(4, 5), cut_from=3)
    assert boards("sync", folder).out == f"{folder}: nothing new\n"
    tracker = WandbTracker(folder, "ant/cbp", {}, project="lop")
    for step in (50, 60, 70):
        tracker.log({"global_step": step})
    tracker.finish("finished")
    assert wandb_server.steps(number) == [10, 20, 30, 40, 50, 60, 70]


def test_heat_maps_go_with_the_last_row(boards, wandb_server, local, folder):
    pytest.importorskip("matplotlib")
    local.write_rows(folder, range(1, 6), units=True)
    number = tracked_offline(folder)
    assert boards("sync", folder).code == 0
    *before, last = wandb_server.history(number)
    assert all("units/margin/layer_0" not in row for row in before)
    for layer in range(2):
        path = last[f"units/margin/layer_{layer}"]["path"]
        assert wandb_server.uploads[path].startswith(b"\x89PNG")


def test_one_damaged_run_does_not_keep_the_others(boards, wandb_server, local, folder):
    local.write_rows(folder, range(1, 4))
    tracked_offline(folder)
    damaged = folder.with_name("seed_1")
    local.write_rows(damaged, range(1, 4))
    tracked_offline(damaged, "damaged")
    (damaged / "metrics.jsonl").write_bytes(b"{nonsense\n")
    done = boards("sync", folder.parent)
    assert done.code == 1 and done.out == f"{folder}: sent 3 rows up to step 30\n"
    assert done.err.startswith(f"error: {damaged}: ") and done.err.count("\n") == 1


def test_a_run_that_wandb_refuses_does_not_keep_the_others(boards, wandb_server, local, folder):
    refused = folder.with_name("seed_00")
    for run, number in ((refused, "refused"), (folder, "taken")):
        local.write_rows(run, range(1, 4))
        tracked_offline(run, number)
    info = json.loads((refused / "run.json").read_text())
    info["configuration"]["wandb"]["tags"] = ["x" * 65]  # wandb takes 64
    (refused / "run.json").write_text(json.dumps(info))
    done = boards("sync", folder.parent)
    assert done.out == f"{folder}: sent 3 rows up to step 30\n"
    assert done.code == 1 and done.err.startswith(f"error: {refused}: wandb at 127.0.0.1")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["."], "", "no key for wandb"),
        (["."], "f" * 40, "permission denied"),
        (["nowhere"], None, "nowhere is no folder"),
        (["."], None, "there are no runs below"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(boards, tmp_path, monkeypatch, words, key, said):
    monkeypatch.chdir(tmp_path)
    done = boards("sync", *words, **({} if key is None else {"key": key}))
    assert (done.code, done.out) == (2, "")
    assert said in done.err and done.err.count("\n") == 1


def test_a_resumed_run_goes_online_only_after_its_offline_rows(boards, wandb_server, local, folder, account):
    local.write_rows(folder, range(1, 4))
    number = tracked_offline(folder, last_step=30)
    tracker = WandbTracker(folder, "ant/cbp", {}, project="lop")
    tracker.finish("stopped")
    assert wandb_server.runs == {}  # rows 1 to 3 still wait: offline, although there is a key
    local.end(folder, "stopped")
    assert boards("sync", folder).code == 0
    tracker = WandbTracker(folder, "ant/cbp", {}, project="lop")
    tracker.log({"global_step": 30})
    tracker.log({"global_step": 40})
    tracker.finish("finished")
    assert wandb_server.steps(number) == [10, 20, 30, 40]


def test_two_at_once_do_not_meet(boards, wandb_server, local, folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock

    def as_on_nfs(descriptor, operation):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "an exclusive lock needs a file open for writing")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    local.write_rows(folder, range(1, 4))
    tracked_offline(folder)
    descriptor = os.open(folder / "run.json", os.O_RDWR)
    flock(descriptor, fcntl.LOCK_EX)
    done = boards("sync", folder)
    os.close(descriptor)
    assert (done.code, done.err) == (1, f"error: {folder}: another sync is sending it just now\n")
    assert wandb_server.runs == {}


def test_rows_are_sent_without_heat_maps_where_these_cannot_be_drawn(boards, wandb_server, local, folder, monkeypatch):
    def failing(folder):
        raise ValueError("no font")

    monkeypatch.setattr("lop.boards.sync.heat_maps", failing)
    local.write_rows(folder, range(1, 4))
    number = tracked_offline(folder)
    done = boards("sync", folder)
    assert (done.code, done.err) == (0, f"note: {folder}: no heat maps: no font\n")
    assert wandb_server.steps(number) == [10, 20, 30]
