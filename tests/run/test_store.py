"""A resumed run's files equal an uninterrupted run's, and a store that cannot be made leaves nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lop.run.files import RunError
from lop.run.records import read_jsonl, read_records
from lop.run.store import FILES, RunStore, folder_for
from lop.run.tables import EPISODES, EVENTS

LAYERS = [3, 2]


def run_updates(store: RunStore, first: int, last: int) -> None:
    """Appends to every file what a function of the update alone would; a snapshot each update."""
    for update in range(first, last + 1):
        draw = np.random.default_rng(update)
        step = 10 * update
        store.append_metrics({"global_step": step, "update": update, "return": draw.normal(), "rank": float("nan")})
        store.append_timing({"global_step": step, "wall_s": 0.5})
        store.append_task({"global_step": step, "kind": "end"})
        store.append_episodes(np.full(update % 3, update).astype(EPISODES))
        store.append_events(np.full(update % 2, update).astype(EVENTS))
        store.append_units(step, update, draw.normal(size=(7, 5)))
        store.append_activity(step, draw.integers(1001, size=5))
        store.write_snapshot(step, {"actor.0.weight": draw.normal(size=(3, 2))}, label="task_0_end" * (update == 3))
        store.flush()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that must be equal."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "timing.jsonl"}


def test_cut_back_and_repeated_equals_uninterrupted_byte_for_byte(tmp_path: Path) -> None:
    straight = RunStore(tmp_path / "straight", LAYERS, {"configuration": {"seed": 0}})
    run_updates(straight, 1, 4)
    straight.save_checkpoint({"w": np.ones(2)}, {"global_step": 40})
    run_updates(straight, 5, 8)
    straight.save_checkpoint({"w": np.zeros(2)}, {"global_step": 80})
    straight.close()

    killed = RunStore(tmp_path / "resumed", LAYERS, {"configuration": {"seed": 0}})
    run_updates(killed, 1, 4)
    killed.save_checkpoint({"w": np.ones(2)}, {"global_step": 40})
    run_updates(killed, 5, 7)
    # the process dies here, tearing two rows and a snapshot
    for name in ("metrics.jsonl", "units"):
        with open(tmp_path / "resumed" / name, "ab") as file:
            file.write(b"torn")
    (tmp_path / "resumed" / "snapshots" / "80.safetensors.tmp").write_bytes(b"torn")

    resumed = RunStore(tmp_path / "resumed", LAYERS, {"ignored": "run.json is there"})
    resumed.cut_to(resumed.load_checkpoint())
    assert sorted(path.name for path in (tmp_path / "resumed" / "snapshots").iterdir()) == [
        "10.safetensors",
        "20.safetensors",
        "30-task_0_end.safetensors",
        "40.safetensors",
    ]
    run_updates(resumed, 5, 8)
    resumed.save_checkpoint({"w": np.zeros(2)}, {"global_step": 80})
    resumed.close()
    killed.close()
    assert contents(tmp_path / "resumed") == contents(tmp_path / "straight")
    assert len(read_jsonl(tmp_path / "resumed" / "timing.jsonl")) == 4 + 3 + 4


def test_without_a_checkpoint_the_files_start_anew(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    at_start = contents(tmp_path / "a")
    run_updates(store, 1, 2)
    store.close()
    again = RunStore(tmp_path / "a", LAYERS)
    again.cut_to(again.load_checkpoint())
    again.close()
    assert contents(tmp_path / "a") == at_start


def test_a_lost_file_is_noticed_when_cutting(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    run_updates(store, 1, 2)
    store.save_checkpoint({}, {"global_step": 20})
    store.close()
    (tmp_path / "a" / "episodes").unlink()
    again = RunStore(tmp_path / "a", LAYERS)
    with pytest.raises(RunError, match="episodes has .* data is missing"):
        again.cut_to(again.load_checkpoint())
    again.close()


def test_appended_files_are_on_the_disk_before_the_checkpoint_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    run_updates(store, 1, 1)
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append("fsync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def watched_replace(source: Path, target: Path) -> None:
        replace(source, target)
        done.append("rename " + Path(target).name)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    store.save_checkpoint({}, {"global_step": 10})
    store.close()
    assert set(done[: len(FILES)]) == {f"fsync {name}" for name in FILES}
    assert done[len(FILES) :] == ["fsync checkpoint.tmp", "rename checkpoint", "fsync a"]


def test_units_beyond_half_precision_become_infinite_without_a_warning(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    values = np.full((7, 5), 1e-12)
    values[0, 0], values[1, 1], values[2, 2] = 1e6, -1e6, np.nan
    store.append_units(10, 1, values)
    store.close()
    back = read_records(tmp_path / "a" / "units")["values"][0].astype(float)
    assert back[0, 0] == np.inf and back[1, 1] == -np.inf and np.isnan(back[2, 2]) and back[3, 3] == 0


def test_a_stretch_under_other_versions_is_recorded_and_told(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    assert store.begin_stretch(0, {"torch": "2.13", "threads": 1}) == []
    store.close()
    again = RunStore(tmp_path / "a", LAYERS)
    assert again.begin_stretch(40, {"torch": "2.14", "threads": 1}) == ["torch: 2.13 before, 2.14 now"]
    again.close()
    assert [row["global_step"] for row in read_jsonl(tmp_path / "a" / "timing.jsonl")] == [0, 40]


def test_the_fence_stands_before_every_write(tmp_path: Path) -> None:
    taken_over = False

    def fence() -> None:
        if taken_over:
            raise RunError("taken over")

    store = RunStore(tmp_path / "a", LAYERS, fence=fence)
    store.append_metrics({"global_step": 1})
    before = contents(tmp_path / "a")
    taken_over = True
    for write in (
        store.flush,
        store.sync,
        lambda: store.cut({}, -1),
        lambda: store.save_checkpoint({}, {"global_step": 1}),
        lambda: store.write_snapshot(1, {}),
        store.close,
    ):
        with pytest.raises(RunError, match="taken over"):
            write()
    assert contents(tmp_path / "a") == before


def test_other_layer_sizes_are_refused_and_change_nothing(tmp_path: Path) -> None:
    RunStore(tmp_path / "a", LAYERS).close()
    before = contents(tmp_path / "a")
    with pytest.raises(RunError, match="another format or shape"):
        RunStore(tmp_path / "a", [4, 2])
    assert contents(tmp_path / "a") == before


@pytest.mark.parametrize("folder", ["/proc/lop/seed_0", "/dev/null/seed_0"])
def test_a_place_where_nothing_can_be_made_is_one_line(folder: str) -> None:
    with pytest.raises(RunError, match=f"cannot make the folder {folder}: ") as caught:
        RunStore(folder)
    assert "\n" not in str(caught.value)


def test_a_disk_that_is_full_at_the_start_leaves_no_folder(tmp_path: Path, disk: Any) -> None:
    disk.is_full = True
    with pytest.raises(RunError, match="No space left on device"):
        RunStore(tmp_path / "runs" / "ant" / "seed_0")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_start_keeps_what_was_there_before(tmp_path: Path, disk: Any) -> None:
    (tmp_path / "owner.json").write_text("ours")
    disk.is_full = True
    with pytest.raises(RunError, match="No space left on device"):
        RunStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["owner.json"]


def test_files_made_before_the_failure_are_taken_back(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    with pytest.raises(RunError, match="cannot open .*units: Is a directory"):
        RunStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["units"]


FILL = """
import resource, sys
from lop.run.files import RunError
from lop.run.store import RunStore
store = RunStore(sys.argv[1], [3, 2])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
rows = 0
try:
    while True:
        store.append_metrics({"global_step": rows, "filler": "x" * 50})
        store.flush()
        rows += 1
