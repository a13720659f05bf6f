"""One living owner per folder; who lost it notices."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lop.run import owner as module
from lop.run.files import RunError
from lop.run.owner import OwnedElsewhere, OwnershipLost, claim, describe, is_alive, read_owner

CLAIM = """
import sys, time
from lop.run.files import RunError
from lop.run.owner import claim
sys.stdin.readline() if sys.argv[2] == "wait" else None
try:
    claim(sys.argv[1])
    print("mine", flush=True)
except RunError as error:
    print(error, flush=True)
sys.stdin.readline()
"""


def start(folder: Path, mode: str = "go", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def rewrite(folder: Path, **changes: Any) -> None:
    """Changes what owner.json says."""
    path = folder / "owner.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_second_claim_says_who_has_it(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert answer(process) == "mine"
    with pytest.raises(OwnedElsewhere) as caught:
        claim(tmp_path)
    end(process)
    text = str(caught.value)
    assert f"pid {process.pid} on {os.uname().nodename}" in text
    assert re.search(r"since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d, last heartbeat \d s ago$", text)
    assert "\n" not in text


def test_a_killed_owner_is_succeeded_at_once(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert answer(process) == "mine"
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie with its pid
    owner = claim(tmp_path)
    end(process)
    owner.check()
    owner.release("finished")


def test_the_same_process_does_not_own_a_folder_twice(tmp_path: Path) -> None:
    owner = claim(tmp_path)
    with pytest.raises(OwnedElsewhere):
        claim(tmp_path)
    owner.release("stopped")


def test_of_processes_that_race_exactly_one_wins(tmp_path: Path) -> None:
    for attempt in range(8):
        folder = tmp_path / f"new_{attempt}" / "seed_0"
        processes = [start(folder, "wait") for _ in range(3)]
        time.sleep(0.3)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [answer(process) for process in processes]
        for process in processes:
            end(process)
        assert answers.count("mine") == 1, answers
        assert sum("belongs to pid" in text for text in answers) == 2, answers


def test_of_threads_that_race_for_a_dead_owners_folder_exactly_one_wins(tmp_path: Path) -> None:
    for attempt in range(100):
        folder = tmp_path / str(attempt)
        claim(folder).release("failed")
        barrier, won = threading.Barrier(6), []

        def race(folder: Path = folder, barrier: threading.Barrier = barrier, won: list = won) -> None:
            barrier.wait()
            with contextlib.suppress(OwnedElsewhere):
                won.append(claim(folder))

        threads = [threading.Thread(target=race) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].check()
        won[0].release("finished")


def test_without_file_locks_one_of_the_racers_still_has_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lop.run.files.fcntl", None)
    won, lost = [], []

    def race() -> None:
        try:
            won.append(claim(tmp_path))
        except RunError as error:
            lost.append(error)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    won[0].check()
    won[0].release("finished")


def test_an_owner_on_another_host_lives_while_its_heart_beats(tmp_path: Path) -> None:
    claim(tmp_path).release("stopped")
    now = time.time()
    rewrite(tmp_path, status="running", host="elsewhere", process_space="other boot", heartbeat=now - 590)
    with pytest.raises(OwnedElsewhere, match=r"pid \d+ on elsewhere, since .*, last heartbeat 59\d s ago"):
        claim(tmp_path)
    rewrite(tmp_path, heartbeat=now - 601)
    claim(tmp_path).release("finished")


def test_a_pid_that_was_given_to_another_process_is_not_the_owner(tmp_path: Path) -> None:
    claim(tmp_path).release("stopped")
    rewrite(tmp_path, status="running", process_start=1)
    claim(tmp_path).release("finished")


def test_a_job_that_slurm_restarted_takes_over_and_its_former_self_meets_the_fence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    former = claim(tmp_path)
    former.check()
    with pytest.raises(OwnedElsewhere, match="Slurm job 42"):
        claim(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    present = claim(tmp_path)
    with pytest.raises(OwnershipLost, match="taken over; it now belongs to pid .* Slurm job 42"):
        former.check()
    # neither the former's heartbeat nor its end touch what is now the other's
    text = (tmp_path / "owner.json").read_bytes()
    former.beat(every_s=0)
    former.release("failed", "lost")
    assert (tmp_path / "owner.json").read_bytes() == text
    present.check()
    present.release("finished")


def test_a_removed_owner_json_is_a_lost_folder(tmp_path: Path) -> None:
    owner = claim(tmp_path)
    (tmp_path / "owner.json").unlink()
    with pytest.raises(OwnershipLost, match="owner.json is gone"):
        owner.check()
    owner.release("failed")
    assert not (tmp_path / "owner.json").exists()


def test_release_says_how_it_ended_and_frees_the_folder(tmp_path: Path) -> None:
    owner = claim(tmp_path)
    owner.release("failed", "no space left\n")
    owner.release("finished")
    left = read_owner(tmp_path)
    assert left is not None
    assert (left["status"], left["message"], left["pid"]) == ("failed", "no space left", os.getpid())
    assert not is_alive(left)
    assert f"pid {os.getpid()}" in describe(left)


def test_release_on_a_full_disk_does_not_raise(tmp_path: Path, disk: Any) -> None:
    owner = claim(tmp_path)
    disk.is_full = True
    owner.release("failed", "No space left")
    # what cannot be told is at least not mistaken for a living owner
    assert [path.name for path in tmp_path.iterdir()] == ["owner.lock"]


def test_the_heartbeat_is_renewed_in_place_and_rate_limited(tmp_path: Path) -> None:
    owner = claim(tmp_path)
    first = (tmp_path / "owner.json").read_bytes()
    time.sleep(0.02)
    owner.beat()
    assert (tmp_path / "owner.json").read_bytes() == first
    owner.beat(every_s=0.01)
    second = (tmp_path / "owner.json").read_bytes()
    before, after = json.loads(first), json.loads(second)
    assert 0.01 < after["heartbeat"] - before["heartbeat"] < 60
    assert len(first) == len(second)
    assert {**before, "heartbeat": 0} == {**after, "heartbeat": 0}
    owner.check()
    owner.release("finished")


def test_the_heart_beats_by_itself_while_the_owner_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    monkeypatch.setattr(module, "_heart", module._Heart())
    monkeypatch.setattr(module.Owner.beat, "__defaults__", (0.02,))
    owner = claim(tmp_path)
    before = read_owner(tmp_path)
    time.sleep(0.3)
    after = read_owner(tmp_path)
    assert before is not None and after is not None
    assert after["heartbeat"] > before["heartbeat"]
    owner.release("finished")


def test_abandoning_takes_back_the_folders_that_the_claim_made(tmp_path: Path) -> None:
    owner = claim(tmp_path / "ant" / "std" / "seed_0")
    owner.abandon()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    claim(tmp_path / "there").abandon()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "owner.lock"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path, disk: Any) -> None:
    disk.is_full = True
    with pytest.raises(RunError, match="cannot write .*owner.json: No space left on device"):
        claim(tmp_path / "ant" / "seed_0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/lop/seed_0", "/dev/null/seed_0"])
def test_a_place_where_nothing_can_be_made_is_one_line(folder: str) -> None:
    with pytest.raises(RunError, match="cannot make the folder"):
        claim(folder)


@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b'{"token": 1}', b"\xff"])
def test_an_unreadable_owner_json_counts_as_nobody(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "owner.json").write_bytes(junk)
    assert read_owner(tmp_path) is None
    claim(tmp_path).release("finished")
