"""Stacked networks: one forward pass for a population of members."""

from lop.nets.actor_critic import StackedActorCritic
from lop.nets.layout import Layout, Segment

__all__ = ["Layout", "Segment", "StackedActorCritic"]
