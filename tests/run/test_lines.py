"""Marching by the method of lines, on problems whose solutions are known."""

import math
from typing import Any

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, boundary, face, interior, periodic
from nfsolve.problem import RunOptions
from nfsolve.run.lines import LinesMarch, may_have_lines
from nfsolve.run.plan import Plan
from nfsolve.run.semidiscrete import Lines, NotLines, sorted_conditions


class Carried(PDE):
    """A blob that a rotating flow carries, which diffuses; hardly anything reaches the walls."""

    domain = Box(t=(0, 0.5), x=(-1, 1), y=(-1, 1))
    unknowns = "c"

    @interior
    def balance(self, c_t, c_x, c_y, lap_c, x, y):
        return c_t - 2 * math.pi * y * c_x + 2 * math.pi * x * c_y - 1e-3 * lap_c

    @face(t=0)
    def initial(self, c, x, y):
        return c - torch.exp(-50 * ((x - 0.4) ** 2 + y**2))

    @face(x=(-1, 1), y=(-1, 1))
    def walls(self, c):
        return c

    def exact(self, t, x, y):
        width = 1 / 50 + 4e-3 * t
        a, b = 0.4 * torch.cos(2 * math.pi * t), 0.4 * torch.sin(2 * math.pi * t)
        return torch.exp(-((x - a) ** 2 + (y - b) ** 2) / width) / (50 * width)


class Membrane(PDE):
    """A wave of second order in time, with sides of two kinds; coordinates in another order."""

    domain = Box(x=(0, 1), t=(0, 1), y=(0, 2))
    unknowns = "u"

    @interior
    def balance(self, u_tt, u_xx, u_yy):
        return u_tt - u_xx - 4 * u_yy

    @face(t=0)
    def start(self, u, u_t, x, y):
        return torch.cat([u - torch.sin(math.pi * x) * torch.cos(math.pi * y / 2), u_t], 1)

    @face(x=(0, 1))
    def fixed(self, u):
        return u

    @face(y=(0, 2))
    def free(self, u_y):
        return u_y

    def exact(self, x, t, y):
        return torch.sin(math.pi * x) * torch.cos(math.pi * y / 2) * torch.cos(math.sqrt(2) * math.pi * t)


class Fluxes(PDE):
    """Heat in a material that varies, with its fluxes as unknowns, and a side that gives heat off."""

    domain = Box(t=(0, 0.5), x=(0, 1), y=(0, 1))
    unknowns = "u p q"

    @interior
    def balance(self, u_t, p_x, q_y, t, x, y):
        return u_t - p_x - q_y - self.source(t, x, y)

    @interior
    def fluxes(self, u_x, u_y, p, q, x):
        return torch.cat([p - (1 + x) * u_x, q - (1 + x) * u_y], 1)

    @face(t=0)
    def initial(self, u):
        return u

    @face(x=0)
    def warm(self, u, y, t):
        return u - torch.sin(t) * torch.cos(y)

    @face(x=1)
    def gives_off(self, p, u, t, y):
        return p + u - (2 * math.cos(1) + math.sin(1) + 1) * torch.sin(t) * torch.cos(y)

    @face(y=(0, 1))
    def known(self, u, t, x, y):
        return u - self.exact(t, x, y)[:, :1]

    def source(self, t, x, y):
        f, f_x, f_xx = 1 + torch.sin(x), torch.cos(x), -torch.sin(x)
        return torch.cos(y) * (torch.cos(t) * f - torch.sin(t) * (f_x + (1 + x) * (f_xx - f)))

    def exact(self, t, x, y):
        f, f_x = 1 + torch.sin(x), torch.cos(x)
        u = torch.sin(t) * f * torch.cos(y)
        return torch.cat(
            [u, (1 + x) * torch.sin(t) * f_x * torch.cos(y), -(1 + x) * torch.sin(t) * f * torch.sin(y)], 1
        )


