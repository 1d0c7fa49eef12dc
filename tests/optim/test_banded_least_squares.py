"""Banded least squares: steps as those of dense matrices, linear problems at once, and what it refuses."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, InputError, Recipe, RunOptions, Stage, face, interior, paired, periodic
from nfsolve._core.random import generator
from nfsolve.curvature.local import NormalEquations
from nfsolve.fields import MLP, Splines
from nfsolve.linalg.banded import Banded
from nfsolve.linalg.dense import SingularMatrix
from nfsolve.optim import BandedLeastSquares, LinearLeastSquares
from nfsolve.problem import Objective


def with_recipe(problem, optimizer: Any = BandedLeastSquares, steps=3, **options):
    made = {"cells": 6, "degree": 4} | options
    stages = (Stage(optimizer, steps, resample=0),)
    made = Recipe(field=partial(Splines, **made), stages=stages, run=RunOptions(dtype="float64", log_every=1))
    type(problem).recipe = lambda self: made
    return problem


@dataclass
class Poisson(PDE):
    """A solution that is known, of two unknowns of which one is nonlinear."""

    domain = Box(x=(0, 1), y=periodic(0, 1))
    unknowns = "u v"

    @interior
    def balance(self, u, lap_u, v, v_x, v_y, x, y):
        return torch.cat([lap_u + v**2 - 2 - x**4, v_x + 0.1 * v * v_y - 2 * x], 1)

    @face(x=(0, 1))
    def sides(self, u, v, x):
        return torch.cat([u - x**2, v - x**2], 1)

    def exact(self, x, y):
        return x**2 + 0 * y, x**2 + 0 * y


@dataclass
class Kinked(PDE):
    """Conductivity 1 left of the middle and 4 right of it; the flux goes on, which pairs of points say."""

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_xx):
        return u_xx

    @paired(x=(0.5 - 1e-9, 0.5 + 1e-9))
    def flux(self, u_x_low, u_x_high):
        return u_x_low - 4 * u_x_high

    @face(x=(0, 1))
    def ends(self, u, x):
        return u - x

    def exact(self, x):
        return torch.where(x < 0.5, 1.6 * x, 1 + 0.4 * (x - 1))


def objective_of(problem, seed=0, **options):
    field = Splines.for_problem(problem, dtype=torch.float64, **options)
    with torch.no_grad():
        field.coefficients.normal_(generator=torch.Generator().manual_seed(seed))
    return Objective(problem, field, problem.load("cpu", torch.float64), generator(seed, "points"))


@pytest.mark.parametrize("problem", [Poisson(n_points=80, n_face=20), Kinked(n_points=30)])
def test_normal_equations_are_those_of_the_dense_jacobian(problem):
    objective = objective_of(problem, cells=6, degree=3)
    theta, order = objective.theta(), objective.order()
    rows = list(objective.local_rows(theta, most=32))  # several pieces
    found = NormalEquations(rows, order, 1e9)
    leaf = theta.clone().requires_grad_()
    dense = torch.autograd.functional.jacobian(objective.stacked, leaf)
    inverse = order.argsort()
    matrix, gradient = (dense.T @ dense)[inverse][:, inverse], (dense.T @ objective.stacked(theta))[inverse]
    torch.testing.assert_close(found.right, gradient.detach())
    vector = torch.randn(len(theta), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(found.product(vector), matrix @ vector)
    scale = matrix.diagonal().clamp_min(1e-30).rsqrt()
    factor = found.matrix.factor(1e-12)
    stable = scale[:, None] * matrix * scale + 1e-12 * torch.eye(len(theta), dtype=torch.float64)
    torch.testing.assert_close(stable @ (factor.solve(vector) / scale), scale * vector, rtol=1e-3, atol=1e-3)


def test_some_rows_are_those_of_the_dense_jacobian():
    objective = objective_of(Poisson(n_points=12, n_face=6), cells=5, degree=2)
    theta = objective.theta().requires_grad_()
    dense = torch.autograd.functional.jacobian(
        lambda at: objective.residuals(objective.unflatten(at))["balance"].reshape(-1), theta
    )
    found = objective.some_rows("balance", 1000)
    assert found.shape == dense.shape
    torch.testing.assert_close(found.square().sum(0), dense.square().sum(0))  # in another order of rows


def test_problems_with_two_unknowns_are_solved_by_newtons_method():
    problem = Poisson(n_points=400, n_face=80)
    problem = with_recipe(problem, steps=10)
    solution = nf.solve(problem, seed=0, report=None)
    assert solution.metrics["relative_l2"] < 1e-9
    assert solution.stopped.startswith("converged")


def test_a_material_that_jumps_has_a_kink_in_a_repeated_end():
    problem = with_recipe(Kinked(n_points=50), cells=((0.0, 0.5, 0.5, 0.5, 1.0),), degree=3)
    assert nf.solve(problem, seed=0, report=None).metrics["relative_l2"] < 1e-7


def test_steps_are_those_of_dense_least_squares():
    found = []
    for optimizer in (BandedLeastSquares, LinearLeastSquares):
        problem = with_recipe(Poisson(n_points=300, n_face=60), optimizer=optimizer, steps=1)
        found.append(nf.solve(problem, seed=0, report=None).field.get_parameter("coefficients").detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_matrix_that_has_no_factor_gets_a_larger_ridge_or_is_refused():
    matrix = Banded(3, 1)
    block = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    matrix.add(torch.tensor([[0, 1]]), block)
    found = matrix.factor(0.0 + 1e-14).solve(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64))
    assert torch.allclose(found[:2].sum(), torch.tensor(1.0, dtype=torch.float64), atol=1e-3)
    wrong = Banded(2, 1)
    wrong.add(torch.tensor([[0, 1]]), torch.tensor([[[1.0, 3.0], [3.0, 1.0]]], dtype=torch.float64))
    with pytest.raises(SingularMatrix, match="no Cholesky factor"):
        wrong.factor(1e-14)


@dataclass
class Mean(PDE):
    """An equation that reads the field at other points too."""

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_x, u, x, integral):
        return u_x - integral(lambda s, u: u, x=(0, 1)) + u


def test_what_is_not_local_is_refused_in_words():
    with pytest.raises(InputError, match="needs 0 <= ridge < 1"):
        BandedLeastSquares([torch.zeros(2, requires_grad=True)], ridge=2)
    with pytest.raises(InputError, match="at others"):
        next(objective_of(Mean(n_points=10), cells=3, degree=2).local_rows(torch.zeros(5, dtype=torch.float64)))
    with pytest.raises(InputError, match="such as Splines"):
        nf.solve(Poisson(), field=partial(MLP, width=5), optimizer=BandedLeastSquares, steps=1, report=None)
    objective = objective_of(Poisson(n_points=80, n_face=20), cells=6, degree=3)
    with pytest.raises(InputError, match="diagonals needs"):
        BandedLeastSquares(objective.parameters, max_bytes=100.0).step(objective)
