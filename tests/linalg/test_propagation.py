import pytest
import torch

from nfsolve import InputError
from nfsolve.linalg.propagation import Propagation, Rows, correlations, weak_directions

SOURCE = torch.Generator().manual_seed(0)


def random(*shape):
    return torch.randn(*shape, generator=SOURCE, dtype=torch.float64)


@pytest.mark.parametrize(("exact", "noisy", "p"), [(0, 20, 5), (30, 20, 5), (3, 20, 5), (40, 6, 12), (2, 3, 8)])
def test_the_covariance_is_the_sandwich(exact, noisy, p):
    first, second, deviations = random(exact, p), random(noisy, p), random(noisy).abs() + 0.1
    prior = torch.full((p,), 0.3, dtype=torch.float64)
    root = Propagation(Rows(first, second), prior).root(deviations, 0.7)
    inverse = torch.linalg.inv(first.T @ first + second.T @ second + prior.square().diag())
    middle = (second.T * deviations.square()) @ second + 0.49 * prior.square().diag()
    torch.testing.assert_close(root @ root.T, inverse @ middle @ inverse)


def test_the_inverse_of_the_normal_matrix():
    first, second, prior, g = random(30, 5), random(20, 5), torch.full((5,), 0.3, dtype=torch.float64), random(5)
    expected = torch.linalg.solve(first.T @ first + second.T @ second + prior.square().diag(), g)
    torch.testing.assert_close(Propagation(Rows(first, second), prior).solve(g), expected)


def test_constraints_give_the_reduced_covariance():
    noisy, constraint = random(20, 3), 1e6 * torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64)
    root = Propagation(Rows(constraint, noisy), torch.zeros(3, dtype=torch.float64)).root(torch.ones(20).double(), 0.0)
    basis = torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64)  # of what the constraint leaves
    reduced = basis @ torch.linalg.inv((noisy @ basis).T @ (noisy @ basis)) @ basis.T
    torch.testing.assert_close(root @ root.T, reduced, rtol=1e-5, atol=1e-8)


def test_degrees_of_freedom_of_a_plain_fit():
    solved = Propagation(Rows(random(0, 4), random(20, 4)), torch.zeros(4, dtype=torch.float64))
    assert solved.freedom(slice(None)) == pytest.approx(16)


def test_columns_of_any_size_keep_their_digits():
    sizes = torch.tensor([1e-9, 1.0, 1e9], dtype=torch.float64)
    noisy, ones = random(20, 3), torch.ones(20, dtype=torch.float64)
    plain = Propagation(Rows(random(0, 3), noisy), torch.zeros(3, dtype=torch.float64)).root(ones, 0.0)
    scaled = Propagation(Rows(random(0, 3), noisy * sizes), torch.zeros(3, dtype=torch.float64)).root(ones, 0.0)
    torch.testing.assert_close(plain.norm(dim=1), scaled.norm(dim=1) * sizes)


def test_correlations_and_weak_directions():
    root = torch.tensor([[1.0, 0.0], [-1.0, 0.001]], dtype=torch.float64)
    assert correlations(root)[0, 1] == pytest.approx(-1, abs=1e-5)
    ((deviation, direction),) = weak_directions(root, torch.ones(2, dtype=torch.float64), 0.5)
    assert deviation == pytest.approx(2**0.5, rel=1e-5)
    assert abs(direction[0] + direction[1]) < 1e-3


def test_a_jacobian_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="must be finite"):
        Rows(random(0, 2), torch.full((3, 2), torch.nan).double())


def test_groups_have_the_covariance_and_freedom_of_their_rows():
    exact, noisy, prior = random(30, 5), random(40, 5), torch.full((5,), 0.3, dtype=torch.float64)
    groups = [slice(0, 24, 2), slice(1, 24, 2), slice(24, 40)]
    deviations = torch.ones(40, dtype=torch.float64)
    deviations[1:24:2], deviations[24:] = 3.0, random(16).abs() + 0.1
    solved = Propagation(Rows(exact, noisy, groups), prior, weight=2.0)
    inverse = torch.linalg.inv(4 * exact.T @ exact + noisy.T @ noisy + prior.square().diag())
    middle = (noisy.T * deviations.square()) @ noisy + 0.49 * prior.square().diag()
    root = solved.root(deviations, 0.7)
    torch.testing.assert_close(root @ root.T, inverse @ middle @ inverse)
    for group in groups:
        left = torch.eye(len(noisy[group]), dtype=torch.float64) - noisy[group] @ inverse @ noisy[group].T
        assert solved.freedom(group) == pytest.approx(float(left.square().sum()))
    measured = noisy[:24]
    torch.testing.assert_close(solved.rows.length(root, groups[:2]), (measured @ root).norm())
