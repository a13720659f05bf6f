"""The Gymnasium ids: conformance, the same numbers as the vector environment, exact state, pictures."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import lop.envs
from lop.envs import AntVector, TaskSchedule
from lop.envs.render import choose_backend

IDS = ["lop/Ant-v3", "lop/SlipperyAnt-v3"]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("options", [{}, {"observation": "compact"}, {"contact_forces": True}, {"task_steps": 5}])
def test_environments_pass_gymnasiums_checker(name, options):
    env = gymnasium.make(name, **options)
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_ids_make_environments_with_a_time_limit(name):
    env = gymnasium.make(name)
    assert env.spec.max_episode_steps == 1000
    observation, _ = env.reset(seed=0)
    assert observation.shape == (111,) and observation.dtype == np.float64 and (observation[27:] == 0).all()
    ends = [env.step(np.zeros(8, np.float32))[2:4] for _ in range(1000)]
    assert ends[:-1] == [(False, False)] * 999 and ends[-1] == (False, True)


def test_registering_twice_changes_nothing():
    before = dict(gymnasium.registry)
    lop.envs.register()
    assert gymnasium.registry == before


def test_import_by_the_id_works():
    assert gymnasium.make("lop.envs:lop/Ant-v3").unwrapped.friction == 1.0


def test_rewards_and_observations_equal_the_vectors(actions_of):
    ants = AntVector([2], 1, friction=0.4)
    env = gymnasium.make("lop/Ant-v3", friction=0.4).unwrapped
    env.reset(seed=0)
    env.set_state(ants.physics.qpos[0], ants.physics.qvel[0])
    for action in actions_of(0, 60, 1, 1).astype(np.float32):
        observation, reward, terminated, _, info = env.step(action[0, 0])
        ants.step(action)
        assert reward == ants.reward[0, 0] and terminated == ants.terminated[0, 0]
        assert info["x_position"] == ants.physics.torso_xpos[0, 0] or terminated
        last = ants.final_observation if terminated else ants.observation
        np.testing.assert_array_equal(observation[:27].astype(np.float32), last[0, 0])
        if terminated:
            break


def test_restored_state_repeats_steps_and_resets_bitwise(actions_of):
    env = gymnasium.make("lop/SlipperyAnt-v3", task_steps=40, friction_seed=3).unwrapped
    env.reset(seed=1)
    actions = actions_of(1, 60).astype(np.float32)
    for action in actions[:20]:
        env.step(action)
    state = env.get_state()

    def future(env):
        rows = []
        for t, action in enumerate(actions):
            observation, reward, terminated, truncated, info = env.step(action)
            rows.append((observation.tobytes(), reward, terminated, truncated, info["friction"]))
            if terminated or truncated or t == 50:
                rows.append(env.reset()[0].tobytes())
        return rows

    first = future(env)
    other = gymnasium.make("lop/SlipperyAnt-v3", task_steps=40, friction_seed=3).unwrapped
    np.testing.assert_array_equal(other.restore_state(state), np.pad(state.observation, (0, 84)))
    assert future(other) == first
    env.restore_state(state)
    assert future(env) == first


def test_friction_follows_the_schedule_of_the_vector():
    env = gymnasium.make("lop/SlipperyAnt-v3", task_steps=10, friction_seed=3).unwrapped
    tasks = TaskSchedule()
    env.reset(seed=0)
    for step in range(1, 31):
        assert env.friction == tasks.friction(3, (step - 1) // 10)
        truncated = env.step(np.zeros(8, np.float32))[3]
        assert truncated == (step % 10 == 0)
        if truncated:
            env.reset()
            assert env.task == step // 10


def test_set_friction_reaches_the_contacts():
    env = gymnasium.make("lop/Ant-v3", friction=0.2).unwrapped
    env.reset(seed=0)
    env.set_friction(1.8)
    for _ in range(30):
        env.step(np.zeros(8, np.float32))
    frictions = env._ant.physics.contact_friction(0)
    assert len(frictions) > 0 and (frictions == 1.8).all() and env.friction == 1.8


def test_wrong_values_get_one_line():
    env = gymnasium.make("lop/Ant-v3").unwrapped
    with pytest.raises(ValueError, match=r"qpos must have shape \(15,\), got \(14,\)"):
        env.set_state(np.zeros(14), np.zeros(14))
    with pytest.raises(ValueError, match="friction must be a finite number > 0"):
        env.set_friction(0.0)
    with pytest.raises(ValueError, match="render_mode must be one of"):
        lop.envs.AntEnv(render_mode="human")


def test_rgb_array_follows_the_ant():
    env = gymnasium.make("lop/Ant-v3", render_mode="rgb_array", width=128, height=96)
    env.reset(seed=0)
    try:
        first = env.render()
    except RuntimeError as error:
        pytest.skip(str(error))
    for _ in range(10):
        env.step(env.action_space.high)
    assert first.shape == (96, 128, 3) and first.dtype == np.uint8 and first.std() > 5
    assert (env.render() != first).any()
    check_env(env.unwrapped)  # renders, and closes
    env.close()


def test_machine_without_opengl_gets_one_line(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(RuntimeError, match="install libegl1") as error:
        choose_backend()
    assert "\n" not in str(error.value)
