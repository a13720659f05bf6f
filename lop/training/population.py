"""M members of one configuration with everything that their later numbers depend on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lop import variants
from lop.envs import AntVector
from lop.nets import StackedActorCritic
from lop.ppo import Learner, LearnerSettings
from lop.ppo.adam import FlatAdam
from lop.run.config import TrainConfig
from lop.run.streams import stream
from lop.training.frictions import task_schedule
from lop.training.observer import Observer
from lop.variants import Variant, VariantContext

State = dict[str, np.ndarray]


class Population:
    """Environments, networks, optimiser, variant and observer of the members with these seeds, after `update` updates."""

    def __init__(self, config: TrainConfig, seeds: list[int]):
        self.config, self.seeds, self.update = config, list(seeds), 0
        self.environments = make_environments(config, seeds)
        env = self.environments
        self.net = StackedActorCritic(
            len(seeds),
            env.obs_dim,
            tuple(config.ppo.hidden_sizes),
            num_actions=8,
            num_live=env.num_live,
            device=config.device,
        )
        self.net.initialise(lambda member, net, layer: stream(seeds[member], f"init/{net}", layer))
        code = variants.module(config.algo.variant).VARIANT if config.algo.variant else Variant
        self.adam = FlatAdam(
            self.net,
            learning_rate=config.ppo.learning_rate,
            beta1=config.algo.adam_beta1,
            beta2=config.algo.adam_beta2,
            eps=config.ppo.adam_eps,
            weight_decay=config.algo.weight_decay,
            per_unit_steps=code.counts_steps_per_unit(config.algo, config.departures),
        )
        ppo = config.ppo
        settings = LearnerSettings(ppo.num_epochs, ppo.num_minibatches, ppo.clip_range, ppo.value_coefficient)
        self.learner = Learner(self.net, self.adam, settings)
        minibatches = ppo.num_epochs * ppo.num_minibatches
        self.variant = code(
            config.algo, VariantContext(self.net, self.adam, self.seeds, minibatches, config.departures)
        )
        self.observer = Observer(config, self.net, self.environments)

    @property
    def global_step(self) -> int:
        """Environment steps of each member."""
        return self.update * self.config.ppo.steps_per_update

    def action_noise(self) -> np.ndarray:
        """[M, T, E, A] float32 standard normal draws for the next rollout."""
        num_envs = self.config.num_envs
        shape = (self.config.ppo.steps_per_update // num_envs, num_envs, self.net.num_actions)
        draws = [
            stream(seed, "action_noise", self.update).standard_normal(shape, dtype=np.float32) for seed in self.seeds
        ]
        return np.stack(draws)

    def permutations(self) -> Callable[[int], np.ndarray]:
        """epoch -> [M, S], the order of the samples in that epoch of the next update."""
        update, size = self.update, self.config.ppo.steps_per_update
        return lambda epoch: np.stack([stream(s, "permutation", update, epoch).permutation(size) for s in self.seeds])

    def _parts(self) -> dict[str, object]:
        return {"net": self.net, "adam": self.adam, "env": self.environments, "observer": self.observer}

    def member_state(self, member: int) -> State:
        """Everything member's later numbers depend on, beside the configuration and `update`."""
        states = {name: part.member_state(member) for name, part in self._parts().items()}
        states["variant"] = self.variant.member_state(member)
        return {f"{name}/{key}": array for name, state in states.items() for key, array in state.items()}

    def snapshot(self, member: int) -> State:
        """Weights and the observations in the monitor's buffer: enough to compute a new metric later."""
        tensors, window = self.net.member_state(member), self.observer.window(member)
        if window is not None:
            tensors["observations"] = window.cpu().numpy().copy()
        return tensors

    def load_member_states(self, states: list[State], update: int) -> None:
        """Continue all members after `update` updates, wherever their states come from."""
        self.update = update
        for member, state in enumerate(states):
            for name, part in self._parts().items():
                part.load_member_state(member, _below(state, name))
            self.variant.load_member_state(member, _below(state, "variant"), update)


def _below(state: State, name: str) -> State:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}


def make_environments(config: TrainConfig, seeds: list[int]) -> AntVector:
    env = config.env
    return AntVector(
        seeds,
        config.num_envs,
        num_threads=config.threads,
        fidelity=env.fidelity,
        contact_forces=env.contact_forces,
        observation=env.observation,
        time_limit=env.time_limit_steps,
        tasks=task_schedule(config, seeds),
        friction=1.0 if env.friction is None else env.friction,
    )


def all_finite(population: Population) -> list[bool]:
    """For each member, whether all its parameters are finite. One transfer."""
    net = population.net
    worst = net.flat.new_zeros(net.num_members)
    for segment, view in net.views.items():
        sums = view.flatten(1).sum(dim=1)
        worst += sums if net.layout.segments[segment].copies == net.num_members else sums.view(2, -1).sum(dim=0)
    return torch.isfinite(worst).tolist()
