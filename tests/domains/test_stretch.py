"""Coordinates stretched where a solution is steep."""

import math

import pytest
import torch

from nfsolve import Box, Disk, periodic
from nfsolve.domains import Front, Stretch
from nfsolve.sampling import sobol

FRONTS = {
    "one": (Front(1, 0.2, 0.01),),
    "two": (Front(1, -0.5, 0.02), Front(1, 0.6, 0.1)),
    "at the side": (Front(1, 1.0, 0.005),),
    "moving": (Front(1, -0.4, 0.02, speed=0.3),),
}


def points(n=200):
    return 2 * torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("fronts", FRONTS.values(), ids=FRONTS)
def test_even_points_are_evenly_distributed_in_the_new_coordinates(fronts, wraps):
    stretch, z = Stretch(fronts, (False, wraps), 0), points()
    even = stretch.even(z)
    ends = [stretch(torch.stack([z[:, 0], torch.full_like(z[:, 1], end)], 1))[:, 1] for end in (-1.0, 1.0)]
    along = (stretch(even)[:, 1] - ends[0]) / (ends[1] - ends[0])
    assert torch.allclose(2 * along - 1, z[:, 1], atol=1e-9)
    assert torch.equal(even[:, 0], z[:, 0])
    near = fronts[0].centre + fronts[0].speed * (z[:, 0] + 1) - even[:, 1]
    near = (near + 1) % 2 - 1 if wraps else near
    assert (near.abs() < 10 * fronts[0].width).double().mean() > 2 * 10 * fronts[0].width / 2


@pytest.mark.parametrize("fronts", FRONTS.values(), ids=FRONTS)
def test_a_periodic_coordinate_stays_periodic(fronts):
    stretch = Stretch(fronts, (False, True), 0)
    z = points()
    shifted = stretch(z + torch.tensor([0.0, 2.0]))
    assert torch.allclose(torch.sin(math.pi * stretch(z)[:, 1]), torch.sin(math.pi * shifted[:, 1]), atol=1e-12)


@pytest.mark.parametrize("wraps", [False, True])
def test_the_map_grows_everywhere(wraps):
    for fronts in FRONTS.values():
        z = torch.stack([torch.zeros(4001, dtype=torch.float64), torch.linspace(-1, 1, 4001, dtype=torch.float64)], 1)
        assert (Stretch(fronts, (False, wraps), 0)(z)[:, 1].diff() > 0).all()


def test_a_stretched_domain_puts_points_where_a_front_is():
    for domain in (Box(t=(0, 1), x=(0, 4)), Box(t=(0, 1), x=periodic(0, 4))):
        stretched = domain.stretched((Front(1, 0.5, 0.01),))  # at x = 3
        found = stretched.interior(1000, lambda n, d: sobol(n, d, torch.Generator().manual_seed(0)))
        assert ((found[:, 1] - 3).abs() < 0.1).double().mean() > 0.2
        assert stretched.contains(found).all() and domain.stretch is None and domain != stretched
        assert domain.stretched(()) == domain
    product = (Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)).stretched((Front(1, 0.0, 0.01),))
    inside = product.interior(1000, lambda n, d: sobol(n, d, torch.Generator().manual_seed(0)))
    assert (inside[:, 1].abs() < 0.1).double().mean() > 0.3 and product.contains(inside).all()
