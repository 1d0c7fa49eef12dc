import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares, linear_maps
from nfsolve.optim import NystromNewtonCG
from tests.oracles import gauss_newton_product


def spread(p: int = 30) -> LeastSquares:
    """A linear problem whose Gauss-Newton matrix has a decaying spectrum."""
    source = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(torch.randn(40, p, dtype=torch.float64, generator=source))[0]
    matrix = left * torch.logspace(0, -4, p, dtype=torch.float64)
    right = torch.randn(40, dtype=torch.float64, generator=source)
    return LeastSquares(lambda q: matrix @ q["x"] - right, {"x": nn.Parameter(torch.zeros(p, dtype=torch.float64))})


def rosenbrock() -> LeastSquares:
    start = {"x": nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))}
    return LeastSquares(lambda q: torch.stack([10 * (q["x"][1] - q["x"][0] ** 2), 1 - q["x"][0]]), start)


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_the_first_step_solves_the_damped_newton_system(curvature):
    goal = spread()
    optimizer = NystromNewtonCG(goal.parameters, damping=1e-3, rank=10, cg_tolerance=1e-12, curvature=curvature)
    residual, jacobian = goal.jacobian(goal.theta())
    optimizer.step(goal)
    matrix = 2 * jacobian.T @ jacobian + 1e-3 * torch.eye(30, dtype=torch.float64)
    assert torch.allclose(goal.theta(), torch.linalg.solve(matrix, -2 * jacobian.T @ residual), rtol=1e-8)


def test_products_are_those_of_the_shared_function():
    goal = rosenbrock()
    theta, v = goal.theta().requires_grad_(), torch.tensor([0.3, -0.7], dtype=torch.float64)
    forward, backward = linear_maps(goal.stacked(theta), theta)
    apply = lambda v: 2 * backward(forward(v))  # noqa: E731
    for _ in range(2):
        assert torch.allclose(apply(v), 2 * gauss_newton_product(goal.stacked, theta.detach(), v), rtol=1e-12)


def test_the_sketch_saves_products():
    used = {}
    for rank in (1, 25):
        goal = spread()
        optimizer = NystromNewtonCG(goal.parameters, damping=1e-8, rank=rank, cg_tolerance=1e-8, cg_steps=1000)
        optimizer.step(goal)
        used[rank] = optimizer.state["shared"]["products"] - rank
    assert used[25] < 0.5 * used[1]


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_rosenbrock_converges_and_the_loss_never_rises(curvature):
    goal = rosenbrock()
    optimizer = NystromNewtonCG(goal.parameters, rank=2, curvature=curvature)
    losses = []
    while len(losses) < 100 and not optimizer.stop_reason:
        losses.append(float(optimizer.step(goal)))
    assert losses[-1] < 1e-16
    assert all(b <= a for a, b in zip(losses, losses[1:], strict=False))


def test_negative_curvature_still_descends():
    start = {"x": nn.Parameter(torch.tensor([0.1, 0.2], dtype=torch.float64))}
    goal = LeastSquares(lambda q: q["x"] ** 2 - 1, start)  # the Hessian of |r|^2 is negative near zero
    optimizer = NystromNewtonCG(goal.parameters, rank=2, curvature="hessian")
    for _ in range(30):
        optimizer.step(goal)
    assert torch.allclose(goal.theta(), torch.ones(2, dtype=torch.float64))


def test_sketches_are_made_when_they_should_be_and_the_seed_decides_them():
    sketches, paths = [], []
    for seed in (0, 0, 1):
        goal = spread()
        optimizer = NystromNewtonCG(goal.parameters, damping=1e-4, rank=3, refresh_every=4, cg_steps=2, seed=seed)
        last = None
        for step in range(9):
            optimizer.step(goal)
            now = optimizer.state["shared"]["vectors"]
            if now is not last and seed == 1:
                sketches.append(step)
            last = now
        paths.append(goal.theta())
    assert sketches == [0, 4, 8]
    assert torch.equal(paths[0], paths[1])
    assert not torch.equal(paths[0], paths[2])


def test_reasons_and_errors_are_worded():
    flat = LeastSquares(lambda q: q["x"] * 0 + 1, {"x": nn.Parameter(torch.ones(3, dtype=torch.float64))})
    optimizer = NystromNewtonCG(flat.parameters)
    optimizer.step(flat)
    assert optimizer.stop_reason == "converged: the gradient is zero"
    bad = LeastSquares(lambda q: q["x"] / 0.0, {"x": nn.Parameter(torch.ones(2, dtype=torch.float64))})
    optimizer = NystromNewtonCG(bad.parameters)
    optimizer.step(bad)
    assert optimizer.stop_reason == "non-finite residual or gradient: parameters unchanged"
    steep = LeastSquares(lambda q: q["x"] + 1e8, {"x": nn.Parameter(torch.full((1,), 1e-9, dtype=torch.float64))})
    optimizer = NystromNewtonCG(steep.parameters, damping=1e9, curvature="hessian")
    for _ in range(200):
        optimizer.step(steep)
        if optimizer.stop_reason:
            break
    assert optimizer.stop_reason.startswith(("line search failed: no damping up to", "converged"))
    with pytest.raises(TypeError, match="NystromNewtonCG got a function without residuals"):
        optimizer.step(lambda: torch.zeros(1))
    with pytest.raises(InputError, match="damping > 0"):
        NystromNewtonCG(flat.parameters, damping=0.0)
    with pytest.raises(InputError, match="rank, refresh_every and cg_steps of at least 1"):
        NystromNewtonCG(flat.parameters, rank=0)
    with pytest.raises(InputError, match="unknown curvature 'hesian': did you mean 'hessian'"):
        NystromNewtonCG(flat.parameters, curvature="hesian")
