"""Slow, obvious second implementations for the environments' tests: one MjModel and MjData, plain mj_step."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest


class PlainAnt:
    """Ant-v3 by hand, nothing shared with lop: the three model edits, the loop, the reward."""

    def __init__(self, friction: float = 1.0, edited: bool = True) -> None:
        xml = Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"
        self.model = mujoco.MjModel.from_xml_path(str(xml))
        self.edited = edited
        if edited:
            for body in range(2, 14):
                ankle = body in (4, 7, 10, 13)
                self.model.body_mass[body] = 0.06491137880161697 if ankle else 0.03647692799740343
                across = 0.0023590399881723515 if ankle else 0.0004585600764775097
                along = 0.00020771641216517432 if ankle else 0.00011672616959169099
                self.model.body_inertia[body] = [across, across, along]
            self.model.geom_margin[:] = [0.01] + [0.0] * 13
            mujoco.mj_setConst(self.model, mujoco.MjData(self.model))
        self.model.geom_friction[:, 0] = friction
        self.data = mujoco.MjData(self.model)

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        if self.edited:
            mujoco.mju_normalize4(self.data.qpos[3:7])
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: np.ndarray) -> tuple[float, bool]:
        before = self.data.xpos[1, 0]
        self.data.ctrl[:] = action
        for _ in range(5):
            mujoco.mj_step(self.model, self.data)
        reward = (self.data.xpos[1, 0] - before) / 0.05 + 1.0 - 0.5 * np.sum(np.square(action))
        return float(reward), not 0.2 <= self.data.qpos[2] <= 1.0

    @property
    def motion(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[2:], self.data.qvel])


@pytest.fixture
def plain_ant() -> type[PlainAnt]:
    return PlainAnt


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return Path(__file__).parents[1] / "data"


@pytest.fixture
def actions_of():
    """actions_of(seed, count, *shape): [count, *shape] torques, a third of them beyond the limits of +-1."""
    return lambda seed, count, *shape: np.random.default_rng(seed).standard_normal((count, *shape, 8))
