from __future__ import annotations

import csv
import importlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

try:
    pl = importlib.import_module("lightning.pytorch")
    from lop.monitor.adapters.lightning import MarginCallback, first_of
except Exception as error:  # an installation that does not fit torch fails with any error
    pytest.skip(f"Lightning cannot be imported here: {error}", allow_module_level=True)

# Lightning's advice to use more workers, a GPU or another logging interval
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def make_model(lightning):
    class Classifier(lightning.LightningModule):
        """Draws random numbers in training (dropout) and keeps running statistics, so that a slip would show."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.ReLU()
            )
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.net(x))

        def loss(self, batch):
            return F.cross_entropy(self(batch[0]), batch[1])

        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    torch.manual_seed(0)
    return Classifier()


def loader():
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(96, 6, generator=g), torch.randint(3, (96,), generator=g)
    order = torch.Generator().manual_seed(2)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 16, shuffle=True, generator=order)


def trained(folder, *callbacks, lightning=pl, steps=12, checkpoint=None, **options):
    model = make_model(lightning)
    logger = importlib.import_module(f"{lightning.__name__}.loggers").CSVLogger(folder)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": logger}
    trainer = lightning.Trainer(max_steps=steps, callbacks=list(callbacks), log_every_n_steps=1, **quiet, **options)
    trainer.fit(model, loader(), ckpt_path=checkpoint, **({"weights_only": True} if checkpoint else {}))
    return model, trainer


def logged(trainer):
    with open(f"{trainer.logger.log_dir}/metrics.csv") as file:
        return [row for row in csv.DictReader(file) if row.get("margin/dead_counts/layer_0")]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_margins_reach_the_loggers_and_training_is_bit_identical(tmp_path, package):
    lightning = pytest.importorskip(package)
    margins = MarginCallback("net", every_steps=4, buffer_size=50, ranks=1, loss=lambda module, b: module.loss(b))
    plain, _ = trained(tmp_path / "plain", lightning=lightning)
    watched, trainer = trained(tmp_path / "watched", margins, lightning=lightning)
    for key, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[key]), key
    rows = logged(trainer)
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    for key in ("srank/layer_1", "pol_weights/layer_1", "grama_counts_0.1/layer_1", "weight_change"):
        assert float(rows[-1][key]) == pytest.approx(margins.metrics[key]), key
    assert [info.source for info in margins.monitor.layers] == ["0", "4"]
    assert margins.metrics["margin/num_samples"] == 50


def test_the_window_holds_the_last_training_inputs_in_order(tmp_path):
    margins, seen = MarginCallback(buffer_size=40), []

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(batch[0].clone())

    trained(tmp_path, margins, Record())
    assert torch.equal(margins.monitor.window(), torch.cat(seen)[-40:])


def test_a_resumed_training_continues_the_monitor(tmp_path):
    def make():
        return MarginCallback("net", every_steps=3, buffer_size=50, prefix="encoder/")

    whole, first, second = make(), make(), make()
    # the loaders' order starts anew in the second half, and so it must in the run that is not interrupted
    _, trainer = trained(tmp_path / "first", first, steps=6)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert "MarginCallback[net, encoder/]" in torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]
    trained(tmp_path / "second", second, steps=7, checkpoint=tmp_path / "half.ckpt")
    trained(tmp_path / "whole", whole, steps=7)
    assert second._last_step == whole._last_step == 6
    assert torch.equal(second.monitor.window()[:34], first.monitor.window()[16:])
    for i in range(2):
        assert (second.monitor._margins[i] == whole.monitor._margins[i]).all()


def test_batches_without_an_obvious_input_are_refused_and_members_too():
    assert torch.equal(first_of([torch.ones(2), torch.zeros(2)]), torch.ones(2))
    with pytest.raises(TypeError, match="a batch of type dict has no obvious input: pass inputs=lambda batch: batch"):
        first_of({"x": torch.ones(2)})
    with pytest.raises(ValueError, match="watches one network"):
        MarginCallback(members=3)
