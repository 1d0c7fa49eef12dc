"""The affine map nearest to an operator: against least squares, and its error against leaving functions out in turn."""

import pytest
import torch

from nfsolve.fields.affine import affine


def pairs(n: int, m: int, p: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    x, w, e = (torch.randn(*s, generator=chance, dtype=torch.float64) for s in ((n, m), (m, p), (n, p)))
    return x, x @ w + 3 + noise * e


def test_affine_operators_are_found():
    x, y = pairs(30, 5, 4, 0.0)
    found = affine(x, y)
    assert found is not None and found.error < 1e-10
    assert torch.allclose(x @ found.weight + found.bias, y, atol=1e-9)


@pytest.mark.parametrize("n", [12, 40])
def test_the_error_is_that_of_functions_left_out(n):
    x, y = pairs(n, 8, 3, 0.5)
    found = affine(x, y)
    assert found is not None
    # the damping that was chosen, found again from the shrinkage of the map
    best = min(left_out(x, y, damping) for damping in torch.logspace(-2, 2, 30, dtype=torch.float64).tolist())
    assert found.size == pytest.approx(best, rel=0.05)
    assert found.error == pytest.approx(found.size / float((y - y.mean(0)).square().mean().sqrt()))


def left_out(x: torch.Tensor, y: torch.Tensor, damping: float) -> float:
    gaps, eye = [], damping * torch.eye(x.shape[1], dtype=torch.float64)
    for i in range(len(x)):
        rest = torch.arange(len(x)) != i
        a, b = x[rest] - x[rest].mean(0), y[rest] - y[rest].mean(0)
        w = torch.linalg.solve(a.T @ a + eye, a.T @ b)
        gaps.append(y[i] - y[rest].mean(0) - (x[i] - x[rest].mean(0)) @ w)
    return float(torch.stack(gaps).square().mean().sqrt())


def test_what_cannot_be_fitted_is_left_alone():
    x, y = pairs(30, 5, 4, 0.0)
    assert affine(x[:3], y[:3]) is None
    assert affine(x, y * torch.nan) is None
    assert affine(x, torch.ones_like(y)) is None
    assert affine(torch.zeros_like(x), y) is None
