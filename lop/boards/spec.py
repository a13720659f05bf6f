"""The boards as JSON for wandb: a saved workspace view and a report, built with wandb-workspaces, without any network.

Names and ids are fixed, so that the same settings give the same bytes on every machine and a push finds what an earlier
one made.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import Any

from lop.analysis.colours import COLOURS
from lop.boards.layout import Panel, Section, sections

with warnings.catch_warnings():
    # wandb-workspaces 0.4 is written for pydantic 1
    warnings.simplefilter("ignore", DeprecationWarning)
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces import expr

X_AXIS = "global_step"
ENVIRONMENTS = ("ant", "sant")
TITLE = "lop: margins, ranks and return"
RUNSET = "runs"
MAX_LINES = 40
GRID_WIDTH, PANEL_HEIGHT, PICTURE_HEIGHT = 24, 7, 14
INTRODUCTION = (
    "Made by python -m lop.boards push; pushing again writes over what was changed here. "
    "Lines are means over the runs of an environment and an algorithm, bands one standard error."
)


@dataclass(frozen=True)
class View:
    """What wandb keeps of a board. name: fixed, its key at the server; kind: wandb's type of view; spec: JSON."""

    name: str
    kind: str
    title: str
    spec: dict[str, Any]


def views(layers: int) -> list[View]:
    """The workspace and the report, for networks with `layers` hidden layers."""
    parts = sections(layers)
    return [
        # the web address of a workspace, ?nw=lopboard, needs a name of this form
        View("nw-lopboard-v", "project-view", TITLE, _workspace(parts)),
        View("lopboardreport", "runs", TITLE, _report(parts)),
    ]


def _workspace(parts: list[Section]) -> dict[str, Any]:
    groups = [expr.Config("env.name"), expr.Config("label")]
    colours = {workspaces.GroupPath(env, algo): colour for env in ENVIRONMENTS for algo, colour in COLOURS.items()}
    workspace = workspaces.Workspace(
        entity="",  # neither is part of the JSON
        project="",
        name=TITLE,
        sections=[_workspace_section(part) for part in parts],
        settings=workspaces.WorkspaceSettings(x_axis=X_AXIS, max_runs=MAX_LINES),
        runset_settings=workspaces.RunsetSettings(groupby=groups, group_colors=colours),
    )
    workspace._internal_runset_id = stable_id("workspace", RUNSET)
    return _plain(workspace._to_model().spec)


def _workspace_section(part: Section) -> workspaces.Section:
    rows = -(-len(part.panels) // part.columns)
    return workspaces.Section(
        name=part.name,
        panels=[_drawn(panel, "workspace", part.name) for panel in part.panels],
        is_open=part.is_open,
        layout_settings=workspaces.SectionLayoutSettings(columns=part.columns, rows=rows),
        panel_settings=workspaces.SectionPanelSettings(x_axis=X_AXIS),
    )


def _report(parts: list[Section]) -> dict[str, Any]:
    blocks: list[Any] = [reports.P(INTRODUCTION), reports.TableOfContents()]
    for part in parts:
        known = {panel.title.partition(",")[0]: panel.formula for panel in part.panels if panel.formula}
        texts = [f"{title}: {formula}" for title, formula in known.items()]
        blocks += [reports.H2(part.name), *([reports.UnorderedList(texts)] if texts else []), _grid(part)]
    report = reports.Report(entity="", project="", title=TITLE, blocks=blocks, width="fluid")
    return _plain(report._to_model().spec)


def _grid(part: Section) -> reports.PanelGrid:
    # without entity and project a run set is the report's own project, and needs no question to the server
    runs = reports.Runset(name=RUNSET, groupby=["config.env.name", "config.label"])
    runs._id = stable_id("report", part.name, RUNSET)
    colours = {_group(env, algo): colour for env in ENVIRONMENTS for algo, colour in COLOURS.items()}
    panels = [_drawn(panel, "report", part.name) for panel in part.panels]
    for number, (panel, drawn) in enumerate(zip(part.panels, panels, strict=True)):
        row, column = divmod(number, part.columns)
        width, height = GRID_WIDTH // part.columns, PICTURE_HEIGHT if panel.picture else PANEL_HEIGHT
        drawn.layout = reports.Layout(x=column * width, y=row * height, w=width, h=height)
    return reports.PanelGrid(runsets=[runs], panels=panels, custom_run_colors=colours)


def _group(env: str, algo: str) -> reports.RunsetGroup:
    values = {"env.name": env, "label": algo}
    keys = tuple(reports.RunsetGroupKey(reports.Config(key), value) for key, value in values.items())
    return reports.RunsetGroup(runset_name=RUNSET, keys=keys)


def _drawn(panel: Panel, board: str, section: str) -> Any:
    if panel.picture:
        drawn = reports.MediaBrowser(title=panel.title, media_keys=[panel.key], num_columns=1)
    else:
        drawn = reports.LinePlot(
            title=panel.title,
            x=X_AXIS,
            y=[panel.key],
            title_x="environment steps",
            title_y=panel.unit or None,
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=MAX_LINES,
        )
    drawn._id = stable_id(board, section, panel.key)
    return drawn


def stable_id(*words: str) -> str:
    """Twelve letters and digits, as wandb's ids have, the same for the same words."""
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:12]


def _plain(model: Any) -> dict[str, Any]:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
