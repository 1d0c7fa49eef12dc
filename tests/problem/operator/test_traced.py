import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import Box, OperatorPDE, face, interior
from nfsolve.diff import Unsupported
from nfsolve.functions import GaussianField
from nfsolve.problem.operator.solved import labels, start
from nfsolve.problem.operator.traced import Tracer, why_not
from problems.operators.advection import Advection


@dataclass
class Decay(OperatorPDE):
    """Transport towards small x with a source and decay; the sense of the equation is turned."""

    domain = Box(x=(0, 2), t=(0, 1))
    unknowns = "s"
    inputs: ClassVar[dict[str, str]] = {"u": "t"}
    evaluation = (9, 9)

    @interior
    def moves(self, s, s_t, s_x, x):
        return (s_x - s_t) / (1 + x) - 3 * s / (1 + x) + 2.0 / (1 + x)

    @face(t=0)
    def begins(self, s, x):
        return 2 * s - 2 * torch.sin(x)

    @face(x=2)
    def enters(self, s, u):
        return u - s

    def spaces(self):
        return {"u": GaussianField(length=0.5)}


def test_sources_and_sides():
    problem = Decay()
    drawn = problem.to_solve(4)
    points = torch.tensor([[0.3, 0.2], [0.5, 0.9], [1.9, 0.6], [1.2, 0.31]]).double()
    assert why_not(problem) == ""
    found = Tracer(problem, drawn).values(drawn, points)[..., 0]
    x, t = points.T  # s_t = s_x - 3 s + 2: from where x + t was the same
    steps = torch.minimum(t, 2 - x)
    entered = problem.spaces()["u"].evaluate(drawn["u"], (t - steps)[:, None])
    begun = torch.where(steps < t, entered, torch.sin(x + t))
    torch.testing.assert_close(
        found, begun * torch.exp(-3 * steps) + (1 - torch.exp(-3 * steps)) * 2 / 3, rtol=0, atol=1e-5
    )


def test_a_kink_stays_sharp():
    problem = Advection(solved=3)
    found = labels(problem, 3)
    u = problem.spaces()["u"]
    for b in range(3):
        grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
        time = torch.cumulative_trapezoid(1 / u.evaluate(found.drawn["u"][b : b + 1], grid)[0], dx=1 / 2000)
        time = torch.cat([torch.zeros(1).double(), time])
        t, x = found.points.T
        at = torch.from_numpy(np.interp(x, grid[:, 0], time))
        foot = torch.from_numpy(np.interp(at - t, time, grid[:, 0]))
        exact = torch.where(at > t, torch.sin(math.pi * foot), torch.sin(0.5 * math.pi * (t - at)))
        torch.testing.assert_close(found.truth[b, :, 0], exact, rtol=0, atol=1e-4)
    assert "no basis resolves" in start(problem, 3)


def test_an_operator_trains_on_solved_equations_alone(tmp_path):
    problem = Advection(physics=False, data=True, solved=20, batch=8, n_points=32, n_tests=4)
    field = partial(problem.recipe().field, width=16, features=4)
    solution = nf.solve(problem, field, steps=40, log_every=10, report=None, out=tmp_path / "run")
    errors = [row["relative_l2"] for row in solution.history if "relative_l2" in row]
    assert errors[-1] < 0.7 * errors[0]
    x = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))

    def speed(x):
        return 1 + x

    torch.testing.assert_close(nf.load(tmp_path / "run")(speed, x), solution.trained(speed, x))
    with pytest.raises(nf.InputError, match="in solved=1000 to make labels from the equations"):
        Advection(physics=False, data=True)


def test_what_is_no_transport():
    @dataclass
    class Steep(Decay):
        @interior
        def moves(self, s, s_t, s_x):
            return s_t + s * s_x

    @dataclass
    class Open(Decay):
        @face(x=0)
        def enters(self, s, u):
            return u - s

    @dataclass
    class Heat(Decay):
        @interior
        def moves(self, s_t, s_xx):
            return s_t - s_xx

    assert why_not(Heat()) == "'moves' is not of first order"
    for problem, why in ((Steep(), "not one of linear transport"), (Open(), "where the solution is not given")):
        with pytest.raises(Unsupported, match=why):
            Tracer(problem, problem.to_solve(2))

    @dataclass
    class Rough(Decay):
        @interior(where=lambda x: x > 1)
        def lone(self, s):
            return s

    with pytest.raises(nf.InputError, match="the equations of Rough are not solved before the training: 'lone'"):
        nf.solve(Rough(physics=False, data=True, solved=5), steps=1, report=None)
