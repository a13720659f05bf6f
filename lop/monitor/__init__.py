"""The margin monitor: how far each unit's hyperplane is from the data that the network now sees.

Needs torch and numpy alone. `MarginMonitor` is what most people want; the metrics themselves are pure functions in
margins, dormancy, ranks, weights and events.
"""

from lop.monitor.activations import CRELU, RELU, Activation, above, between, leaky, saturating
from lop.monitor.buffer import ObservationBuffer
from lop.monitor.curvature import Curvature, surrogate
from lop.monitor.events import Event
from lop.monitor.firing import FiringBlocks
from lop.monitor.layers import Layer, LayerInfo, Probed
from lop.monitor.measurement import Measurement, measure
from lop.monitor.module_probe import ModuleProbe
from lop.monitor.monitor import MarginMonitor, Report
from lop.monitor.schedule import always, any_of, at_tasks, calls, every, log_spaced, never
from lop.monitor.stacked import StackedProbe
from lop.monitor.tasks import Task

__all__ = [
    "CRELU",
    "RELU",
    "Activation",
    "Curvature",
    "Event",
    "FiringBlocks",
    "Layer",
    "LayerInfo",
    "MarginMonitor",
    "Measurement",
    "ModuleProbe",
    "ObservationBuffer",
    "Probed",
    "Report",
    "StackedProbe",
    "Task",
    "above",
    "always",
    "any_of",
    "at_tasks",
    "between",
    "calls",
    "every",
    "leaky",
    "log_spaced",
    "measure",
    "never",
    "saturating",
    "surrogate",
]
