import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.optim import SSBFGS, SSBroyden
from nfsolve.optim.line_search import Point, strong_wolfe
from nfsolve.optim.self_scaled import broyden_factors, rank_two


def rosenbrock(n: int = 2) -> LeastSquares:
    start = {"x": nn.Parameter(torch.tensor([-1.2, 1.0] * (n // 2), dtype=torch.float64))}

    def residual(q):
        x = q["x"]
        return torch.cat([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])

    return LeastSquares(residual, start)


def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[1:] += 200 * a
    gradient[:-1] += -400 * a * x[:-1] - 2 * b
    return float(100 * a @ a + b @ b), gradient


def oracle(x: np.ndarray, steps: int, update, first_scaling: bool) -> list[np.ndarray]:
    """Quasi-Newton with the formulas as they are printed, on the same line search."""
    h, path = np.eye(len(x)), []
    f, g = value_and_gradient(x)
    for k in range(steps):
        d = -h @ g

        def at(length, x=x, d=d):
            value, gradient = value_and_gradient(x + length * d)
            return Point(length, value, float(gradient @ d), torch.from_numpy(gradient))

        found = strong_wolfe(
            at, Point(0.0, f, float(g @ d), torch.from_numpy(g)), 1.0 if k else min(1, 1 / np.linalg.norm(d))
        )
        new = found.gradient.numpy()
        h = update(h, found.length, found.length * d, new - g, g, first_scaling and k == 0)
        x, f, g = x + found.length * d, found.value, new
        path.append(x)
    return path


def broyden(h, alpha, s, y, g, first):
    n, ys = len(s), y @ s
    hy = h @ y
    yhy = y @ hy
    b, hk = -alpha * (s @ g) / ys, yhy / ys
    a = hk * b - 1
    c = math.sqrt(a / (1 + a))
    rho = min(1, hk * (1 - c))
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + a * theta
    spread = sigma ** (-1 / (n - 1))
    tau = min(1, 1 / b) * min(spread, 1 / theta) if theta > 0 else min(min(1, 1 / b) * spread, sigma)
    tau = hk / sigma if first else tau
    phi = (1 - theta) / sigma
    v = math.sqrt(yhy) * (s / ys - hy / yhy)
    return (h - np.outer(hy, hy) / yhy + phi * np.outer(v, v)) / tau + np.outer(s, s) / ys


def bfgs(h, alpha, s, y, g, first):
    rho, one = 1 / (y @ s), np.eye(len(s))
    return (one - rho * np.outer(s, y)) @ h @ (one - rho * np.outer(y, s)) + rho * np.outer(s, s)


def scaled_bfgs(h, alpha, s, y, g, first):
    hy, ys = h @ y, y @ s
    tau = (y @ hy) / ys if first else min(1, ys / (s @ np.linalg.solve(h, s)))
    v = s / ys - hy / (y @ hy)
    return (h - np.outer(hy, hy) / (y @ hy) + (y @ hy) * np.outer(v, v)) / tau + np.outer(s, s) / ys


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("made", "update"), [(SSBroyden, broyden), (SSBFGS, scaled_bfgs)])
def test_twenty_steps_are_those_of_the_printed_formulas(made, update, first):
    goal = rosenbrock(8)
    optimizer = made(goal.parameters, initial_scaling=first)
    for expected in oracle(goal.theta().numpy(), 20, update, first):
        optimizer.step(goal)
        assert np.allclose(goal.theta().numpy(), expected, rtol=1e-6)


def test_without_scaling_ssbfgs_is_bfgs():
    goal = rosenbrock(8)
    optimizer = SSBFGS(goal.parameters, scaling=False, initial_scaling=False)
    for expected in oracle(goal.theta().numpy(), 20, bfgs, False):
        optimizer.step(goal)
        assert np.allclose(goal.theta().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("made", [SSBroyden, SSBFGS])
def test_rosenbrock_is_solved_and_h_stays_symmetric_positive_definite_and_meets_the_secant_equation(made):
    goal = rosenbrock(6)
    optimizer = made(goal.parameters)
    losses = []
    for step in range(100):
        before = {k: v.clone() for k, v in optimizer.state["shared"].items() if isinstance(v, torch.Tensor)}
        theta = goal.theta()
        losses.append(float(optimizer.step(goal)))
        if optimizer.stop_reason or losses[-1] < 1e-20:
            break
        state = optimizer.state["shared"]
        if step and state["updates"]:
            h = state["inverse"]
            s, y = goal.theta() - theta, state["gradient"] - before["gradient"]
            assert (h @ y - s).norm() < 1e-6 * s.norm()
            assert torch.allclose(h, h.T, rtol=0, atol=1e-13 * float(h.abs().max()))
            assert torch.linalg.eigvalsh(h)[0] > 0
            assert torch.allclose(state["direction"], -h @ state["gradient"], rtol=1e-6)
    assert losses[-1] < 1e-20
    assert all(b <= a for a, b in zip(losses, losses[1:], strict=False))


def test_accepted_points_meet_the_strong_wolfe_conditions():
    goal = rosenbrock(10)
    optimizer = SSBroyden(goal.parameters, c1=1e-3, c2=0.5)
    goal_value = float(goal.loss().detach())
    assert goal_value > 1
    for _ in range(40):
        theta = goal.theta().numpy()
        f, g = value_and_gradient(theta)
        optimizer.step(goal)
        if optimizer.stop_reason:
            break
        s = goal.theta().numpy() - theta
        after, slope = value_and_gradient(theta + s)
        assert after <= f + 1e-3 * (g @ s) * (1 - 1e-9)
        assert abs(slope @ s) <= 0.5 * abs(g @ s) * (1 + 1e-9)


@pytest.mark.parametrize("first", [1e-4, 0.3, 1.0, 50.0, 1e6])
@pytest.mark.parametrize("name", ["exp", "wall", "wavy"])
def test_the_line_search_finds_wolfe_points_from_any_first_trial(name, first):
    functions = {
        "exp": lambda t: math.exp(min(t, 50)) - 3 * t,
        "wall": lambda t: math.inf if t > 2 else (t - 1) ** 2 + 0.1 * t,
        "wavy": lambda t: -t / (t * t + 2) + 0.01 * math.sin(5 * t),
    }
    f, asked = functions[name], []

    def at(t):
        asked.append(t)
        slope = (f(t + 1e-7) - f(t - 1e-7)) / 2e-7
        return Point(t, f(t), slope, torch.zeros(1))

    start = at(0.0)
    found = strong_wolfe(at, start, first, 1e-4, 0.1, 60)
    assert found is not None
    assert found.value <= start.value + 1e-4 * found.length * start.slope
    assert abs(found.slope) <= 0.1 * abs(start.slope)
    assert len(set(asked)) == len(asked)


def test_the_line_search_gives_up_within_its_limit():
    count = []

    def at(t):
        count.append(t)
        return Point(t, 1.0 + t, -1.0, torch.zeros(1))

    assert strong_wolfe(at, Point(0.0, 1.0, -1.0, torch.zeros(1)), 1.0, limit=7) is None
    assert len(count) == 7
    far = strong_wolfe(lambda t: Point(t, -t, -1.0, torch.zeros(1)), Point(0.0, 0.0, -1.0, torch.zeros(1)), limit=5)
    assert far is not None and far.value < 0


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 100), st.floats(1e-6, 100), st.integers(1, 50))
def test_tau_and_phi_keep_positive_definiteness(b, extra, n):
    h = (1 + extra) / b
    tau, phi, first = broyden_factors(b, h, n)
    assert tau > 0 and first > 0
    # the update stays positive definite where 1 + a theta > 0, that is phi > -1 / a
    assert phi > -1 / (b * h - 1)


def test_the_rank_two_form_is_the_update_for_steps_of_any_size():
    source = torch.Generator().manual_seed(0)
    h = torch.randn(5, 5, dtype=torch.float64, generator=source)
    h = h @ h.T + torch.eye(5)
    s, y = (torch.randn(5, dtype=torch.float64, generator=source) for _ in range(2))
    y = y if y @ s > 0 else -y
    for size in (1.0, 1e-7):
        hy = h @ y
        ys, yhy = float(y @ (size * s)), float(y @ hy)
        factors, signs = rank_two(size * s, hy, ys, yhy, 0.7, 0.4)
        v = size * s / ys - hy / yhy
        expected = (h - torch.outer(hy, hy) / yhy + 0.4 * yhy * torch.outer(v, v)) / 0.7
        expected += torch.outer(size * s, size * s) / ys
        assert torch.allclose(h / 0.7 + (factors * signs) @ factors.T, expected, rtol=1e-12)


def test_new_points_refresh_loss_and_gradient_and_keep_h():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    start = {"a": nn.Parameter(torch.tensor([1.0, 0.3, 0.2], dtype=torch.float64))}
    goal = LeastSquares(lambda q: q["a"][0] * torch.exp(-q["a"][1] * x) + q["a"][2] * x - 2, start)
    optimizer = SSBroyden(goal.parameters)
    for _ in range(4):
        optimizer.step(goal)
    kept = optimizer.state["shared"]["inverse"].clone()
    x += 0.05
    shared = optimizer.state["shared"]
    optimizer._refresh(goal, shared, goal.theta())
    assert shared["loss"] == float(goal())
    assert torch.equal(shared["gradient"], goal.parameters[0].grad)
    assert torch.equal(shared["direction"], -(kept @ shared["gradient"]))
    evaluations = goal.evaluations
    optimizer._refresh(goal, shared, goal.theta())
    assert goal.evaluations == evaluations + 1  # the loss alone


def test_a_plain_closure_and_unused_and_complex_parameters_work():
    z = nn.Parameter(torch.tensor([1.0 + 2.0j], dtype=torch.complex128))
    unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = SSBroyden([z, unused])

    def closure():
        optimizer.zero_grad()
        loss = ((z.real - 3) ** 2 + 10 * (z.imag + z.real) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    assert torch.allclose(z.detach(), torch.tensor([3.0 - 3.0j], dtype=torch.complex128))
    assert unused.tolist() == [1.0, 1.0]


def test_a_state_that_was_given_away_stays_what_it_was():
    goal = rosenbrock()
    optimizer = SSBroyden(goal.parameters)
    for _ in range(3):
        optimizer.step(goal)
    state = optimizer.state_dict()
    kept = copy.deepcopy(state)
    again = SSBroyden(goal.parameters)
    again.load_state_dict(state)
    again.step(goal)
    assert torch.equal(kept["state"]["shared"]["inverse"], state["state"]["shared"]["inverse"])


def test_reasons_and_refusals_are_worded():
    goal = rosenbrock()
    optimizer = SSBroyden(goal.parameters)
    while not optimizer.stop_reason:
        optimizer.step(goal)
    assert optimizer.stop_reason.startswith(("converged: the gradient is zero", "line search failed"))
    easy = rosenbrock()
    loose = SSBroyden(easy.parameters, tolerance=1e9)
    loose.step(easy)
    assert loose.stop_reason == "converged: the gradient is 2.2e+02 in its largest entry"
    assert easy.theta().tolist() == [-1.2, 1.0]
    bad = LeastSquares(lambda q: q["x"] / 0.0, {"x": nn.Parameter(torch.ones(2, dtype=torch.float64))})
    made = SSBroyden(bad.parameters)
    made.step(bad)
    assert made.stop_reason == "non-finite loss or gradient: parameters unchanged"
    climbing = nn.Parameter(torch.ones(1, dtype=torch.float64))
    wrong = SSBroyden([climbing])

    def closure():
        climbing.grad = torch.ones_like(climbing)
        return -climbing.detach().sum()

    wrong.step(closure)
    assert wrong.stop_reason.startswith("line search failed: no step along the gradient lowers the loss -1.000e+00")
    assert climbing.item() == 1.0
    with pytest.raises(
        InputError, match="SSBFGS needs float64.*got float32 parameters. Build the field with dtype float64"
    ):
        SSBFGS([nn.Parameter(torch.ones(1))])
    with pytest.raises(
        InputError, match="SSBroyden keeps an inverse Hessian in at most .*, and 7000 parameters need 392,000,000"
    ):
        SSBroyden([nn.Parameter(torch.ones(7000, dtype=torch.float64))])
    with pytest.raises(InputError, match="0 < c1 < c2 < 1"):
        SSBroyden(goal.parameters, c1=0.9, c2=0.1)
    with pytest.raises(InputError, match="needs one parameter group"):
        SSBroyden([{"params": [p]} for p in (nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1)))])
    with pytest.raises(TypeError, match="SSBroyden got no closure"):
        optimizer.step()
