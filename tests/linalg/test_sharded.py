"""Matrices that processes share; here one process, which has all the columns. Two are in `tests/run/test_ranks.py`."""

import pytest
import torch

from nfsolve.curvature import Jacobian
from nfsolve.linalg.dense import SingularMatrix
from nfsolve.linalg.sharded import ShardedMatrix, layout, sharded_numbers


def positive(n: int) -> torch.Tensor:
    rows = torch.randn(2 * n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    return rows.T @ rows


def sharded(matrix: torch.Tensor) -> ShardedMatrix:
    found = ShardedMatrix(len(matrix), matrix)
    for parts in found.parts():
        for (start, stop, _), part in parts.values():
            part += matrix[start:, start:stop]
    return found


@pytest.mark.parametrize("n", [1, 3, 57, 600])
def test_a_system_is_solved_by_blocks_of_columns(n):
    matrix, scale = positive(n), torch.linspace(1, 2, n, dtype=torch.float64)
    right = torch.linspace(-1, 1, n, dtype=torch.float64)
    held = sharded(matrix)
    assert torch.equal(held.diagonal, matrix.diagonal())
    factor, used = held.factor(0.3, scale)
    assert used == 0.3
    expected = torch.linalg.solve(matrix + 0.3 * scale.diag(), right)
    assert (factor.solve(right) - expected).norm() <= 1e-12 * expected.norm() * n
    again, _ = held.factor(0.0, scale)  # the matrix is still there
    assert torch.allclose(again.solve(right), torch.linalg.solve(matrix, right), rtol=1e-8, atol=1e-12)


def test_an_indefinite_matrix_gets_more_damping_and_at_last_a_sentence():
    matrix = torch.diag(torch.tensor([1.0, 1.0, -1e-6, 1.0], dtype=torch.float64))
    ones = torch.ones(4, dtype=torch.float64)
    factor, used = sharded(matrix).factor(0.0, ones)
    assert 1e-6 < used < 1e-4
    assert torch.isfinite(factor.solve(ones)).all()
    with pytest.raises(SingularMatrix, match="a 4 x 4 matrix that is not positive definite"):
        sharded(-1e20 * ones.diag()).factor(0.0, 1e-20 * ones)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 100, 1000, 5000])
def test_columns_are_dealt_out_once_and_evenly(n, count):
    blocks = layout(n, count)
    assert [j for block in blocks for j in range(block.start, block.stop)] == list(range(n))
    held = [sum((n - b.start) * (b.stop - b.start) for b in blocks if b.owner == rank) for rank in range(count)]
    assert sharded_numbers(n, count) >= 2 * max(held)
    if n >= 1000:
        assert max(held) < 1.6 * n * (n + 1) / 2 / count


def test_the_matrices_of_a_jacobian():
    rows = torch.randn(40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaling = torch.linspace(1, 3, 30, dtype=torch.float64)
    jacobian = Jacobian(lambda: rows.split(7), slice(None), len(rows))
    for made, whole in (
        (jacobian.sharded_normal(scaling), rows.T @ rows),
        (jacobian.sharded_kernel(scaling), rows / scaling @ rows.T),
    ):
        for start, block in made.own.items():
            width = block.shape[1]
            assert torch.allclose(block.tril(), whole[start:, start : start + width].tril())
