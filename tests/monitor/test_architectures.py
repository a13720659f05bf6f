"""The module probe on many architectures: every statistic equals brute force on pre-activations written out by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop.monitor import CRELU, Activation, MarginMonitor

D, H, N = 5, 7, 24


def seeded(module: nn.Module) -> nn.Module:
    """Weights large enough for dead, at-risk and always-on units; running statistics that are not trivial."""
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=g) * 0.6)
        for name, tensor in module.named_buffers():
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
        for name, tensor in module.named_parameters():
            if name.endswith("bias"):
                tensor.sub_(0.4)
    return module.double().eval()


def rows(z: torch.Tensor) -> torch.Tensor:
    """[N, C, ...] as [N * positions, C]."""
    return z.movedim(1, -1).reshape(-1, z.shape[1]) if z.ndim > 2 else z


def check(brute_force, module, args, expected, *, rules=None, forward=None, kwargs=None):
    """expected: for each layer its pre-activations (or drives) [samples, H], as plain float64 tensors."""
    monitor = MarginMonitor(module, buffer_size=10_000, rules=rules, forward=forward, ranks=1)
    monitor.observe(*args, **(kwargs or {}))
    row, report = monitor.compute(0), monitor.report()
    assert len(monitor.layers) == len(expected), monitor.layers
    assert sum(key.startswith("margin/dead_counts/") for key in row) == len(expected)
    for i, z in enumerate(expected):
        drive = z.detach().double().numpy()
        slow = brute_force(drive)
        for name in ("dead", "at_risk", "alive", "always_on", "selective"):
            assert row[f"margin/{name}_counts/layer_{i}"] == slow[name], (i, name)
        assert report.units[i]["margin"] == pytest.approx(slow["margin"], abs=1e-9)
        assert row[f"margin/mean_margins/layer_{i}"] == pytest.approx(np.mean(slow["margin"]), abs=1e-9)
    return monitor, row, report


def mlp(act1, act2=None):
    return seeded(nn.Sequential(nn.Linear(D, H), act1, nn.Linear(H, 6), act2 or copy.deepcopy(act1), nn.Linear(6, 2)))


def test_mlp_reports_hyperplanes_activity_and_ranks(brute_force, normals):
    net, x = mlp(nn.ReLU()), normals(N, D, dtype=torch.float64)
    with torch.no_grad():
        net[0].bias[[0, 3]] -= 50.0
        net[2].bias[1] -= 50.0
    z0 = x @ net[0].weight.T + net[0].bias
    z1 = z0.relu() @ net[2].weight.T + net[2].bias
    monitor, row, report = check(brute_force, net, (x,), [z0, z1])
    assert [(info.path, info.source) for info in monitor.layers] == [("1", "0"), ("3", "2")]
    for i, (z, linear) in enumerate(((z0, net[0]), (z1, net[2]))):
        slow = brute_force(z.detach().numpy())
        norm = linear.weight.detach().square().sum(1).sqrt().numpy()
        for name in ("lowest", "activity", "mean_abs_activation"):
            assert report.units[i][name] == pytest.approx(slow[name], abs=1e-12)
        assert report.units[i]["weight_norm"] == pytest.approx(norm)
        assert report.units[i]["bias"] == pytest.approx(linear.bias.detach().numpy())
        assert report.units[i]["scale_free_margin"] == pytest.approx(np.array(slow["margin"]) / norm)
        assert row[f"margin/dead_points/layer_{i}"] == slow["dead_points"]
        sigma = np.linalg.svd(np.maximum(z.detach().numpy(), 0), compute_uv=False)
        assert row[f"stable_rank/layer_{i}"] == pytest.approx((sigma**2).sum() / (sigma**2).max())
    assert row["pol_weights/layer_2"] == pytest.approx(net[4].weight.abs().mean().item())
    dead = [row[f"margin/dead_counts/layer_{i}"] for i in range(2)]
    union = dead[0] * (D + 1) + dead[1] * (H + 1) + dead[0] * 6 - dead[0] * dead[1] + dead[1] * 2
    assert row["frozen_parameters"] == union
    assert all(dead)


LIMIT = math.atanh(math.sqrt(0.99))
DRIVES = [
    (nn.LeakyReLU(), None), (nn.PReLU(), None), (nn.RReLU(), None),
    (nn.ELU(), lambda z: z - math.log(0.01)), (nn.CELU(0.5), lambda z: z - 0.5 * math.log(0.01)),
    (nn.SELU(), lambda z: z - math.log(0.01)), (nn.Softplus(), lambda z: z + math.log(99)),
    (nn.LogSigmoid(), lambda z: math.log(99) - z), (nn.Tanh(), lambda z: LIMIT - z.abs()),
    (nn.Sigmoid(), lambda z: 2 * LIMIT - z.abs()), (nn.Softsign(), lambda z: 9 - z.abs()),
    (nn.ReLU6(), lambda z: torch.minimum(z, 6 - z)), (nn.Hardtanh(), lambda z: torch.minimum(z + 1, 1 - z)),
    (nn.Hardswish(), lambda z: z + 3), (nn.Hardsigmoid(), lambda z: torch.minimum(z + 3, 3 - z)),
    (nn.Threshold(0.5, 0.0), lambda z: z - 0.5), (nn.Hardshrink(), lambda z: z.abs() - 0.5),
    (nn.GELU(), lambda z: z + 3.0216626341112987), (nn.GELU("tanh"), lambda z: z + 3.009357739632181),
    (nn.SiLU(), lambda z: z + 6.142915700290446), (nn.Mish(), lambda z: z + 6.158741309741714),
]  # fmt: skip


@pytest.mark.parametrize(("act", "drive"), DRIVES, ids=lambda v: repr(v) if isinstance(v, nn.Module) else "")
def test_mlp_with_every_activation(brute_force, normals, act, drive):
    net, x = mlp(act), normals(N, D, dtype=torch.float64) * 5
    with torch.no_grad():
        net[0].bias[2] -= 100.0
    z0 = x @ net[0].weight.T + net[0].bias
    z1 = net[1](z0) @ net[2].weight.T + net[2].bias
    if drive:
        _, _, report = check(brute_force, net, (x,), [drive(z0), drive(z1)])
        assert report.units[0]["activity"] == pytest.approx((net[1](z0) > 0).double().mean(0).numpy())
        assert report.units[1]["lowest"] == pytest.approx(z1.amin(0).detach().numpy())
        return
    monitor = MarginMonitor(net)
    monitor.observe(x)
    row, margin = monitor.compute(0), monitor.report().units[0]["margin"]
    assert margin == pytest.approx(z0.amax(0).detach().numpy())
    assert (margin <= 0).any()
    assert row["margin/dead_counts/layer_0"] == 0
    assert row["margin/alive_counts/layer_0"] == H


RECTIFIERS = {
    "F.relu": F.relu,
    "F.relu inplace": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "relu_": lambda x: x.relu_(),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": lambda x: x.clamp_min_(0.0),
    "clamp": lambda x: torch.clamp(x, min=0),
    "clip": lambda x: x.clip(min=0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "zero maximum": lambda x: torch.maximum(torch.tensor(0.0, dtype=x.dtype), x),
    "max": lambda x: torch.max(x, torch.zeros(1, dtype=x.dtype)),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "keyword": lambda x: F.relu(input=x),
}


class Functional(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(D, H), nn.Linear(H, 6)])
        self.out, self.act = nn.Linear(6, 2), act

    def forward(self, x):
        for fc in self.fc:
            x = self.act(fc(x))
        return self.out(x)


@pytest.mark.parametrize("name", RECTIFIERS)
def test_module_list_with_every_spelling_of_relu(brute_force, normals, name):
    net, x = seeded(Functional(RECTIFIERS[name])), normals(N, D, dtype=torch.float64)
    z0 = x @ net.fc[0].weight.T + net.fc[0].bias
    z1 = z0.clamp(min=0) @ net.fc[1].weight.T + net.fc[1].bias
    monitor, _, _ = check(brute_force, net, (x,), [z0, z1])
    assert [info.source for info in monitor.layers] == ["fc.0", "fc.1"]


@pytest.mark.parametrize("norm", [nn.LayerNorm(H), nn.GroupNorm(1, H), nn.LayerNorm(H, elementwise_affine=False)])
def test_normalisation_between_linear_and_activation(brute_force, normals, norm):
    net, x = seeded(nn.Sequential(nn.Linear(D, H), norm, nn.ReLU())), normals(N, D, dtype=torch.float64)
    z = x @ net[0].weight.T + net[0].bias
    z = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    z = z if norm.weight is None else z * norm.weight + norm.bias if hasattr(norm, "weight") else z
    _, row, report = check(brute_force, net, (x,), [z])
    # no hyperplane of its own, but the weights are known
    assert "scale_free_margin" not in report.units[0]
    assert "pol_weights/layer_0" in row


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalisation_is_folded_into_the_hyperplane(brute_force, normals, affine):
    net = seeded(nn.Sequential(nn.Linear(D, H), nn.BatchNorm1d(H, affine=affine), nn.ReLU(), nn.Linear(H, 2)))
    x, bn = normals(N, D, dtype=torch.float64), net[1]
    scale = (bn.running_var + 1e-5).rsqrt() * (bn.weight if affine else 1)
    z = (x @ net[0].weight.T + net[0].bias - bn.running_mean) * scale + (bn.bias if affine else 0)
    net.train()  # probed in evaluation mode all the same
    _, _, report = check(brute_force, net, (x,), [z])
    weight = net[0].weight * scale.unsqueeze(1)
    assert report.units[0]["weight_norm"] == pytest.approx(weight.norm(dim=1).detach().numpy())
    at_zero = (net[0].bias - bn.running_mean) * scale + (bn.bias if affine else 0)
    assert report.units[0]["bias"] == pytest.approx(at_zero.detach().numpy())


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_convolutions_have_channels_as_units_and_positions_as_samples(brute_force, normals, dim):
    conv, bn = getattr(nn, f"Conv{dim}d"), getattr(nn, f"BatchNorm{dim}d")
    net = seeded(nn.Sequential(conv(2, 4, 2), nn.ReLU(), conv(4, 3, 2, groups=1), bn(3), nn.ReLU(), nn.Flatten()))
    x = normals(6, 2, *[5] * dim, dtype=torch.float64)
    z0 = net[0](x)
    z1 = net[3](net[2](z0.relu()))
    _, row, report = check(brute_force, net, (x,), [rows(z0), rows(z1)])
    assert report.units[0]["weight_norm"] == pytest.approx(net[0].weight.flatten(1).norm(dim=1).detach().numpy())
    # an input is dead when nothing fires at any position
    assert row["margin/dead_points/layer_1"] == int((z1.flatten(1) <= 0).all(1).sum())
    assert row["margin/num_samples"] == 6


def test_depthwise_and_transposed_convolutions(brute_force, normals):
    net = seeded(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2), nn.ReLU()))
    x = normals(4, 4, 6, 6, dtype=torch.float64)
    z0 = net[0](x)
    check(brute_force, net, (x,), [rows(z0), rows(net[2](z0.relu()))])


class BasicBlock(nn.Module):
    """As in torchvision: one in-place ReLU used twice, the sum with the shortcut in place."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = BasicBlock(4, 4, 1), BasicBlock(4, 6, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 3)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def test_a_torchvision_style_resnet(brute_force, normals):
    net, x = seeded(ResNet()), normals(5, 3, 16, 16, dtype=torch.float64)
    expected = [net.bn1(net.conv1(x))]
    h = net.maxpool(expected[0].clamp(min=0))
    for block in (net.layer1, net.layer2):
        expected.append(block.bn1(block.conv1(h)))
        expected.append(block.bn2(block.conv2(expected[-1].clamp(min=0))) + block.downsample(h))
        h = expected[-1].clamp(min=0)
    monitor, row, _ = check(brute_force, net, (x,), [rows(z) for z in expected])
    assert [info.path for info in monitor.layers] == [
        "relu",
        "layer1.relu",
        "layer1.relu",
        "layer2.relu",
        "layer2.relu",
    ]
    assert row["pol_weights/layer_5"] == pytest.approx(net.fc.weight.abs().mean().item())


