"""The rules of Ant-v3 for many simulations: reward, health, observation, reset noise. One place for every interface.

    reward     = dx / 0.05 s + 1 - 0.5 sum(a^2)        the +1 also on the dying step
    terminated = torso height outside [0.2, 1.0], or an unstable state
    observation = qpos[2:] (13), qvel (14), then 84 contact forces

Source: Gym 0.21's AntEnv v3 on MuJoCo 2.1.0, whose 84 contact forces were always exactly zero. Real ones (an option)
are observed but, unlike in Gymnasium's Ant-v5, not charged: the published reward had no such term.
"""

from __future__ import annotations

import numpy as np

from lop.envs.model import NUM_ACTIONS, STEP_SECONDS
from lop.envs.physics import AntPhysics

OBSERVATIONS = ("published", "compact")
MIN_HEIGHT, MAX_HEIGHT = 0.2, 1.0  # m
HEALTHY_REWARD = 1.0
CONTROL_COST = 0.5
RESET_NOISE = 0.1
NUM_MOTION = 27  # qpos without x and y, qvel
NUM_PUBLISHED = 111

# 0-d arrays: numpy converts a Python float on every call of a ufunc
_STEP_SECONDS, _HEALTHY_REWARD, _CONTROL_COST = np.array(STEP_SECONDS), np.array(HEALTHY_REWARD), np.array(CONTROL_COST)
_MIN_HEIGHT, _MAX_HEIGHT = np.array(MIN_HEIGHT), np.array(MAX_HEIGHT)


class Ant:
    """n Ants without episodes: stepping past a terminal state is the caller's mistake.

    Arrays are refreshed in place: observation [n, num_live], reward [n] float64, terminated [n] bool. `num_live`
    leading columns of the `obs_dim` observed ones can differ from zero; the others are not stored.
    """

    def __init__(
        self,
        num_sims: int,
        *,
        num_threads: int = 1,
        fidelity: str = "mujoco210",
        contact_forces: bool = False,
        observation: str = "published",
        dtype: type = np.float32,
    ) -> None:
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation must be one of {', '.join(OBSERVATIONS)}, got {observation!r}")
        if contact_forces and observation == "compact":
            raise ValueError("the compact observation has no contact forces: use observation=published with them")
        self.physics = AntPhysics(num_sims, num_threads=num_threads, fidelity=fidelity, contact_forces=contact_forces)
        self.obs_dim = NUM_PUBLISHED if observation == "published" else NUM_MOTION
        self.num_live = NUM_PUBLISHED if contact_forces else NUM_MOTION
        self.observation = np.zeros((num_sims, self.num_live), dtype)
        self.reward = np.zeros(num_sims)
        self.terminated = np.zeros(num_sims, dtype=bool)
        self._observed_motion = self.observation[:, :NUM_MOTION]
        self._motion = self.physics.motion[:, 2:]
        self._height = self.physics.qpos[:, 2]
        self._squared = np.zeros((num_sims, NUM_ACTIONS))
        # every step of the reward has its own output: in place, numpy takes twice the time on arrays of one element
        self._speed, self._gain, self._effort, self._cost = np.zeros((4, num_sims))
        self._too_low, self._too_high = np.zeros((2, num_sims), dtype=bool)

    def step(self, actions: np.ndarray) -> None:
        """One env step of every simulation under actions [n, 8], charged as received."""
        physics = self.physics
        physics.step(actions)
        unstable = physics.unstable() if physics.any_unstable() else None
        if unstable is not None:
            physics.displacement[unstable] = 0.0
        np.divide(physics.displacement, _STEP_SECONDS, self._speed)
        np.add(self._speed, _HEALTHY_REWARD, self._gain)
        np.multiply(physics.ctrl, physics.ctrl, self._squared)
        np.add.reduce(self._squared, axis=-1, out=self._effort)
        np.multiply(self._effort, _CONTROL_COST, self._cost)
        np.subtract(self._gain, self._cost, self.reward)
        np.less(self._height, _MIN_HEIGHT, self._too_low)
        np.greater(self._height, _MAX_HEIGHT, self._too_high)
        np.logical_or(self._too_low, self._too_high, self.terminated)
        if unstable is None:
            self._observed_motion[...] = self._motion
            if physics.contact_forces is not None:
                self.observation[:, NUM_MOTION:] = physics.contact_forces
        else:
            # an unstable simulation keeps its last observation and travels nowhere, so that no learner meets a NaN
            self.terminated[unstable] = True
            self._observe(np.flatnonzero(~unstable))

    def reset(self, ids: np.ndarray, noises: list[np.random.Generator]) -> None:
        """Start simulations ids [k], ascending, from the resting pose plus noise: generator k draws for ids[k]."""
        qpos = np.empty((len(ids), self.physics.qpos.shape[1]))
        qvel = np.empty((len(ids), self.physics.qvel.shape[1]))
        for k, noise in enumerate(noises):
            qpos[k] = self.physics.init_qpos + noise.uniform(-RESET_NOISE, RESET_NOISE, qpos.shape[1])
            qvel[k] = RESET_NOISE * noise.standard_normal(qvel.shape[1])
        self.set_motion(ids, qpos, qvel)

    def set_motion(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start simulations ids [k] at qpos [k, 15] and qvel [k, 14]."""
        self.physics.reset(ids, qpos, qvel)
        self._observe(ids)

    def _observe(self, ids: np.ndarray) -> None:
        self._observed_motion[ids] = self._motion[ids]
        if self.physics.contact_forces is not None:
            self.observation[ids, NUM_MOTION:] = self.physics.contact_forces[ids]
