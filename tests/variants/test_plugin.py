"""Adding a variant takes one file and one config: plugin/shrink_perturb.py and .yaml, put where lop looks for them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from small_runs import small

from lop import variants
from lop.run import config as run_config
from lop.run.checkpoint import load_checkpoint
from lop.run.reader import read_run
from lop.train import train

PLUGIN = Path(__file__).parent / "plugin"
SMALL = small("snapshots=0")


@pytest.fixture
def added(tmp_path, monkeypatch):
    """lop with one variant more, for the time of a test."""
    shutil.copytree(run_config.config_dir(), tmp_path / "cfg")
    shutil.copy(PLUGIN / "shrink_perturb.yaml", tmp_path / "cfg" / "ant")
    monkeypatch.setattr(run_config, "config_dir", lambda: tmp_path / "cfg")
    monkeypatch.setattr(variants, "__path__", [*variants.__path__, str(PLUGIN)])
    yield
    sys.modules.pop("lop.variants.shrink_perturb", None)
    vars(variants).pop("shrink_perturb", None)
    ConfigStore.instance().repo["algo"].pop("shrink_perturb.yaml", None)


def trained(runs: Path, *more: str):
    words = ["env=ant", "algo=shrink_perturb", f"runs_dir={runs}", *SMALL, *more]
    assert train(run_config.compose(words)) == 0
    return runs / "ant" / "shrink_perturb" / "seed_0"


@pytest.mark.usefixtures("added")
def test_a_variant_of_one_file_and_one_config_trains(tmp_path):
    whole = trained(tmp_path / "whole", "total_steps=512")
    # 8 minibatches an update, every 5th: after 4 | 9, 14 | 19 | 24, 29
    assert read_run(whole).metrics["shrink_perturb/times"].tolist() == [1, 2, 1, 2]
    trained(tmp_path / "parts", "total_steps=256")
    parts = trained(tmp_path / "parts", "total_steps=512")
    one, other = load_checkpoint(whole).tensors, load_checkpoint(parts).tensors
    assert one.keys() == other.keys()
    assert [key for key in one if one[key].tobytes() != other[key].tobytes()] == []


@pytest.mark.usefixtures("added")
def test_its_settings_are_typed_and_checked_like_any_others():
    words = ["env=ant", "algo=shrink_perturb", *SMALL]
    with pytest.raises(run_config.ConfigError, match=r"period_minibatches=0: must be >= 1"):
        run_config.compose([*words, "algo.period_minibatches=0"])
    with pytest.raises(run_config.ConfigError, match="shrink"):
        run_config.compose([*words, "algo.shrink=abc"])


def test_without_its_file_the_variant_is_unknown():
    assert "shrink_perturb" not in variants.names()
    with pytest.raises(ValueError, match="cbp, redo or null"):
        variants.module("shrink_perturb")
