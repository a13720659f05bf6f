"""The published engine's dynamics, at any batch size and thread count; friction; exact state; unstable states."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from lop.envs import AntPhysics


def trajectory(physics: AntPhysics, actions: np.ndarray) -> np.ndarray:
    """[T, n, 29 + 3] qpos, qvel and torso_xpos after each of actions [T, n, 8]."""
    rows = []
    for action in actions:
        physics.step(action)
        rows.append(np.concatenate([physics.qpos, physics.qvel, physics.torso_xpos], axis=1))
    return np.stack(rows)


def resting(physics: AntPhysics, seed: int = 0) -> AntPhysics:
    generator, n = np.random.default_rng(seed), physics.num_sims
    qpos = physics.init_qpos + generator.uniform(-0.1, 0.1, (n, 15))
    physics.reset(np.arange(n), qpos, 0.1 * generator.standard_normal((n, 14)))
    return physics


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("num_sims, num_threads", [(1, 1), (8, 1), (8, 2)])
def test_replay_of_mujoco_2_1_0(data_folder, index, num_sims, num_threads):
    oracle = np.load(data_folder / "ant_mujoco210.npz")
    physics, ids = AntPhysics(num_sims, num_threads=num_threads), np.arange(num_sims)
    for first in range(0, 8, num_sims):
        which = slice(first, first + num_sims)
        physics.set_friction(ids, oracle["friction"][index])
        physics.reset(ids, oracle["qpos0"][which], oracle["qvel0"][which])
        moved = trajectory(physics, oracle["action"][which].swapaxes(0, 1))[:, :, :29]
        wanted = np.concatenate([oracle["qpos"][index, which], oracle["qvel"][index, which]], axis=-1).swapaxes(0, 1)
        np.testing.assert_allclose(moved[0], wanted[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(moved, wanted, rtol=0, atol=1e-7)


def test_todays_dynamics_are_not_the_published_ones(data_folder):
    oracle = np.load(data_folder / "ant_mujoco210.npz")
    physics = AntPhysics(1, fidelity="current")
    physics.reset(np.array([0]), oracle["qpos0"][:1], oracle["qvel0"][:1])
    moved = trajectory(physics, oracle["action"][:1].swapaxes(0, 1))[:, :, :15]
    assert np.abs(moved[:, 0] - oracle["qpos"][0, 0]).max() > 1e-3


@pytest.mark.parametrize("fidelity", ["mujoco210", "current"])
def test_a_batch_equals_a_plain_mj_step_loop_bitwise(plain_ant, actions_of, fidelity):
    physics = resting(AntPhysics(3, fidelity=fidelity))
    starts = physics.qpos.copy(), physics.qvel.copy()
    actions = actions_of(1, 30, 3)
    moved = trajectory(physics, actions)
    for sim in range(3):
        plain = plain_ant(edited=fidelity == "mujoco210")
        plain.reset(starts[0][sim], starts[1][sim])
        for t in range(30):
            plain.step(actions[t, sim])
            wanted = np.concatenate([plain.data.qpos, plain.data.qvel, plain.data.xpos[1]])
            np.testing.assert_array_equal(moved[t, sim], wanted)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_thread_counts_agree_bitwise(actions_of, num_threads):
    actions = actions_of(2, 40, 8)
    alone = trajectory(resting(AntPhysics(8)), actions)
    threaded = trajectory(resting(AntPhysics(8, num_threads=num_threads)), actions)
    np.testing.assert_array_equal(alone, threaded)


@pytest.mark.parametrize("friction", [0.02, 0.2, 1.0, 1.8])
def test_friction_of_a_real_foot_floor_contact(friction):
    physics = AntPhysics(2)
    physics.set_friction(np.array([0]), friction)
    for _ in range(30):  # fall onto the feet
        physics.step(np.zeros((2, 8)))
    model, data = physics.materialize(0)
    feet = {model.geom(name).id for name in ("left_ankle_geom", "right_ankle_geom", "third_ankle_geom")}
    pairs = [set(pair) for pair in data.contact.geom.tolist()]
    assert any(pair & feet and model.geom("floor").id in pair for pair in pairs)
    np.testing.assert_array_equal(physics.contact_friction(0), np.full(len(pairs), friction))
    np.testing.assert_array_equal(physics.contact_friction(1), np.full(len(physics.contact_friction(1)), 1.0))
    np.testing.assert_array_equal(physics.friction, [friction, 1.0])


def test_less_friction_slides_further():
    physics = AntPhysics(2)
    physics.set_friction(np.array([0, 1]), np.array([0.02, 2.0]))
    qvel = np.zeros((2, 14))
    qvel[:, 0] = 3.0
    physics.reset(np.array([0, 1]), np.tile(physics.init_qpos, (2, 1)), qvel)
    for _ in range(40):
        physics.step(np.zeros((2, 8)))
    assert physics.qpos[0, 0] > physics.qpos[1, 0] + 0.5


def test_torso_xpos_is_one_stage_behind_qpos(actions_of):
    physics = resting(AntPhysics(1))
    np.testing.assert_array_equal(physics.torso_xpos[0], physics.qpos[0, :3])  # mj_forward made it current
    physics.step(actions_of(3, 1)[0])
    assert 0 < abs(physics.torso_xpos[0, 0] - physics.qpos[0, 0]) < 0.05


def test_root_quaternion_is_normalised_at_reset_in_the_published_engine_only():
    qpos = AntPhysics(1).init_qpos + 0.1
    for fidelity, norm in (("mujoco210", 1.0), ("current", np.linalg.norm(qpos[3:7]))):
        physics = AntPhysics(1, fidelity=fidelity)
        physics.reset(np.array([0]), qpos[None], np.zeros((1, 14)))
        assert np.linalg.norm(physics.qpos[0, 3:7]) == pytest.approx(norm, abs=1e-12)


@pytest.mark.parametrize("contact_forces", [False, True])
def test_a_state_continues_bitwise_in_another_batch(actions_of, contact_forces):
    actions = actions_of(4, 60, 2)
    physics = resting(AntPhysics(2, contact_forces=contact_forces))
    trajectory(physics, actions[:30])
    row, xpos = physics.state(1)
    wanted = trajectory(physics, actions[30:])[:, 1]
    other = resting(AntPhysics(3, num_threads=2, contact_forces=contact_forces), seed=9)
    trajectory(other, actions_of(5, 7, 3))
    other.set_state_row(0, row, xpos)
    replay = trajectory(other, np.repeat(actions[30:, 1:], 3, axis=1))[:, 0]
    np.testing.assert_array_equal(replay, wanted)


def test_contact_forces_are_mujocos_own_after_rne(plain_ant, actions_of):
    physics = resting(AntPhysics(2, contact_forces=True, fidelity="current"))
    plain, actions = plain_ant(edited=False), actions_of(6, 40, 2)
    plain.reset(physics.qpos[1], physics.qvel[1])
    seen = 0.0
    for action in actions:
        physics.step(action)
        plain.step(action[1])
        mujoco.mj_rnePostConstraint(plain.model, plain.data)
        np.testing.assert_array_equal(physics.contact_forces[1], np.clip(plain.data.cfrc_ext, -1, 1).ravel())
        seen += np.abs(physics.contact_forces[1]).sum()
    assert seen > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e10])
def test_an_unstable_state_is_reported_and_resets_cleanly(actions_of, value):
    physics = resting(AntPhysics(3))
    physics.qvel[1, 9] = value
    physics.step(np.zeros((3, 8)))
    assert physics.any_unstable()
    np.testing.assert_array_equal(physics.unstable(), [False, True, False])
    fresh = resting(AntPhysics(3))
    fresh.step(np.zeros((3, 8)))
    np.testing.assert_array_equal(physics.qpos[[0, 2]], fresh.qpos[[0, 2]])
    actions = actions_of(7, 20, 3)
    wanted = trajectory(resting(fresh), actions)
    np.testing.assert_array_equal(trajectory(resting(physics), actions), wanted)
    assert not physics.any_unstable()


@pytest.mark.parametrize("value", [np.nan, -np.inf, 2e10])
def test_a_state_that_only_the_last_substep_spoiled_is_reported(value):
    physics = resting(AntPhysics(3))
    physics.step(np.zeros((3, 8)))
    physics.qpos[2, 0] = value  # MuJoCo itself would notice at the next step
    assert physics.any_unstable()
    np.testing.assert_array_equal(physics.unstable(), [False, False, True])


def test_a_state_loaded_over_an_unstable_one_is_stable(actions_of):
    physics = resting(AntPhysics(1))
    saved = physics.state(0)
    physics.qpos[0, 4] = np.nan
    physics.step(np.zeros((1, 8)))
    physics.set_state_row(0, *saved)
    physics.step(np.zeros((1, 8)))
    assert not physics.any_unstable()


def test_unstable_state_writes_no_log_file(tmp_path):
    code = (
        "import numpy as np; from lop.envs import AntPhysics; p = AntPhysics(2, num_threads=2); "
        "p.qpos[0, 3] = np.nan; p.step(np.zeros((2, 8))); assert p.unstable()[0]"
    )
    path = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": path}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_flushing_denormals_does_not_change_the_bits(tmp_path):
    code = (
        "import sys; flush = sys.argv[1] == '1'; import torch; torch.set_flush_denormal(flush); import hashlib; "
        "import numpy as np; from lop.envs import AntVector; v = AntVector([0, 1], 2, num_threads=2); "
        "r = np.random.default_rng(0); h = hashlib.sha256(); "
        "[(v.step(r.standard_normal((2, 2, 8))), h.update(v.observation.tobytes() + v.reward.tobytes() "
        "+ v.physics.qpos.tobytes() + v.physics.qvel.tobytes())) for _ in range(300)]; print(h.hexdigest())"
    )
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}
    digests = [
        subprocess.run([sys.executable, "-c", code, flag], cwd=tmp_path, env=env, check=True, capture_output=True)
        for flag in "01"
    ]
    assert digests[0].stdout == digests[1].stdout != b""


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_sims": 0}, "num_sims must be at least 1, got 0"),
        ({"num_sims": 1, "num_threads": 0}, "num_threads must be at least 1, got 0"),
        ({"num_sims": 1, "fidelity": "mujoco3"}, "fidelity must be one of mujoco210, current, got 'mujoco3'"),
    ],
)
def test_wrong_arguments_get_one_line(wrong, message):
    with pytest.raises(ValueError) as error:
        AntPhysics(**wrong)
    assert str(error.value) == message


@pytest.mark.parametrize("friction", [0.0, -1.0, np.nan, np.inf])
def test_wrong_frictions_are_refused(friction):
    with pytest.raises(ValueError, match="friction must be a finite number > 0"):
        AntPhysics(1).set_friction(np.array([0]), friction)
