"""Many simulations of Ant on MuJoCo's C threads, each with its own friction; bit-equal at any number of threads.

    physics = AntPhysics(8, num_threads=2)
    physics.set_friction(np.arange(8), 0.2)
    physics.reset(np.arange(8), qpos, qvel)
    physics.step(ctrl)                      # five RK4 steps of 0.01 s
    physics.displacement / STEP_SECONDS     # forward speed

Physics only: rewards, health and noise are in ant.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np
from mujoco.batch import Batch

from lop.envs.model import FRAME_SKIP, TORSO, load_model

# mjtWarning: MuJoCo met a non-finite or larger than MAX_VALUE qpos, qvel or qacc
_UNSTABLE = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC) + 1)
MAX_VALUE = 1e10  # mjMAXVAL
_MAX_SQUARE = MAX_VALUE**2


class AntPhysics:
    """`num_sims` simulations [n]. Arrays are live: the same objects, refreshed in place by step and reset.

    qpos [n, 15] and qvel [n, 14] in m, rad and s; motion [n, 29], the two side by side; ctrl [n, 8], the last torques
    as received; torso_xpos [n, 3] in m, as mj_step leaves it: one RK4 step behind qpos; displacement [n], x travelled
    by the torso in the last step; contact_forces [n, 84], com-based, clipped to +-1, None without `contact_forces`.
    """

    def __init__(
        self, num_sims: int, *, num_threads: int = 1, fidelity: str = "mujoco210", contact_forces: bool = False
    ) -> None:
        for name, value in (("num_sims", num_sims), ("num_threads", num_threads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        _keep_warnings_out_of_files()
        self.num_sims = num_sims
        self.fidelity = fidelity
        # mj_rnePostConstraint needs each simulation's own MjData
        self._batch = Batch(load_model(fidelity), num_sims, num_threads, persistent=contact_forces)
        self.qpos = self._batch.bind("qpos")
        self.qvel = self._batch.bind("qvel")
        self.motion = _rows(self._batch, mujoco.mjtState.mjSTATE_PHYSICS)  # [n, 29]: qpos, qvel side by side
        self._motion_copy = np.zeros(self.motion.shape)
        self._flat_motion = self._motion_copy.reshape(-1)
        self.ctrl = self._batch.bind("ctrl")
        self._torso = self._batch.bind("xpos")[:, TORSO]
        self._torso_x = self._torso[:, 0]
        self._warnings = self._batch.warning[:, _UNSTABLE, 1]
        self._geom_friction = self._batch.expand("geom_friction")
        self.init_qpos = self._batch.model.qpos0.copy()
        self.torso_xpos = np.zeros((num_sims, 3))
        self._last_x = self.torso_xpos[:, 0]
        self.displacement = np.zeros(num_sims)
        self.contact_forces = np.zeros((num_sims, 6 * self._batch.model.nbody)) if contact_forces else None
        self._data = mujoco.MjData(self._batch.model) if contact_forces else None
        self._batch.reset()
        self._refresh(np.arange(num_sims))

    def step(self, ctrl: np.ndarray) -> None:
        """Advance every simulation by one env step under torques ctrl [n, 8]; MuJoCo clamps them to +-1 itself."""
        self.ctrl[...] = ctrl
        self._batch.step(None, FRAME_SKIP)
        np.subtract(self._torso_x, self._last_x, self.displacement)
        self.torso_xpos[...] = self._torso
        if self.contact_forces is not None:
            self._refresh_contact_forces(range(self.num_sims))

    def any_unstable(self) -> bool:
        """Whether some simulation may be unstable: cheap, never misses one; `unstable` says which."""
        # a sum of squares up to MAX_VALUE^2 bounds every entry; a NaN fails the comparison
        self._motion_copy[...] = self.motion
        return not self._flat_motion.dot(self._flat_motion) <= _MAX_SQUARE or bool(np.count_nonzero(self._warnings))

    def unstable(self) -> np.ndarray:
        """[n] True where qpos or qvel is non-finite or beyond 1e10, or MuJoCo warned of it (or of qacc) since reset."""
        within = (np.abs(self.motion) <= MAX_VALUE).all(axis=1)
        return ~within | (self._warnings > 0).any(axis=1)

    def reset(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start simulations ids [k], ascending, at qpos [k, 15] and qvel [k, 14]."""
        self._batch.reset(ids, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        self.qpos[ids] = qpos
        self.qvel[ids] = qvel
        if self.fidelity == "mujoco210":  # which normalised the root quaternion in place
            for i in ids:
                mujoco.mju_normalize4(self.qpos[i, 3:7])
        self._batch.forward(ids)
        self._refresh(ids)

    @property
    def friction(self) -> np.ndarray:
        """[n] sliding friction of every geom of each simulation."""
        return self._geom_friction[:, 0, 0].copy()

    def set_friction(self, ids: np.ndarray, friction: float | np.ndarray) -> None:
        """Give every geom of simulations ids [k] sliding friction [k] (or one for all), from the next step on.

        Every geom, because the friction of a contact is the larger one of its two geoms'.
        """
        friction = np.asarray(friction, dtype=np.float64)
        if not (np.isfinite(friction) & (friction > 0)).all():
            raise ValueError(f"friction must be a finite number > 0, got {friction}")
        self._geom_friction[ids, :, 0] = friction[..., None]

    def contact_friction(self, sim: int) -> np.ndarray:
        """[C] sliding friction of the contacts that simulation sim has now, all of them with the floor. Slow."""
        _, data = self.materialize(sim)
        return data.contact.friction[:, 0].copy()

    def materialize(self, sim: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Copies of one simulation after mj_forward, to look at or to render. Slow."""
        model, data = self._batch.get_model(sim), self._batch.get_data(sim)
        mujoco.mj_forward(model, data)
        return model, data

    def state(self, sim: int) -> tuple[np.ndarray, np.ndarray]:
        """The exact state of one simulation: its mjSTATE_INTEGRATION row [150] and the torso's xpos [3].

        xpos too, because the next reward is measured from it and qpos is one RK4 step ahead. Friction is not in it.
        """
        return self._batch.state[sim].copy(), self.torso_xpos[sim].copy()

    def set_state_row(self, sim: int, row: np.ndarray, torso_xpos: np.ndarray) -> None:
        """Continue simulation sim from a `state`, bit for bit. contact_forces is left to the caller."""
        self._batch.state[sim] = row
        self.torso_xpos[sim] = torso_xpos
        self._batch.warning[sim] = 0

    def _refresh(self, ids: np.ndarray) -> None:
        self.torso_xpos[ids] = self._torso[ids]
        if self.contact_forces is not None:
            self._refresh_contact_forces(ids)

    def _refresh_contact_forces(self, ids: Iterable[int]) -> None:
        for i in ids:
            data = self._batch.get_data(i, self._data)
            mujoco.mj_rnePostConstraint(self._batch.model, data)
            np.clip(data.cfrc_ext.ravel(), -1.0, 1.0, out=self.contact_forces[i])


def _rows(batch: Batch, component: mujoco.mjtState) -> np.ndarray:
    # mjSTATE_PHYSICS of Ant is qpos and qvel: neighbours in the row, behind the time
    size = mujoco.mj_stateSize(batch.model, int(component))
    assert size == batch.model.nq + batch.model.nv
    return batch.state[:, 1 : 1 + size]


def _keep_warnings_out_of_files() -> None:
    # an unstable state is reported by `unstable`; MuJoCo would also append it to MUJOCO_LOG.TXT in the working folder
    config = mujoco.MjLogConfig.get()
    if config.logto_file and config.logfile == "MUJOCO_LOG.TXT":
        config.logto_file = False
        config.set()
