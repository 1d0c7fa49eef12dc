"""What the state at the start of a window tells about its features."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import PDE, Box, face, interior, periodic
from nfsolve._core.random import generator
from nfsolve.problem import RunOptions
from nfsolve.run.adaptive import AdaptiveMarch
from nfsolve.run.folder import RunFolder
from nfsolve.run.ladder import Trial
from nfsolve.run.plan import Plan
from nfsolve.run.steep import State


class Known(nn.Module):
    """A function in the place of a field."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points):
        return self.function(points)


def state(function, domain, start=0.0, end=1.0):
    problem = type("Some", (), {"domain": domain})()
    return State(problem, Known(function), start, end, generator(0, "state"))


def fronts(function, domain, end=1.0):
    found = state(function, domain, end=end)
    return found.fronts, found.steepens


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("width", [0.005, 0.05])
def test_a_front_is_found_with_its_width_and_speed(width, wraps):
    domain = Box(t=(0, 1), x=periodic(-2, 2) if wraps else (-2, 2))
    ((front,), steeper) = fronts(lambda p: torch.tanh((p[:, 1:] - 0.6 - 0.4 * p[:, :1]) / (2 * width)), domain)
    assert not steeper and front.column == 1 and abs(front.centre - 0.3) < 2e-3
    assert 0.8 * width < front.width < 1.3 * width + 1e-3  # half as steep at 0.88 of twice the width, over half 4
    assert abs(front.speed - 0.4 / 2 / 2) < 1e-3  # 0.4 in half a window, where 2 is 1


def test_a_front_that_steepens_is_as_narrow_as_it_will_be():
    domain = Box(t=(0, 1), x=(-1, 1))
    ((front,), steeper) = fronts(lambda p: torch.tanh(20 * (1 + p[:, :1]) * p[:, 1:]), domain, end=0.3)
    assert steeper and front.width == pytest.approx(
        0.88 / 20 * math.exp(-0.3), rel=0.2
    )  # of all of the front, less than at its centre


def test_a_pulse_that_grows_does_not_become_steeper():
    domain = Box(t=(0, 1), x=(-1, 1))
    found, steeper = fronts(lambda p: (1 + p[:, :1]) * torch.exp(-100 * p[:, 1:] ** 2), domain, end=0.3)
    assert found and not steeper


def test_what_is_smooth_has_no_front():
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))
    assert fronts(lambda p: torch.sin(3 * p[:, 1:2]) * p[:, 2:], domain) == ((), False)
    assert fronts(lambda p: 0 * p[:, :1] + 2.0, domain) == ((), False)


def test_a_peak_in_the_plane_has_fronts_along_both_coordinates():
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))
    found, _ = fronts(lambda p: torch.exp(-((p[:, 1:2] - 0.3) ** 2 + (p[:, 2:] + 0.2) ** 2) / 0.05**2), domain)
    assert {front.column for front in found} == {1, 2}
    assert all(abs(front.centre - (0.3 if front.column == 1 else -0.2)) < 0.1 for front in found)


def test_stretched_coordinates_resolve_a_front_that_plain_ones_do_not():
    front = state(lambda p: torch.tanh(p[:, 1:] / 0.01), Box(t=(0, 1), x=(-1, 1)))
    plain, stretched = front.fits(800, (2.0, 20.0), 1e-8)
    assert stretched.fronts and stretched.scales[0] == 2.0 and stretched.error < 1e-6
    assert not plain.fronts and plain.error > 1e-2


@dataclass
class Steepens(PDE):
    """A wave that becomes a front."""

    domain = Box(t=(0, 0.6), x=(-1, 1))
    unknowns = "u"

    @interior
    def momentum(self, u, u_t, u_x, u_xx):
        return u_t + u * u_x - 0.01 * u_xx

    @face(t=0)
    def start(self, u, x):
        return u + torch.sin(torch.pi * x)

    @face(x=(-1, 1))
    def ends(self, u):
        return u


def test_a_march_stretches_its_windows_where_a_front_forms_and_is_saved(tmp_path):
    plan = Plan.of(Steepens().recipe(), RunOptions(seed=0, device="cpu"))
    marching = AdaptiveMarch(Steepens(), Trial(200, (2.0, 15.0), 6, 0, 1e-3, 2, 0.1), plan, 300.0, lambda _: None)
    marching.tolerance = 1e-3
    assert marching.go()
    first, *_, last = (piece.choice.fronts for piece in marching.pieces)
    assert first == () and len(last) == 1 and abs(last[0].centre) < 5e-3 and last[0].width < 0.1
    solution = marching.solution(RunFolder(tmp_path / "run"))
    points = torch.rand(200, 2, dtype=torch.float64) * torch.tensor([0.6, 2.0]) - torch.tensor([0.0, 1.0])
    assert torch.equal(nf.reopen(tmp_path / "run").field(points), solution.field(points))
    x = points[:, 1:]
    mirrored = solution.field(torch.cat([points[:, :1], -x], 1))
    assert (solution.field(points) + mirrored).abs().max() < 1e-2  # the solution is odd
