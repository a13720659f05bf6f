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

from lop.monitor.curvature.measure import Curvature, curvature_scalars
from lop.monitor.curvature.running import Loss
from lop.monitor.events import Event, crossings, events, latest_finite
from lop.monitor.gradients import add_gradients
from lop.monitor.inputs import InputWindow
from lop.monitor.layers import LayerInfo, Probed
from lop.monitor.measurement import Measurement, measure
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.schedule import Clock, Due, always, every, is_due, never
from lop.monitor.select import selected
from lop.monitor.stacked import StackedProbe, is_stacked
from lop.monitor.tasks import Task, TaskLog
from lop.monitor.trace import Rules
from lop.monitor.weights import weight_change

Metrics = dict[str, float]
OF_LOSS = ("gradients", "curvature")
"""The groups that need compute(loss=...)."""


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
    ranks, weights, gradients, curvature: when to compute each group, a schedule or every how many steps. weights is the
    weight change, for which a copy of all weights is kept; gradients and curvature need compute(loss=...), and only such
    calls count for their schedules; curvature may be a Curvature, which also has its settings. rules, forward: see
    ModuleProbe.
    predictive: also what the weights of the last compute() do on the present observations, that is which units the data
    alone has moved away from (keeps a copy of the network).
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
        ranks: Due = 10_000,
        weights: Due = always,
        gradients: Due = always,
        curvature: Curvature | Due = never,
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
        self.curvature = curvature if isinstance(curvature, Curvature) else Curvature(curvature)
        self._due = {"ranks": ranks, "weights": weights, "gradients": gradients, "curvature": self.curvature.due}
        self._due = {group: every(due) if isinstance(due, int) else due for group, due in self._due.items()}
        self.inputs = InputWindow(buffer_size, self.members)
        self.layers: list[LayerInfo] = []
        self._wanted = layers
        self._clock: Clock | None = None
        self._loss_clock: Clock | None = None
        self._margins: list[np.ndarray] | None = None
        self._matrices = [] if weights is never else _copies(self.probe.matrices())
        self._report: Report | None = None
        self._predictive, self._kept = predictive, None
        self._tasks = TaskLog(self.members, self._margins_of)

    def observe(self, *args: object, **kwargs: object) -> None:
        """Append what the network was called with: tensors or arrays, also nested in dicts, lists and tuples.

        A 1-D tensor is one observation, else the first axis is samples, in time order. With members=M the leading axis
        is the member, [M, k, ...]; [M, D] is one observation of each.
        """
        self.inputs.extend(args, kwargs, self.probe.reference(), self.check_finite)
        if self._tasks.waiting and self.inputs.count == self.inputs.size:
            self._tasks.take_start()

    def window(self) -> object:
        """The first input that compute would use: [N, ...], or [M, N, ...] with members, in time order."""
        return self.inputs.arguments()[0][0]

    def compute(
        self,
        step: int | None = None,
        ranks: bool | None = None,
        loss: Loss | None = None,
        *,
        weights: bool | None = None,
        gradients: bool | None = None,
        curvature: bool | None = None,
    ) -> Metrics | list[Metrics]:
        """All metrics of the present weights on the last observations, by the keys of the glossary.

        step: for the schedules; None: one more than the last. ranks, weights, gradients, curvature: whether to compute
        that group now; None: when scheduled.
        loss: a function without arguments that runs the watched module and returns a scalar; adds GraMa, gradient norms
        and the KFAC factors' ranks, and the curvature when due (nn.Module without members only).
        Returns a dict of Python floats, with members=M a list of M of them. Deaths and revivals are those since the last
        call, the weight change that since it was last computed.
        """
        now = self._now(step)
        wanted = {"ranks": ranks, "weights": weights, "gradients": gradients, "curvature": curvature}
        due = self._groups_due(now, wanted, loss)
        args, kwargs = self.inputs.arguments(self.probe.reference().device)
        probed = self._probed(self.probe, args, kwargs)
        matrices = self.probe.matrices() if "weights" in due else []
        extra = {"weight_change": weight_change(self._matrices, matrices)} if matrices and self._matrices else {}
        measurement = self._measured(probed, "ranks" in due, extra)
        self.layers = [layer.info for layer in probed.layers]
        if loss is not None:
            self._add_loss(measurement, loss, due)
            self._loss_clock = now
        if self._predictive:
            self._add_predictions(measurement, args, kwargs)
        self._clock, self._matrices = now, _copies(matrices) if "weights" in due else self._matrices
        happened = self._record_events(measurement)
        self._tasks.take_start()
        self._tasks.count(happened)
        self._report = Report(measurement.units, happened[0] if self.members is None else happened, self.layers)
        return self._keyed(measurement)

    def _now(self, step: int | None) -> Clock:
        last = self._clock or Clock(-1, -1)
        return Clock(last.step + 1 if step is None else step, last.call + 1, self._tasks.begun)

    def _groups_due(self, now: Clock, wanted: dict[str, bool | None], loss: Loss | None) -> set[str]:
        """The groups to compute at this moment. Errors: ValueError for a group that cannot be computed."""
        asked = [group for group in OF_LOSS if wanted[group]]
        if loss is None and asked:
            raise ValueError(
                f"compute({asked[0]}=True) needs loss=, a function without arguments that runs the network"
            )
        if loss is not None and (not isinstance(self.probe, ModuleProbe) or self.members is not None):
            raise ValueError("compute(loss=...) needs a single nn.Module")
        possible = {group: due for group, due in self._due.items() if group not in OF_LOSS or loss is not None}
        before = {group: self._loss_clock if group in OF_LOSS else self._clock for group in possible}
        scheduled = {group for group, due in possible.items() if is_due(due, before[group], now)}
        return {group for group in possible if wanted[group] or (wanted[group] is None and group in scheduled)}

    def measure(self, *args: object, network: Any = None, ranks: bool = True) -> Metrics | list[Metrics]:
        """Metrics of a network (None: the watched one) on given inputs; the monitor's own state takes no part.

        args: as the network takes them, [N, ...], or [M, N, ...] with members. Without deaths, revivals, weight change.
        """
        probe = self.probe if network is None else self._probe_like(network)
        return self._keyed(self._measured(self._probed(probe, args, {}), ranks, {}))

    def task(self, name: str) -> Task | list[Task] | None:
        """Begin a task, from the next observation on; returns the one that this ends, with its summary().

        The present weights are kept until the window is full of the new task (or until the next compute), so that
        `killed_by_change` compares the same weights on both tasks. With members=M all begin it together, and a list of
        M tasks is returned.
        """
        if self._tasks.waiting and self.inputs.count:
            self._tasks.take_start()
        now = self._margins_of(self.probe) if self.inputs.count else None
        ended = self._tasks.begin(name, now, self._copy())
        self.inputs.clear()
        if not ended:
            return None
        return ended[0] if self.members is None else ended

    def _margins_of(self, probe: ModuleProbe | StackedProbe) -> list[np.ndarray]:
        args, kwargs = self.inputs.arguments(self.probe.reference().device)
        units = self._measured(self._probed(probe, args, kwargs), False, {}).units
        return [layer["margin"] for layer in units]

    def _add_predictions(self, measurement: Measurement, args: tuple, kwargs: dict) -> None:
        """Margins of the weights of the last compute on the present inputs; then keep the present weights."""
        if self._kept is not None and self._margins is not None:
            old = self._measured(self._probed(self._kept, args, kwargs), False, {}).units
            for index, (layer, known) in enumerate(zip(old, self._margins, strict=True)):
                known = known if self.members is not None else known[0]
                counts = ((known > 0) & (layer["margin"] <= 0)).sum(-1)
                measurement.units[index]["predictive_margin"] = layer["margin"]
                measurement.scalars[f"margin/will_die_counts/layer_{index}"] = counts.astype(np.float64)
        self._kept = self._copy()

    def _copy(self) -> ModuleProbe | StackedProbe:
        """A probe of a copy of the network as it is now."""
        own = self.probe
        return self._probe_like(copy.deepcopy(own.network if isinstance(own, StackedProbe) else own.module))

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

    def _add_loss(self, measurement: Measurement, loss: Loss, due: set[str]) -> None:
        """Put what only a loss can tell into the measurement."""
        if "gradients" in due:
            add_gradients(measurement, self.probe, loss, self.layers)
        if "curvature" in due:
            found = curvature_scalars(self.probe.module, loss, self.curvature)
            measurement.scalars |= {name: np.float64(value) for name, value in found.items()}

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
        """What later numbers of a member depend on: its observations, last margins, last weights, when it last
        computed."""
        state = {"last_step": np.array(-1 if self._clock is None else self._clock.step)}
        state["last_call"] = np.array(-1 if self._clock is None else self._clock.call)
        if self._loss_clock is not None:
            state["last_loss"] = np.array(self._loss_clock[:2])
        state |= {f"window.{name}": value for name, value in self.inputs.member_state(member).items()}
        state |= {f"margin.{i}": margins[member].copy() for i, margins in enumerate(self._margins or [])}
        at = ... if self.members is None else member
        state |= {f"weight.{i}": matrix[at].cpu().numpy().copy() for i, matrix in enumerate(self._matrices)}
        return state

    def load_member_state(self, member: int, state: dict[str, np.ndarray]) -> None:
        """Continue one member from a saved state, also one saved in a population of another size."""
        last_step = int(state["last_step"])
        self._clock = None if last_step < 0 else Clock(last_step, int(state.get("last_call", 0)))
        if "last_loss" in state:
            self._loss_clock = Clock(*state["last_loss"].tolist())
        windows = {key.removeprefix("window."): value for key, value in state.items() if key.startswith("window.")}
        self.inputs.load_member_state(member, windows, self.probe.reference())
        self._load_margins(member, _numbered(state, "margin."))
        at = ... if self.members is None else member
        for matrix, saved in zip(self._matrices, _numbered(state, "weight."), strict=bool(self._matrices)):
            matrix[at] = torch.from_numpy(np.array(saved)).to(matrix)

    def _load_margins(self, member: int, saved: list[np.ndarray]) -> None:
        if saved and self._margins is None:
            self._margins = [np.full((self.members or 1, len(margins)), np.nan) for margins in saved]
        for kept, margins in zip(self._margins or [], saved, strict=bool(saved)):
            kept[member] = margins


def _copies(matrices: list[Tensor]) -> list[Tensor]:
    return [matrix.detach().clone() for matrix in matrices]


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
