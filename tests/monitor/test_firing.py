from __future__ import annotations

import torch

from lop.monitor import FiringBlocks


def activations(normals, k=47):
    return [normals(3, k, 6).relu(), normals(3, k, 4, seed=2).relu()]


def test_blocks_are_complete_whatever_the_sizes_of_the_chunks(normals):
    h = activations(normals)
    expected = [[(layer[:, s : s + 10] > 0).sum(1).float() for layer in h] for s in (0, 10, 20, 30)]
    for chunks in ([47], [1] * 47, [13, 13, 13, 8], [10] * 4 + [7]):
        blocks, found, start = FiringBlocks([6, 4], members=3, block=10), [], 0
        for k in chunks:
            found += blocks.add([layer[:, start : start + k] for layer in h])
            start += k
        assert len(found) == 4
        assert all(
            torch.equal(a, b)
            for block, wanted in zip(found, expected, strict=True)
            for a, b in zip(block, wanted, strict=True)
        )


def test_percent_is_of_the_last_complete_block_and_absent_before():
    blocks = FiringBlocks([4], block=200)
    h = torch.zeros(1, 200, 4)
    h[0, :2, 1] = 1.0  # 1 % of the steps: rarely active
    h[0, :3, 2] = 1.0  # 1.5 %
    h[0, :, 3] = 1.0
    blocks.add([h[:, :199]])
    assert blocks.percent() == [{}]
    blocks.add([h[:, 199:]])
    blocks.add([torch.ones(1, 5, 4)])
    assert blocks.percent() == [{"pol_features_activity/layer_0": 50.0}]


def test_a_member_goes_on_identically_in_a_population_of_another_size(normals):
    h = activations(normals)
    three, one = FiringBlocks([6, 4], members=3, block=20), FiringBlocks([6, 4], block=20)
    three.add([layer[:, :33] for layer in h])
    one.load_member_state(0, three.member_state(1))
    assert one.percent()[0] == three.percent()[1]
    three.add([layer[:, 33:] for layer in h])
    one.add([layer[1:2, 33:] for layer in h])
    assert one.percent()[0] == three.percent()[1]
    a, b = one.member_state(0), three.member_state(1)
    assert a.keys() == b.keys()
    assert all((a[k] == b[k]).all() for k in a)
