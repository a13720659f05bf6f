"""The same code on a GPU. Skipped, with the reason, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lop.ppo.learner import Samples, ShuffledSamples
from lop.run.config import compose
from lop.run.reader import read_run
from lop.training.population import Population

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("algo", ["std", "cbp", "redo"])
def test_a_run_on_the_gpu_resumes_bit_for_bit(algo, tmp_path, lop_train):
    for name, parts in (("whole", ["total_steps=2048"]), ("parts", ["total_steps=1024", "total_steps=2048"])):
        for part in parts:
            words = lop_train.words("sant", algo, "device=cuda", "snapshots=0", f"runs_dir={tmp_path / name}", part)
            assert lop_train.run_here(words) == 0
    lop_train.assert_same_run(*(tmp_path / name / "sant" / algo / "seed_0" for name in ("whole", "parts")))


def test_the_first_update_agrees_with_the_cpu(tmp_path, lop_train):
    rows = []
    for device in ("cpu", "cuda"):
        words = lop_train.words("ant", "cbp", f"device={device}", f"runs_dir={tmp_path / device}", "total_steps=256")
        assert lop_train.run_here(words) == 0
        rows.append(read_run(tmp_path / device / "ant" / "cbp" / "seed_0").metrics_rows[0])
    for key in ("loss/value", "pol_weights/layer_1", "margin/mean_margins/layer_1"):
        np.testing.assert_allclose(rows[0][key], rows[1][key], rtol=1e-3)


def test_the_minibatch_loop_never_waits_for_the_gpu(lop_train):
    with torch.inference_mode():
        population = Population(compose(lop_train.words("ant", "cbp", "device=cuda")), [0])
        m, s, d, a = 1, 256, 27, 8
        shapes = ((m, s, d), (m, s, a), (m, s), (m, s), (m, s))
        samples = Samples(*[torch.randn(shape, device="cuda") for shape in shapes])
        shuffled = ShuffledSamples(samples, np.arange(s)[None, None].repeat(2, axis=0))
        population.variant.begin_update(0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            population.learner.train_on(shuffled, population.variant.after_step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
