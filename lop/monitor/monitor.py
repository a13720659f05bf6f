"""MarginMonitor: joins window, probe and metrics. Three lines attach it to any training:

    monitor = MarginMonitor(policy.actor, buffer_size=1000)
    monitor.observe(obs)                  # what the network sees
    log(monitor.compute(step))            # dict of floats

A population of M networks passes members=M: observations then begin with the member axis and compute returns M dicts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lop.monitor.events import Event, crossings, events, latest_finite
from lop.monitor.gradients import Loss, gradient_tables
from lop.monitor.inputs import InputWindow
from lop.monitor.layers import LayerInfo, Probed
from lop.monitor.measurement import Measurement, measure, to_host
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.schedule import Schedule, every
from lop.monitor.select import selected
from lop.monitor.stacked import StackedProbe, is_stacked
from lop.monitor.tasks import Task, TaskLog
from lop.monitor.trace import Rules
from lop.monitor.weights import weight_change

Metrics = dict[str, float]


@dataclass(frozen=True)
class Report:
    """Per-unit numbers of one compute().

    units: for each layer, arrays [H] (with members [M, H]) by name: margin, lowest, activity, mean_abs_activation, and
    where the unit has a hyperplane of its own bias, weight_norm, scale_free_margin; after compute(loss=...) also
    mean_abs_gradient (E∣∂L/∂h∣) and gradient_norm (‖∂L/∂w‖).
    events: deaths and revivals since the compute before; with members one list for each.
    layers: where each layer is in its module.
    """

    units: list[dict[str, np.ndarray]]
    events: list[Event] | list[list[Event]]
    layers: list[LayerInfo]


class MarginMonitor:
    """Margins, dormancy, ranks and weights of a network on the last observations it saw.

    network: any nn.Module, or a stacked population (stacked.StackedNetwork).
    buffer_size: N, observations kept a member. epsilon: at-risk units have 0 < margin < epsilon.
    layers: which layers, by number, by path of the activation or of the weights before it; None: all.
    members: M, or None for a single network. prefix: put before every key, for instance "critic/".
    weights_name: key of the weight magnitudes; by default `pol_weights`, or `val_weights` for the prefix "critic/".
    ranks: a schedule, or every how many steps. rules, forward: see ModuleProbe.
    predictive: also what the weights of the last compute() do on the present observations, that is which units the data
    alone has moved away from (nn.Module only; keeps a copy of the network).
    check_finite: refuse NaN or infinite observations; False: count the units that they reach as non-finite.
    Build it when the weights are initialised: the first weight change is counted from the weights of that moment.
    """

    def __init__(
        self,
        network: Any,
        buffer_size: int = 1000,
        epsilon: float = 0.1,
        layers: Sequence[int | str] | None = None,
        members: int | None = None,
        prefix: str = "",
        *,
        weights_name: str | None = None,
        ranks: Schedule | int = 10_000,
        rules: Rules | None = None,
        forward: Callable[..., object] | None = None,
        predictive: bool = False,
        check_finite: bool = True,
    ):
        if buffer_size < 1 or epsilon <= 0:
            raise ValueError(f"buffer_size must be >= 1 and epsilon > 0, got {buffer_size} and {epsilon}")
        self.probe = _probe(network, rules, forward, members)
        self.members = self.probe.members
        self.epsilon, self.prefix, self.check_finite = epsilon, prefix, check_finite
        self.weights_name = weights_name or ("val_weights" if prefix == "critic/" else prefix + "pol_weights")
        self.ranks_due = every(ranks) if isinstance(ranks, int) else ranks
        self.inputs = InputWindow(buffer_size, self.members)
        self.layers: list[LayerInfo] = []
        self._wanted = layers
        self._last_step: int | None = None
        self._margins: list[np.ndarray] | None = None
        self._matrices = self._copied_matrices()
        self._report: Report | None = None
        self._predictive, self._kept = predictive, None
        self._tasks, self._at_change = TaskLog(), None

    def observe(self, *args: object, **kwargs: object) -> None:
        """Append what the network was called with: tensors or arrays, also nested in dicts, lists and tuples.

        A 1-D tensor is one observation, else the first axis is samples, in time order. With members=M the leading axis
        is the member, [M, k, ...]; [M, D] is one observation of each.
        """
        self.inputs.extend(args, kwargs, self.probe.reference(), self.check_finite)
        if self._at_change is not None and self.inputs.count == self.inputs.size:
            self._finish_change()

    def window(self) -> object:
        """The first input that compute would use: [N, ...], or [M, N, ...] with members, in time order."""
        return self.inputs.arguments()[0][0]

    def compute(
        self, step: int | None = None, ranks: bool | None = None, loss: Loss | None = None
    ) -> Metrics | list[Metrics]:
        """All metrics of the present weights on the last observations, by the keys of the glossary.

        step: for the schedules; None: one more than the last. ranks: whether to compute them; None: when scheduled.
        loss: a function without arguments that runs the watched module and returns a scalar; adds GraMa, gradient norms
        and the KFAC factors' ranks (nn.Module without members only).
        Returns a dict of Python floats, with members=M a list of M of them. Deaths, revivals and the weight change are
        those since the last call.
        """
        previous = self._last_step
        step = step if step is not None else (0 if previous is None else previous + 1)
        ranks = self.ranks_due(previous, step) if ranks is None else ranks
        args, kwargs = self.inputs.arguments(self.probe.reference().device)
        probed = self._probed(self.probe, args, kwargs)
        matrices = self.probe.matrices()
        extra = {"weight_change": weight_change(self._matrices, matrices)} if matrices else {}
        measurement = self._measured(probed, ranks, extra)
        if self._predictive:
            self._add_predictions(measurement, args, kwargs)
        self.layers = [layer.info for layer in probed.layers]
        self._matrices, self._last_step = self._copied_matrices(), step
        if loss is not None:
            self._add_gradients(measurement, loss)
        happened = self._record_events(measurement)
        self._follow_task(happened)
        self._report = Report(measurement.units, happened[0] if self.members is None else happened, self.layers)
        return self._keyed(measurement)

    def measure(self, *args: object, network: Any = None, ranks: bool = True) -> Metrics | list[Metrics]:
        """Metrics of a network (None: the watched one) on given inputs; the monitor's own state takes no part.

        args: as the network takes them, [N, ...], or [M, N, ...] with members. Without deaths, revivals, weight change.
        """
        probe = self.probe if network is None else self._probe_like(network)
        return self._keyed(self._measured(self._probed(probe, args, {}), ranks, {}))

    def task(self, name: str) -> Task | None:
        """Begin a task, from the next observation on; returns the one that this ends, with its summary().

        The present weights are kept until the window is full of the new task (or until the next compute), so that
        `killed_by_change` compares the same weights on both tasks. Single nn.Module only.
        """
        if not isinstance(self.probe, ModuleProbe) or self.members is not None:
            raise ValueError("task() needs a single nn.Module")
        self._follow_task([[]])
        now = self._margins_of(self.probe) if self.inputs.count else None
        self._at_change = self.probe.of(copy.deepcopy(self.probe.module))
        self.inputs.clear()
        return self._tasks.begin(name, now)

    def _follow_task(self, happened: list[list[Event]]) -> None:
        if self._at_change is not None and self.inputs.count:
            self._finish_change()
        if self._tasks.running is not None:
            self._tasks.running.count(happened[0])

    def _finish_change(self) -> None:
        probe, self._at_change = self._at_change, None
        if probe is not None and self._tasks.running is not None:
            self._tasks.running.start_margins = self._margins_of(probe)

    def _margins_of(self, probe: ModuleProbe) -> list[np.ndarray]:
        args, kwargs = self.inputs.arguments(self.probe.reference().device)
        units = self._measured(self._probed(probe, args, kwargs), False, {}).units
        return [layer["margin"] for layer in units]

    def _add_predictions(self, measurement: Measurement, args: tuple, kwargs: dict) -> None:
        """Margins of the weights of the last compute on the present inputs; then keep the present weights."""
        if not isinstance(self.probe, ModuleProbe):
            raise ValueError("predictive=True needs an nn.Module")
        if self._kept is not None and self._margins is not None:
            old = self._measured(self._probed(self._kept, args, kwargs), False, {}).units
            for index, (layer, known) in enumerate(zip(old, self._margins, strict=True)):
                known = known if self.members is not None else known[0]
                counts = ((known > 0) & (layer["margin"] <= 0)).sum(-1)
                measurement.units[index]["predictive_margin"] = layer["margin"]
                measurement.scalars[f"margin/will_die_counts/layer_{index}"] = counts.astype(np.float64)
        self._kept = self.probe.of(copy.deepcopy(self.probe.module))

    def _probe_like(self, network: Any) -> ModuleProbe | StackedProbe:
        own = self.probe
        return StackedProbe(network) if isinstance(own, StackedProbe) else own.of(network)

    def _probed(self, probe: ModuleProbe | StackedProbe, args: tuple, kwargs: dict) -> Probed:
        probed = probe(*args, **kwargs)
        return probed if self._wanted is None else selected(probed, self._wanted, probe)

    def _measured(self, probed: Probed, ranks: bool, extra: dict[str, Tensor]) -> Measurement:
        return measure(probed, epsilon=self.epsilon, ranks=ranks, weights_name=self.weights_name, extra=extra)

    def _keyed(self, measurement: Measurement) -> Metrics | list[Metrics]:
        """Python floats under the monitor's prefix; the weight magnitudes have a name of their own."""
        own = self.weights_name + "/"
        columns = {
            key if key.startswith(own) else self.prefix + key: value.tolist()
            for key, value in measurement.scalars.items()
        }
        if self.members is None:
            return columns
        return [{key: column[m] for key, column in columns.items()} for m in range(self.members)]

    def _add_gradients(self, measurement: Measurement, loss: Loss) -> None:
        if not isinstance(self.probe, ModuleProbe) or self.members is not None:
            raise ValueError("compute(loss=...) needs a single nn.Module")
        tables = gradient_tables(self.probe, loss, self.layers)
        moved = to_host([table for pair in tables for table in pair], torch.Size())
        for index, (units, scalars) in enumerate(zip(moved[::2], moved[1::2], strict=True)):
            measurement.units[index] |= {name: value.numpy() for name, value in units.items()}
            measurement.scalars |= {f"{name}/layer_{index}": value.numpy() for name, value in scalars.items()}

    def _copied_matrices(self) -> list[Tensor]:
        return [matrix.detach().clone() for matrix in self.probe.matrices()]

    def _record_events(self, measurement: Measurement) -> list[list[Event]]:
        """Each member's events since the last compute; their numbers become scalars of the measurement."""
        now = [np.atleast_2d(units["margin"]) for units in measurement.units]
        before = self._margins or []
        if [margins.shape for margins in before] != [margins.shape for margins in now]:
            before = [np.full_like(margins, np.nan) for margins in now]
        lead = () if self.members is None else (self.members,)
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            deaths, revivals = crossings(old, new)
            measurement.scalars[f"margin/deaths/layer_{index}"] = deaths.sum(-1, dtype=np.float64).reshape(lead)
            measurement.scalars[f"margin/revivals/layer_{index}"] = revivals.sum(-1, dtype=np.float64).reshape(lead)
        self._margins = [latest_finite(old, new) for old, new in zip(before, now, strict=True)]
        pairs = list(zip(before, now, strict=True))
        return [
            [event for i, (old, new) in enumerate(pairs) for event in events(i, old[m], new[m])]
            for m in range(self.members or 1)
        ]

    def report(self) -> Report:
        """Per-unit arrays and events of the last compute()."""
        if self._report is None:
            raise ValueError("nothing computed yet: call compute() before report()")
        return self._report

    def member_state(self, member: int = 0) -> dict[str, np.ndarray]:
        """What later numbers of a member depend on: its observations, last margins, last weights, last step."""
        state = {"last_step": np.array(-1 if self._last_step is None else self._last_step)}
        state |= {f"window.{name}": value for name, value in self.inputs.member_state(member).items()}
        state |= {f"margin.{i}": margins[member].copy() for i, margins in enumerate(self._margins or [])}
        at = ... if self.members is None else member
        state |= {f"weight.{i}": matrix[at].cpu().numpy().copy() for i, matrix in enumerate(self._matrices)}
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        """Continue one member from a saved state, also one saved in a population of another size."""
        last_step = int(state["last_step"])
        self._last_step = None if last_step < 0 else last_step
        windows = {key.removeprefix("window."): value for key, value in state.items() if key.startswith("window.")}
        self.inputs.load_member_state(member, windows, self.probe.reference())
        self._load_margins(member, _numbered(state, "margin."))
        at = ... if self.members is None else member
        for matrix, saved in zip(self._matrices, _numbered(state, "weight."), strict=True):
            matrix[at] = torch.from_numpy(np.array(saved)).to(matrix)

    def _load_margins(self, member: int, saved: list[np.ndarray]) -> None:
        if saved and self._margins is None:
            self._margins = [np.full((self.members or 1, len(margins)), np.nan) for margins in saved]
        for kept, margins in zip(self._margins or [], saved, strict=bool(saved)):
            kept[member] = margins


def _probe(
    network: Any, rules: Rules | None, forward: Callable[..., object] | None, members: int | None
) -> ModuleProbe | StackedProbe:
    if not is_stacked(network):
        return ModuleProbe(network, rules, forward, members)
    probe = StackedProbe(network)
    if members not in (None, probe.members):
        raise ValueError(f"members={members}, but the network has {probe.members}")
    return probe


def _numbered(state: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """The arrays `prefix`0, `prefix`1, ... of a state, in order."""
    return [state[f"{prefix}{i}"] for i in range(sum(key.startswith(prefix) for key in state))]
