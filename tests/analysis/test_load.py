"""Reading runs as tables, whatever their state."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import lop.analysis
from lop.analysis.curves import binned, curves, groups, nice_width
from lop.analysis.rows import brief
from lop.run.files import RunError


def test_the_table_has_a_row_per_run(runs_folder):
    runs = lop.analysis.load(runs_folder)
    assert runs.left_out == []
    assert list(zip(runs.table["env"], runs.table["label"], runs.table["seed"], strict=True))[:4] == [
        ("ant", "cbp", 0),
        ("ant", "cbp", 1),
        ("ant", "cbp", 2),
        ("ant", "l2", 0),
    ]
    assert set(runs.where(env="ant", algo="std").table["steps"]) == {120 * 2048, 60 * 2048}
    assert set(runs.table["planned_steps"]) == {120 * 2048, 100 * 2048}


def test_metrics_are_those_of_the_run_with_nan_where_a_row_has_none(runs_folder):
    runs = lop.analysis.load(runs_folder).where(env="ant", algo="cbp", seed=1)
    frame = runs.metrics("return", "srank/layer_1")
    expected = runs.run("ant/cbp/seed_1").metrics
    assert list(frame.columns) == [
        "run",
        "env",
        "algo",
        "label",
        "seed",
        "global_step",
        "update",
        "return",
        "srank/layer_1",
    ]
    np.testing.assert_array_equal(frame["return"], expected["return"])
    np.testing.assert_array_equal(frame["srank/layer_1"], expected["srank/layer_1"])
    assert frame["srank/layer_1"].isna().sum() > 50


def test_episodes_events_and_tasks_carry_their_run(runs_folder):
    runs = lop.analysis.load(runs_folder).where(env="sant", algo="std")
    episodes, events, tasks = runs.episodes(), runs.events(), runs.tasks()
    assert len(episodes) == 3 * 200
    assert set(episodes["env"]) == {"sant"}
    assert set(episodes["env_index"]) == {0}
    # ten units die in each of three runs, the last at update 10 + 81
    assert events["kind"].value_counts().to_dict() == {"death": 30}
    assert tasks.groupby(["run", "event"], observed=True).size().unique().tolist() == [5]
    assert tasks["friction"].between(0.1, 0.5).all()


def test_per_unit_arrays_are_one_call_away_and_an_unknown_run_is_named(runs_folder):
    runs = lop.analysis.load(runs_folder)
    assert runs.run("ant/std/seed_0").unit_field("margin").shape == (120, 32)
    with pytest.raises(RunError, match="no run 'ant/std/seed_9' below .* there are ant/cbp/seed_0"):
        runs.run("ant/std/seed_9")


def test_what_cannot_be_read_is_named_and_the_rest_is_used(synthetic, tmp_path):
    folders = [synthetic(seed=seed, updates=30).write(tmp_path) for seed in range(5)]
    rows = (folders[0] / "metrics.jsonl").read_bytes().split(b"\n")
    rows[3] = rows[3][:40]
    rows[7] = b'{"format":99}'
    (folders[0] / "metrics.jsonl").write_bytes(b"\n".join(rows) + b'{"format":1,"global_st')
    (folders[1] / "run.json").write_text("{")
    (folders[2] / "episodes").write_bytes(b"")
    (folders[3] / "metrics.jsonl").unlink()
    (folders[4] / "run.json").write_text(json.dumps({"format": 1, "layers": [2], "configuration": {}}))
    (tmp_path / "ant" / "notes").mkdir()
    runs = lop.analysis.load(tmp_path)
    assert list(runs.table["seed"]) == [0, 2, 3]
    assert list(runs.table["steps"]) == [30 * 2048, 30 * 2048, 0]
    metrics = runs.metrics("return")
    assert metrics.groupby("seed").size().to_dict() == {0: 28, 2: 30}
    assert runs.episodes().groupby("seed").size().to_dict() == {0: 60, 3: 60}
    texts = "\n".join(runs.left_out)
    assert "seed_0/metrics.jsonl: 2 damaged rows (line 4, 8)" in texts
    assert "seed_1/run.json is damaged" in texts
    assert "seed_2/episodes does not begin with a header of ours" in texts
    assert "seed_3/metrics.jsonl: No such file or directory" in texts
    assert "seed_4/run.json describes no run of ours: KeyError 'algo'" in texts
    assert len(runs.left_out) == 5


@pytest.mark.parametrize(("name", "text"), [("nothing", "is not a folder"), ("empty", "no run below .*empty$")])
def test_a_folder_without_runs_is_refused_in_one_line(tmp_path, name, text):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=text):
        lop.analysis.load(tmp_path / name)


def test_runs_of_one_label_with_other_settings_are_pointed_out(synthetic, tmp_path):
    synthetic(seed=0, updates=3).write(tmp_path)
    folder = synthetic(seed=1, updates=3).write(tmp_path)
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"epsilon": 0.1', '"epsilon": 0.2'))
    shutil.copytree(folder, tmp_path / "again")
    assert lop.analysis.load(tmp_path).left_out == [
        "ant/std: its runs differ in monitor.epsilon; they are averaged all the same",
        "ant/std: seed 1 more than once; every run counts as a seed of its own",
    ]


def test_bins_hold_means_or_sums_and_nan_where_nothing_happened():
    # width 10: steps 0, 5, 9 in the first bin; 10 in the second; 35 beyond the three bins
    steps, values = np.array([0, 5, 9, 10, 35]), np.array([1.0, 2.0, 6.0, np.nan, 8.0])
    np.testing.assert_array_equal(binned(steps, values, 10, 3), [3.0, np.nan, np.nan])
    np.testing.assert_array_equal(binned(steps, values, 10, 3, total=True), [9.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("longest", "width"), [(100_000_000, 250_000), (20_000_000, 50_000), (1_000_000, 10_000), (50_000, 5_000)]
)
def test_bins_are_round_and_not_too_many(longest, width):
    assert nice_width(longest) == width


def test_a_curve_ends_where_its_run_ended_and_the_band_where_a_seed_is_missing(runs_folder):
    runs = lop.analysis.load(runs_folder).where(env="ant")
    frame = curves(runs, "margin/dead_counts*", width=10_240)
    assert frame.groupby("run", observed=True).size().loc["ant/std/seed_3"] == 12
    group = next(g for g in groups(frame, "return") if g.label == "std")
    low, high = group.band()
    assert group.seeds == 4
    assert group.count.tolist() == [4] * 12 + [3] * 12
    assert np.isfinite(low).tolist() == [True] * 12 + [False] * 12
    assert (low[:12] <= group.centre()[:12]).all()
    assert (group.centre()[:12] <= high[:12]).all()


def test_deaths_add_up_over_the_bins(runs_folder):
    frame = curves(lop.analysis.load(runs_folder).where(run="ant/std/seed_0"), "margin/deaths*", width=20_480)
    assert frame["margin/deaths/layer_0"].sum() == 10


def test_the_bin_of_a_curve_is_the_mean_of_its_updates(runs_folder):
    runs = lop.analysis.load(runs_folder).where(run="ant/cbp/seed_0")
    frame = curves(runs, "margin/mean_margins/layer_0", width=20_480)
    # global_step 20,480 = 10 updates belongs to the second bin: the first holds updates 1 to 9
    raw = runs.run("ant/cbp/seed_0").metrics["margin/mean_margins/layer_0"]
    assert frame["margin/mean_margins/layer_0"].iloc[0] == pytest.approx(np.mean(raw[:9]))


def test_a_missing_extra_is_one_line(tmp_path):
    program = "import sys; sys.modules['pandas'] = None; import runpy; sys.argv = ['x', 'runs']; "
    program += "import importlib.util as u; find = u.find_spec; "
    program += "u.find_spec = lambda name: None if name == 'pandas' else find(name); "
    program += "runpy.run_module('lop.analysis', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: lop.analysis needs pandas: pip install 'lop-rl[analysis]'\n"


def test_what_is_said_of_many_files_is_said_once():
    many = [f"runs/seed_{i}/units: 0 updates" for i in range(150)]
    three = [f"runs/seed_{i}: no run.json" for i in range(3)]
    alone = ["runs hold two configurations"]
    assert brief([*alone, *many, *three]) == [*alone, "runs/seed_0/units and 149 more: 0 updates", *three]
    assert brief(alone * 5) == alone * 5
