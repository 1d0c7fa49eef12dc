import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import pcg
from nfsolve.linalg.nystrom import nystrom

N = 60


def matrix(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    q = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))[0]
    return (q * values) @ q.T, q


def made(a: torch.Tensor, rank: int, seed: int = 0, **options):
    a = a.to(options.get("dtype", torch.float64))
    return nystrom(lambda v: a @ v, N, rank, torch.Generator().manual_seed(seed), **options)


DECAY = torch.logspace(0, -12, N, dtype=torch.float64)


def test_the_error_obeys_the_expected_bound_on_a_decaying_spectrum():
    a, _ = matrix(DECAY)
    rank = 24
    errors = []
    for seed in range(10):
        u, values = made(a, rank, seed)
        rest = a - (u * values) @ u.T
        errors.append(float(torch.linalg.matrix_norm(rest, 2)))
        assert torch.linalg.eigvalsh(rest)[0] > -1e-12  # an approximation from below
        assert torch.allclose(u.T @ u, torch.eye(rank, dtype=torch.float64), atol=1e-10)
    # Frangella, Tropp & Udell, proposition 2.2, at its best p
    bound = min(
        (1 + 2 * (rank - p) / (p - 1)) * float(DECAY[rank - p])
        + 2 * 2.718281828**2 * rank / (p * p - 1) * float(DECAY[rank - p :].sum())
        for p in range(2, rank - 1)
    )
    assert sum(errors) / len(errors) < bound
    assert min(errors) >= 0.99 * float(DECAY[rank])  # no matrix of this rank is closer


def test_a_matrix_of_low_rank_is_reproduced():
    values = torch.cat([torch.tensor([5.0, 2.0, 0.1]), torch.zeros(N - 3)]).double()
    a, _ = matrix(values)
    u, found = made(a, 8)
    assert torch.allclose((u * found) @ u.T, a, atol=1e-12)
    assert torch.allclose(found[:3], values[:3], rtol=1e-10)


def test_the_preconditioner_is_the_printed_formula_and_saves_steps():
    a, _ = matrix(DECAY)
    damping = 1e-9
    sketch = made(a, 50)
    u, values = sketch
    one = torch.eye(N, dtype=torch.float64)
    expected = (values[-1] + damping) * (u / (values + damping)) @ u.T + one - u @ u.T
    apply = sketch.preconditioner(damping)
    v = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(apply(v), expected @ v, rtol=1e-9, atol=1e-12)
    shifted = a + damping * one
    plain = pcg(lambda w: shifted @ w, v, tolerance=1e-8, max_steps=1000)
    helped = pcg(lambda w: shifted @ w, v, apply, tolerance=1e-8, max_steps=1000)
    assert helped.reason == "converged"
    assert helped.steps < 20 < plain.steps / 2
    assert (shifted @ helped.x - v).norm() < 1e-7 * v.norm()


def test_the_same_seed_gives_the_same_sketch():
    a, _ = matrix(DECAY)
    assert torch.equal(made(a, 5, 1).values, made(a, 5, 1).values)
    assert not torch.equal(made(a, 5, 1).values, made(a, 5, 2).values)


def test_float32_large_ranks_zero_and_indefinite_matrices_are_survived():
    a, _ = matrix(DECAY)
    single = made(a, 100, dtype=torch.float32)
    assert single.vectors.dtype == torch.float32 and single.vectors.shape == (N, N)
    assert torch.allclose((single.vectors * single.values) @ single.vectors.T, a.float(), atol=1e-4)
    nothing = made(torch.zeros(N, N), 4)
    assert nothing.values.tolist() == [0.0] * 4
    assert torch.allclose(nothing.preconditioner(1.0)(torch.ones(N).double()), torch.ones(N).double())
    indefinite, _ = matrix(torch.linspace(-1, 3, N, dtype=torch.float64))
    found = made(indefinite, 30)
    assert (found.values >= 0).all() and torch.isfinite(found.vectors).all()


def test_mistakes_are_worded():
    with pytest.raises(InputError, match="must be at least 1, got 0"):
        made(torch.eye(N), 0)
    with pytest.raises(InputError, match="Products must be finite"):
        made(torch.full((N, N), float("nan")), 3)
