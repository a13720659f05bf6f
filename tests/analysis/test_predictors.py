"""Deaths, their warnings, and what goes with them: planted answers and slow second implementations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lop.analysis
from lop.analysis.predictors import HORIZON, dies_within, stays_dead, study_all, study_table, study_units
from lop.analysis.relations import correlations, deaths_by_phase, phase_summary, phases, with_verdicts
from lop.analysis.tasks import per_task, plasticity


def study(margin, epsilon=0.1, horizon=2, **features):
    margin = np.array(margin, float).T
    return study_units(margin, {"margin": margin, **features}, epsilon, horizon)


def test_deaths_warnings_and_alarms_by_hand():
    found = study(
        [
            # warned for two updates, then dead for good: an alarm that was true
            [1, 1, 0.05, 0.04, -1, -1, -1, -1],
            # no warning; dead for one update only, so not lasting
            [1, 1, 1, -1, 1, 1, 1, 1],
            # at risk and recovered: a false alarm
            [1, 0.05, 1, 1, 1, 1, 1, 1],
            # dead from the start
            [-1, -1, -1, -1, -1, -1, -1, -1],
            # dies in the very last update: a death, of which nobody knows whether it lasts
            [1, 1, 1, 1, 1, 1, 1, -1],
        ]
    )
    assert (found.deaths, found.revivals, found.dead_at_start) == (3, 1, 1)
    assert found.leads.tolist() == [2]
    assert (found.alarms, found.alarms_true) == (2, 1)
    # the lasting death is at update 4 of 8: 3 * 4 // 8 = 1, the middle third
    assert found.onsets.tolist() == [0, 1, 0]


def test_looking_ahead_equals_a_loop():
    dead = np.random.default_rng(0).random((40, 6)) < 0.4
    for horizon in (1, 3, 60):
        soon = [[dead[t + 1 : t + 1 + horizon, j].any() for j in range(6)] for t in range(40)]
        np.testing.assert_array_equal(dies_within(dead, horizon), soon)
    for horizon in (1, 3, 10):
        stays = [[t + horizon <= 40 and dead[t : t + horizon, j].all() for j in range(6)] for t in range(40)]
        np.testing.assert_array_equal(stays_dead(dead, horizon), stays)


def test_a_margin_that_falls_steadily_foretells_and_noise_does_not():
    rng = np.random.default_rng(0)
    time = np.arange(300)[:, None]
    death = rng.uniform(50, 280, size=40)
    margin = np.concatenate([0.02 * (death - time), np.ones((300, 40))], axis=1)
    margin[:, :40] = np.minimum(margin[:, :40], 1.5 + rng.random(40))
    found = study_units(margin, {"margin": margin, "noise": rng.random(margin.shape)}, 0.1)
    assert found.aucs["margin"] > 0.99
    assert abs(found.aucs["noise"] - 0.5) < 0.08
    # a slope of 0.02 an update is below 0.1 for the last five of them, the first of which is at most 0.1
    assert set(found.leads.tolist()) <= {4, 5}
    assert len(found.leads) == 40


def test_the_table_of_deaths_is_that_of_the_planted_runs(runs_folder):
    runs = lop.analysis.load(runs_folder)
    table = study_table(runs, study_all(runs)).set_index("run")
    assert runs.left_out == []
    assert table.loc["ant/std/seed_0", ["deaths", "revivals", "lasting"]].tolist() == [10, 0, 10]
    # deaths at updates 20, 26, ..., 74 of 120: thirds end at 40 and 80
    assert table.loc["ant/std/seed_0", ["early", "middle", "late"]].tolist() == [4, 6, 0]
    assert table.loc["ant/cbp/seed_1", "auc margin"] == 1.0
    assert np.isnan(table.loc["ant/l2/seed_0", "auc margin"])
    assert table.loc["ant/std/seed_0", "median_lead"] == 4 * 2048
    assert table.loc["ant/std/seed_0", "alarms_true"] == 1.0


def test_a_run_that_is_too_short_is_named(synthetic, tmp_path):
    synthetic(updates=HORIZON).write(tmp_path)
    runs = lop.analysis.load(tmp_path)
    assert study_all(runs) == {}
    assert "10 updates; the study of deaths needs more than 10" in runs.left_out[0]


def test_phases_of_a_return_that_rises_stays_and_falls():
    # the change over 5 bins is 5 per bin of slope; the range is 100, so a plateau changes by less than 5
    returns = np.concatenate([np.arange(0, 100, 10.0), np.full(10, 100.0), np.arange(100, 0, -10.0)])
    found = phases(returns)
    assert found[:4].tolist() == [-1, -1, -1, -1]  # the change is not known yet
    assert set(found[4:9]) == {0}
    assert set(found[14:16]) == {1}
    assert set(found[21:26]) == {2}
    assert set(phases(np.arange(9.0))) == {-1}


def frame_of(returns, deaths, margin, run="ant/std/seed_0", seed=0):
    size = len(returns)
    columns = {"run": run, "env": "ant", "algo": "std", "label": "std", "seed": seed, "step": np.arange(size)}
    return pd.DataFrame({**columns, "return": returns, "deaths": deaths, "margin": margin})


def test_deaths_are_averaged_within_each_phase():
    returns = np.concatenate([np.arange(0, 200, 10.0), np.full(20, 200.0)])
    table = deaths_by_phase(frame_of(returns, np.where(np.arange(40) < 20, 4.0, 1.0), returns))
    assert table["rising"].iloc[0] == pytest.approx(4.0, abs=0.4)
    assert table["plateau"].iloc[0] == pytest.approx(1.0, abs=0.4)
    assert np.isnan(table["falling"].iloc[0])


def test_a_planted_correlation_is_found_over_ten_seeds_and_none_is_invented():
    rng = np.random.default_rng(1)
    frames = []
    for seed in range(10):
        returns = np.cumsum(rng.normal(size=80))
        margin = returns + 0.1 * rng.normal(size=80)
        frame = frame_of(returns, np.ones(80), margin, f"r{seed}", seed)
        frames.append(frame.assign(srank=rng.normal(size=80)))
    table = correlations(pd.concat(frames)).set_index(["pair", "of"])
    assert table.loc[("margin – return", "changes"), "verdict"] == "positive"
    assert table.loc[("margin – return", "levels"), "rho"] > 0.9
    assert table.loc[("srank – return", "changes"), "verdict"] == "not shown"


def test_few_seeds_are_no_test_and_do_not_weigh_on_the_others():
    # five seeds cannot get below 2^-4 = 0.0625; ten can, and are then the only test
    table = pd.DataFrame({"rho": [0.9, 0.9], "seeds": [5, 10], "p": [np.nan, 0.002]})
    found = with_verdicts(table, "rho")
    assert found["verdict"].tolist() == ["too few seeds", "positive"]
    assert found["p_holm"].iloc[1] == 0.002


def test_correlations_of_five_seeds_have_no_p_value():
    rng = np.random.default_rng(2)
    walks = [np.cumsum(rng.normal(size=40)) for _ in range(5)]
    table = correlations(pd.concat([frame_of(w, np.ones(40), w, f"r{i}", i) for i, w in enumerate(walks)]))
    assert table["rho"].tolist() == pytest.approx([1.0, 1.0])
    assert table["p"].isna().all()
    assert set(table["verdict"]) == {"too few seeds"}


def test_the_phase_summary_says_too_few_seeds(runs_folder):
    from lop.analysis import quantities
    from lop.analysis.curves import curves

    runs = lop.analysis.load(runs_folder).where(env="ant")
    table = phase_summary(deaths_by_phase(quantities.derive(curves(runs, *quantities.KEYS), runs)))
    assert set(table["verdict"]) == {"too few seeds"}


def test_tasks_carry_their_states_and_the_planted_gap(runs_folder):
    runs = lop.analysis.load(runs_folder).where(env="sant")
    table = per_task(runs)
    assert len(table) == 2 * 3 * 5
    first = table[(table["run"] == "sant/std/seed_0") & (table["task"] == 0)].iloc[0]
    # the first task has 20 updates, and units die at updates 10 and 19
    assert (first["dead_start"], first["dead_end"]) == (0.0, 100 * 2 / 32)
    assert first["deaths"] == 2 / 32
    later = plasticity(table)
    # the friction of (seed, task) is that of (seed + task, 0): two runs of three have been there first
    assert set(later["first_runs"]) == {1}
    pairs = set(zip(later["seed"], later["task"], strict=True))
    assert pairs == {(0, 1), (0, 2), (1, 1), (1, 4), (2, 3), (2, 4)}
    # the return falls by 50 a task
    np.testing.assert_allclose(later["gap"], -50 * later["task"], atol=15)


def test_a_task_that_was_not_finished_is_left_out(synthetic, tmp_path):
    synthetic("sant", updates=50, task_updates=20).write(tmp_path)
    assert per_task(lop.analysis.load(tmp_path))["task"].tolist() == [0, 1]
