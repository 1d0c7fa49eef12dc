import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.optim import GaussNewton


def linear(n: int = 20, p: int = 5) -> tuple[LeastSquares, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    matrix = torch.randn(n, p, dtype=torch.float64, generator=source)
    right = torch.randn(n, dtype=torch.float64, generator=source)
    start = {"x": nn.Parameter(torch.zeros(p, dtype=torch.float64))}
    return LeastSquares(lambda q: matrix @ q["x"] - right, start), torch.linalg.lstsq(matrix, right).solution


def test_a_linear_problem_takes_one_step():
    goal, solution = linear()
    GaussNewton(goal.parameters, damping=1e-13).step(goal)
    assert torch.allclose(goal.theta(), solution, rtol=1e-8)


def test_more_parameters_than_residuals_are_solved_in_the_smaller_form():
    goal, _ = linear(4, 9)
    made = GaussNewton(goal.parameters, damping=1e-12)
    made.step(goal)
    assert float(goal.loss().detach()) < 1e-15


def test_both_forms_give_the_same_step():
    from nfsolve.optim.gauss_newton import _Model

    goal, _ = linear(7, 7)
    residual, jacobian = goal.jacobian(goal.theta())
    scaling = jacobian.square().sum(0)
    narrow = _Model(residual, jacobian, jacobian.T @ residual, scaling)
    wide = _Model(residual, jacobian, jacobian.T @ residual, scaling)
    wide.wide, wide.weighted = True, jacobian / scaling
    wide.gram = wide.weighted @ jacobian.T
    for damping in (1e-3, 1.0):
        steps = [m.step(goal, goal.theta(), damping, 0.0).step for m in (narrow, wide)]
        assert torch.allclose(*steps, rtol=1e-8)


def rosenbrock() -> LeastSquares:
    start = {"x": nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))}
    return LeastSquares(lambda q: torch.stack([10 * (q["x"][1] - q["x"][0] ** 2), 1 - q["x"][0]]), start)


@pytest.mark.parametrize("acceleration", [0.0, 0.75])
def test_rosenbrock_converges_and_every_step_lowers_the_loss(acceleration):
    goal = rosenbrock()
    made = GaussNewton(goal.parameters, acceleration=acceleration)
    losses = []
    while not made.stop_reason and len(losses) < 200:
        losses.append(float(made.step(goal)))
    assert losses[-1] < 1e-20
    assert all(b < a for a, b in zip(losses[:-1], losses[1:-1], strict=False))


def test_geodesic_acceleration_saves_steps_on_rosenbrock():
    steps = {}
    for acceleration in (0.0, 0.75):
        goal = rosenbrock()
        made = GaussNewton(goal.parameters, acceleration=acceleration)
        steps[acceleration] = next(i for i in range(500) if float(made.step(goal)) < 1e-12)
    assert steps[0.75] < steps[0.0]


def test_a_rank_deficient_jacobian_is_survived():
    x = torch.linspace(0, 1, 10, dtype=torch.float64)
    start = {name: nn.Parameter(torch.zeros(1, dtype=torch.float64)) for name in "ab"}
    goal = LeastSquares(lambda q: (q["a"] + q["b"]) * x - 2 * x, start)
    made = GaussNewton(goal.parameters)
    for _ in range(15):
        made.step(goal)
    assert float(goal.loss().detach()) < 1e-12


def test_a_residual_that_is_not_finite_leaves_the_parameters_and_says_so():
    start = {"a": nn.Parameter(torch.ones(2, dtype=torch.float64))}
    goal = LeastSquares(lambda q: q["a"] / 0.0 * 0.0, start)
    made = GaussNewton(goal.parameters)
    made.step(goal)
    assert made.stop_reason == "non-finite residual: parameters unchanged"
    assert goal.theta().tolist() == [1.0, 1.0]


def test_a_step_into_nan_is_refused_and_the_damping_grows():
    start = {"a": nn.Parameter(torch.tensor([0.1], dtype=torch.float64))}
    goal = LeastSquares(lambda q: torch.log(q["a"]) + 3, start)  # a full step from 1 would make a negative
    start["a"].data.fill_(5.0)
    made = GaussNewton(goal.parameters, damping=1e-9)
    for _ in range(30):
        made.step(goal)
    assert float(goal.theta()) == pytest.approx(2.718281828459045**-3, rel=1e-6)


def test_reasons_and_errors_are_worded():
    goal, _ = linear()
    goal.assign(torch.zeros_like(goal.theta()))
    flat = LeastSquares(lambda q: q["x"] * 0 + 1, {"x": nn.Parameter(torch.ones(3, dtype=torch.float64))})
    made = GaussNewton(flat.parameters)
    made.step(flat)
    assert made.stop_reason == "converged: the gradient is zero"
    with pytest.raises(TypeError, match="GaussNewton got a function without residuals"):
        GaussNewton(goal.parameters).step(lambda: torch.zeros(1))
    with pytest.raises(
        InputError, match="a Jacobian of 20 residuals by 5 parameters.*use fewer points|Use fewer points"
    ):
        GaussNewton(goal.parameters, max_bytes=100.0).step(goal)
    with pytest.raises(InputError, match="damping and max_bytes > 0"):
        GaussNewton(goal.parameters, damping=-1.0)
    with pytest.raises(InputError, match="2 parameter groups"):
        GaussNewton([{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))]}])
