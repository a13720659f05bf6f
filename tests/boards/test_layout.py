"""The boards show what runs log, in words and colours that are used everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("hydra")
pytest.importorskip("mujoco")

from lop.analysis.colours import COLOURS
from lop.boards.layout import sections
from lop.run.config import compose
from lop.run.reader import read_run
from lop.run.wandb_run import task_columns
from lop.train import train

STORED = Path(__file__).with_name("boards.json")


def test_every_panel_shows_a_key_that_runs_log(tmp_path):
    words = "env=sant algo=std monitor.critic=true env.task_steps=100 wandb.mode=disabled snapshots=0 total_steps=1280"
    words += " ppo.steps_per_update=256 ppo.num_minibatches=4 ppo.num_epochs=1 ppo.hidden_sizes=[10,10,10]"
    words += f" monitor.buffer_size=50 monitor.ranks_every_steps=200 runs_dir={tmp_path}"
    assert train(compose(words.split())) == 0
    run = read_run(tmp_path / "sant/std/seed_0")
    logged = {key for row in run.metrics_rows for key in row} | task_columns(run.tasks).keys()
    panels = [panel for section in sections(layers=3) for panel in section.panels]
    shown = [panel.key for panel in panels if not panel.picture]
    assert set(shown) <= logged
    assert len(set(shown)) == len(shown)
    assert all(panel.title and (panel.unit or panel.picture) for panel in panels)


def test_titles_and_units_come_from_the_glossary_and_the_dashboard():
    margins = next(section for section in sections(layers=1) if section.name == "Margins")
    panel = margins.panels[0]
    assert (panel.key, panel.title, panel.unit) == ("margin/dead_counts/layer_0", "Dead units, layer 0", "units")
    assert "γ_j <= 0" in panel.formula


def test_an_algorithm_has_the_colour_that_it_has_everywhere():
    text = STORED.read_text()
    assert len(COLOURS) == 5
    for colour in COLOURS.values():
        # on two environments: once in the workspace, and in each grid of the report
        assert text.count(f'"{colour}"') == 2 * (1 + text.count('"panel-grid"'))


def test_ids_are_unique_within_a_board():
    for board in json.loads(STORED.read_text()):
        ids = re.findall(r'"__id__": "(\w+)"', json.dumps(board["spec"]))
        assert len(ids) == len(set(ids)) > 30
