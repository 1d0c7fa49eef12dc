import numpy as np
import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.optim import Shampoo
from nfsolve.optim.shampoo import inverse_root
from tests.optim.test_soap import random, walk


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**exponent) @ vectors.T


def damped(matrix: np.ndarray, damping: float) -> np.ndarray:
    return matrix + damping * np.linalg.eigvalsh(matrix)[-1] * np.eye(len(matrix))


def test_the_published_algorithm():
    lr, damping = 0.1, 1e-3
    w, left, right = random(4, 3).numpy(), np.zeros((4, 4)), np.zeros((3, 3))
    b, summed = random(3, seed=1).numpy(), np.zeros(3)
    for k in range(8):
        g, h = random(4, 3, seed=100 * k).numpy(), random(3, seed=100 * k + 1).numpy()
        left, right, summed = left + g @ g.T, right + g.T @ g, summed + h * h
        w = w - lr * power(damped(left, damping), -0.25) @ g @ power(damped(right, damping), -0.25)
        b = b - lr * h / (np.sqrt(summed) + 1e-8)
    options = {"betas": (0.0, 1.0), "graft": "none", "precondition_frequency": 1, "damping": damping}
    ours = walk(Shampoo, 8, lr=lr, shampoo_beta=1.0, **options)
    assert np.allclose(ours[0].numpy(), w, rtol=1e-9)
    assert np.allclose(ours[1].numpy(), b, rtol=1e-12)  # vectors: diagonal AdaGrad


@pytest.mark.parametrize("graft", ["adam", "sgd"])
def test_averages_stale_roots_and_grafting(graft):
    beta1, beta2, lr, damping, every = 0.9, 0.95, 0.02, 1e-6, 3
    w = random(4, 3).numpy()
    m, v, left, right = np.zeros((4, 3)), np.zeros((4, 3)), None, None
    for k in range(8):
        g = random(4, 3, seed=100 * k).numpy()
        left = g @ g.T if left is None else beta2 * left + (1 - beta2) * g @ g.T
        right = g.T @ g if right is None else beta2 * right + (1 - beta2) * g.T @ g
        if k == 0 or (k + 1) % every == 0:
            roots = power(damped(left, damping), -0.25), power(damped(right, damping), -0.25)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        mean = m / (1 - beta1 ** (k + 1))
        adam = mean / (np.sqrt(v / (1 - beta2 ** (k + 1))) + 1e-8)
        move = roots[0] @ mean @ roots[1]
        w = w - lr * move * np.linalg.norm(adam if graft == "adam" else mean) / np.linalg.norm(move)
    ours = walk(Shampoo, 8, lr=lr, betas=(beta1, beta2), precondition_frequency=every, graft=graft)[0]
    # a rank-deficient L has a condition number of 1e6, and rounding goes with its fourth root
    assert np.allclose(ours.numpy(), w, rtol=1e-8)


def test_vectors_higher_tensors_and_long_sides_get_adam():
    adam = walk(torch.optim.AdamW, 12, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    ours = walk(Shampoo, 12, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    assert torch.allclose(ours[1], adam[1], rtol=1e-12) and torch.allclose(ours[2], adam[2], rtol=1e-12)
    assert not torch.allclose(ours[0], adam[0], rtol=1e-3)
    plain = walk(Shampoo, 12, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, max_size=2)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(plain, adam, strict=True))


def test_with_one_long_side_the_other_has_the_whole_preconditioner():
    w = nn.Parameter(random(5, 3))
    optimizer = Shampoo([w], max_size=3, graft="none")
    w.grad = random(5, 3, seed=1)
    before = w.detach().clone()
    optimizer.step()
    # one gradient: G (G^T G)^(-1/2) is its orthogonal factor
    u, _, vh = torch.linalg.svd(w.grad, full_matrices=False)
    assert torch.allclose(before - w.detach(), 3e-3 * u @ vh, rtol=1e-4)
    assert "left" not in optimizer.state[w]


def test_on_one_gradient_it_is_the_orthogonal_factor():
    w = nn.Parameter(random(4, 4))
    optimizer = Shampoo([w], lr=1.0, graft="none", damping=1e-14)
    w.grad = random(4, 4, seed=1)
    before = w.detach().clone()
    optimizer.step()
    u, _, vh = torch.linalg.svd(w.grad)
    assert torch.allclose(before - w.detach(), u @ vh, rtol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_roots(dtype):
    g = random(6, 4).to(dtype)
    root = inverse_root(g @ g.T, 4, 1e-6)  # two eigenvalues are zero
    exact = power(damped((g @ g.T).double().numpy(), 1e-6), -0.25)
    assert root.dtype == dtype
    assert np.allclose(root.numpy(), exact, rtol=0.02 if dtype == torch.float32 else 1e-9, atol=1e-6)
    assert torch.equal(inverse_root(torch.zeros(3, 3), 4, 1e-6), torch.eye(3))


def test_on_a_badly_scaled_quadratic_it_beats_adam():
    left, right = torch.linalg.qr(random(8, 8))[0], torch.linalg.qr(random(8, 8, seed=1))[0]
    scales = torch.logspace(0, -3, 8, dtype=torch.float64)
    weights = (scales[:, None] * scales).sqrt()
    ends = {}
    for made in (Shampoo, torch.optim.Adam):
        w = nn.Parameter(random(8, 8, seed=2))
        optimizer = made([w], lr=0.02, betas=(0.95, 0.95))
        for _ in range(200):
            optimizer.zero_grad()
            loss = (weights * (left.T @ w @ right)).square().sum()
            loss.backward()
            optimizer.step()
        ends[made] = float(loss.detach())
    assert ends[Shampoo] < 0.5 * ends[torch.optim.Adam]


def test_zero_gradients_are_survived():
    w = nn.Parameter(random(4, 3))
    optimizer = Shampoo([w], precondition_frequency=1)
    before = w.detach().clone()
    w.grad = torch.zeros_like(w)
    optimizer.step()
    assert torch.equal(w, before)
    w.grad = random(4, 3, seed=1)
    optimizer.step()
    assert torch.isfinite(w).all() and not torch.equal(w, before)


def test_reasons_and_mistakes_are_worded():
    w = nn.Parameter(torch.ones(2, 2))
    optimizer = Shampoo([w])
    w.grad = torch.full_like(w, float("nan"))
    optimizer.step()
    assert optimizer.stop_reason == "non-finite gradient at step 1: parameters unchanged"
    assert torch.equal(w, torch.ones(2, 2))
    with pytest.raises(InputError, match=r"Shampoo needs real.*complex parameter of shape \(3,\).*Use Adam or ESGD"):
        Shampoo([nn.Parameter(torch.ones(3, dtype=torch.complex64))])
    with pytest.raises(InputError, match="lr >= 0, betas in"):
        Shampoo([w], lr=-1.0)
    with pytest.raises(InputError, match="damping and eps > 0"):
        Shampoo([w], damping=0.0)
    with pytest.raises(InputError, match="unknown graft 'adan': did you mean 'adam'?"):
        Shampoo([w], graft="adan")  # type: ignore[arg-type]
