"""wandb gets every row once, keeps no secret, and may fail without harm."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from lop.run.files import RunError
from lop.run.trackers import WandbTracker, default_mode
from lop.run.wandb_run import read_sidecar, task_columns

OFFLINE_RUN = """
import os, sys
from pathlib import Path
from lop.run.trackers import WandbTracker
root, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
trackers = []
for seed in range(2):
    (root / f"seed_{seed}").mkdir(parents=True, exist_ok=True)
    trackers.append(WandbTracker(root / f"seed_{seed}", "ant/cbp", {"seed": seed}, project="p", tags=["t"]))
    assert "WANDB_SERVICE" not in os.environ
for update in range(first, last + 1):
    for seed, tracker in enumerate(trackers):
        tracker.log({"global_step": 10 * update, "update": update, "loss": seed + update / 2, "rank": float("nan")})
for tracker in trackers:
    tracker.finish("stopped")
"""
KILLED_CORE = """
import os, signal, sys, time
from pathlib import Path
from lop.run.trackers import WandbTracker
tracker = WandbTracker(sys.argv[1], "g", {})
for process in Path("/proc").glob("[0-9]*"):
    try:
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        continue
    if parent == os.getpid():
        os.kill(int(process.name), signal.SIGTERM)
        print("killed")
for step in range(1, 20):
    tracker.log({"global_step": step})
    time.sleep(0.02)
