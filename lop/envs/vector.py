"""M members times E environments of (Slippery)Ant on one physics: episodes, automatic reset, task clock, exact state.

    ants = AntVector(seeds=[0, 1], num_envs=4, tasks=TaskSchedule())
    while ...:
        ants.step(actions)               # [M, E, 8]
        ants.reward, ants.terminated     # this step's; ants.observation is already the next episode's where one ended
        if ants.any_done:
            ants.final_observation       # valid where terminated or truncated
            ants.finished                # its Episodes

A member's numbers depend on its seed and actions alone, not on its companions, its position or the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lop.envs.ant import Ant
from lop.envs.model import NUM_ACTIONS
from lop.envs.tasks import TaskSchedule
from lop.run.streams import stream


@dataclass(frozen=True, slots=True)
class Episode:
    """A finished episode; step: its member's env steps at its end, that one included."""

    member: int
    env: int
    step: int
    episode_return: float
    length: int
    task: int
    terminated: bool
    friction: float


@dataclass(frozen=True, slots=True)
class TaskChange:
    """From member step `step` on, `member` is in `task`."""

    member: int
    step: int
    task: int
    friction: float


class AntVector:
    """Simulation m * E + e is environment e of member m.

    Arrays are the same objects, refreshed in place: observation and final_observation [M, E, num_live] float32,
    reward [M, E] float64, terminated and truncated [M, E] (never both), task [M], friction [M]. finished and
    task_changes are this step's lists. friction= is the constant of every member when tasks is None.
    """

    def __init__(
        self,
        seeds: list[int],
        num_envs: int,
        *,
        num_threads: int = 1,
        fidelity: str = "mujoco210",
        contact_forces: bool = False,
        observation: str = "published",
        time_limit: int = 1000,
        tasks: TaskSchedule | None = None,
        friction: float = 1.0,
    ) -> None:
        _check(seeds, num_envs, time_limit)
        if tasks is not None:
            tasks.check(seeds, 0, num_envs)
        self.seeds, self.num_envs, self.num_members = list(seeds), num_envs, len(seeds)
        self._tasks, self._time_limit = tasks, time_limit
        shape = (self.num_members, num_envs)
        # spelled out, so that a wrong number of actions is an error and not a broadcast
        self._flat_shape = (self.num_members * num_envs, NUM_ACTIONS)
        ant = Ant(
            self.num_members * num_envs,
            num_threads=num_threads,
            fidelity=fidelity,
            contact_forces=contact_forces,
            observation=observation,
        )
        self._ant, self.physics = ant, ant.physics
        self.num_live, self.obs_dim = ant.num_live, ant.obs_dim
        self.observation = ant.observation.reshape(*shape, self.num_live)
        self.reward, self.terminated = ant.reward.reshape(shape), ant.terminated.reshape(shape)
        self.final_observation = np.zeros_like(self.observation)
        self.truncated = np.zeros(shape, dtype=bool)
        self.any_done = False
        self.finished: list[Episode] = []
        self.task_changes: list[TaskChange] = []
        self.task = np.zeros(self.num_members, dtype=np.int64)
        self.friction = np.full(self.num_members, friction, dtype=np.float64)
        self._last_change = np.zeros(self.num_members, dtype=np.int64)
        # a step advances one clock, _tick; what a member or an episode has done is counted from where it began on it
        self._tick = 0
        self._member_start = np.zeros(self.num_members, dtype=np.int64)
        self._episode_start = np.zeros(shape, dtype=np.int64)
        self._episode = np.zeros(shape, dtype=np.int64)
        self._return, self._next_return = np.zeros((2, *shape))
        for member in range(self.num_members):
            self._apply_friction(member)
        self._start_episodes(np.ones(shape, dtype=bool))
        self._schedule_next_event()

    @property
    def steps(self) -> np.ndarray:
        """[M] env steps each member has taken, summed over its environments."""
        return (self._tick - self._member_start) * self.num_envs

    def step(self, actions: np.ndarray) -> None:
        """One env step of every environment under actions [M, E, 8], float32 or float64, charged as received."""
        if self.any_done:
            self._clear_events()
        self._ant.step(actions.reshape(self._flat_shape))
        # two buffers, because numpy takes twice the time in place on arrays of one element
        np.add(self._return, self.reward, self._next_return)
        self._return, self._next_return = self._next_return, self._return
        self._tick += 1
        if self._tick >= self._next_event or np.count_nonzero(self.terminated):
            self._finish_episodes()

    def member_state(self, i: int) -> dict[str, np.ndarray]:
        """Everything member i's later numbers depend on, friction and companions aside."""
        rows, xpos = zip(*(self.physics.state(sim) for sim in self._sims(i)), strict=True)
        return {
            "seed": np.array(self.seeds[i]),
            "physics": np.stack(rows),
            "torso_xpos": np.stack(xpos),
            "observation": self.observation[i].copy(),
            "episode": self._episode[i].copy(),
            "episode_return": self._return[i].copy(),
            "episode_length": self._tick - self._episode_start[i],
            "steps": np.array(self.steps[i]),
            "task": np.array(self.task[i]),
            "last_change": np.array(self._last_change[i]),
        }

    def load_member_state(self, i: int, state: dict[str, np.ndarray]) -> None:
        """Continue, as member i, a member saved anywhere; ValueError for another seed or number of environments."""
        self._check_state(i, state)
        for sim, row, xpos in zip(self._sims(i), state["physics"], state["torso_xpos"], strict=True):
            self.physics.set_state_row(sim, row, xpos)
        self.observation[i] = state["observation"]
        self._episode[i] = state["episode"]
        self._return[i] = state["episode_return"]
        self._episode_start[i] = self._tick - state["episode_length"]
        self._member_start[i] = self._tick - state["steps"] // self.num_envs
        self.task[i] = state["task"]
        self._last_change[i] = state["last_change"]
        self._apply_friction(i)
        self._schedule_next_event()

    def _sims(self, member: int) -> np.ndarray:
        return np.arange(member * self.num_envs, (member + 1) * self.num_envs)

    def _check_state(self, i: int, state: dict[str, np.ndarray]) -> None:
        if int(state["seed"]) != self.seeds[i]:
            raise ValueError(f"member {i} has seed {self.seeds[i]}, the state is of seed {int(state['seed'])}")
        if state["observation"].shape != self.observation[i].shape:
            raise ValueError(
                f"the state has observations {state['observation'].shape} of (environments, live columns), "
                f"this vector {self.observation[i].shape}"
            )

    def _clear_events(self) -> None:
        self.any_done = False
        self.truncated.fill(False)
        self.finished, self.task_changes = [], []

    def _finish_episodes(self) -> None:
        # rare (once an episode), so it may allocate
        steps, length = self.steps, self._tick - self._episode_start
        np.greater_equal(length, self._time_limit, out=self.truncated)
        if self._tasks is not None and self._tasks.clock == "fixed":
            self.truncated |= self._tasks_over(self._tasks, steps, self.terminated)[:, None]
        self.truncated &= ~self.terminated
        done = self.terminated | self.truncated
        self.any_done = bool(done.any())
        self.final_observation[done] = self.observation[done]
        self.finished = [self._episode_record(m, e, steps, length) for m, e in np.argwhere(done).tolist()]
        if self._tasks is not None:
            self._change_tasks(self._tasks_over(self._tasks, steps, done), steps)
        self._episode[done] += 1
        self._start_episodes(done)
        self._schedule_next_event()

    def _tasks_over(self, tasks: TaskSchedule, steps: np.ndarray, done: np.ndarray) -> np.ndarray:
        columns = (self.task, self._last_change, steps, np.any(done, axis=1))
        return np.array([tasks.is_over(*now) for now in zip(*(c.tolist() for c in columns), strict=True)])

    def _episode_record(self, m: int, e: int, steps: np.ndarray, length: np.ndarray) -> Episode:
        return Episode(
            member=m,
            env=e,
            step=int(steps[m]),
            episode_return=float(self._return[m, e]),
            length=int(length[m, e]),
            task=int(self.task[m]),
            terminated=bool(self.terminated[m, e]),
            friction=float(self.friction[m]),
        )

    def _change_tasks(self, over: np.ndarray, steps: np.ndarray) -> None:
        for m in np.flatnonzero(over).tolist():
            self.task[m] += 1
            self._last_change[m] = steps[m]
            self._apply_friction(m)
            self.task_changes.append(TaskChange(m, int(steps[m]), int(self.task[m]), float(self.friction[m])))

    def _apply_friction(self, member: int) -> None:
        if self._tasks is not None:
            self.friction[member] = self._tasks.friction(self.seeds[member], int(self.task[member]))
        self.physics.set_friction(self._sims(member), self.friction[member])

    def _start_episodes(self, starting: np.ndarray) -> None:
        addresses = np.argwhere(starting).tolist()
        noises = [stream(self.seeds[m], "reset", e, int(self._episode[m, e])) for m, e in addresses]
        self._ant.reset(np.flatnonzero(starting), noises)
        self._return[starting] = 0.0
        self._episode_start[starting] = self._tick

    def _schedule_next_event(self) -> None:
        """Note the first tick at which an episode can end otherwise than by termination."""
        self._next_event = int(self._episode_start.min()) + self._time_limit
        if self._tasks is None:
            return
        for m in range(self.num_members):
            change = self._tasks.next_change(int(self.task[m]))
            if change is not None:
                self._next_event = min(self._next_event, int(self._member_start[m]) + change // self.num_envs)


def _check(seeds: list[int], num_envs: int, time_limit: int) -> None:
    if not seeds or min(seeds) < 0:
        raise ValueError(f"seeds must be a non-empty list of numbers >= 0, got {seeds}")
    for name, value in (("num_envs", num_envs), ("time_limit", time_limit)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
