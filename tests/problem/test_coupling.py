"""Residuals that couple their points: the Jacobian is that of the whole, and the run says so."""

import math
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import MLP, PDE, Box, Unknown, face, interior
from nfsolve._core.random import generator
from nfsolve.problem import Objective


@dataclass
class Mixed(PDE):
    """Residuals that couple their points in several ways, beside some that do not."""

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def law(self, u, u_xx):
        return u_xx + u**2

    @interior
    def mean(self, u):
        return (u.mean() - 1) * torch.ones_like(u)

    @interior
    def square(self, u, u_x):
        return u_x / u.square().mean().sqrt()

    @interior
    def difference(self, u):
        return u - u.roll(1, 0)

    @interior
    def running(self, u):
        return u.cumsum(0)

    @interior
    def largest(self, u):
        return u - u.max()

    @interior(weight=3.0)
    def against_first(self, u):
        return u - u[:1]

    @face(x=(0, 1))
    def walls(self, u):
        return u

    @face(x=0)
    def varied(self, u, x):
        return u - x.sin()


COUPLED = {"mean", "square", "difference", "running", "largest", "against_first"}


def objective(problem, dtype=torch.float64, zero=False):
    net = MLP.for_problem(problem, width=4, depth=1, dtype=dtype)
    if zero:
        with torch.no_grad():
            for p in net.parameters():
                p.zero_()
    return Objective(problem, net, problem.load("cpu", dtype), generator(0, "points"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [3, 16, 1500])
def test_coupled_residuals_are_found(n, dtype):
    assert objective(Mixed(n_points=n, n_face=4), dtype).coupled == COUPLED


def test_a_field_that_is_zero_hides_no_coupling():
    assert objective(Mixed(n_points=16, n_face=4), zero=True).coupled == COUPLED


def test_the_jacobian_of_coupled_residuals_is_that_of_the_whole():
    found = objective(Mixed(n_points=9, n_face=4))
    theta = torch.cat([p.detach().reshape(-1) for p in found.parameters])
    r, jacobian = found.jacobian(theta)
    expected = torch.autograd.functional.jacobian(found.stacked, theta)
    assert torch.allclose(r, found.stacked(theta), rtol=1e-12, atol=1e-14)
    assert torch.allclose(jacobian, expected, rtol=1e-10, atol=1e-12)
    rows = found.some_rows("mean", 4)
    assert torch.allclose(rows, rows[:1].expand(4, -1), rtol=1e-12)


@dataclass
class Eigen(PDE):
    """-u'' = E u between walls, with the mean of u^2 equal to 1: E = pi^2."""

    E: Unknown = field(default=Unknown(8.0))
    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def schroedinger(self, u, u_xx):
        return u_xx + self.E * u

    @face(x=(0, 1))
    def walls(self, u):
        return u

    @interior
    def norm(self, u):
        return (u.square().mean() - 1) * torch.ones_like(u)


def test_an_eigenvalue_with_a_normalisation_is_found_and_the_run_says_that_it_couples():
    rows = []
    solution = nf.solve(Eigen(n_points=64, n_face=4), steps=80, report=rows.append)
    assert solution.metrics["unknown/E"] == pytest.approx(math.pi**2, rel=1e-4)
    said = [row["warning"] for row in rows if "couples" in row.get("warning", "")]
    assert ["norm" in text for text in said] == [True]


@pytest.mark.parametrize("name", nf.optim.named())
def test_every_optimizer_takes_a_coupled_residual_as_it_is_or_says_what_it_needs(name):
    problem, field = Eigen(n_points=24, n_face=4), partial(MLP, width=6, depth=3)
    options = {"steps": 25, "dtype": "float64", "log_every": 25, "report": None}
    if name in (refusals := {"kfac": "'norm' couples the points", "banded_least_squares": "field of local functions"}):
        with pytest.raises(nf.InputError, match=refusals[name]):
            nf.solve(problem, field, name, **options)
        return
    solution = nf.solve(problem, field, name, **options)
    fell = solution.history[-1]["loss"] <= solution.history[0]["loss"]
    if name == "output_layer":  # draws other points for its step, which such residuals do not allow it
        assert solution.stopped == "the layer is kept: the residuals are not linear in its outputs"
        return
    assert fell or solution.failed
    assert fell or name == "diag_gn"  # a diagonal is far from a curvature that all parameters share
