"""Rewards, observations, episodes, task clock and exact state of the vector environment."""

from __future__ import annotations

import numpy as np
import pytest

from lop.envs import AntVector, TaskSchedule
from lop.run.streams import stream


def run(ants: AntVector, actions: np.ndarray) -> list[dict]:
    """What happened at each of actions [T, M, E, 8]."""
    log = []
    for action in actions:
        ants.step(action)
        log.append(
            {
                "observation": ants.observation.copy(),
                "final": np.where((ants.terminated | ants.truncated)[..., None], ants.final_observation, 0),
                "reward": ants.reward.copy(),
                "terminated": ants.terminated.copy(),
                "truncated": ants.truncated.copy(),
                "friction": np.repeat(ants.friction[:, None], ants.num_envs, 1),
                "finished": list(ants.finished),
                "changes": list(ants.task_changes),
            }
        )
    return log


def assert_same_member(log: list[dict], member: int, other: list[dict], other_member: int) -> None:
    for t, (mine, theirs) in enumerate(zip(log, other, strict=True)):
        for key in ("observation", "final", "reward", "terminated", "truncated", "friction"):
            np.testing.assert_array_equal(mine[key][member], theirs[key][other_member], err_msg=f"{key} at {t}")
        for key in ("finished", "changes"):
            ours = [_without_member(e) for e in mine[key] if e.member == member]
            assert ours == [_without_member(e) for e in theirs[key] if e.member == other_member]


def _without_member(event) -> tuple:
    return tuple(getattr(event, name) for name in event.__dataclass_fields__ if name != "member")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_episodes_equal_a_plain_mj_step_loop_bitwise(plain_ant, actions_of, dtype):
    ants, plain = (AntVector([7], 1, friction=0.3, time_limit=60), plain_ant(friction=0.3))
    actions = actions_of(0, 250, 1, 1).astype(dtype)
    episode, length, total = 0, 0, 0.0

    def start():
        noise = stream(7, "reset", 0, episode)
        qpos = plain.model.qpos0 + noise.uniform(-0.1, 0.1, 15)
        plain.reset(qpos, 0.1 * noise.standard_normal(14))

    start()
    np.testing.assert_array_equal(ants.observation[0, 0], plain.motion.astype(np.float32))
    for t, action in enumerate(actions):
        ants.step(action)
        reward, fell = plain.step(action[0, 0].astype(np.float64))
        length, total = length + 1, total + reward
        assert ants.reward[0, 0] == reward
        assert ants.terminated[0, 0] == fell and ants.truncated[0, 0] == (length == 60 and not fell)
        assert ants.any_done == (fell or length == 60) == bool(ants.finished)
        if ants.any_done:
            np.testing.assert_array_equal(ants.final_observation[0, 0], plain.motion.astype(np.float32))
            (record,) = ants.finished
            assert (record.step, record.length, record.episode_return) == (t + 1, length, total)
            episode, length, total = episode + 1, 0, 0.0
            start()
        np.testing.assert_array_equal(ants.observation[0, 0], plain.motion.astype(np.float32))
    assert episode >= 4
    assert ants.steps.tolist() == [250]


def test_arrays_are_updated_in_place():
    ants = AntVector([0], 2)
    before = (ants.observation, ants.reward, ants.terminated, ants.truncated, ants.final_observation)
    values = ants.observation.copy()
    ants.step(np.ones((1, 2, 8), np.float32))
    after = (ants.observation, ants.reward, ants.terminated, ants.truncated, ants.final_observation)
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert (ants.observation != values).any()


