"""Marching in time with splines on cells that follow the solution."""

from dataclasses import dataclass

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, boundary, face, interior, periodic
from nfsolve.problem import RunOptions, orders_along, window_of
from nfsolve.run.automatic import network_recipe
from nfsolve.run.plan import Plan
from nfsolve.run.splined import SplineMarch, may_have_splines

NU = 0.01


@dataclass
class Shock(PDE):
    """A shock of Burgers' equation that travels: its width is a fortieth of the interval."""

    domain = Box(t=(0, 0.5), x=(0, 1))
    unknowns = "u"

    @interior
    def momentum(self, u, u_t, u_x, u_xx):
        return u_t + u * u_x - NU * u_xx

    @face(t=0)
    def start(self, u, x):
        return u - self.exact(torch.zeros_like(x), x)

    @face(x=(0, 1))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    def exact(self, t, x):
        return 0.5 - torch.tanh((x - 0.4 - 0.5 * t) / (2 * NU))


@dataclass
class Dispersive(PDE):
    domain = Box(x=periodic(0, 1), t=(0, 0.1))
    unknowns = "u v"

    @interior
    def carried(self, u_t, lap_u, v_xxx, v_t):
        return torch.cat([u_t - lap_u, v_t - v_xxx], -1)

    @face(t=0)
    def start(self, u, v, x):
        return torch.cat([u - torch.sin(2 * torch.pi * x), v], -1)


def march(problem, seconds=300.0, **options):
    plan = Plan.of(network_recipe(problem), RunOptions(seed=0, device="cpu"))
    said = []
    return SplineMarch(problem, plan, seconds, said.append, **options), said


def test_cells_crowd_at_a_shock_and_finer_cells_tell_the_error():
    marching, said = march(Shock(), accuracy=1e-6)
    assert marching.go() and len(said) == len(marching.levels)
    errors = [Shock().metrics(level.field, marching.data)["relative_l2"] for level in marching.levels]
    changes = [level.changed for level in marching.levels[1:]]
    for error, change in zip(errors, changes, strict=False):  # what a march changes is the error of the one before
        assert change / 1.5 < error < 1.5 * change
    assert changes[-1] <= 1e-6
    found = marching.estimate()
    assert found.trusted and errors[-1] / 10 < found.worst < 10 * errors[-1]
    widths = torch.tensor(marching.levels[-1].pieces[0].cells[1]).diff()
    assert widths.max() > 5 * widths.min()
    middle = torch.tensor(marching.levels[-1].pieces[0].cells[1])[widths.argmin()]
    assert 0.35 < middle < 0.65


def test_the_automatic_recipe_takes_splines_where_features_see_little(tmp_path):
    solution = nf.solve(Shock(), report=None, time_limit=120, accuracy=1e-4, out=tmp_path / "run")
    assert "splines" in solution.decisions[-1] and solution.metrics["relative_l2"] < 1e-4
    points = Shock.domain.grid(7, 31)
    told = solution.estimated_error(points)
    assert told.shape == (7 * 31, 1) and 0 < told.abs().max() < 1e-3
    again = nf.reopen(tmp_path / "run")
    assert torch.equal(again.field(points), solution.field(points))
    assert again.metrics["relative_l2"] == solution.metrics["relative_l2"]
    assert nf.resume(tmp_path / "run", report=None).metrics["relative_l2"] == solution.metrics["relative_l2"]


def test_a_march_without_time_finds_nothing():
    marching, said = march(Shock(), seconds=0.0)
    assert not marching.go() and not said


@pytest.mark.parametrize("axis", ["t", "x"])
def test_points_of_a_graded_window_are_as_many_in_each_cell(axis):
    ends = {"t": (0.0, 0.01, 0.1, 0.25), "x": (0.0, 0.4, 0.5, 1.0)}
    cells = tuple(ends[name] if name == axis else () for name in ("t", "x"))
    domain = window_of(Shock(), 0.0, 0.25, cells=cells).domain
    points = domain.scale(torch.rand(3000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    column = domain.index(axis)
    counts = torch.histogram(points[:, column], torch.tensor(ends[axis], dtype=torch.float64)).hist
    assert (counts - 1000).abs().max() < 150
    other = points[:, 1 - column] / domain.bounds[1 - column][1]
    assert abs(float(other.mean()) - 0.5) < 0.03


def test_orders_of_derivatives_are_read_from_names():
    problem = Dispersive()
    assert orders_along(problem, "carried", 0) == {"u": 2, "v": 3}
    assert orders_along(problem, "carried", 1) == {"u": 1, "v": 1}


def test_problems_that_splines_are_for():
    assert may_have_splines(Shock()) and may_have_splines(Dispersive())

    class Space(Shock):
        domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))

        def exact(self, t, x, y):
            return t * x

        @face(t=0)
        def start(self, u):
            return u

        @face(x=(0, 1))
        def ends(self, u):
            return u

    class Steady(PDE):
        domain = Box(x=(0, 1), y=(0, 1))
        unknowns = "u"

        @interior
        def laplace(self, lap_u):
            return lap_u

        @boundary
        def rim(self, u, x):
            return u - x

    class Backward(Shock):
        @face(t=0.5)
        def end(self, u):
            return u

    assert not may_have_splines(Space()) and not may_have_splines(Steady())
    assert not may_have_splines(Backward())  # windows would have no end to hold it
