"""Quadrature along rays against closed forms."""

import math

import pytest
import torch

from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, line_integrals
from tests.forward.radon.cases import ODD, gaussian, gaussian_integrals, relative

FULL_TURN = tuple(2 * math.pi * i / 7 for i in range(7))


@pytest.mark.parametrize(
    "geometry",
    [
        ParallelBeam.half_turn(12, 40),
        FanBeam(FULL_TURN, 40, 0.08, source_origin=3.0, source_detector_distance=4.0),
        ConeBeam(FULL_TURN, (12, 14), (0.2, 0.2), source_origin=3.0, source_detector_distance=4.0),
    ],
    ids=["parallel", "fan", "cone"],
)
def test_line_integrals_of_a_gaussian_are_exact_to_quadrature(geometry):
    rays = geometry.rays()
    bounds = ((-1.0, 1.0), (-1.2, 1.0), (-1.0, 1.0))[: rays[0].shape[1]]
    integrals = line_integrals(gaussian, rays, 128, bounds)
    exact = gaussian_integrals(rays)
    assert exact.max() > 0.25  # some ray passes near the middle
    assert relative(integrals, exact) < 1e-5


def test_line_integrals_of_one_are_chords_of_the_box():
    geometry = ParallelBeam((0.0, math.pi / 2, math.pi / 4), n_bins=3, spacing=1.0)
    chords = line_integrals(lambda x: torch.ones_like(x[:, :1]), geometry.rays(), 4, ((-0.5, 0.5), (-0.75, 0.75)))
    diagonal = 2 * (0.5 * math.sqrt(2))
    expected = torch.tensor([[0, 1.5, 0], [0, 1.0, 0], [0, diagonal, 0]], dtype=torch.float64)
    assert torch.allclose(chords.reshape(3, 3), expected, atol=1e-9)


def test_rays_that_miss_the_box_are_zero_and_have_finite_gradients():
    scale = torch.tensor(2.0, requires_grad=True)
    feet, directions = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    value = line_integrals(lambda x: scale * x[:, :1], (feet, directions), 5)
    assert value.item() == 0.0
    assert torch.autograd.grad(value.sum(), scale)[0].item() == 0.0


def test_stratified_samples_follow_the_generator_and_stay_near_the_midpoint_rule():
    rays = ParallelBeam.half_turn(5, 20).rays()
    drawn = [line_integrals(gaussian, rays, 64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert 0 < relative(drawn[0], gaussian_integrals(rays)) < 0.05


def test_bad_values_are_worded():
    with pytest.raises(ValueError, match=r"a value at each point, of shape \(4, 1\), got \(4,\)"):
        line_integrals(lambda x: x[:, 0], (torch.zeros(2, 2), torch.ones(2, 2)), 2)
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        line_integrals(gaussian, ODD.rays(), 0)
    with pytest.raises(ValueError, match="the rays have 3 coordinates, but bounds has 2"):
        line_integrals(gaussian, (torch.zeros(2, 3), torch.ones(2, 3)), 2)
