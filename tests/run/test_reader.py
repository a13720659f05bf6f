"""A run is read without a trainer."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lop.run
from lop.run.files import RunError
from lop.run.reader import columns, list_runs, load_policy, natural, policy_from, read_run
from lop.run.store import RunStore
from lop.run.tables import EPISODES, EVENTS


def weights(scale: float) -> dict[str, np.ndarray]:
    """A policy of 2 inputs, layers of 3 and 2 units, 1 action, and a critic beside it."""
    sizes = [2, 3, 2, 1]
    tensors = {"critic.0.weight": np.ones((3, 2), np.float32), "actor.log_std": np.zeros(1, np.float32)}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        tensors[f"actor.{layer}.weight"] = np.full((outputs, inputs), scale, np.float32)
        tensors[f"actor.{layer}.bias"] = np.full(outputs, -1, np.float32)
    return tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of two updates, snapshots at 10 and 20, a checkpoint at 30."""
    folder = tmp_path / "ant" / "std" / "seed_0"
    store = RunStore(folder, [3, 2], {"configuration": {"seed": 0}})
    store.begin_stretch(0, {"torch": "x"})
    store.append_metrics({"global_step": 10, "update": 1, "rank": float("nan")})
    store.append_metrics({"global_step": 20, "update": 2, "rank": 3.5, "late": 1})
    store.append_task({"task": 0, "kind": "start"})
    store.append_episodes(np.array([(17, -3.5, 17, 0, 0, True, False)], EPISODES))
    store.append_events(np.array([(20, 2, 0, 1, 0, 4, 0.5, -0.5)], EVENTS))
    for update in (1, 2):
        store.append_units(10 * update, update, np.arange(35.0).reshape(7, 5) + update)
    store.append_activity(1000, np.arange(5))
    store.write_snapshot(10, weights(1), label="task_0_start")
    store.write_snapshot(20, weights(2))
    store.save_checkpoint(weights(3), {"global_step": 30})
    store.close()
    return folder


def test_everything_that_was_appended_is_there(folder: Path) -> None:
    run = read_run(folder)
    assert run.configuration == {"seed": 0}
    assert run.layers == [3, 2]
    assert run.metrics["global_step"].tolist() == [10, 20]
    assert np.array_equal(run.metrics["late"], [np.nan, 1], equal_nan=True)
    assert np.array_equal(run.metrics["rank"], [np.nan, 3.5], equal_nan=True)
    assert run.tasks == [{"task": 0, "kind": "start"}]
    assert run.episodes["return"].tolist() == [-3.5] and run.episodes["terminated"].tolist() == [True]
    assert run.events[["layer", "unit", "margin_after"]].tolist() == [(1, 4, -0.5)]
    assert run.activity["counts"].tolist() == [[0, 1, 2, 3, 4]]
    assert run.stretches[0]["versions"] == {"torch": "x"}
    assert run.owner is None


def test_a_unit_field_is_cut_by_layer(folder: Path) -> None:
    run = read_run(folder)
    # field 1 (lowest) of update u holds 5..9 plus u
    assert run.unit_field("lowest").tolist() == [[6, 7, 8, 9, 10], [7, 8, 9, 10, 11]]
    assert run.unit_field("lowest", layer=1).tolist() == [[9, 10], [10, 11]]
    with pytest.raises(RunError, match="no unit field 'margins'; there are margin, lowest"):
        run.unit_field("margins")


def test_runs_are_found_below_a_root(folder: Path) -> None:
    root = folder.parents[2]
    RunStore(root / "ant" / "cbp" / "seed_1", [3]).close()
    assert list_runs(root) == [root / "ant" / "cbp" / "seed_1", folder]
    assert list_runs(folder) == [folder]
    assert list_runs(root / "nothing") == []


def test_policy_is_an_ordinary_network_that_computes_by_hand(folder: Path) -> None:
    policy = load_policy(folder, step=10)
    assert [type(module).__name__ for module in policy] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    # all weights 1, biases -1: (1, 2) -> 2 each -> 5 each -> 9
    assert policy(torch.tensor([[1.0, 2.0]])).tolist() == [[9.0]]
    # (0, 0.5) -> -0.5, cut to 0 -> -1, cut to 0 -> -1
    assert policy(torch.tensor([[0.0, 0.5]])).tolist() == [[-1.0]]
    assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())


def first_weight(policy: torch.nn.Sequential) -> float:
    return next(policy.parameters())[0, 0].item()


def test_policy_of_no_step_is_the_latest(folder: Path) -> None:
    assert first_weight(load_policy(folder)) == 3
    assert first_weight(load_policy(read_run(folder), step=20)) == 2
    (folder / "checkpoint").unlink()
    assert first_weight(load_policy(folder)) == 2


def test_a_step_that_is_not_there_lists_what_is(folder: Path) -> None:
    with pytest.raises(RunError, match=r"no weights of step 25; there are: 10, 20, 30"):
        load_policy(folder, step=25)


def test_a_run_without_weights_says_so(tmp_path: Path) -> None:
    RunStore(tmp_path / "a", [3]).close()
    with pytest.raises(RunError, match="no weights of step any; there are: none"):
        load_policy(tmp_path / "a")
    with pytest.raises(RunError, match="no tensor actor.0.weight; there are critic"):
        policy_from({"critic": np.ones(1)})


def test_loading_a_policy_draws_nothing_from_the_global_generator(folder: Path) -> None:
    before = torch.get_rng_state()
    load_policy(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_without_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*run.json: No such file"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="run.json is damaged"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match="format 2, this program reads 1"):
        read_run(tmp_path)


def test_columns_of_no_rows_are_none() -> None:
    assert columns([]) == {}


def test_reading_imports_no_trainer_and_rows_alone_no_torch() -> None:
    code = """
import sys, lop.run.reader
loaded = [n for n in sys.modules if n.split(".")[0] in ("torch", "mujoco", "wandb", "hydra")]
loaded += [n for n in sys.modules if n.startswith("lop.") and n.split(".")[1] != "run"]
print(loaded)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_public_names_are_reachable_from_the_room() -> None:
    assert lop.run.load_policy is load_policy
    with pytest.raises(AttributeError, match="no attribute 'load_polcy'"):
        _ = lop.run.load_polcy


def test_seeds_are_sorted_by_number():
    runs = ["10", "²", "2", "ant/cbp/seed_10", "ant/cbp/seed_2", "ant/cbp-v2/seed_0", "ant/std/seed_1"]
    assert sorted(runs, key=natural) == [
        "2",
        "10",
        "ant/cbp/seed_2",
        "ant/cbp/seed_10",
        "ant/cbp-v2/seed_0",
        "ant/std/seed_1",
        "²",
    ]
