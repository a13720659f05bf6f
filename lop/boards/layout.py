"""What stands on the boards, as plain data: sections of panels, each a curve over global_step of one logged key.

Titles are those of the local dashboard, units and formulas those of the monitor's glossary; keys that the trainer counts
itself have theirs here.
"""

from __future__ import annotations

from dataclasses import dataclass

from lop.boards.pictures import HEAT_MAP
from lop.dashboard.metrics import METRICS
from lop.monitor.glossary import row_of

#: title and unit of keys that are no metrics of the monitor, and titles of those that the dashboard does not draw
OWN = {
    "value": ("Mean value", "return, discounted"),
    "friction": ("Friction", "friction coefficient"),
    "loss/policy": ("Policy loss", "loss"),
    "loss/value": ("Value loss", "squared error"),
    "approx_kl": ("Approximate KL", "nats"),
    "clip_fraction": ("Clipped samples", "fraction"),
    "log_std": ("Log standard deviation of actions", "ln"),
    "val_weights": ("Weight magnitude of the critic", "mean |w|"),
    "margin/deaths": ("Deaths since the last update", ""),
    "margin/revivals": ("Revivals since the last update", ""),
    "task/start_mean_margins": ("Mean margin at the start of a task", ""),
    "task/end_mean_margins": ("Mean margin at the end of a task", ""),
    "task/start_dead_counts": ("Dead units at the start of a task", ""),
    "task/end_dead_counts": ("Dead units at the end of a task", ""),
}


@dataclass(frozen=True)
class Panel:
    """A curve of `key` over environment steps; or, if it is a picture, the heat map under that key."""

    key: str
    title: str
    unit: str
    formula: str = ""
    picture: bool = False


@dataclass(frozen=True)
class Section:
    """Panels under a headline, `columns` side by side."""

    name: str
    panels: list[Panel]
    columns: int
    is_open: bool = True


def sections(layers: int) -> list[Section]:
    """The sections for networks with `layers` hidden layers, in the order they stand."""

    def of_layers(*keys: str, prefix: str = "", output: bool = False) -> list[Panel]:
        return [_panel(prefix + key, layer) for key in keys for layer in range(layers + output)]

    columns = max(2, min(layers, 4))
    margins = ("margin/dead_counts", "margin/at_risk_counts", "margin/mean_margins", "margin/mean_scale_free_margins")
    moves = ("margin/deaths", "margin/revivals", "margin/always_on_counts", "pol_features_activity")
    ranks = ("srank", "stable_rank", "effective_rank")
    tasks = ("task/start_mean_margins", "task/end_mean_margins", "task/start_dead_counts", "task/end_dead_counts")
    losses = ("loss/policy", "loss/value", "approx_kl", "clip_fraction", "log_std", "value")
    pictures = [
        Panel(HEAT_MAP.format(i), f"Margin of every unit over time, layer {i}", "", picture=True) for i in range(layers)
    ]
    weights = [_panel(key) for key in ("frozen_parameter_fraction", "weight_change")]
    critic = of_layers(*margins[:3], "srank", prefix="critic/")
    return [
        Section("Return", [_panel(key) for key in ("return", "episode_length", "explained_variance")], 3),
        Section("Margins", of_layers(*margins), columns),
        Section("Units over time", pictures, columns),
        Section("Deaths, always-on and dormant units", of_layers(*moves), columns),
        Section("Ranks", of_layers(*ranks), columns),
        Section("Weights", of_layers("pol_weights", "val_weights", output=True) + weights, layers + 1),
        Section("Tasks (SlipperyAnt)", [*of_layers(*tasks), _panel("friction")], columns),
        Section("Critic (with monitor.critic=true)", critic, columns, is_open=False),
        Section("Losses", [_panel(key) for key in losses], 3, is_open=False),
    ]


def _panel(key: str, layer: int | None = None) -> Panel:
    plain = key.removeprefix("critic/")
    metric = METRICS.get(plain)
    try:
        row = row_of(plain)
        unit, formula = row.unit, row.formula
    except KeyError:
        unit, formula = metric.unit if metric else "", ""
    own_title, own_unit = OWN.get(plain, ("", ""))
    title = own_title or (metric.title if metric else plain)
    title += ", critic" if plain != key else ""
    if layer is None:
        return Panel(key, title, own_unit or unit, formula)
    return Panel(f"{key}/layer_{layer}", f"{title}, layer {layer}", own_unit or unit, formula)
