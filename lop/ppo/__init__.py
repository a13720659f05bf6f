"""Proximal policy optimisation for a population: returns, loss, rollout, optimiser, learner."""

from lop.ppo.learner import Learner, LearnerSettings
from lop.ppo.rollout import Rollout, collect

__all__ = ["Learner", "LearnerSettings", "Rollout", "collect"]