except RunError as error:
    print(rows, error)
"""


def test_the_kernel_refusing_a_longer_file_tears_no_row(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE is not None
    result = subprocess.run([sys.executable, "-c", FILL, tmp_path / "a"], capture_output=True, text=True, check=True)
    rows, error = result.stdout.split(" ", 1)
    assert "cannot write" in error and "File too large" in error
    data = (tmp_path / "a" / "metrics.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert len(read_jsonl(tmp_path / "a" / "metrics.jsonl")) == int(rows) > 10


def test_folder_names_follow_the_layout() -> None:
    assert folder_for("runs", "ant", "cbp", None, 3) == Path("runs/ant/cbp/seed_3")
    assert folder_for("runs", "sant", "l2", "lr=1e-3", 0) == Path("runs/sant/l2-lr=1e-3/seed_0")


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", "a\n"])
def test_a_name_that_would_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="are allowed"):
        folder_for("runs", "ant", "cbp", name, 0)


def test_every_file_of_the_list_is_made_and_no_other(tmp_path: Path) -> None:
    RunStore(tmp_path / "a", LAYERS).close()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted([*FILES, "run.json"])


def test_memory_and_files_do_not_grow_with_what_was_flushed(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a", LAYERS)
    run_updates(store, 1, 50)
    assert all(len(file._buffer) == 0 for file in store._files.values())
    assert store.offsets() == {name: (tmp_path / "a" / name).stat().st_size for name in FILES if name != "timing.jsonl"}
    store.close()
