from __future__ import annotations

import torch
from torch import Tensor

from lop.lab.xor_pair import network
from lop.lab.xor_pair.measures import dead
from lop.lab.xor_pair.mending import Mender, nudge_nearest, smallest_nudge


def members(*all_units: tuple[tuple[float, float, float], ...]) -> Tensor:
    return torch.tensor(all_units, dtype=torch.float64).movedim(0, -1).contiguous()


def look(mender: Mender, parameters: Tensor) -> None:
    y = network.outputs(network.pre_activations(parameters), network.RELU)
    mender.mend(parameters, dead(parameters.movedim(-1, 0)).T, network.right(y))


def test_smallest_nudge_worked_by_hand():
    # x = (1, −1), ‖x‖² = 2, z = −0.3: Δw = (0.0001 + 0.3)/2·(1, −1) = (0.15005, −0.15005)
    point = torch.tensor([1.0, -1.0], dtype=torch.float64)
    nudge = smallest_nudge(point, torch.tensor([-0.3, 0.2], dtype=torch.float64))
    torch.testing.assert_close(nudge[:, 0], torch.tensor([0.15005, -0.15005], dtype=torch.float64))
    assert nudge[:, 1].tolist() == [0, 0]  # it fires already


def test_the_nearest_unit_is_the_one_with_the_nearest_hyperplane_not_the_largest_pre_activation():
    # at (1, −1): z₁ = −10 + 7 = −3, ‖w₁‖ = 10, distance 0.3; z₂ = −1, ‖w₂‖ = 0.707, distance 1.41
    parameters = members(((-10, 0, 7), (-0.5, 0.5, 0)))
    before = parameters.clone()
    nudge_nearest(parameters, torch.tensor([0]), torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert torch.equal(parameters[1], before[1])
    # Δw₁ = 3.0001/2·(1, −1)
    torch.testing.assert_close(parameters[0, :, 0], torch.tensor([-8.49995, -1.50005, 7.0], dtype=torch.float64))


def test_only_the_named_members_are_nudged():
    parameters = members(((-1, 0, 0), (-1, 0, 0)), ((-1, 0, 0), (-1, 0, 0)))
    nudge_nearest(parameters, torch.tensor([1]), torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert parameters[..., 0].tolist() == [[-1, 0, 0], [-1, 0, 0]]
    assert float(network.pre_activations(parameters)[1, 0, 1]) > 0


def test_a_dead_and_wrong_point_is_revived_when_it_has_been_so_for_more_than_5_epochs():
    # both units fire at x₁ < 0 only: (1, −1) is dead and wrong, (1, 1) dead and right
    parameters = members(((-1, 0, 0), (-0.5, 0, 0)))
    before, mender = parameters.clone(), Mender.for_members(1)
    for _ in range(5):
        look(mender, parameters)
    assert torch.equal(parameters, before)
    look(mender, parameters)
    z = network.pre_activations(parameters)
    assert abs(float(z[1].amax()) - 1e-4) < 1e-12
    assert mender.nudges.tolist() == [1] and mender.dead_epochs[1].tolist() == [0]


def test_a_hyperplane_out_of_bounds_for_more_than_3_epochs_gets_bias_0():
    # 1.5 and 1.3 from the origin
    parameters = members(((1, 0, 1.5), (1, 0, 1.3)))
    mender = Mender.for_members(1)
    for _ in range(3):
        look(mender, parameters)
    assert parameters[:, 2, 0].tolist() == [1.5, 1.3]
    look(mender, parameters)
    assert parameters[:, 2, 0].tolist() == [0, 1.3]
    assert mender.resets.tolist() == [1] and mender.lost_epochs[0].tolist() == [0]


def test_an_interruption_starts_the_count_again():
    mender = Mender.for_members(1)
    lost, fine = members(((1, 0, 1.5), (1, 0, 0))), members(((1, 0, 0.5), (1, 0, 0)))
    for parameters in (lost, lost, lost, fine, lost, lost, lost):
        look(mender, parameters)
    assert mender.resets.tolist() == [0]