class Stiff(PDE):
    """Fast diffusion towards a solution that changes slowly, on a ring in one direction."""

    domain = Box(t=(0, 0.3), x=periodic(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_t, lap_u, t, x, y):
        s = torch.sin(2 * math.pi * x) * torch.sin(math.pi * y)
        return u_t - 2 * lap_u - (torch.cos(t) + 10 * math.pi**2 * torch.sin(t)) * s

    @face(t=0)
    def initial(self, u):
        return u

    @face(y=(0, 1))
    def sides(self, u):
        return u

    def exact(self, t, x, y):
        return torch.sin(t) * torch.sin(2 * math.pi * x) * torch.sin(math.pi * y)


def marched(problem: Any, seconds: float, accuracy: float = 0.0) -> LinesMarch:
    plan = Plan.of(problem.recipe(), RunOptions())
    march = LinesMarch(problem, plan, seconds, lambda _: None, accuracy)
    assert march.go()
    return march


@pytest.mark.parametrize(
    ("kind", "accuracy", "error"), [(Membrane, 1e-5, 1e-5), (Fluxes, 1e-3, 1e-3), (Carried, 2e-2, 2e-2)]
)
def test_error_and_its_estimate(kind: type[PDE], accuracy: float, error: float) -> None:
    problem = kind()
    assert may_have_lines(problem)
    march = marched(problem, 120.0, accuracy)
    solution = march.solution()
    estimate = march.estimate()
    assert solution.metrics["relative_l2"] < error
    assert estimate.trusted
    assert solution.metrics["relative_l2"] < 3 * estimate.worst


def test_stabilized_steps_where_diffusion_is_fast() -> None:
    problem = Stiff()
    lines = Lines(problem, (10, 8), 5)
    times = [0.0, 0.1, 0.3]
    found, stiff = lines.march(times, 1e-6, lambda: 2.0)
    assert stiff
    for t, values in zip(times, found, strict=True):
        lines.points[:, 0] = t
        exact = problem.exact(*lines.points.split(1, 1))
        assert (values - exact).abs().max() < 1e-3
    again, stiff = lines.march(times, 1e-6, lambda: 1e6)
    assert not stiff
    assert (again - found).abs().max() < 1e-4


def test_short_waves_that_a_flow_carries_do_not_grow() -> None:
    lines = Lines(Carried(), (12, 12), 5)
    lines.look(0.0, *lines.fields(0.0, lines.start))
    m = len(lines.start)
    zero = lines.rate(0.0, 0 * lines.start)
    jacobian = torch.stack([lines.rate(0.0, row) - zero for row in torch.eye(m, dtype=torch.float64)], 1)
    assert torch.linalg.eigvals(jacobian).real.max() < 0
    lines.carried = {}
    jacobian = torch.stack([lines.rate(0.0, row) - zero for row in torch.eye(m, dtype=torch.float64)], 1)
    assert torch.linalg.eigvals(jacobian).real.max() > 0.1


def test_the_automatic_recipe_takes_it_and_a_run_is_loaded(tmp_path: Any) -> None:
    problem = Carried()
    solution = nf.solve(problem, out=tmp_path / "run", time_limit=30, accuracy=5e-2, report=None)
    assert "the method of lines" in solution.decisions[-1]
    assert solution.metrics["relative_l2"] < 5e-2
    points = problem.domain.grid(5, 5, 5)
    loaded = nf.load(tmp_path / "run")
    with torch.no_grad():
        assert torch.equal(loaded(points), solution.field(points))


class Absorbing(Membrane):
    @face(x=(0, 1))
    def fixed(self, u, u_t):
        return u_t + u


class Quartic(Stiff):
    @face(y=(0, 1))
    def sides(self, u, u_y):
        return u_y + u**4 - 1


class Underdetermined(Stiff):
    @interior
    def more(self, u_t):
        return u_t


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Absorbing, "in time on a side"), (Quartic, "not linear"), (Underdetermined, "2 equations for 1")],
)
def test_what_has_another_form_is_refused(kind: type[PDE], why: str) -> None:
    def begin() -> None:
        lines = Lines(kind(), (8, 8), 5)
        lines.rate(0.1, lines.start)

    with pytest.raises(NotLines, match=why):
        begin()


def test_problems_of_other_domains_or_conditions_are_left_alone() -> None:
    class Later(Stiff):
        @face(t=0.3)
        def initial(self, u):
            return u

    class Line(PDE):
        domain = Box(t=(0, 1), x=(0, 1))
        unknowns = "u"

        @interior
        def balance(self, u_t):
            return u_t

        @face(t=0)
        def initial(self, u):
            return u

    assert not may_have_lines(Later())
    assert not may_have_lines(Line())


def test_what_begins_at_zero_and_at_rest_is_marched() -> None:
    class Pulsed(Stiff):
        @interior
        def balance(self, u_t, lap_u, t, x, y):
            s = torch.sin(2 * math.pi * x) * torch.sin(math.pi * y)
            return u_t - 0.1 * lap_u - (2 * t + 0.5 * math.pi**2 * t**2) * s

        def exact(self, t, x, y):
            return t**2 * torch.sin(2 * math.pi * x) * torch.sin(math.pi * y)

    march = marched(Pulsed(), 60.0, 1e-3)
    assert march.solution().metrics["relative_l2"] < 1e-3


def test_a_condition_on_named_parts_holds_there_only() -> None:
    class Parts(Membrane):
        @boundary(part=("x=0", "x=1"))
        def fixed(self, u):
            return u

        @boundary(part="y=0")
        def free(self, u_y):
            return u_y

    class Unknown(Membrane):
        @boundary(part=("x=0", "rim"))
        def fixed(self, u):
            return u

    *_, sides = sorted_conditions(Parts())
    assert [(side.name, side.axis, side.end) for side in sides] == [("fixed", 0, 0), ("fixed", 0, -1), ("free", 1, 0)]
    with pytest.raises(NotLines, match="no side in space"):
        sorted_conditions(Unknown())