class ViTBlock(nn.Module):
    def __init__(self, e=8, heads=2, hidden=12):
        super().__init__()
        self.norm1, self.attn, self.norm2 = (
            nn.LayerNorm(e),
            nn.MultiheadAttention(e, heads, batch_first=True),
            nn.LayerNorm(e),
        )
        self.mlp = nn.Sequential(nn.Linear(e, hidden), nn.GELU(), nn.Dropout(0.5), nn.Linear(hidden, e))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


def test_a_vit_block_takes_tokens_as_samples(brute_force, normals):
    net, x = seeded(ViTBlock()), normals(6, 5, 8, dtype=torch.float64)
    y = net.norm1(x)
    y = x + net.attn(y, y, y)[0]
    z = net.mlp[0](net.norm2(y)).reshape(-1, 12)
    monitor, row, _ = check(brute_force, net, (x,), [z + 3.0216626341112987])
    assert row["margin/num_samples"] == 30
    assert monitor.layers[0].source == "mlp.0"


@pytest.mark.parametrize("batch_first", [True, False])
def test_torch_transformer_encoder_layers_take_no_fused_path(brute_force, normals, batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=batch_first)
    net = seeded(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    x, expected = normals(6, 5, 8, dtype=torch.float64), []
    h = x
    for block in net.layers:
        h = block.norm1(h + block.self_attn(h, h, h)[0])
        z = h @ block.linear1.weight.T + block.linear1.bias
        expected.append(z.reshape(-1, 12))
        h = block.norm2(h + z.relu() @ block.linear2.weight.T + block.linear2.bias)
    check(brute_force, net, (x,), expected)


class Mixer(nn.Module):
    """Token mixing through a transpose, channel mixing without: units are tokens' mixtures, then channels."""

    def __init__(self):
        super().__init__()
        self.tokens, self.channels = nn.Linear(5, 9), nn.Conv1d(8, 6, 1)

    def forward(self, x):
        y = self.tokens(x.transpose(1, 2)).transpose(1, 2)  # [N, 9, 8], units in the middle
        return F.relu(y), F.relu(self.channels(x.permute(0, 2, 1)).mT)  # [N, 5, 6], units last


def test_units_are_found_again_after_transposing(brute_force, normals):
    net, x = seeded(Mixer()), normals(4, 5, 8, dtype=torch.float64)
    z0 = net.tokens(x.transpose(1, 2)).reshape(-1, 9)
    z1 = net.channels(x.transpose(1, 2)).transpose(1, 2).reshape(-1, 6)
    check(brute_force, net, (x,), [z0, z1])


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.vector, self.joint = nn.Conv2d(1, 3, 3), nn.Linear(D, 4), nn.Linear(3 + 4, H)

    def forward(self, obs, action, scale=1.0):
        image, vector = obs["image"], obs["vector"]
        a = F.relu(self.image(image)).mean((2, 3))
        b = torch.tanh(self.vector(vector) * scale)
        return F.relu(self.joint(torch.cat((a, b), 1)) + action.sum(1, keepdim=True))


def test_networks_of_several_nested_inputs(brute_force, normals):
    net = seeded(TwoInputs())
    image, vector, action = (normals(N, *s, dtype=torch.float64) for s in ((1, 5, 5), (D,), (2,)))
    z0, z1 = net.image(image), net.vector(vector) * 2.0
    z2 = net.joint(torch.cat((z0.relu().mean((2, 3)), z1.tanh()), 1)) + action.sum(1, keepdim=True)
    inputs = ({"image": image, "vector": vector}, action)
    check(brute_force, net, inputs, [rows(z0), LIMIT - z1.abs(), z2], kwargs={"scale": 2.0})


class SharedActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(D, H), nn.Linear(H, H), nn.ReLU()

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


def test_a_shared_activation_module_makes_a_layer_for_each_call(brute_force, normals):
    net, x = seeded(SharedActivation()), normals(N, D, dtype=torch.float64)
    z = net.a(x)
    monitor, _, _ = check(brute_force, net, (x,), [z, net.b(z.relu())])
    assert [(info.path, info.source) for info in monitor.layers] == [("act", "a"), ("act", "b")]


class WeightTied(nn.Module):
    def __init__(self, normed):
        super().__init__()
        self.fc, self.norm = nn.Linear(D, D), nn.LayerNorm(D) if normed else nn.Identity()

    def forward(self, x):
        for _ in range(3):
            x = F.relu(self.norm(self.fc(x)))
        return x


@pytest.mark.parametrize("normed", [True, False])
def test_calls_with_the_same_weights_are_samples_of_one_layer(brute_force, normals, normed):
    net, x = seeded(WeightTied(normed)), normals(N, D, dtype=torch.float64)
    zs, h = [], x
    for _ in range(3):
        zs.append(net.norm(net.fc(h)))
        h = zs[-1].relu()
    check(brute_force, net, (x,), [torch.cat(zs)])


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(D, 4), nn.Linear(D + 4, 3)

    def forward(self, x):
        h = torch.cat((x, F.relu(self.a(x))), -1)
        y = F.relu(torch.cat((self.b(h), h), -1))
        y += 1.0  # must not reach what was recorded
        return y


def test_concatenations_before_an_activation_and_later_writes_in_place(brute_force, normals):
    net, x = seeded(Dense()), normals(N, D, dtype=torch.float64)
    z = net.a(x)
    h = torch.cat((x, z.relu()), -1)
    _, _, report = check(brute_force, net, (x,), [z, torch.cat((net.b(h), h), -1)])
    assert report.units[1]["mean_abs_activation"] == pytest.approx(
        torch.cat((net.b(h), h), -1).relu().mean(0).detach().numpy()
    )


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell, self.head = cell, nn.Linear(4, 2)

    def forward(self, x):
        h = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.head(h)


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_a_recurrent_cell_in_a_loop(brute_force, normals, nonlinearity):
    net, x = seeded(Recurrent(nn.RNNCell(3, 4, nonlinearity=nonlinearity))), normals(N, 6, 3, dtype=torch.float64)
    c, h, zs = net.cell, x.new_zeros(N, 4), []
    for t in range(6):
        zs.append(x[:, t] @ c.weight_ih.T + c.bias_ih + h @ c.weight_hh.T + c.bias_hh)
        h = zs[-1].relu() if nonlinearity == "relu" else zs[-1].tanh()
    z = torch.cat(zs)
    check(brute_force, net, (x,), [z if nonlinearity == "relu" else LIMIT - z.abs()])


def test_gru_cell_gates(brute_force, normals):
    net, x = seeded(Recurrent(nn.GRUCell(3, 4))), normals(N, 2, 3, dtype=torch.float64)
    c, h, gates = net.cell, x.new_zeros(N, 4), ([], [], [])
    for t in range(2):
        i = (x[:, t] @ c.weight_ih.T + c.bias_ih).split(4, 1)
        r = (h @ c.weight_hh.T + c.bias_hh).split(4, 1)
        reset, update = i[0] + r[0], i[1] + r[1]
        new = i[2] + reset.sigmoid() * r[2]
        for gate, z in zip(gates, (reset, update, new), strict=True):
            gate.append(z)
        h = (1 - update.sigmoid()) * new.tanh() + update.sigmoid() * h
    reset, update, new = (torch.cat(gate) for gate in gates)
    check(brute_force, net, (x,), [2 * LIMIT - reset.abs(), 2 * LIMIT - update.abs(), LIMIT - new.abs()])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "batch_first": True}, {"bias": False, "num_layers": 2}]
)
def test_replayed_sequences_end_in_what_the_fused_module_gives(normals, kind, options):
    net = seeded(getattr(nn, kind)(3, 4, **options))
    x = normals(6, 5, 3, dtype=torch.float64)
    monitor = MarginMonitor(net, buffer_size=100)
    monitor.observe(x)
    row = monitor.compute(0)
    gates = {
        "RNN": ["hidden"],
        "LSTM": ["input", "forget", "cell", "output", "hidden"],
        "GRU": ["reset", "update", "new"],
    }
    runs = [f"l{i}{d}" for i in range(net.num_layers) for d in (["", "_reverse"] if net.bidirectional else [""])]
    assert [info.path for info in monitor.layers] == [f"{run}.{gate}" for run in runs for gate in gates[kind]]
    if kind == "RNN":  # tanh of the pre-activations of the last layer is the module's result itself
        out = net(x)[0]
        top = monitor.report().units[len(runs) - (2 if net.bidirectional else 1)]["mean_abs_activation"]
        assert top == pytest.approx(out[..., :4].abs().mean((0, 1)).detach().numpy())
    if kind == "LSTM":  # |cell's tanh| is seen through the output: hidden = o·tanh(c)
        assert (
            row["margin/alive_counts/layer_0"]
            + row["margin/dead_counts/layer_0"]
            + row["margin/at_risk_counts/layer_0"]
            == 4
        )


