import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import SingularMatrix, cholesky_solve, damped_cholesky, flatten, gram, pcg, unflatten


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("columns", [7, 300])
def test_the_gram_matrix_is_right_in_its_lower_triangle_and_float64(columns):
    matrix = random(40, columns)
    assert torch.allclose(gram(matrix).tril(), (matrix.T @ matrix).tril(), rtol=1e-12, atol=1e-12)
    assert gram(matrix.float()).dtype == torch.float64


def test_damped_solves_agree_with_a_dense_solve():
    matrix, scale, right = random(30, 12), random(12, seed=1).abs() + 0.1, random(12, seed=2)
    full = matrix.T @ matrix
    expected = torch.linalg.solve(full + 0.3 * torch.diag(scale), right)
    factor, used = damped_cholesky(full, 0.3, scale)
    assert used == 0.3
    assert torch.allclose(cholesky_solve(factor, right), expected, rtol=1e-10)
    many = cholesky_solve(factor, right[:, None].expand(12, 3))
    assert torch.allclose(many, expected[:, None].expand(12, 3), rtol=1e-10)


def test_a_rank_deficient_matrix_gets_more_damping_and_a_nan_is_worded():
    column = random(9, 1)
    matrix = torch.cat([column, column], 1)
    factor, used = damped_cholesky(matrix.T @ matrix, 0.0)
    assert used > 0
    assert torch.isfinite(factor).all()
    with pytest.raises(SingularMatrix, match="2 x 2 matrix with entries that are not finite"):
        damped_cholesky(torch.full((2, 2), float("nan"), dtype=torch.float64), 1.0)
    with pytest.raises(SingularMatrix, match="not positive definite"):
        damped_cholesky(-torch.eye(2, dtype=torch.float64), 0.0)


def test_conjugate_gradients_solve_and_a_preconditioner_saves_steps():
    spread = torch.diag(torch.logspace(0, 5, 40, dtype=torch.float64))
    coupling = random(40, 40)
    matrix = spread + 0.1 * coupling @ coupling.T
    right = random(40)
    plain = pcg(lambda v: matrix @ v, right, max_steps=400)
    scaled = pcg(lambda v: matrix @ v, right, preconditioner=lambda v: v / matrix.diagonal())
    assert torch.allclose(scaled.x, torch.linalg.solve(matrix, right), rtol=1e-8)
    assert scaled.reason == "converged"
    assert scaled.steps < plain.steps
    assert pcg(lambda v: matrix @ v, torch.zeros_like(right)).reason == "the right-hand side is zero"
    assert "not positive definite" in pcg(lambda v: -v, right).reason
    assert "step limit: 2 products" in pcg(lambda v: matrix @ v, right, max_steps=2).reason


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=4))
def test_trees_and_vectors_are_inverse(shapes):
    tree = {str(i): random(*shape, seed=i) if shape else random(1, seed=i)[0] for i, shape in enumerate(shapes)}
    vector = flatten(tree)
    again = unflatten(vector, tree)
    assert again.keys() == tree.keys()
    assert all(torch.equal(again[key], tree[key]) for key in tree)


def test_complex_tensors_are_pairs_and_wrong_sizes_are_worded():
    tree = [torch.tensor([1 + 2j, 3 - 1j])]
    assert flatten(tree).tolist() == [1, 2, 3, -1]
    assert torch.equal(unflatten(flatten(tree), tree)[0], tree[0])
    with pytest.raises(InputError, match=r"must have shape \(4,\).*got \(3,\)"):
        unflatten(torch.zeros(3), tree)
    with pytest.raises(InputError, match="A tree needs a tensor"):
        flatten([])
