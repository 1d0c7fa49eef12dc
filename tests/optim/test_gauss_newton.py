import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import Jacobian, LeastSquares
from nfsolve.optim import GaussNewton
from nfsolve.optim.linearized import MatrixFreeForm, ParameterForm, SampleForm


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


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_all_three_forms_give_the_same_steps(momentum):
    ends = []
    for form in ("parameters", "samples", "matrix_free"):
        x = torch.linspace(0, 1, 9, dtype=torch.float64)
        start = {n: nn.Parameter(torch.tensor([v], dtype=torch.float64)) for n, v in (("a", 1.0), ("k", 0.3))}
        goal = LeastSquares(lambda q, x=x: q["a"] * torch.exp(-q["k"] * x) - 2 * torch.exp(-1.5 * x), start)
        made = GaussNewton(goal.parameters, form=form, momentum=momentum, cg_tolerance=1e-13)
        for _ in range(3):
            # the estimate of diag(J^T J) would make D another one
            made.state["shared"]["scaling"] = torch.full((2,), 50.0, dtype=torch.float64)
            made.step(goal)
        ends.append(goal.theta())
    assert torch.allclose(ends[0], ends[1], rtol=1e-8)
    assert torch.allclose(ends[0], ends[2], rtol=1e-8)


def test_a_damped_step_solves_the_damped_problem_around_the_shift():
    source = torch.Generator().manual_seed(3)
    jacobian = torch.randn(8, 4, dtype=torch.float64, generator=source)
    rows, shift = torch.randn(8, dtype=torch.float64, generator=source), torch.ones(4, dtype=torch.float64)
    for form in (ParameterForm, SampleForm):
        model = form(rows, Jacobian.of(jacobian))
        model.shift = shift
        model.factor(0.3)
        scaling = jacobian.square().sum(0)
        stacked = torch.cat([jacobian, torch.diag((0.3 * scaling).sqrt())])
        right = torch.cat([-rows, (0.3 * scaling).sqrt() * shift])
        assert torch.allclose(model.solve(rows), torch.linalg.lstsq(stacked, right[:, None]).solution[:, 0], rtol=1e-9)


def test_the_matrix_free_form_estimates_the_diagonal():
    goal, _ = linear(200, 3)
    theta = goal.theta()
    jacobian = goal.jacobian(theta)[1]
    model = MatrixFreeForm(goal, theta, torch.Generator().manual_seed(0), 1e-3, 10)
    assert torch.allclose(model.columns, jacobian.square().sum(0), rtol=1.0)
    assert torch.allclose(model.forward(theta + 1), jacobian @ (theta + 1))


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
        made = GaussNewton(goal.parameters, acceleration=acceleration, corrections=0)
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
    assert made.stop_reason == "converged: gradient norm 0.0e+00, the residual is orthogonal to the Jacobian"
    with pytest.raises(TypeError, match="GaussNewton got a function without residuals"):
        GaussNewton(goal.parameters).step(lambda: torch.zeros(1))
    with pytest.raises(
        InputError, match="form 'parameters' for 20 residuals and 5 parameters takes.*form 'matrix_free'"
    ):
        GaussNewton(goal.parameters, form="parameters", max_bytes=100.0).step(goal)
    with pytest.raises(InputError, match="unknown form 'sample'"):
        GaussNewton(goal.parameters, form="sample")
    with pytest.raises(InputError, match="an objective with other parameters"):
        GaussNewton(flat.parameters).step(goal)
    with pytest.raises(InputError, match="needs damping and max_bytes > 0"):
        GaussNewton(goal.parameters, damping=-1.0)
    with pytest.raises(InputError, match="needs one parameter group"):
        GaussNewton([{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))]}])


def _ill_conditioned() -> LeastSquares:
    """A linear fit whose matrix has the condition number 1e10: of J^T J it is 1e20."""
    chance = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(60, 12, generator=chance, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(12, 12, generator=chance, dtype=torch.float64))
    a = (u * torch.logspace(0, -10, 12, dtype=torch.float64)) @ v.T
    goal = a @ torch.ones(12, dtype=torch.float64)
    return LeastSquares(lambda p: a @ p["x"] - goal, {"x": nn.Parameter(torch.zeros(12, dtype=torch.float64))})


@pytest.mark.parametrize(("form", "reached"), [("qr", 1e-28), ("auto", 1e-28)])
def test_triangularization_keeps_the_digits_that_the_gram_matrix_loses(form, reached):
    def train(form: str) -> float:
        objective = _ill_conditioned()
        made = GaussNewton(objective.parameters, form=form)
        for _ in range(60):
            made.step(objective)
            if made.stop_reason:
                break
        return float(objective.loss().detach())

    assert train(form) < reached
    assert train("parameters") > 1e3 * train(form)


def exponentials():
    """A sum of two exponentials with unknown rates and amplitudes."""
    t = torch.linspace(0, 4, 60, dtype=torch.float64)
    y = 2 * torch.exp(-0.5 * t) + torch.exp(-3 * t)
    start = {
        "rates": nn.Parameter(torch.tensor([0.1, 1.0], dtype=torch.float64)),
        "last.weight": nn.Parameter(torch.zeros(2, dtype=torch.float64)),
    }
    return LeastSquares(lambda p: (torch.exp(-t[:, None] * p["rates"]) @ p["last.weight"] - y) / 60**0.5, start), t, y


def test_linear_parameters_are_projected_out():
    """With next to no damping of linear parameters a first step ends where these are best for the others."""
    goal, t, y = exponentials()
    optimizer = GaussNewton(goal.parameters, damping=1.0, acceleration=0, corrections=0, form="qr", linear="last")
    optimizer.step(goal)
    basis = torch.exp(-t[:, None] * torch.tensor([0.1, 1.0], dtype=torch.float64))  # amplitudes of zero move no rates
    best = torch.linalg.lstsq(basis, y[:, None]).solution[:, 0]
    torch.testing.assert_close(goal.unflatten(goal.theta())["last.weight"], best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["parameters", "qr", "samples", "matrix_free"])
def test_variable_projection_finds_what_damping_all_finds(form):
    """Rates and amplitudes are found in every form."""
    goal, _, _ = exponentials()
    optimizer = GaussNewton(goal.parameters, form=form, linear="last")
    for _ in range(60):
        optimizer.step(goal)
    found = goal.unflatten(goal.theta())["rates"].sort().values
    torch.testing.assert_close(found, torch.tensor([0.5, 3.0], dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_a_part_that_is_not_there_is_named():
    """A misspelt part of the parameters is refused with those that there are."""
    goal, _, _ = exponentials()
    with pytest.raises(InputError, match="part of the parameters 'lest'.*last"):
        GaussNewton(goal.parameters, linear="lest").step(goal)