@pytest.mark.parametrize(
    "options, num_live, obs_dim",
    [({}, 27, 111), ({"observation": "compact"}, 27, 27), ({"contact_forces": True}, 111, 111)],
)
def test_observation_columns(actions_of, options, num_live, obs_dim):
    ants = AntVector([0, 1], 2, **options)
    run(ants, actions_of(1, 10, 2, 2))
    assert (ants.num_live, ants.obs_dim) == (num_live, obs_dim)
    assert ants.observation.shape == (2, 2, num_live) and ants.observation.dtype == np.float32
    wanted = np.concatenate([ants.physics.qpos[:, 2:], ants.physics.qvel], 1).reshape(2, 2, 27).astype(np.float32)
    np.testing.assert_array_equal(ants.observation[..., :27], wanted)
    if num_live == 111:
        wanted = ants.physics.contact_forces.reshape(2, 2, 84).astype(np.float32)
        np.testing.assert_array_equal(ants.observation[..., 27:], wanted)
        assert np.abs(wanted).max() > 0


def test_time_limit_truncates_after_1000_steps_without_termination():
    ants = AntVector([0], 1)
    still = np.zeros((1, 1, 8))
    log = run(ants, np.repeat(still[None], 1001, axis=0))
    ends = [t for t, row in enumerate(log) if row["truncated"].any() or row["terminated"].any()]
    assert ends == [999] and not log[999]["terminated"].any()
    (record,) = log[999]["finished"]
    assert (record.length, record.step, record.terminated) == (1000, 1000, False)


@pytest.mark.parametrize(
    "height, ends", [(0.19, True), (0.21, False), (0.99, False), (1.01, True), (0.2, False), (1.0, False)]
)
def test_termination_bounds(height, ends):
    ants = AntVector([0], 1)
    # a step that leaves the state alone: the bounds are then read off a height that we choose
    ants.physics._batch = type("Still", (), {"step": lambda *_: None})()
    ants.physics.qpos[0, 2] = height
    ants._finish_episodes = lambda: None
    ants.step(np.zeros((1, 1, 8)))
    assert ants.terminated[0, 0] == ends


def test_terminated_wins_over_truncated():
    ants = AntVector([0], 2, time_limit=3)
    run(ants, np.zeros((2, 1, 2, 8)))
    ants.physics.qpos[0, 2] = 1.5
    ants.step(np.zeros((1, 2, 8)))
    assert ants.terminated.tolist() == [[True, False]] and ants.truncated.tolist() == [[False, True]]
    assert [e.terminated for e in ants.finished] == [True, False]
    ants.step(np.zeros((1, 2, 8)))
    assert not (ants.terminated.any() or ants.truncated.any() or ants.any_done or ants.finished)


def test_unstable_state_terminates_with_finite_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ants, calm = AntVector([0, 1], 1), AntVector([0, 1], 1)
    last = ants.observation[0, 0].copy()
    ants.physics.qvel[0, 8] = np.nan
    ants.step(np.full((2, 1, 8), 0.5))
    calm.step(np.full((2, 1, 8), 0.5))
    assert ants.terminated.tolist() == [[True], [False]] and ants.finished[0].terminated
    assert ants.reward[0, 0] == 1.0 - 0.5 * 8 * 0.25  # travelled nowhere
    np.testing.assert_array_equal(ants.final_observation[0, 0], last)
    assert np.isfinite(ants.observation).all()
    np.testing.assert_array_equal(ants.observation[1], calm.observation[1])
    run(ants, np.zeros((5, 2, 1, 8)))
    assert np.isfinite(ants.observation).all() and not ants.terminated.any()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_envs", [1, 4])
