"""Stacked networks against ordinary torch modules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lop.nets import StackedActorCritic
from lop.run.streams import stream

HIDDEN = [(12,), (12, 9), (6, 8, 7)]


def make(seeds, hidden=(12, 9), inputs=7, live=5, actions=3, dtype=torch.float64) -> StackedActorCritic:
    net = StackedActorCritic(len(seeds), inputs, hidden, actions, num_live=live, dtype=dtype)
    net.initialise(lambda member, name, layer: stream(seeds[member], f"init/{name}", layer))
    return net


def fill(net: StackedActorCritic, seeds) -> None:
    """Random numbers in every parameter, biases and log_std too, from each member's seed."""
    for member, seed in enumerate(seeds):
        for name, tensor in net.member_tensors(member).items():
            drawn = 0.5 * stream(seed, f"test/{name}").standard_normal(tuple(tensor.shape))
            tensor.copy_(torch.from_numpy(drawn))


@pytest.fixture(params=HIDDEN, ids=str)
def net(request) -> StackedActorCritic:
    net = make([3, 1], request.param)
    fill(net, [3, 1])
    return net


def inputs_of(net: StackedActorCritic, num_samples: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    """Live inputs [2M, N, live], and the same with the columns that are always zero [2M, N, D]."""
    drawn = np.random.default_rng(0).standard_normal((2 * net.num_members, num_samples, net.num_live))
    live = torch.from_numpy(drawn).to(net.dtype)
    dead = live.new_zeros(*live.shape[:2], net.num_inputs - net.num_live)
    return live, torch.cat((live, dead), dim=2)


def modules(net: StackedActorCritic):
    """(number of the stacked network, its name, an ordinary module)."""
    return [
        (i * net.num_members + member, name, net.member(member, name))
        for i, name in enumerate(("actor", "critic"))
        for member in range(net.num_members)
    ]


@torch.no_grad()
def test_stacked_outputs_equal_every_members_module(net):
    live, whole = inputs_of(net)
    outputs = net.outputs(net.hidden(live)[-1])
    for number, name, module in modules(net):
        found = outputs[number, :, : net.used_columns(name)]
        torch.testing.assert_close(found, module(whole[number]), rtol=1e-12, atol=1e-13)
        assert found.shape[1] == (3 if name == "actor" else 1)


@torch.no_grad()
def test_hidden_and_preactivations_equal_the_modules_layers(net):
    live, whole = inputs_of(net)
    hidden = net.hidden(live)
    preactivations = [net.preactivation(layer, x) for layer, x in enumerate([live, *hidden[:-1]])]
    for number, _, module in modules(net):
        for layer in range(net.num_hidden):
            torch.testing.assert_close(
                preactivations[layer][number], module[: 2 * layer + 1](whole[number]), rtol=1e-12, atol=1e-13
            )
            torch.testing.assert_close(
                hidden[layer][number], module[: 2 * layer + 2](whole[number]), rtol=1e-12, atol=1e-13
            )


@torch.no_grad()
def test_actors_and_critics_can_be_asked_alone_and_into_given_tensors(net):
    live, _ = inputs_of(net)
    together = net.hidden(live)
    for part, nets in ((net.actor, slice(0, 2)), (net.critic, slice(2, 4))):
        assert part.nets == nets
        out = [torch.full((2, 11, h), torch.nan, dtype=net.dtype) for h in net.hidden_sizes]
        alone = net.hidden(live[nets], nets, out)
        for layer in range(net.num_hidden):
            assert alone[layer] is out[layer]
            torch.testing.assert_close(alone[layer], together[layer][nets], rtol=1e-13, atol=0)
            before = live[nets] if layer == 0 else alone[layer - 1]
            torch.testing.assert_close(part.preactivation(layer, before).relu(), alone[layer], rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ["actor", "critic"])
def test_layer_parameters_are_those_of_the_members_modules(net, name):
    stacked = getattr(net, name)
    for layer in range(net.num_hidden + 1):
        weights, biases = stacked.layer_parameters(layer)
        for member in range(net.num_members):
            linear = net.member(member, name)[2 * layer]
            assert torch.equal(weights[member], linear.weight)
            assert torch.equal(biases[member], linear.bias)
    with pytest.raises(IndexError, match=f"there are {net.num_hidden + 1} layers"):
        stacked.layer_parameters(net.num_hidden + 1)


def test_a_module_is_a_copy(net):
    module, before = net.member(0), net.flat.clone()
    with torch.no_grad():
        module[0].weight.fill_(7)
    assert torch.equal(net.flat, before)


def test_a_member_moves_to_another_population_bit_by_bit(net):
    other = make([5, 6, 7], net.hidden_sizes)
    kept = other.member_state(0)
    other.load_member_state(2, net.member_state(1))
    for key, array in net.member_state(1).items():
        assert other.member_state(2)[key].tobytes() == array.tobytes()
    for key, array in other.member_state(0).items():
        np.testing.assert_array_equal(array, kept[key])


def test_a_saved_state_is_a_copy_with_torchs_names_and_shapes(net):
    state = net.member_state(0)
    for name in ("actor", "critic"):
        for layer, linear in enumerate(net.member(0, name)[::2]):
            np.testing.assert_array_equal(state[f"{name}.{layer}.weight"], linear.weight.detach())
            np.testing.assert_array_equal(state[f"{name}.{layer}.bias"], linear.bias.detach())
    assert len(state) == 1 + 4 * (net.num_hidden + 1)
    before = state["log_std"].copy()
    net.views["log_std"].add_(1)
    np.testing.assert_array_equal(state["log_std"], before)


def test_a_state_of_another_shape_is_refused_by_name(net):
    state = net.member_state(0)
    state["critic.0.bias"] = state["critic.0.bias"][:-1]
    with pytest.raises(ValueError, match=r"critic\.0\.bias: expected shape"):
        net.load_member_state(1, state)


@torch.no_grad()
@pytest.mark.parametrize("member", [0, 1])
def test_extract_is_one_member_with_its_bits(net, member):
    single = net.extract(member)
    live, _ = inputs_of(net)
    rows = live[[member, 2 + member]]
    assert single.num_members == 1
    together = net.outputs(net.hidden(live)[-1])[[member, 2 + member]]
    assert torch.equal(single.outputs(single.hidden(rows)[-1]), together)
    single.flat.zero_()
    assert net.views["log_std"].any()


@pytest.mark.parametrize("name", ["actor", "critic"])
def test_weights_start_within_the_lecun_bound_and_fill_it(name):
    net = make([0], hidden=(256, 256), inputs=111, live=27, actions=8, dtype=torch.float32)
    for layer, (fan_in, linear) in enumerate(zip((111, 256, 256), net.member(0, name)[::2], strict=True)):
        bound = math.sqrt(3 / fan_in)
        weight = linear.weight.detach()
        assert weight.abs().max() <= bound * (1 + 1e-6)
        assert weight.max() > 0.95 * bound
        assert weight.min() < -0.95 * bound
        # variance 1 / fan_in; the value's layer has but 256 weights
        assert float(weight.double().var()) * fan_in == pytest.approx(1, abs=0.15 if weight.numel() < 1000 else 0.05), (
            layer
        )
        assert not linear.bias.any()
    assert not net.views["log_std"].any()


def test_a_members_first_weights_depend_on_its_seed_alone():
    first, second = make([3, 5, 8]), make([8, 3])
    for position, member in ((0, 2), (1, 0)):
        for key, array in first.member_state(member).items():
            assert array.tobytes() == second.member_state(position)[key].tobytes()


def test_seeds_networks_and_layers_draw_different_weights():
    net = make([3, 5], hidden=(7, 7), inputs=7, live=7, actions=3)
    layers = [
        net.member_state(m)[f"{name}.{layer}.weight"]
        for m in range(2)
        for name in ("actor", "critic")
        for layer in range(2)
    ]
    for i, one in enumerate(layers):
        assert all(np.abs(one - other).max() > 0.1 for other in layers[:i])


@torch.no_grad()
def test_the_value_column_of_a_fresh_net_stands_alone():
    net = make([3, 5])
    weights, biases = net.views["2.weight"][2:], net.views["2.bias"][2:]
    assert weights[:, :, 0].all()
    assert not weights[:, :, 1:].any()
    assert not biases.any()


@torch.no_grad()
@pytest.mark.parametrize("width", [10, 100, 256])
@pytest.mark.parametrize("num_samples", [1, 4, 128, 1000])
def test_forward_bits_of_a_member_are_the_same_alone_and_among_five(width, num_samples):
    seeds = [3, 1, 4, 8, 5]
    shape = {"hidden": (width, width), "inputs": 111, "live": 27, "actions": 8, "dtype": torch.float32}
    together = make(seeds, **shape)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, num_samples, 27), dtype=np.float32))
    outputs = together.outputs(together.hidden(torch.cat((x, x)))[-1])
    for member, seed in enumerate(seeds):
        alone, mine = make([seed], **shape), x[member : member + 1]
        found = alone.outputs(alone.hidden(torch.cat((mine, mine)))[-1])
        assert torch.equal(found, outputs[[member, 5 + member]])
