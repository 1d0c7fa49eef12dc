"""Where least squares begins: equations that are not finite at zero, and what initial conditions tell of features."""

import math
from dataclasses import dataclass

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, face, interior
from nfsolve.run.beginning import initial_conditions, initial_state
from nfsolve.run.relative import RelativeResidual
from tests.automatic.later_cases import Film, Orbit, Quotient


class Quarter(Orbit):
    domain = Box(t=(0, 1.5))


@pytest.mark.parametrize("problem", [Quotient(), Film(), Quarter()])
def test_equations_that_are_not_finite_at_zero_are_solved(problem):
    solution = nf.solve(problem, recipe="auto", time_limit=300, report=None)
    assert solution.metrics["relative_l2"] < 1e-10
    assert solution.metrics["error_estimate"] < 1e-9


def test_the_measure_of_such_equations_is_that_of_a_field_with_the_right_boundary_values():
    problem = Film()
    measure = RelativeResidual(problem, problem.load("cpu", torch.float64), 0)
    assert 0 < measure.zero < 100
    assert all(math.isfinite(weight) for weight in measure.weights.values())


@dataclass
class Narrow(PDE):
    domain = Box(t=(0, 1), x=(-1, 1))
    unknowns = "u"
    width: float = 0.1

    @interior
    def heat(self, u_t, u_xx):
        return u_t - 0.01 * u_xx

    @face(t=0)
    def start(self, u, x):
        return u - torch.exp(-((x / self.width) ** 2))

    @face(x=(-1, 1))
    def ends(self, u):
        return u


def test_initial_conditions_tell_the_bandwidth():
    assert initial_conditions(Narrow()) == (0, ["start"])
    found = []
    for width in (0.4, 0.1):
        problem = Narrow(width=width)
        field = initial_state(problem, problem.load("cpu", torch.float64), 0, (3.0, 3.0))
        x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
        now = field(torch.cat([torch.zeros_like(x), x], 1))
        assert (now - torch.exp(-((x / width) ** 2))).abs().max() < 1e-6
        found.append(field.config["scale"][1])
    assert found[1] > 2 * found[0]


def test_without_initial_conditions_there_is_no_initial_state():
    problem = Quotient()
    assert initial_conditions(problem)[1] == []
    assert initial_state(problem, problem.load("cpu", torch.float64), 0, (3.0,)) is None