class Matrices(nn.Module):
    """Parameters without modules."""

    def __init__(self):
        super().__init__()
        shapes = ((D, H), (H,), (H, 6), (6,), (6, 4))
        self.w0, self.b0, self.w1, self.b1, self.w2 = (nn.Parameter(torch.zeros(s)) for s in shapes)

    def forward(self, x):
        x = torch.relu(x @ self.w0 + self.b0)
        x = torch.relu(torch.addmm(self.b1, x, self.w1))
        return torch.relu(torch.einsum("ni,io->no", x, self.w2))


def test_matrix_products_with_parameters_have_hyperplanes_too(brute_force, normals):
    net, x = seeded(Matrices()), normals(N, D, dtype=torch.float64)
    z0 = x @ net.w0 + net.b0
    z1 = z0.relu() @ net.w1 + net.b1
    _, _, report = check(brute_force, net, (x,), [z0, z1, z1.relu() @ net.w2])
    for units, weight, bias in zip(
        report.units, (net.w0, net.w1, net.w2), (net.b0, net.b1, torch.zeros(4)), strict=True
    ):
        assert units["weight_norm"] == pytest.approx(weight.norm(dim=0).detach().numpy())
        assert units["bias"] == pytest.approx(bias.detach().numpy())


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class CReLU(nn.Module):
    def forward(self, x):
        return torch.cat((F.relu(x), F.relu(-x)), -1)


