"""What cannot be probed is named in a warning: never left out silently, and never named without need."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from lop.monitor import Activation, MarginMonitor

D, H = 5, 6
SINE = Activation("sine", lambda z: z.cos().abs() - 0.1)


class Net(nn.Module):
    """One layer that is seen, then weights, then what is asked for."""

    def __init__(self, act):
        super().__init__()
        self.first, self.second, self.last, self.act = nn.Linear(D, H), nn.Linear(H, H), nn.Linear(H, 2), act

    def forward(self, x):
        return self.last(self.act(self.second(F.relu(self.first(x)))))


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)


@torch.library.custom_op("lop_tests::rectify", mutates_args=())
def rectify(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


@torch.library.custom_op("lop_tests::rectify_there", mutates_args=("x",))
def rectify_there(x: torch.Tensor) -> None:
    x.clamp_(min=0)


def in_place(x):
    rectify_there(x)
    return x


def in_place_by_name(x):
    torch.ops.lop_tests.rectify_there(x)
    return x


def computed(net, x, rules=None):
    """The monitor after two computations and the warnings of each."""
    monitor, found = MarginMonitor(net, rules=rules), []
    monitor.observe(x)
    for step in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            monitor.compute(step)
        found.append([str(w.message) for w in caught if "margin monitor" in str(w.message)])
    return monitor, found


def scripted(what):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(what)


def rectified(x):
    return torch.relu(x)


UNSEEN = {
    "custom operation": (rectify, "rectify"),
    "custom operation in place": (in_place, "rectify_there"),
    "scripted function": (lambda: scripted(rectified), "relu inside compiled code"),
    "vmap": (lambda x: torch.vmap(torch.relu)(x), "relu under vmap"),
    "vmap of maximum": (lambda x: torch.vmap(lambda y: torch.maximum(y, torch.zeros(H)))(x), "maximum under vmap"),
    "glu": (lambda x: F.glu(torch.cat((x, x), -1)), "glu"),
    "tanhshrink": (F.tanhshrink, "tanhshrink"),
    "sine": (torch.sin, "sin"),
    "error function": (torch.erf, "erf"),
    "softplus spelled out": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), "logaddexp"),
    "where": (lambda x: torch.where(x > 0, x, 0.0), "where"),
    "product with a comparison": (lambda x: x * (x > 0).float(), "mul"),
    "masked fill": (lambda x: x.masked_fill(x < 0, 0.0), "masked_fill"),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_a_function_that_cannot_be_probed_is_named_once(normals, name):
    act, kind = UNSEEN[name]
    monitor, (first, second) = computed(Net(act() if name == "scripted function" else act), normals(20, D))
    assert [info.source for info in monitor.layers] == ["first"]
    assert len(first) == 1
    assert f"margin monitor: {kind}" in first[0]
    assert "in module '' is left out" in first[0]
    assert second == []


class Sequence(nn.Module):
    def __init__(self, packed, **options):
        super().__init__()
        self.first, self.rnn, self.packed = nn.Linear(D, D), nn.LSTM(D, H, batch_first=True, **options), packed

    def forward(self, x):
        x = F.relu(self.first(x)).unsqueeze(1).expand(-1, 3, -1)
        return self.rnn(pack_padded_sequence(x, torch.full((len(x),), 3), True) if self.packed else x)[1][0]


MODULES = {
    "packed sequence": (lambda: Sequence(True), "lstm in module 'rnn'"),
    "projected LSTM": (lambda: Sequence(False, proj_size=3), "lstm in module 'rnn'"),
    "GLU": (lambda: Net(nn.Sequential(nn.Linear(H, 2 * H), nn.GLU())), "glu in module 'act.1'"),
    "Tanhshrink": (lambda: Net(nn.Tanhshrink()), "tanhshrink in module 'act'"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_cannot_be_probed_is_named_once(normals, name):
    make, kind = MODULES[name]
    monitor, (first, second) = computed(make(), normals(20, D))
    assert [info.source for info in monitor.layers] == ["first"]
    assert [kind in message for message in first] == [True]
    assert second == []


def test_a_scripted_module_is_named_with_what_to_do(normals):
    _, (first, second) = computed(Net(scripted(nn.ReLU())), normals(20, D))
    assert any("ScriptModule in module 'act'" in m and "probe the module it was scripted from" in m for m in first)
    assert any("relu inside compiled code in module ''" in m for m in first)
    assert second == []


def test_everything_in_one_module_is_named(normals):
    _, (first, _) = computed(Net(lambda x: torch.sin(x) + F.glu(torch.cat((x, x), -1))), normals(20, D))
    assert sorted(message.split()[2] for message in first) == ["glu", "sin"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("act", "rules", "operation"),
    [
        (torch.sin, {torch.sin: SINE}, "sine"),
        (torch.sin, {torch.sin: None}, None),
        (torch.sin, {"": None}, "all"),
        (F.glu, {F.glu: None}, None),
        (rectify, {rectify: Activation("rectify")}, "rectify"),
        (rectify, {torch.ops.lop_tests.rectify: Activation("rectify")}, "rectify"),
        (in_place, {rectify_there: Activation("there")}, "there"),
        (in_place_by_name, {rectify_there: Activation("there")}, "there"),
        (rectify, {rectify: None}, None),
    ],
)
def test_a_rule_or_none_ends_the_warning(normals, act, rules, operation):
    net = Net(act if act is not F.glu else lambda x: F.glu(torch.cat((x, x), -1)))
    if operation == "all":  # a rule for the whole network leaves nothing
        with pytest.raises(ValueError, match="no activation was found"):
            computed(net, normals(20, D), rules)
        return
    x = normals(20, D)
    monitor, found = computed(net, x, rules)
    assert found == [[], []]
    assert [info.operation for info in monitor.layers] == ["relu", *([operation] if operation else [])]
    if operation in ("rectify", "there"):
        z = net.second(F.relu(net.first(x)))
        assert monitor.report().units[1]["margin"] == pytest.approx(z.amax(0).detach().numpy())
        assert monitor.report().units[1]["lowest"] == pytest.approx(z.amin(0).detach().numpy())


class Overwrites(Net):
    def forward(self, x):
        h = F.relu(self.first(x))
        HIDDEN_ADD(h)
        return self.last(h)


def add_one(x: torch.Tensor):
    return x.add_(1.0)


HIDDEN_ADD = scripted(add_one)


def test_a_hidden_change_of_what_was_recorded_is_named(normals):
    _, (first, _) = computed(Overwrites(nn.Identity()), normals(20, D))
    assert [("an operation in place after relu in module ''" in message) for message in first] == [True]


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(H))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


SEEN = {
    "custom autograd function": Custom.apply,
    "aten": torch.ops.aten.relu,
    "aten overload": torch.ops.aten.relu.default,
    "compiled function": torch.compile(rectified, backend="eager"),
    "checkpointed": lambda x: torch.utils.checkpoint.checkpoint(torch.relu, x, use_reentrant=False),
    "expit": torch.special.expit,
    "gated by another layer": lambda x: F.silu(x) * x,
}


@pytest.mark.parametrize("name", SEEN)
def test_unusual_spellings_are_seen_without_a_warning(normals, name):
    net, x = Net(SEEN[name]), normals(20, D)
    monitor, found = computed(net, x)
    assert found == [[], []]
    assert [info.source for info in monitor.layers] == ["first", "second"]
    z = net.second(F.relu(net.first(x)))
    assert monitor.report().units[1]["lowest"] == pytest.approx(z.amin(0).detach().numpy())


NO_ACTIVATION = {
    "linear": nn.Identity(),
    "scaled": lambda x: 2 * x * torch.ones(H),
    "softmax": lambda x: x.softmax(-1),
    "log standard deviation": lambda x: x.clamp(-5, 2).exp(),
    "masked logits": lambda x: torch.where(torch.arange(H) > 2, x, -1e9),
    "masked by data": lambda x: x.masked_fill(torch.zeros(len(x), H, dtype=torch.bool), -1e9),
    "RMS normalisation": RMSNorm(),
    "unit length": lambda x: F.normalize(x, dim=-1),
    "loss inside": lambda x: x + F.binary_cross_entropy_with_logits(x, torch.ones_like(x)),
}


@pytest.mark.parametrize("name", NO_ACTIVATION)
def test_what_is_no_activation_is_not_named(normals, name):
    monitor, found = computed(Net(NO_ACTIVATION[name]), normals(20, D))
    assert found == [[], []]
    assert [info.source for info in monitor.layers] == ["first"]


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_paths_of_attention_are_not_taken(normals, masked):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=masked).eval()
    mask = {"src_key_padding_mask": torch.arange(5).expand(6, 5) > 3} if masked else {}
    monitor = MarginMonitor(net)
    monitor.observe(normals(6, 5, 8), **mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
        monitor.compute(0)
    assert [info.source for info in monitor.layers] == ["layers.0.linear1", "layers.1.linear1"]


def test_looking_below_changes_no_number(normals):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 7), nn.GELU())
    monitor = MarginMonitor(net)
    monitor.observe(normals(50, 3, 8, 8))
    first = monitor.compute(0, ranks=True)
    second = monitor.compute(1, ranks=True)
    assert first == second


def test_a_network_that_grew_asks_for_a_new_monitor(normals):
    net = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, 2))
    monitor = MarginMonitor(net)
    monitor.observe(normals(20, D))
    monitor.compute(0)
    net[0], net[2] = nn.Linear(D, H + 3), nn.Linear(H + 3, 2)
    with pytest.raises(
        ValueError, match="layer 0 .relu in module '1'. had 6 units when it was first probed, now it has 9"
    ):
        monitor.compute(1)


def test_copies_of_the_network_do_not_warn_again(normals):
    monitor = MarginMonitor(Net(torch.sin), predictive=True)
    monitor.observe(normals(20, D))
    with pytest.warns(UserWarning, match="sin in module ''"):
        monitor.compute(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.compute(1)
        monitor.task("next")
        monitor.observe(normals(20, D))
        monitor.compute(2)


def test_a_network_that_fails_on_what_was_observed_says_what_that_was(normals):
    monitor = MarginMonitor(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))
    monitor.observe(normals(5, 7))
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        monitor.compute(0)
    assert caught.value.__notes__ == ["margin monitor: Sequential failed on what was observed: float32 [5, 7]"]
