"""Ant and SlipperyAnt: many at once for training (AntVector), one at a time for Gymnasium (lop/Ant-v3)."""

from lop.envs.ant import Ant
from lop.envs.gym_env import AntEnv, AntState, register
from lop.envs.physics import AntPhysics
from lop.envs.tasks import PUBLISHED_FRICTIONS, TaskSchedule, load_friction_table
from lop.envs.vector import AntVector, Episode, TaskChange

__all__ = [
    "PUBLISHED_FRICTIONS",
    "Ant",
    "AntEnv",
    "AntPhysics",
    "AntState",
    "AntVector",
    "Episode",
    "TaskChange",
    "TaskSchedule",
    "load_friction_table",
    "register",
]

register()
