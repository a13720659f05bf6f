"""Gymnasium's view of the same Ant: `lop/Ant-v3` and `lop/SlipperyAnt-v3`.

    import gymnasium, lop.envs
    env = gymnasium.make("lop/SlipperyAnt-v3", friction=0.2)

Gymnasium 1.0 and later load no plugins by themselves: import lop.envs first, or make "lop.envs:lop/Ant-v3".
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from lop.envs.ant import Ant
from lop.envs.model import NUM_ACTIONS, STEP_SECONDS
from lop.envs.physics import MAX_VALUE
from lop.envs.render import OffscreenCamera
from lop.envs.tasks import TaskSchedule

MAX_EPISODE_STEPS = 1000
_ALL = np.array([0])


@dataclass(frozen=True, slots=True)
class AntState:
    """The exact state of an AntEnv, generator included; wrappers (TimeLimit's count, for one) keep their own."""

    row: np.ndarray
    torso_xpos: np.ndarray
    observation: np.ndarray
    friction: float
    steps: int
    generator: dict[str, Any]


class AntEnv(gymnasium.Env):
    """One Ant with the published dynamics; float64 observations [111] (compact: [27]); rules in ant.py.

    The friction is `friction`, or what set_friction last said. With `task_steps` it follows a TaskSchedule instead:
    frictions of `friction_seed`, log-uniform in `friction_range`; the step that completes a task truncates its
    episode, and the next reset brings the next friction (definitions.md, the fixed task clock).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(1 / STEP_SECONDS)}

    def __init__(
        self,
        *,
        friction: float = 1.0,
        observation: str = "published",
        contact_forces: bool = False,
        fidelity: str = "mujoco210",
        task_steps: int | None = None,
        friction_seed: int = 0,
        friction_range: tuple[float, float] = (0.02, 2.0),
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be one of None, 'rgb_array', got {render_mode!r}")
        self._ant = Ant(1, fidelity=fidelity, contact_forces=contact_forces, observation=observation, dtype=np.float64)
        # a true bound: beyond it a state counts as unstable, ends the episode and is not observed
        self.observation_space = gymnasium.spaces.Box(-MAX_VALUE, MAX_VALUE, (self._ant.obs_dim,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (NUM_ACTIONS,), np.float32)
        self.render_mode = render_mode
        self._size = (width, height)
        self._camera: OffscreenCamera | None = None
        self._tasks: TaskSchedule | None = None
        self._friction_seed, self._steps = friction_seed, 0
        if task_steps is not None:
            self._tasks = TaskSchedule(task_steps=task_steps, low=friction_range[0], high=friction_range[1])
            friction = self._tasks.friction(friction_seed, 0)
        self.set_friction(friction)

    @property
    def friction(self) -> float:
        """Sliding friction in force."""
        return float(self._ant.physics.friction[0])

    @property
    def task(self) -> int:
        """Index of the task that the next reset belongs to; 0 for ever without `task_steps`."""
        return self._steps // self._tasks.task_steps if self._tasks is not None else 0

    def set_friction(self, friction: float) -> None:
        """Change the friction of every geom from the next step on; a task change of `task_steps` overrides it."""
        self._ant.physics.set_friction(_ALL, friction)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """The first observation of an episode; `options` is ignored."""
        super().reset(seed=seed)
        if self._tasks is not None:
            self.set_friction(self._tasks.friction(self._friction_seed, self.task))
        self._ant.reset(_ALL, [self.np_random])
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One env step; the action is charged as received and clamped to +-1 by the actuators."""
        self._ant.step(np.asarray(action, dtype=np.float64).reshape(1, NUM_ACTIONS))
        self._steps += 1
        terminated = bool(self._ant.terminated[0])
        task_over = self._tasks is not None and self._steps % self._tasks.task_steps == 0
        truncated = task_over and not terminated
        return self._observation(), float(self._ant.reward[0]), terminated, truncated, self._info()

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """The observation after starting anew at qpos [15], qvel [14]; the next reward is measured from there.

        Fidelity mujoco210 normalises the root quaternion qpos[3:7].
        """
        physics = self._ant.physics
        for name, value, size in (("qpos", qpos, physics.qpos.shape[1]), ("qvel", qvel, physics.qvel.shape[1])):
            if np.shape(value) != (size,):
                raise ValueError(f"{name} must have shape ({size},), got {np.shape(value)}")
        self._ant.set_motion(_ALL, np.asarray(qpos)[None], np.asarray(qvel)[None])
        return self._observation()

    def get_state(self) -> AntState:
        """Everything that later steps and resets depend on."""
        row, torso_xpos = self._ant.physics.state(0)
        generator = dict(copy.deepcopy(self.np_random.bit_generator.state))
        return AntState(row, torso_xpos, self._ant.observation[0].copy(), self.friction, self._steps, generator)

    def restore_state(self, state: AntState) -> np.ndarray:
        """The observation after going back to a `get_state` of this or an equal environment, bit for bit."""
        self._ant.physics.set_state_row(0, state.row, state.torso_xpos)
        self._ant.observation[0] = state.observation
        self.set_friction(state.friction)
        self._steps = state.steps
        self.np_random.bit_generator.state = copy.deepcopy(state.generator)
        return self._observation()

    def render(self) -> np.ndarray | None:
        """The picture [height, width, 3] uint8 of the tracking camera, None without render_mode="rgb_array"."""
        if self.render_mode is None:
            return None
        model, data = self._ant.physics.materialize(0)
        if self._camera is None:
            self._camera = OffscreenCamera(model, "track", *self._size)
        return self._camera.picture(model, data)

    def close(self) -> None:
        """Free the renderer."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _observation(self) -> np.ndarray:
        observation = np.zeros(self._ant.obs_dim)
        observation[: self._ant.num_live] = self._ant.observation[0]
        return observation

    def _info(self) -> dict[str, Any]:
        return {"x_position": float(self._ant.physics.torso_xpos[0, 0]), "friction": self.friction, "task": self.task}


def register() -> None:
    """Make the ids known to Gymnasium; calling it again changes nothing."""
    for name in ("lop/Ant-v3", "lop/SlipperyAnt-v3"):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point="lop.envs.gym_env:AntEnv", max_episode_steps=MAX_EPISODE_STEPS)
