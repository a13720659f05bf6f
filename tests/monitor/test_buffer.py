from __future__ import annotations

import numpy as np
import pytest
import torch

from lop.monitor import ObservationBuffer


def numbered(start: int, k: int, members: int = 2) -> torch.Tensor:
    """Observation t of member m is (t + 1000 m, -t)."""
    t = torch.arange(start, start + k, dtype=torch.float32).expand(members, k)
    return torch.stack((t + 1000 * torch.arange(members).unsqueeze(1), -t), -1)


@pytest.mark.parametrize("chunks", [[1] * 25, [3, 4, 5, 1, 7], [7], [8, 7, 30, 2], [0, 3, 0], [14, 1], [100]])
def test_window_holds_the_last_n_in_time_order_for_any_sizes_of_chunks(chunks):
    buffer, seen = ObservationBuffer(7, 2, members=2), 0
    for k in chunks:
        buffer.extend(numbered(seen, k))
        seen += k
        kept = min(seen, 7)
        assert buffer.count == kept
        assert buffer.full == (kept == 7)
        assert torch.equal(buffer.window(), numbered(seen - kept, kept))


def test_observations_may_have_any_shape_and_integer_type():
    buffer = ObservationBuffer(3, (2, 2), dtype=torch.uint8)
    buffer.extend(torch.arange(20, dtype=torch.uint8).reshape(1, 5, 2, 2))
    assert torch.equal(buffer.window()[0], torch.arange(8, 20, dtype=torch.uint8).reshape(3, 2, 2))


@pytest.mark.parametrize("seen", [0, 3, 5, 12])
def test_a_member_of_four_goes_on_identically_alone_and_in_a_pair(seen):
    four = ObservationBuffer(5, 2, members=4)
    four.extend(numbered(0, seen, 4)[:, : seen // 2])
    four.extend(numbered(0, seen, 4)[:, seen // 2 :])
    one, pair = ObservationBuffer(5, 2), ObservationBuffer(5, 2, members=2)
    one.load_member_state(0, four.member_state(2))
    pair.load_member_state(0, four.member_state(3))
    pair.load_member_state(1, four.member_state(1))
    for k in (1, 3, 9):
        more = numbered(seen, k, 4)
        four.extend(more)
        one.extend(more[2:3])
        pair.extend(more[[3, 1]])
        seen += k
        assert torch.equal(one.window(), four.window()[2:3])
        assert torch.equal(pair.window(), four.window()[[3, 1]])
    assert np.array_equal(one.member_state(0)["observations"], four.member_state(2)["observations"])


def test_a_saved_state_does_not_change_with_the_buffer():
    buffer = ObservationBuffer(3, 2)
    buffer.extend(numbered(0, 3, 1))
    state = buffer.member_state(0)
    buffer.extend(numbered(3, 3, 1))
    assert state["observations"][:, 0].tolist() == [0, 1, 2]


def test_wrong_shapes_and_members_out_of_step_are_refused():
    buffer = ObservationBuffer(3, 2, members=2)
    with pytest.raises(ValueError, match=r"must have shape \[2, k, 2\], got \[2, 4, 3\]"):
        buffer.extend(torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match="at most 3"):
        buffer.load_member_state(0, {"observations": np.zeros((4, 2))})
    buffer.load_member_state(0, {"observations": np.zeros((1, 2))})
    with pytest.raises(ValueError, match="not in step"):
        buffer.window()
    with pytest.raises(ValueError, match="size >= 1"):
        ObservationBuffer(0, 2)


def test_clear_forgets_everything():
    buffer = ObservationBuffer(3, 2)
    buffer.extend(numbered(0, 3, 1))
    buffer.clear()
    assert buffer.count == 0
    assert buffer.window().shape == (1, 0, 2)
