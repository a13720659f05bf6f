"""How far a run is, from its files, whatever state these are in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lop.cluster.standing import stand
from lop.run.owner import claim
from lop.run.store import RunStore


@pytest.fixture
def folder(tmp_path):
    """A run of 10 updates of 100 steps that has done 7, at 50 steps a second, with a checkpoint after the 6th."""
    folder = tmp_path / "seed_0"
    configuration = {"total_steps": 1099, "ppo": {"steps_per_update": 100}}
    store = RunStore(folder, layers=[3, 3], info={"configuration": configuration})
    store.begin_stretch(0, {})
    for update in range(7):
        step = 100 * (update + 1)
        row = {"global_step": step, "update": update}
        if update == 4:
            row |= {"return": 12.5, "margin/dead_counts/layer_0": 1.0, "margin/dead_counts/layer_1": 2.0}
        store.append_metrics(row)
        store.append_timing({"global_step": step, "collect_s": 1.0, "learn_s": 0.7, "observe_s": 0.3})
        if update == 5:
            store.save_checkpoint({"w": np.ones(3)}, {"update": 6, "global_step": 600})
    store.close()
    return folder


def test_everything_is_there(folder):
    owner = claim(folder)
    owner.release("stopped", "SIGTERM")
    standing = stand(folder)
    assert (standing.step, standing.saved_step, standing.total_steps) == (700, 600, 1000)
    assert standing.steps_per_s == pytest.approx(50)
    # the last update had neither an episode's end nor margins: the last that had counts
    assert (standing.last_return, standing.dead, standing.at_risk) == (12.5, [1.0, 2.0], [])
    assert standing.owner["status"] == "stopped" and standing.problem == "" and standing.exists
    assert standing.changed == pytest.approx((folder / "metrics.jsonl").stat().st_mtime)


def test_the_rate_is_that_of_the_present_process(folder):
    with open(folder / "timing.jsonl", "a") as timing:
        timing.write('{"format":1,"event":"stretch","global_step":600,"versions":{}}\n')
    assert math.isnan(stand(folder).steps_per_s)
    with open(folder / "timing.jsonl", "a") as timing:
        timing.write('{"format":1,"global_step":700,"collect_s":3.0,"learn_s":1.0,"observe_s":1.0}\n')
    assert stand(folder).steps_per_s == pytest.approx(20)


def test_a_folder_that_is_not_there_is_no_error(tmp_path):
    standing = stand(tmp_path / "none")
    assert not standing.exists and standing.owner is None and standing.step == 0 and standing.problem == ""


@pytest.mark.parametrize("name", ["run.json", "checkpoint", "metrics.jsonl", "timing.jsonl", "owner.json"])
def test_each_file_may_be_torn_or_missing_and_the_others_still_tell(folder, name):
    claim(folder).release("stopped")
    path = folder / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\x00" * 40 + b"\n", b"[]\n", None):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        standing = stand(folder)
        assert standing.step in ((0, 600) if name == "metrics.jsonl" else (700, 300)) or name == "run.json"
        assert "\n" not in standing.problem
    assert stand(folder).problem or name in ("run.json", "checkpoint", "owner.json")


def test_a_damaged_file_is_named(folder):
    (folder / "checkpoint").write_bytes(b"nonsense")
    assert str(folder / "checkpoint") in stand(folder).problem


def test_only_the_ends_of_long_files_are_read(folder):
    tail = (folder / "metrics.jsonl").read_bytes()
    # what is far from the end may even be damaged: nobody looks
    rows = b'{"format":1,"global_step":1,"update":1}\n' * 5000
    (folder / "metrics.jsonl").write_bytes(b"\x00" * 1_000_000 + b"\n" + rows + tail)
    standing = stand(folder)
    assert (standing.step, standing.problem) == (700, "")


def test_another_version_is_told_with_the_step_it_began_at(folder):
    def begin(step: int, **versions: str) -> None:
        with open(folder / "timing.jsonl", "a") as timing:
            timing.write(
                json.dumps({"format": 1, "event": "stretch", "global_step": step, "versions": versions}) + "\n"
            )

    (folder / "timing.jsonl").write_text("")
    begin(0, torch="2.6", cpu="A")
    begin(300, torch="2.6", cpu="A")
    assert stand(folder).version_changes == []
    begin(2048, torch="2.7", cpu="B")
    begin(4096, torch="2.7", cpu="A")
    expected = ["from 2.05k on: cpu: A before, B now, torch: 2.6 before, 2.7 now", "from 4.1k on: cpu: B before, A now"]
    assert stand(folder).version_changes == expected
    # looked at again with a row half-written, and then whole
    with open(folder / "timing.jsonl", "a") as timing:
        timing.write('{"format":1,"event":"stretch","global_')
    assert stand(folder).version_changes == expected and stand(folder).problem == ""
    with open(folder / "timing.jsonl", "a") as timing:
        timing.write('step":5120,"versions":{"torch":"2.8","cpu":"A"}}\n')
    assert stand(folder).version_changes == [*expected, "from 5.12k on: torch: 2.7 before, 2.8 now"]
    (folder / "timing.jsonl").write_text("")
    assert stand(folder).version_changes == []
