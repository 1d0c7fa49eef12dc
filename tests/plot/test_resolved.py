"""A picture shows waves that its points can hold, or says which part of a coordinate it shows."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nfsolve import PDE, Box, Disk, interior
from nfsolve.plot.resolved import axis_label, resolved_bounds
from nfsolve.plot.views import views

LINE, PLANE = Box(x=(0, 2)), Box(x=(-1, 1), y=(0, 4))


def waves(n, column=0):
    """Return n waves along a coordinate."""

    def function(points: Tensor) -> Tensor:
        return torch.sin(math.pi * n * points[:, column : column + 1])  # both domains are 2 long in x

    return function


@pytest.mark.parametrize(("n", "width"), [(3, 2.0), (30, 2.0), (60, 1.0), (199, 0.25), (200, 0.25), (4000, 0.015625)])
def test_waves_that_are_too_short_for_the_points_are_shown_in_part(n, width):
    low, high = resolved_bounds(LINE, [waves(n)], {0: 400})[0]
    assert high - low == pytest.approx(width)
    assert (low + high) / 2 == pytest.approx(1.0)
    assert 400 / (n * (high - low) / 2) > 10  # points a wave


def test_only_the_coordinate_of_the_waves_is_cut():
    found = resolved_bounds(PLANE, [waves(2), waves(80)], {0: 201, 1: 201})
    assert found == {0: (-0.125, 0.125), 1: (0, 4)}
    assert axis_label(PLANE, 0, found[0]) == "x, part of -1 to 1" and axis_label(PLANE, 1, found[1]) == "y"


@pytest.mark.parametrize(
    "function",
    [
        lambda p: (p[:, :1] > 0.3).double(),
        lambda p: torch.exp(-((500 * (p[:, :1] - 0.3)) ** 2)),
        lambda p: torch.tanh(300 * p[:, :1]),
        lambda p: torch.zeros_like(p[:, :1]),
        lambda p: torch.rand(len(p), 1),  # has no scale
    ],
    ids=["step", "peak", "front", "zero", "noise"],
)
@pytest.mark.parametrize("domain", [PLANE, Disk(x=0, y=2, radius=1)])
def test_fronts_peaks_and_noise_are_shown_as_a_whole(function, domain):
    found = resolved_bounds(domain, [function], {0: 201, 1: 201})
    assert found == dict(enumerate(domain.bounds))


def test_the_picture_of_many_waves_has_no_beats():
    @dataclass
    class Many(PDE):
        domain = Box(x=(0, 2))
        unknowns = "u"

        @interior
        def nothing(self, u):
            return u

        def exact(self, x):
            return torch.sin(199 * math.pi * x)

    problem = Many()
    data = problem.load("cpu", torch.float64)
    [part] = views(problem, data, waves(1))
    assert part.bounds == ((0.875, 1.125),)
    assert float(part.reference.diff(dim=0).abs().amax()) < 0.5  # the whole has steps from crest to trough
    found, _ = part.reference.topk(5, dim=0)
    assert float(found.amin()) > 0.9  # and beats