def test_rules_for_activations_that_torch_does_not_know(brute_force, normals):
    x, sine = normals(N, D, dtype=torch.float64), Activation("sine", lambda z: z.cos().abs() - 0.5)
    net = seeded(nn.Sequential(nn.Linear(D, H), Sine()))
    z = x @ net[0].weight.T + net[0].bias
    for rules in ({Sine: sine}, {"1": sine}, {torch.sin: sine}):
        check(brute_force, net, (x,), [z.cos().abs() - 0.5], rules=rules)
    net = seeded(nn.Sequential(nn.Linear(D, H), CReLU(), nn.Linear(2 * H, 2)))
    z = x @ net[0].weight.T + net[0].bias
    check(brute_force, net, (x,), [torch.cat((z, -z), 1)], rules={CReLU: CRELU})
    check(brute_force, net, (x,), [z, -z])  # without a rule: each half a layer of its own
    with pytest.raises(ValueError, match="no activation was found"):
        check(brute_force, net, (x,), [], rules={CReLU: None})


def test_an_unknown_activation_module_is_named_in_a_warning_once(normals):
    net, x = (
        seeded(nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, H), Sine())),
        normals(N, D, dtype=torch.float64),
    )
    monitor = MarginMonitor(net)
    monitor.observe(x)
    with pytest.warns(UserWarning, match="Sine in module '3' is left out"):
        monitor.compute(0)
    monitor.compute(1)


