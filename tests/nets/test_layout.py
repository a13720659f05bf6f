"""Where parameters lie in the flat vector."""

from __future__ import annotations

import pytest
import torch

from lop.nets import Layout, StackedActorCritic

SHAPES = [("a", 4, (5, 7)), ("b", 4, (7,)), ("c", 2, (64,)), ("d", 2, (3, 65)), ("e", 1, (1,))]


def test_every_block_starts_at_a_multiple_of_64():
    layout = Layout(SHAPES)
    for segment in layout.segments.values():
        assert segment.offset % 64 == 0
        assert segment.stride % 64 == 0
        assert 0 <= segment.stride - torch.Size(segment.shape).numel() < 64
    assert layout.size % 64 == 0


def test_offsets_by_hand():
    # blocks of 35 -> 64, 7 -> 64, 64 -> 64, 195 -> 256, 1 -> 64 numbers, 4, 4, 2, 2 and 1 times
    layout = Layout(SHAPES)
    assert [s.stride for s in layout.segments.values()] == [64, 64, 64, 256, 64]
    assert [s.offset for s in layout.segments.values()] == [0, 256, 512, 640, 1152]
    assert layout.size == 1216


def test_views_do_not_overlap_and_write_through():
    layout = Layout(SHAPES)
    flat = layout.zeros()
    views, expected = layout.views(flat), {}
    for number, (name, view) in enumerate(views.items()):
        expected[name] = 1 + 1000 * number + torch.arange(view.numel(), dtype=torch.float32).view(view.shape)
        view.copy_(expected[name])
    for name, copies, shape in SHAPES:
        assert views[name].shape == (copies, *shape)
        assert torch.equal(views[name], expected[name])
    assert torch.count_nonzero(flat) == sum(view.numel() for view in views.values())
    assert flat[256] == 1001  # b's first number
    assert flat[256 + 64] == 1008  # the first of b's second network


@pytest.mark.parametrize("hidden", [(10,), (100, 10), (256, 256)])
def test_a_members_blocks_of_a_network_are_aligned_in_any_population(hidden):
    for members in (1, 3, 8):
        net = StackedActorCritic(members, 111, hidden, 8, num_live=27)
        for view in net.views.values():
            assert view.storage_offset() % 64 == 0
            assert view.stride(0) % 64 == 0
            assert view[0].is_contiguous()
