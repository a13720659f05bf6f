"""What a run in training sends to wandb: its rows and pictures; and its own files do not know of it."""

from __future__ import annotations

import pytest

pytest.importorskip("wandb")
pytest.importorskip("mujoco")
pytest.importorskip("matplotlib")

from lop.run.config import compose
from lop.run.reader import read_run
from lop.run.wandb_run import read_sidecar
from lop.train import train

SMALL = "env=ant algo=std snapshots=0 total_steps=1280 progress.interval_s=1000 ppo.steps_per_update=256"
SMALL += " ppo.num_minibatches=4 ppo.num_epochs=1 ppo.hidden_sizes=[10,10] monitor.buffer_size=50"


def test_an_online_run_sends_its_rows_and_seldom_pictures_and_its_files_stay_the_same(boards, wandb_server, tmp_path):
    for mode in ("online", "disabled"):
        words = [*SMALL.split(), f"wandb.mode={mode}", "wandb.images_every_steps=500", f"runs_dir={tmp_path / mode}"]
        assert train(compose(words)) == 0
    online, disabled = (tmp_path / mode / "ant/std/seed_0" for mode in ("online", "disabled"))
    for name in ("metrics.jsonl", "episodes", "units", "events", "activity"):
        assert (online / name).read_bytes() == (disabled / name).read_bytes()
    rows = wandb_server.history(read_sidecar(online)["id"])
    local = read_run(online).metrics_rows
    assert [{key: row[key] for key in own} for row, own in zip(rows, local, strict=True)] == local
    # updates end at 256, 512, ...: multiples of 500 are passed at 512 and 1024, and 1280 is the end
    assert [row["global_step"] for row in rows if "units/margin/layer_1" in row] == [512, 1024, 1280]
    assert wandb_server.uploads[rows[-1]["units/margin/layer_1"]["path"]].startswith(b"\x89PNG")
    assert boards("sync", online).out == f"{online}: nothing new\n"