def test_fixed_clock_changes_exactly_at_multiples_of_c(num_envs):
    tasks = TaskSchedule(task_steps=20)
    ants = AntVector([5, 6], num_envs, tasks=tasks)
    log = run(ants, np.zeros((50 // num_envs + 1, 2, num_envs, 8)))
    for t, row in enumerate(log):
        steps = (t + 1) * num_envs
        at_change = steps % 20 == 0
        # resting ants do not fall, so that every episode end is a task's end
        assert row["truncated"].all() == row["truncated"].any() == at_change
        assert [(c.member, c.step, c.task) for c in row["changes"]] == (
            [(m, steps, steps // 20) for m in range(2)] if at_change else []
        )
        np.testing.assert_array_equal(row["friction"][:, 0], [tasks.friction(s, steps // 20) for s in (5, 6)])
        for record in row["finished"]:
            assert (record.task, record.friction) == (
                steps // 20 - 1,
                tasks.friction((5, 6)[record.member], record.task),
            )
    assert log[0]["friction"][0, 0] == tasks.friction(5, 0) != 1.0
    np.testing.assert_array_equal(ants.physics.friction, np.repeat(ants.friction, num_envs))
    np.testing.assert_array_equal(ants.physics.contact_friction(0)[:1], ants.friction[:1])


def test_fixed_clock_after_an_episode_end_in_mid_task():
    ants = AntVector([0], 1, tasks=TaskSchedule(task_steps=10), time_limit=7)
    log = run(ants, np.zeros((21, 1, 1, 8)))
    # episodes of 7, then 3 up to the task's end at 10, then 7 (17), 3 (20)
    assert [t + 1 for t, row in enumerate(log) if row["finished"]] == [7, 10, 17, 20]
    assert [t + 1 for t, row in enumerate(log) if row["changes"]] == [10, 20]


def test_reference_clock_accumulates_lateness():
    ants = AntVector([0], 1, tasks=TaskSchedule(task_steps=10, clock="reference"), time_limit=7)
    log = run(ants, np.zeros((60, 1, 1, 8)))
    # episodes end at 7, 14, 21, ...; 14 - 0 > 10, 28 - 14 > 10 (21 - 14 = 7 is not), 42, 56
    assert [t + 1 for t, row in enumerate(log) if row["changes"]] == [14, 28, 42, 56]
    assert [row["changes"][0].task for row in log if row["changes"]] == [1, 2, 3, 4]
    assert all(row["finished"][0].length == 7 for row in log if row["finished"])


def test_reference_clock_needs_more_than_c_steps():
    ants = AntVector([0], 1, tasks=TaskSchedule(task_steps=14, clock="reference"), time_limit=7)
    log = run(ants, np.zeros((43, 1, 1, 8)))
    assert [t + 1 for t, row in enumerate(log) if row["changes"]] == [21, 42]  # at 14 exactly C have passed


@pytest.mark.parametrize("clock, num_envs", [("fixed", 2), ("reference", 1)])
def test_saved_member_continues_bitwise_anywhere(actions_of, clock, num_envs):
    tasks = TaskSchedule(task_steps=60, clock=clock)
    actions = actions_of(3, 300, 3, num_envs)
    ants = AntVector([4, 5, 6], num_envs, tasks=tasks, time_limit=90)
    run(ants, actions[:100])
    state = ants.member_state(1)
    wanted = run(ants, actions[100:])
    assert sum(len(row["changes"]) for row in wanted) >= 3
    other = AntVector([5, 9], num_envs, num_threads=2, tasks=tasks, time_limit=90)
    run(other, actions_of(8, 33, 2, num_envs))
    other.load_member_state(0, state)
    np.testing.assert_array_equal(other.observation[0], state["observation"])
    replay = run(other, np.repeat(actions[100:, 1:2], 2, axis=1))
    assert_same_member(wanted, 1, replay, 0)
    for key, value in ants.member_state(1).items():
        np.testing.assert_array_equal(value, other.member_state(0)[key], err_msg=key)


def test_loaded_member_ends_its_episode_and_task_on_time():
    options = {"tasks": TaskSchedule(task_steps=50), "time_limit": 35}
    ants, actions = AntVector([0], 1, **options), np.zeros((60, 1, 1, 8))
    run(ants, actions[:30])
    fresh = AntVector([0], 1, **options)
    fresh.load_member_state(0, ants.member_state(0))  # 5 steps before the limit, 20 before the task's end
    log = run(fresh, actions[30:])
    assert [(r.step, r.length) for row in log for r in row["finished"]] == [(35, 35), (50, 15)]
    assert [c.step for row in log for c in row["changes"]] == [50]


def test_loaded_reference_clock_counts_from_the_last_change():
    options = {"tasks": TaskSchedule(task_steps=10, clock="reference"), "time_limit": 7}
    ants, actions = AntVector([0], 1, **options), np.zeros((30, 1, 1, 8))
    run(ants, actions[:15])  # changed at 14
    fresh = AntVector([0], 1, **options)
    fresh.load_member_state(0, ants.member_state(0))
    assert [c.step for row in run(fresh, actions[15:]) for c in row["changes"]] == [28]


def test_saved_contact_forces_continue_bitwise(actions_of):
    actions = actions_of(4, 60, 1, 1)
    ants, other = (AntVector([0], 1, contact_forces=True) for _ in range(2))
    run(ants, actions[:30])
    other.load_member_state(0, ants.member_state(0))
    np.testing.assert_array_equal(other.observation, ants.observation)
    assert_same_member(run(ants, actions[30:]), 0, run(other, actions[30:]), 0)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_member_alone_equals_member_in_company(actions_of, num_envs):
    tasks, actions = TaskSchedule(task_steps=100), actions_of(5, 250, 4, num_envs)
    company = run(AntVector([3, 1, 4, 2], num_envs, tasks=tasks, num_threads=3), actions)
    for member, seed in enumerate([3, 1, 4, 2]):
        alone = run(AntVector([seed], num_envs, tasks=tasks), actions[:, member : member + 1])
        assert_same_member(company, member, alone, 0)


def test_environments_of_a_member_differ_and_seeds_differ():
    ants = AntVector([0, 1], 3)
    assert len({row.tobytes() for row in ants.observation.reshape(6, -1)}) == 6


def test_published_table_sets_the_frictions():
    ants = AntVector([1, 0], 1, tasks=TaskSchedule(task_steps=5, table=[[0.1, 0.2], [0.3, 0.4]]))
    assert ants.friction.tolist() == [0.3, 0.1]
    run(ants, np.zeros((5, 2, 1, 8)))
    assert ants.friction.tolist() == [0.4, 0.2] and ants.task.tolist() == [1, 1]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"seeds": []}, "seeds must be a non-empty list"),
        ({"seeds": [-1]}, "seeds must be a non-empty list of numbers >= 0, got \\[-1\\]"),
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"time_limit": 0}, "time_limit must be at least 1, got 0"),
        ({"observation": "full"}, "observation must be one of published, compact, got 'full'"),
        ({"observation": "compact", "contact_forces": True}, "compact observation has no contact forces"),
        ({"friction": -0.5}, "friction must be a finite number > 0"),
        ({"num_envs": 3, "tasks": TaskSchedule(task_steps=10)}, "task_steps=10 must be a multiple of num_envs=3"),
        ({"num_envs": 2, "tasks": TaskSchedule(clock="reference")}, "reference task clock needs num_envs=1, got 2"),
        ({"seeds": [1], "tasks": TaskSchedule(table=[[1.0]])}, "seeds 0 to 0, got seed 1"),
    ],
)
def test_wrong_arguments_get_one_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        AntVector(**{"seeds": [0], "num_envs": 1, **wrong})


def test_loading_another_seed_or_size_is_refused():
    ants = AntVector([0, 1], 2)
    with pytest.raises(ValueError, match="member 1 has seed 1, the state is of seed 0"):
        ants.load_member_state(1, ants.member_state(0))
    with pytest.raises(ValueError, match="the state has observations"):
        AntVector([0], 1).load_member_state(0, ants.member_state(0))


def test_actions_of_too_few_environments_are_refused():
    with pytest.raises(ValueError, match="reshape"):
        AntVector([0, 1], 2).step(np.zeros((1, 1, 8)))