@pytest.mark.parametrize("wrap", ["compile", "compiled child", "DataParallel"])
def test_wrapped_modules_are_probed_like_their_insides(brute_force, normals, wrap):
    net, x = mlp(nn.ReLU()), normals(N, D, dtype=torch.float64)
    z0 = x @ net[0].weight.T + net[0].bias
    expected = [z0, z0.relu() @ net[2].weight.T + net[2].bias]
    if wrap == "compile":
        wrapped = torch.compile(net, backend="eager")
        wrapped(x)
    elif wrap == "compiled child":
        wrapped = nn.Sequential(torch.compile(net, backend="eager"))
        wrapped(x)
    else:
        wrapped = nn.DataParallel(net)
    check(brute_force, wrapped, (x,), expected)


def test_half_precision_is_measured_in_single(normals):
    net, x = mlp(nn.ReLU()).to(torch.bfloat16), normals(N, D)
    monitor = MarginMonitor(net)
    monitor.observe(x)
    row = monitor.compute(0, ranks=True)
    z = F.linear(x.bfloat16(), net[0].weight, net[0].bias).float()
    assert row["margin/mean_margins/layer_0"] == pytest.approx(z.amax(0).mean().item(), rel=1e-6)
    single = mlp(nn.ReLU()).float()
    monitor = MarginMonitor(single)
    monitor.observe(x)
    with torch.autocast("cpu", torch.bfloat16):
        row = monitor.compute(0)
        z = single[0](x).float()
    assert row["margin/mean_margins/layer_0"] == pytest.approx(z.amax(0).mean().item(), rel=1e-6)


