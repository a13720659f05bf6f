"""The compiled Ant model: gymnasium's own ant.xml, edited so that today's MuJoCo computes what MuJoCo 2.1.0 did."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco

FRAME_SKIP = 5
STEP_SECONDS = 0.05  # FRAME_SKIP times ant.xml's timestep of 0.01 s
NUM_ACTIONS = 8
TORSO = 1  # body id
FIDELITIES = ("mujoco210", "current")

# MuJoCo 2.1.0's capsules (2.1.1 corrected their inertia): body ids -> mass in kg, two transverse and one axial inertia
_LEG_BODIES = (2, 3, 5, 6, 8, 9, 11, 12)
_LEG = (0.03647692799740343, 0.0004585600764775097, 0.00011672616959169099)
_ANKLE_BODIES = (4, 7, 10, 13)
_ANKLE = (0.06491137880161697, 0.0023590399881723515, 0.00020771641216517432)


def load_model(fidelity: str = "mujoco210") -> mujoco.MjModel:
    """Ant as compiled by this MuJoCo ("current"), or with the published engine's masses and margins ("mujoco210").

    MuJoCo never resets a simulation of this model behind our back: an unstable state stays visible to the caller.
    Raises ValueError for any other fidelity.
    """
    if fidelity not in FIDELITIES:
        raise ValueError(f"fidelity must be one of {', '.join(FIDELITIES)}, got {fidelity!r}")
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "ant.xml"
    model = mujoco.MjModel.from_xml_path(str(path))
    if fidelity == "mujoco210":
        _edit(model)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    return model


def _edit(model: mujoco.MjModel) -> None:
    for bodies, (mass, transverse, axial) in ((_LEG_BODIES, _LEG), (_ANKLE_BODIES, _ANKLE)):
        for body in bodies:
            model.body_mass[body] = mass
            model.body_inertia[body] = (transverse, transverse, axial)
    # the margins of two geoms add up since 3.5; 2.1.0 took the larger one
    model.geom_margin[:] = 0.0
    model.geom("floor").margin = 0.01
    mujoco.mj_setConst(model, mujoco.MjData(model))
