"""How many points determine random features, and where these begin."""

import pytest
import torch

from nfsolve import RandomFeatures
from nfsolve._core.random import generator
from nfsolve.problem import Objective, SamplerState
from nfsolve.problem.rows import rows_at_once
from nfsolve.run.beginning import is_linear
from nfsolve.run.points import ROWS, ROWS_IN_SPACE, points_for
from nfsolve.run.relative import RelativeResidual, balance
from nfsolve.weighting.scheme import Weights
from tests.automatic import cases, more_cases


def objective_of(problem, width=40):
    field = RandomFeatures.for_problem(problem, width=width, scale=4.0, seed=0, dtype=torch.float64, device="cpu")
    return Objective(problem, field, problem.load("cpu", torch.float64), generator(0, "points"))


def sampled(problem, width):
    entries = RelativeResidual(problem, problem.load("cpu", torch.float64), 0).entries
    inside, sides = points_for(problem, width, entries)
    objective = objective_of(problem)
    objective.sample_as(SamplerState(points=inside, faces=sides))
    objective.resample()
    return {name: objective.sizes[name] for name in objective.batch}, {n: len(r) for n, r in objective.batch.items()}


@pytest.mark.parametrize(
    "problem", [cases.Heat(), cases.CoolingBlock(), more_cases.Maxwell()], ids=lambda p: type(p).__name__
)
def test_equations_have_rows_for_all_columns(problem):
    sizes, _ = sampled(problem, 200)
    rows = sum(sizes[name] for name, c in problem.conditions().items() if c.kind == "interior")
    factor = ROWS if len(problem.domain.names) < 3 else ROWS_IN_SPACE
    assert rows == pytest.approx(factor * 200 * len(problem.outputs), rel=0.02)


def test_each_side_has_points_for_what_is_independent_on_it():
    _, points = sampled(cases.CoolingBlock(), 495)  # polynomials of degree 8 in 4 coordinates, of which 165 on a side
    assert points["walls"] == pytest.approx(6 * 155, abs=8)  # the bound for all of 8 sides together: 2.5 * 495 / 8
    assert points["initial"] == 200  # n_face is more
    _, points = sampled(cases.Plate(), 1326)  # of degree 50 in 2 coordinates, of which 51 on a side
    assert points["rim"] == pytest.approx(1.5 * 51 * 4, abs=4)


def test_points_that_a_user_asks_for_on_sides_are_the_least():
    problem = cases.Heat()
    condition = problem.conditions()["start"]
    assert problem._count(condition, SamplerState(faces=2.0)) == 2 * problem.n_face
    many = type(condition)("face", condition.sides, points=50)
    assert problem._count(many, SamplerState(faces=0.01)) == 50


@pytest.mark.parametrize(
    ("problem", "linear"),
    [
        (cases.Heat(), True),
        (cases.Ball(), True),
        (cases.Schroedinger(), True),
        (cases.Bratu(), False),
        (cases.Lorenz(), False),
        (cases.Kovasznay(), False),
    ],
    ids=lambda v: type(v).__name__,
)
def test_linear_problems_are_told_from_others(problem, linear):
    objective = objective_of(problem)
    before = objective.theta()
    assert is_linear(objective, 0) is linear
    assert torch.equal(objective.theta(), before)


def test_a_term_that_is_small_makes_a_problem_nonlinear():
    class Nearly(cases.Heat):
        def balance(self, u, u_t, u_xx):
            return u_t - 0.1 * u_xx + 1e-6 * u**3

        balance.condition = cases.Heat.balance.condition

    assert not is_linear(objective_of(Nearly()), 0)


def test_sizes_are_told_from_few_rows():
    objective = objective_of(cases.Schroedinger())
    with torch.no_grad():
        whole = {name: r.numel() for name, r in objective.residuals().items()}
    assert objective.sizes == whole


@pytest.mark.parametrize("piece", [7, 64, 10**6])
def test_jacobians_and_residuals_are_the_same_in_pieces(piece):
    problem = cases.CoolingBlock()
    objective = objective_of(problem)
    objective.weights = Weights(balance(problem), {"initial": 3.0})
    objective.reweigh(0)
    theta = torch.randn(len(objective.theta()), generator=generator(0, "theta"), dtype=torch.float64)
    objective._piece = piece
    residual, jacobian = objective.jacobian(theta)
    assert torch.allclose(residual, objective.stacked(theta), rtol=1e-12)
    step = torch.randn(len(theta), generator=generator(1, "theta"), dtype=torch.float64)
    assert torch.allclose(residual + jacobian @ step, objective.stacked(theta + step), rtol=1e-9)
    by_rows = objective.jacobian_rows(theta, at_once=piece)[1].whole()
    assert torch.allclose(by_rows, jacobian, rtol=1e-12)


def test_points_at_once_follow_the_widest_layer():
    assert rows_at_once(objective_of(cases.Heat(), 40).system, 10**5) == 2**20 // 40
    assert rows_at_once(objective_of(cases.Heat(), 10000).system, 10**5) == 256
    assert rows_at_once(torch.sin, 10**5) == 10**5
