"""Least squares by orthogonal triangularization, against the singular value decomposition."""

import pytest
import torch

from nfsolve.linalg.qr import ScaledQR, TallQR, least_squares


def _case(n, p, condition=1.0):
    chance = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(n, min(n, p), generator=chance, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(p, min(n, p), generator=chance, dtype=torch.float64))
    s = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), min(n, p), dtype=torch.float64)
    return (u * s) @ v.T, torch.randn(n, generator=chance, dtype=torch.float64), (u, s, v)


@pytest.mark.parametrize("shape", [(40, 12), (12, 12), (8, 12), (200, 150), (140, 130)])
@pytest.mark.parametrize("damping", [1e-1, 1e-4, 1e-12])
def test_the_damped_solution_is_that_of_the_singular_values(shape, damping):
    a, b, (u, s, v) = _case(*shape, 1e3)
    rows = TallQR(a)
    exact = v @ (s / (s**2 + damping) * (u.T @ b))
    assert torch.allclose(rows.damped(damping).solve(rows.project(b)), exact, rtol=1e-8)


def test_it_keeps_digits_that_normal_equations_lose():
    a, _, _ = _case(200, 30, 1e10)
    x = torch.ones(30, dtype=torch.float64)
    b = a @ x
    rows = TallQR(a)
    found = rows.damped(1e-32).solve(rows.project(b))
    gram = torch.linalg.solve(a.T @ a + 1e-32 * torch.eye(30).double(), a.T @ b)
    assert (found - x).norm() < 1e-4 < (gram - x).norm()


def test_a_matrix_that_comes_again_is_not_factored_again():
    factors = ScaledQR()
    a, b, _ = _case(40, 12, 1e3)
    other = a + 1e-6 * torch.ones_like(a)
    first = factors.of(a)
    assert not factors.again
    assert factors.of(a * (1 + 1e-15)) is first and factors.again
    assert factors.of(other) is not first and not factors.again
    assert factors.of(other[:, :10]) is not first and not factors.again
    for matrix in (a, a, other):
        assert torch.equal(least_squares(matrix, b, factors=factors), least_squares(matrix, b))
    factors.of(a)
    factors.forget()
    factors.of(a)
    assert not factors.again