tracker.finish("stopped")
"""
SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without wandb settings, keys or proxies."""
    for name in [name for name in os.environ if name.startswith("WANDB_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))


class FakeRun:
    """A wandb run that fails when told to."""

    def __init__(self, wandb: FakeWandb) -> None:
        self.wandb, self.rows, self.metrics, self.ended, self.summary = wandb, [], [], [], {}

    def define_metric(self, *arguments: Any, **options: Any) -> None:
        self.metrics.append((arguments, options))

    def log(self, row: dict[str, Any], **options: Any) -> None:
        assert not options
        if self.wandb.failing == "log":
            raise BrokenPipeError(f"connection lost\nwith key {SECRET}")
        self.rows.append(row)

    def finish(self, exit_code: int) -> None:
        if self.wandb.failing == "finish":
            raise RuntimeError("finish failed")
        self.ended.append(exit_code)


class FakeWandb(types.ModuleType):
    """wandb as far as the tracker uses it."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.failing, self.runs, self.options = "", [], []

    @staticmethod
    def Settings(**options: Any) -> types.SimpleNamespace:
        return types.SimpleNamespace(base_url="https://wandb.invalid", **options)

    @staticmethod
    def Image(picture: Any) -> tuple[str, tuple[int, int]]:
        return ("image", picture.size)

    def init(self, **options: Any) -> FakeRun:
        if self.failing == "init":
            raise RuntimeError("no network")
        os.environ["WANDB_SERVICE"] = "set by init"
        self.options.append(options)
        self.runs.append(FakeRun(self))
        return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    """The fake in wandb's place."""
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows that the offline runs of a folder hold, in order."""
    rows = []
    for run in sorted((folder / "wandb").glob("offline-run-*")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        records = [json.loads(line) for line in lines]
        rows += [record["history"]["item"] for record in records if record["type"] == "history"]
        ids = {record["run"]["run_id"] for record in records if record["type"] == "run"}
        sidecar = read_sidecar(folder)
        assert sidecar is not None and ids == {sidecar["id"]}
    return rows


def test_real_wandb_offline_takes_several_members_and_a_resume_sends_no_row_twice(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    # killed after update 4, resumed from a checkpoint of update 2
    for first, last in ((1, 4), (3, 6)):
        command = [sys.executable, "-W", "error", "-c", OFFLINE_RUN, str(tmp_path), str(first), str(last)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert result.stdout + result.stderr == ""
    for seed in range(2):
        rows = history(tmp_path / f"seed_{seed}")
        assert [row["global_step"] for row in rows] == [10, 20, 30, 40, 50, 60]
        assert [row["loss"] for row in rows] == [seed + update / 2 for update in range(1, 7)]
    sidecars = [read_sidecar(tmp_path / f"seed_{seed}") for seed in range(2)]
    assert sidecars[0] is not None and sidecars[1] is not None
    assert sidecars[0]["id"] != sidecars[1]["id"]
    assert sidecars[0]["last_step"] == 60


def test_killed_wandb_core_gives_one_warning_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    command = [sys.executable, "-c", KILLED_CORE, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "killed\n"
    assert result.stderr.count("wandb is off") == 1
    assert "Traceback" not in result.stderr


def test_runs_are_grouped_named_and_plotted_over_global_step(tmp_path: Path, wandb: FakeWandb) -> None:
    folder = tmp_path / "seed_3"
    folder.mkdir()
    WandbTracker(folder, "ant/cbp-x", {"seed": 3}, project="p", entity="lab", tags=["t"])
    (options,) = wandb.options
    assert (options["group"], options["name"], options["config"]) == (
        "ant/cbp-x",
        "ant/cbp-x/seed_3",
        {"seed": 3, "label": "cbp-x"},
    )
    assert (options["project"], options["entity"], options["tags"]) == ("p", "lab", ["t"])
    assert (options["mode"], options["reinit"], options["dir"]) == ("offline", "create_new", folder)
    assert wandb.runs[0].metrics == [(("global_step",), {}), (("*",), {"step_metric": "global_step"})]
    assert "WANDB_SERVICE" not in os.environ


def use_tracker(folder: Path) -> None:
    """A whole life of a tracker."""
    tracker = WandbTracker(folder, "g", {})
    for step in (1, 2, 3):
        tracker.log({"global_step": step})
    tracker.finish("finished")
    tracker.finish("finished")


@pytest.mark.parametrize("failing", ["init", "log", "finish"])
def test_a_failing_wandb_gives_one_warning_and_then_silence(tmp_path: Path, wandb: FakeWandb, failing: str) -> None:
    wandb.failing = failing
    with pytest.warns(UserWarning, match="wandb is off for .*Training goes on") as caught:
        use_tracker(tmp_path)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


def test_a_key_never_reaches_a_warning_or_a_file(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    wandb.failing = "log"
    with pytest.warns(UserWarning, match=r"with key \[key\]"):
        WandbTracker(tmp_path, "g", {}, mode="offline").log({"global_step": 1})
    assert all(SECRET not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_that_cannot_be_written_only_warns(tmp_path: Path, wandb: FakeWandb) -> None:
    with pytest.warns(UserWarning, match=r"cannot write .*wandb\.json"):
        WandbTracker(tmp_path / "gone", "g", {})
    assert wandb.runs == []


def test_disabled_touches_nothing(tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = WandbTracker(tmp_path, "g", {}, mode="disabled")
    tracker.log({"global_step": 1})
    tracker.finish("finished")
    assert (wandb.runs, list(tmp_path.iterdir())) == ([], [])


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="wandb mode 'of': allowed are online, offline, disabled"):
        WandbTracker(tmp_path, "g", {}, mode="of")


def test_a_failed_run_is_shown_as_failed(tmp_path: Path, wandb: FakeWandb) -> None:
    for status, exit_code in (("finished", 0), ("stopped", 0), ("failed", 1)):
        WandbTracker(tmp_path, "g", {}).finish(status)
        assert (wandb.runs[-1].ended, wandb.runs[-1].summary) == ([exit_code], {"status": status})


def test_a_damaged_sidecar_begins_a_new_wandb_run(tmp_path: Path, wandb: FakeWandb) -> None:
    (tmp_path / "wandb.json").write_text('{"id": 3')
    tracker = WandbTracker(tmp_path, "g", {})
    tracker.log({"global_step": 0})
    assert wandb.runs[0].rows == [{"global_step": 0}]


def test_mode_is_offline_without_a_key_and_without_an_answer(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        assert default_mode() == "offline"
        monkeypatch.setenv("WANDB_API_KEY", SECRET)
        assert default_mode() == "online"
    assert default_mode() == "offline"  # nobody listens there any more


def test_a_key_in_netrc_counts_for_its_host_only(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", f"http://{host}")
        netrc.write_text("machine example.org\n  login user\n  password x\n")
        assert default_mode() == "offline"
        netrc.write_text(f"machine {host}\n  login user\n  password {SECRET}\n")
        assert default_mode() == "online"


def png() -> dict[str, bytes]:
    image = pytest.importorskip("PIL.Image")
    target = io.BytesIO()
    image.new("RGB", (4, 2)).save(target, "png")
    return {"units/margin/layer_0": target.getvalue()}


def test_pictures_go_with_their_row_when_online(tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = WandbTracker(tmp_path, "g", {}, mode="online")
    tracker.log({"global_step": 1}, png)
    tracker.log({"global_step": 2})
    assert wandb.runs[0].rows == [{"global_step": 1, "units/margin/layer_0": ("image", (4, 2))}, {"global_step": 2}]


def test_offline_nothing_is_drawn(tmp_path: Path, wandb: FakeWandb) -> None:
    tracker = WandbTracker(tmp_path, "g", {}, mode="offline")
    tracker.log({"global_step": 1}, lambda: pytest.fail("drawn"))
    assert wandb.runs[0].rows == [{"global_step": 1}]


def test_a_picture_that_cannot_be_drawn_warns_once_and_the_rows_go_on(tmp_path: Path, wandb: FakeWandb) -> None:
    def failing() -> dict[str, bytes]:
        raise ValueError("no\nfont")

    tracker = WandbTracker(tmp_path, "g", {}, mode="online")
    with pytest.warns(UserWarning, match="no pictures of .*: no font. Training goes on"):
        tracker.log({"global_step": 1}, failing)
    tracker.log({"global_step": 2}, failing)  # a second warning would be an error
    assert wandb.runs[0].rows == [{"global_step": 1}, {"global_step": 2}]


def test_offline_rows_that_wait_keep_a_resumed_run_offline(
    tmp_path: Path, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lop.run.trackers.default_mode", lambda: "offline")
    WandbTracker(tmp_path, "g", {}).log({"global_step": 1})
    monkeypatch.setattr("lop.run.trackers.default_mode", lambda: "online")
    WandbTracker(tmp_path, "g", {})
    assert wandb.options[1]["mode"] == "offline"
    WandbTracker(tmp_path, "g", {}, mode="online")  # whoever asks for it gets it
    assert wandb.options[2]["mode"] == "online"


def test_rows_of_tasks_become_columns() -> None:
    start = {"event": "start", "task": 1, "global_step": 600, "margin/dead_counts/layer_0": 2.0, "srank/layer_0": 9.0}
    ends = {"event": "end", "task": 0, "global_step": 600, "margin/mean_margins/layer_1": 0.5}
    assert task_columns([ends, start]) == {
        "task/end_mean_margins/layer_1": 0.5,
        "task/start_dead_counts/layer_0": 2.0,
    }