class Ensemble(nn.Module):
    def __init__(self, members, how):
        super().__init__()
        self.w0, self.b0 = nn.Parameter(torch.zeros(members, D, H)), nn.Parameter(torch.zeros(members, 1, H))
        self.w1, self.how = nn.Parameter(torch.zeros(members, H, 3)), how

    def forward(self, x):
        if self.how == "baddbmm":
            return torch.relu(torch.bmm(torch.relu(torch.baddbmm(self.b0, x, self.w0)), self.w1))
        return torch.relu(
            torch.einsum("mnh,mho->mno", torch.relu(torch.einsum("mnd,mdh->mnh", x, self.w0) + self.b0), self.w1)
        )


@pytest.mark.parametrize("how", ["baddbmm", "einsum"])
def test_populations_of_any_module_are_measured_member_by_member(brute_force, normals, how):
    net, x = seeded(Ensemble(3, how)), normals(3, N, D, dtype=torch.float64)
    monitor = MarginMonitor(net, members=3)
    monitor.observe(x)
    rows_, report = monitor.compute(0, ranks=True), monitor.report()
    for m in range(3):
        z0 = x[m] @ net.w0[m] + net.b0[m]
        for i, z in enumerate((z0, z0.relu() @ net.w1[m])):
            slow = brute_force(z.detach().numpy())
            assert rows_[m][f"margin/dead_counts/layer_{i}"] == slow["dead"]
            assert report.units[i]["margin"][m] == pytest.approx(slow["margin"])
        assert report.units[0]["weight_norm"][m] == pytest.approx(net.w0[m].norm(dim=0).detach().numpy())
        assert report.units[0]["bias"][m] == pytest.approx(net.b0[m, 0].detach().numpy())
        assert rows_[m]["pol_weights/layer_1"] == pytest.approx(net.w1[m].abs().mean().item())


def test_another_method_than_forward_can_be_watched(brute_force, normals):
    net, x = seeded(SharedActivation()), normals(N, D, dtype=torch.float64)
    check(brute_force, net, (x,), [net.a(x)], forward=lambda module, x: module.act(module.a(x)))


def test_tokens_through_an_embedding(brute_force):
    net = seeded(nn.Sequential(nn.Embedding(11, D), nn.Linear(D, H), nn.ReLU()))
    tokens = torch.randint(11, (N, 3), generator=torch.Generator().manual_seed(0))
    check(brute_force, net, (tokens,), [net[1](net[0](tokens)).reshape(-1, H)])


def test_reparametrised_weights(brute_force, normals):
    net, x = seeded(nn.Sequential(nn.Linear(D, H), nn.ReLU())), normals(N, D, dtype=torch.float64)
    nn.utils.parametrizations.weight_norm(net[0])
    _, _, report = check(brute_force, net, (x,), [x @ net[0].weight.T + net[0].bias])
    assert report.units[0]["weight_norm"] == pytest.approx(net[0].weight.norm(dim=1).detach().numpy())
