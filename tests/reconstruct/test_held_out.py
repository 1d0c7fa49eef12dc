"""The weight of the total variation by views that are left out."""

import math

import pytest
import torch

from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image, phantom_projections
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr
from nfsolve.reconstruct import total_variation, weight_by_views
from nfsolve.reconstruct.held_out import FOLD, HeldOut, _left_out, _lowest

GRID = PixelGrid(64, 64, 2 / 64)
GEOMETRY = ParallelBeam.half_turn(30, 32)


def noisy(level: float) -> torch.Tensor:
    """Make the line integrals of the head, with noise of some standard deviation."""
    generator = torch.Generator().manual_seed(0)
    clean = phantom_projections(SHEPP_LOGAN, GEOMETRY).float()
    return clean + level * torch.randn(clean.shape, generator=generator)


def test_more_noise_wants_more_weight_and_the_image_is_nearly_the_best_of_all():
    truth, projector = phantom_image(SHEPP_LOGAN, GRID).float(), Projector(GEOMETRY, GRID, torch.float32)
    found = {level: weight_by_views(noisy(level), GEOMETRY, GRID, 1.0) for level in (0.0, 0.03)}
    assert found[0.03].weight > 3 * found[0.0].weight
    chosen, y = found[0.03], noisy(0.03).reshape(-1, 1)
    assert chosen.bounded and chosen.views == 4
    score = lambda w: psnr(total_variation(projector, y, GRID.shape, w, 80).image, truth, 1.0)  # noqa: E731
    best = max(score(weight) for weight in chosen.tried)
    assert score(chosen.weight) > best - 0.3
    assert best > min(score(weight) for weight in chosen.tried) + 2  # so that the choice matters


def test_a_scale_of_the_data_scales_the_weight():
    found = [weight_by_views(scale * noisy(0.03), GEOMETRY, GRID, scale) for scale in (1.0, 50.0)]
    assert found[1].weight == pytest.approx(50 * found[0].weight, rel=1e-2)


@pytest.mark.parametrize("beam", ["parallel", "fan", "twice"])
def test_views_that_are_left_out_are_spread_over_all_and_not_at_an_end(beam):
    angles = tuple(math.pi * i / 32 for i in range(32))
    geometry = ParallelBeam(angles, 8, 1.0) if beam != "fan" else FanBeam(angles, 8, 1.0, 10.0, 20.0)
    if beam == "twice":
        geometry = ParallelBeam((*angles, *(a + math.pi for a in angles)), 8, 1.0)
    out = _left_out(geometry)
    assert len(out) == len(geometry.angles) // FOLD and 0 not in out and 31 not in out
    assert len({round(geometry.angles[view] % math.pi, 9) for view in out}) == len(out)


def test_the_lowest_point_lies_between_the_weights():
    tried = {math.exp(-k): (k - 1.3) ** 2 + 1 for k in range(4)}
    assert math.log(_lowest(tried)) == pytest.approx(-1.3)
    assert HeldOut(0.0, tried, 1).bounded
    falling = {1.0: 3.0, 0.5: 2.0, 0.25: 1.0}
    assert _lowest(falling) == 0.25 and not HeldOut(0.25, falling, 1).bounded


def test_too_few_views_are_worded():
    with pytest.raises(ValueError, match="there are only 4"):
        weight_by_views(torch.ones(4, 8), ParallelBeam.half_turn(4, 8), PixelGrid(8, 8, 0.25), 1.0)
