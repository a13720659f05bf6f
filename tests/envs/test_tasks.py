"""Frictions as a function of (seed, task), the two clocks, the published table and wrong tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lop.envs import PUBLISHED_FRICTIONS, TaskSchedule, load_friction_table


def test_frictions_depend_on_seed_and_task_only():
    one, two = TaskSchedule(task_steps=10), TaskSchedule(clock="reference")
    assert [one.friction(3, t) for t in (2, 0, 1)] == [two.friction(3, t) for t in (2, 0, 1)]
    assert len({one.friction(seed, task) for seed in range(10) for task in range(10)}) == 100


def test_frictions_are_log_uniform_on_the_range():
    frictions = np.array([TaskSchedule().friction(seed, task) for seed in range(40) for task in range(50)])
    assert frictions.min() >= 0.02 and frictions.max() <= 2.0
    # log-uniform on [0.02, 2]: below 0.2 lies half, below 0.02 * 10^0.5 a quarter; +-4 standard errors of 2000 draws
    for bound, share in ((0.2, 0.5), (0.02 * 10**0.5, 0.25), (0.2 * 10**0.5, 0.75)):
        assert abs((frictions < bound).mean() - share) < 4 * np.sqrt(share * (1 - share) / 2000)


def test_published_table_gives_the_published_frictions(data_folder):
    table = load_friction_table(PUBLISHED_FRICTIONS)
    assert table == json.loads((data_folder / "frictions.json").read_text())["frictions"]
    assert np.shape(table) == (100, 50)
    assert TaskSchedule(table=table).friction(0, 0) == pytest.approx(0.2960884225146193, abs=0)


def test_plain_list_of_lists_is_a_table(tmp_path):
    (tmp_path / "table.json").write_text("[[1, 0.5], [2]]")
    assert load_friction_table(tmp_path / "table.json") == [[1.0, 0.5], [2.0]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not JSON"),
        ("[]", "must be a list of lists"),
        ('{"friction": [[1]]}', "must be a list of lists"),
        ("[[1], []]", "non-empty list of tasks for seed 1"),
        ("[1, 2]", "non-empty list of tasks for seed 0, got 1"),
        ('[[1, "2"]]', "got '2' (seed 0, task 1)"),
        ("[[1], [1, -2]]", "got -2 (seed 1, task 1)"),
        ("[[NaN]]", "got nan (seed 0, task 0)"),
        ("[[true]]", "got True (seed 0, task 0)"),
    ],
)
def test_wrong_tables_get_one_line_with_their_path(tmp_path, text, message):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        load_friction_table(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_table_gets_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the friction table .*nowhere.json: No such file"):
        load_friction_table(tmp_path / "nowhere.json")


def test_seeds_and_tasks_outside_the_table_are_refused_early():
    schedule = TaskSchedule(task_steps=10, table=[[1.0, 0.5], [2.0, 0.1]])
    schedule.check([0, 1], 19)  # tasks 0 and 1
    with pytest.raises(ValueError, match="20 steps need 3 tasks, the friction table has 2 for seed 0"):
        schedule.check([0, 1], 20)
    with pytest.raises(ValueError, match="seeds 0 to 1, got seed 2"):
        schedule.check([0, 2], 5)
    with pytest.raises(ValueError, match="has 2 tasks for seed 1, task 2 was asked for"):
        schedule.friction(1, 2)


def test_fixed_tasks_end_at_multiples_of_c():
    schedule = TaskSchedule(task_steps=10)
    assert [schedule.next_change(task) for task in (0, 1, 5)] == [10, 20, 60]
    assert [schedule.is_over(1, 10, steps, True) for steps in (19, 20, 21)] == [False, True, True]


def test_reference_tasks_end_with_an_episode_more_than_c_steps_after_the_last_change():
    schedule = TaskSchedule(task_steps=10, clock="reference")
    assert schedule.next_change(0) is None
    assert [schedule.is_over(1, 13, steps, True) for steps in (22, 23, 24)] == [False, False, True]
    assert not schedule.is_over(1, 13, 99, False)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"clock": "wall"}, "clock must be one of fixed, reference, got 'wall'"),
        ({"task_steps": 0}, "task_steps must be at least 1, got 0"),
        ({"low": 2.0, "high": 0.02}, "0 < low <= high, got low=2.0, high=0.02"),
        ({"low": 0.0}, "got low=0.0"),
        ({"high": float("inf")}, "got low=0.02, high=inf"),
    ],
)
def test_wrong_schedules_get_one_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        TaskSchedule(**wrong)
