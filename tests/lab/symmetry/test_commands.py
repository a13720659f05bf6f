"""The four commands, small: what they write and say, and their errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lop.lab.symmetry import compare, tables
from lop.lab.symmetry.__main__ import main
from lop.lab.symmetry.data import Task

SMALL = ["--points", "300", "--epochs", "3", "--num-hidden-layers", "2", "--hidden-dim", "16"]


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_train_writes_its_report_and_the_published_options_are_understood(tmp_path, capsys):
    words = ["--symmetry-layer", "2", "--lambda-sym-max", "0.5", "--learning-rate", "1e-3", "--run-seed", "7"]
    assert main(["train", *SMALL, *words, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "symmetry loss at layer 2, λ from 0 to 0.5; weights of epoch 3" in said
    assert {"report.html", "summary.md", "history.csv", "result.csv", "training.png", "profiles.png"} <= names(tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["lambda_sym"].tolist() == [0, 0.25, 0.5]
    assert history["train_sym_loss"].isna().tolist() == [True, False, False]


def test_headless_writes_numbers_alone(tmp_path):
    words = ["train", *SMALL, "--symmetry-layer", "None", "--headless", "--early-stop", "2", "--out", str(tmp_path)]
    assert main(words) == 0
    assert names(tmp_path) == {"report.html", "summary.md", "history.csv", "result.csv"}


def test_a_seed_of_one_kind_changes_it_alone(tmp_path):
    def history(*words: str) -> pd.DataFrame:
        assert main(["train", *SMALL, "--headless", "--out", str(tmp_path), *words]) == 0
        return pd.read_csv(tmp_path / "history.csv")

    base, turned = history(), history("--augmentation-seed", "1")
    # λ is 0 in the first epoch: rotations make no difference yet
    assert base["train_task_loss"][0] == turned["train_task_loss"][0]
    assert base["train_task_loss"][2] != turned["train_task_loss"][2]
    assert base["train_task_loss"][0] != history("--model-seed", "1")["train_task_loss"][0]


def test_benchmark_then_analyze(tmp_path, capsys):
    grid = ["--seeds", "1-3", "--layers", "1", "-1", "--lambdas", "0", "1", "10"]
    assert main(["benchmark", *SMALL, *grid, "--out", str(tmp_path)]) == 0
    # a running benchmark may be in the middle of a line
    with (tmp_path / "results.csv").open("a") as file:
        file.write("1,9,no")
    assert main(["analyze", "--out", str(tmp_path)]) == 0
    figures = {"task_over_lambda.png", "symmetry_over_lambda.png", "share_over_lambda.png", "units_over_lambda.png"}
    assert {"losses.csv", "best.csv", "units.csv", "report.html", *figures} <= names(tmp_path)
    losses = pd.read_csv(tmp_path / "losses.csv")
    assert losses["symmetry layer"].tolist() == ["none", "layer 1", "layer 1", "the output", "the output"]
    assert losses["λ"].tolist() == [0, 1, 10, 1, 10]
    assert set(losses["seeds"]) == {3}


def test_compare_proves_that_both_sides_had_the_same(tmp_path, capsys):
    assert main(["compare", *SMALL, "--seeds", "1-3", "--out", str(tmp_path)]) == 0
    assert "the same data, first weights, batches and rotations with λ = 0 and λ > 0, in all 3 seeds" in (
        capsys.readouterr().out
    )
    fairness = pd.read_csv(tmp_path / "fairness.csv")
    assert fairness["seed"].tolist() == [1, 2, 3]
    # different seeds have nothing in common
    assert all(fairness[name].is_unique for name in ("data", "weights", "batches", "rotations"))
    assert {"pairs.png", "profiles.png", "layers.png", "units.csv"} <= names(tmp_path)


@pytest.mark.parametrize("kind", ["data", "batches", "rotations", "weights"])
def test_compare_finds_an_unfair_side(tmp_path, capsys, monkeypatch, kind):
    original, sides = compare.side, []

    def side(settings, members, device):
        sides.append(members)
        if len(sides) == 2:
            spoil(kind, monkeypatch)
        return original(settings, members, device)

    monkeypatch.setattr(compare, "side", side)
    assert main(["compare", *SMALL, "--seeds", "1", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "did not get the same data" in captured.err
    assert "≠" in captured.out
    assert names(tmp_path) == set()


def spoil(kind: str, monkeypatch) -> None:
    """Lets the side that is trained next have something else."""
    if kind == "data":
        build = Task.__init__

        def other(self, settings, seeds):
            build(self, settings, seeds)
            self.y[-1] += 1

        monkeypatch.setattr(Task, "__init__", other)
    elif kind == "weights":
        from lop.lab.symmetry.network import Population

        start = Population.initialise
        monkeypatch.setattr(
            Population, "initialise", lambda self, seeds: start(self, [s._replace(model=s.model + 1) for s in seeds])
        )
    else:
        draw = Task.epoch

        def epoch(self, number):
            points = draw(self, number)
            return points._replace(rotated=-points.rotated) if kind == "rotations" else points._replace(x=points.x + 1)

        monkeypatch.setattr(Task, "epoch", epoch)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "must be one of train, benchmark, analyze, compare"),
        ("plot", "plot: must be one of"),
        ("train --symmetry-layer 7", "--symmetry-layer 7: must be -1 (output), none, or from 1 to 6"),
        ("train --symmetry-layer first", "must be -1 (output), 1, 2, ... (a hidden layer) or none"),
        ("train --lambda-sym-max -0.5", "must be a finite number >= 0"),
        ("train --learning-rate nan", "must be a finite number > 0"),
        ("train --points 3", "must be a whole number from 10"),
        ("benchmark --seeds 5-1", "--seeds=5-1: must be whole numbers"),
        ("benchmark --seeds 1 1", "every seed must be given once"),
        ("benchmark --layers 7", "--layers 7: must be"),
        ("benchmark --layers 0", "--layers 0: must be"),
        ("compare --symmetry-layer none", "nothing to compare"),
        ("analyze", "is not there: run benchmark first"),
        ("analyze absent.csv", "cannot read absent.csv"),
    ],
)
def test_a_wrong_command_gets_one_line_and_leaves_nothing(words, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words.split())
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert named in error
    assert names(tmp_path) == set()


def test_intervals_agree_with_scipy():
    values = np.array([3e-4, 5e-4, 4e-4, 9e-4])
    low, high = stats.ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    found = tables.geometric_mean(values)
    assert found == pytest.approx((stats.gmean(values), np.exp(low), np.exp(high)))
    assert tables.geometric_mean(values[:2]).text() == "3.9e-04"
    assert tables.geometric_mean(np.array([0.0, 1.0, 2.0])).text() == "0"
    assert tables.geometric_mean(np.array([*values, np.nan])) == found
    assert tables.mean(np.array([np.nan])).text() == "–"


def test_a_weight_with_which_a_training_diverged_is_not_the_best():
    # at λ = 10 one of two seeds ended in NaN, the other is better than all; it must not speak for both
    rows = [
        ("none", 0.0, 2.0),
        ("none", 0.0, 2.0),
        ("1", 1.0, 4.0),
        ("1", 1.0, 4.0),
        ("1", 10.0, 1.0),
        ("1", 10.0, np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["symmetry_layer", "lambda_sym_max", "test_task_loss"]).assign(seed=[1, 2] * 3)
    frame["validation_task_loss"] = frame["test_task_loss"]
    for name in ("orbit_variance_1", "orbit_variance_out", "orbit_share_1", "orbit_share_out"):
        frame[name] = 0.5
    assert tables.best(frame)["λ"].tolist() == [0, 1]
    assert tables.losses(frame)["test task loss"].tolist() == ["2", "4", "–"]
    assert tables.losses(frame)["ratio to none"].tolist() == ["–", "2", "–"]


def test_ratios_are_paired_by_seed():
    # seeds 1, 2, 3: ratios 2, 2, 2, though the means are far apart; seed 9 has no partner
    base = pd.Series([1.0, 10.0, 100.0, 5.0], index=[1, 2, 3, 9])
    values = pd.Series([200.0, 2.0, 20.0], index=[3, 1, 2])
    assert tables.ratio(values, base) == pytest.approx((2, 2, 2))
