import gc

import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares
from nfsolve.optim import ESGD


def quadratic() -> tuple[LeastSquares, torch.Tensor]:
    source = torch.Generator().manual_seed(2)
    matrix = torch.randn(6, 4, dtype=torch.float64, generator=source)
    start = {"x": nn.Parameter(torch.ones(4, dtype=torch.float64))}
    return LeastSquares(lambda q: matrix @ q["x"], start), 2 * matrix.T @ matrix


def test_the_curvature_estimate_converges_to_the_row_norms_of_the_hessian():
    goal, hessian = quadratic()
    n = 1500
    made = ESGD(goal.parameters, lr=1e-12, beta2=1 - 1e-9, refresh_every=1, warmup=0)
    for _ in range(n):
        made.step(goal)
    # with beta2 this close to 1 the corrected average is the arithmetic mean
    mean = made.state[goal.parameters[0]]["curvature"] / (1 - (1 - 1e-9) ** n)
    rows = hessian.square().sum(1)
    variance = 2 * (rows**2 - hessian.pow(4).sum(1))  # of one Rademacher probe
    assert ((mean - rows).abs() <= 3.5 * (variance / n).sqrt() + 1e-6 * rows).all()


def test_products_are_refreshed_when_they_should_be():
    goal, _ = quadratic()
    made = ESGD(goal.parameters, lr=1e-3, refresh_every=5, warmup=3)
    refreshed = []
    for step in range(14):
        before = made.state["shared"]["refreshes"]
        made.step(goal)
        if made.state["shared"]["refreshes"] > before:
            refreshed.append(step)
    assert refreshed == [0, 1, 2, 7, 12]


def test_the_same_seed_gives_the_same_path_and_another_does_not():
    paths = []
    for seed in (0, 0, 1):
        goal, _ = quadratic()
        made = ESGD(goal.parameters, lr=1e-2, seed=seed)
        for _ in range(5):
            made.step(goal)
        paths.append(goal.theta())
    assert torch.equal(paths[0], paths[1])
    assert not torch.equal(paths[0], paths[2])


def test_memory_does_not_grow():
    goal, _ = quadratic()
    made = ESGD(goal.parameters, lr=1e-3, refresh_every=2, warmup=5)

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    for _ in range(10):
        made.step(goal)
    before = tensors()
    for _ in range(500):
        made.step(goal)
    assert tensors() <= before + 2


def test_mistakes_are_worded():
    goal, _ = quadratic()
    with pytest.raises(TypeError, match=r"ESGD got a closure without loss\(\)"):
        ESGD(goal.parameters).step(lambda: torch.zeros(1))
    with pytest.raises(InputError, match="lr >= 0"):
        ESGD(goal.parameters, lr=-1.0)
    with pytest.raises(InputError, match="refresh_every >= 1"):
        ESGD(goal.parameters, refresh_every=0)
