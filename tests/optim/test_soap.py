import numpy as np
import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.optim import SOAP


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def walk(optimizer_class, steps: int, **options) -> list[torch.Tensor]:
    """Fixed gradients, so that only the optimizer decides the path."""
    parameters = [nn.Parameter(random(4, 3)), nn.Parameter(random(3, seed=1)), nn.Parameter(random(2, 2, 2, seed=2))]
    optimizer = optimizer_class(parameters, **options)
    for k in range(steps):
        for i, p in enumerate(parameters):
            p.grad = random(*p.shape, seed=100 * k + i)
        optimizer.step()
    return [p.detach().clone() for p in parameters]


def test_with_identity_bases_it_is_adamw():
    ours = walk(SOAP, 25, lr=0.01, betas=(0.9, 0.99), max_size=0, weight_decay=0.1)
    adamw = walk(torch.optim.AdamW, 25, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(ours, adamw, strict=True))


def test_vectors_and_higher_tensors_get_adam_whatever_the_matrices_get():
    ours = walk(SOAP, 12, lr=0.01, betas=(0.9, 0.99))
    adam = walk(torch.optim.Adam, 12, lr=0.01, betas=(0.9, 0.99))
    assert torch.allclose(ours[1], adam[1], rtol=1e-12) and torch.allclose(ours[2], adam[2], rtol=1e-12)
    assert not torch.allclose(ours[0], adam[0], rtol=1e-3)


@pytest.mark.parametrize(("frequency", "max_size", "decline"), [(1, 4096, 0.0), (4, 4096, 0.1), (2, 3, 0.0)])
def test_matrices_follow_the_printed_algorithm(frequency, max_size, decline):
    """Algorithms 3 and 4 of arXiv 2409.11321; a side that is too long keeps the identity."""
    beta1, beta2, lr, eps = 0.9, 0.95, 0.02, 1e-8
    w = random(4, 3).numpy()
    m, v, left, right = np.zeros((4, 3)), np.zeros((4, 3)), None, None
    for k in range(10):
        g = random(4, 3, seed=100 * k).numpy()
        if left is None:
            left, right = g @ g.T, g.T @ g
            ql, qr = np.linalg.eigh(left)[1][:, ::-1], np.linalg.eigh(right)[1][:, ::-1]
            ql = ql if max_size >= 4 else np.eye(4)
        else:
            left_next, right_next = beta2 * left + (1 - beta2) * g @ g.T, beta2 * right + (1 - beta2) * g.T @ g
        m = beta1 * m + (1 - beta1) * g
        rotated = ql.T @ g @ qr
        v = beta2 * v + (1 - beta2) * rotated**2
        step = (ql.T @ m @ qr) / (1 - beta1 ** (k + 1)) / (np.sqrt(v / (1 - beta2 ** (k + 1))) + eps)
        w = (1 - lr * decline) * w - lr * ql @ step @ qr.T
        if k:
            left, right = left_next, right_next
        if (k + 1) % frequency == 0:
            for side in range(max_size < 4, 2):
                a, q = (left, ql) if side == 0 else (right, qr)
                order = np.argsort(-np.diag(q.T @ a @ q), kind="stable")
                q = np.linalg.qr((a @ q)[:, order])[0]
                ql, qr = (q, qr) if side == 0 else (ql, q)
                v = np.take(v, order, axis=side)
    options = {"precondition_frequency": frequency, "max_size": max_size, "weight_decay": decline}
    ours = walk(SOAP, 10, lr=lr, betas=(beta1, beta2), **options)[0]
    assert np.allclose(ours.numpy(), w, rtol=1e-8)


def test_on_a_rotated_quadratic_it_beats_adam():
    left, right = torch.linalg.qr(random(8, 8))[0], torch.linalg.qr(random(8, 8, seed=1))[0]
    scales = torch.logspace(0, -3, 8, dtype=torch.float64)
    weights = (scales[:, None] * scales).sqrt()
    ends = {}
    for made, options in ((SOAP, {}), (torch.optim.Adam, {"betas": (0.95, 0.95)})):
        w = nn.Parameter(random(8, 8, seed=2))
        optimizer = made([w], lr=0.02, **options)

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (weights * (left.T @ w @ right)).square().sum()
            loss.backward()
            return loss

        for _ in range(200):
            loss = optimizer.step(closure)
        ends[made] = float(loss.detach())
    assert ends[SOAP] < 0.2 * ends[torch.optim.Adam]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bases_stay_orthogonal_and_rank_one_gradients_are_survived(dtype):
    w = nn.Parameter(random(16, 5).to(dtype))
    optimizer = SOAP([w], precondition_frequency=1)
    for k in range(60):
        w.grad = torch.outer(random(16, seed=k), random(5, seed=k + 1)).to(dtype) if k % 2 else torch.zeros_like(w)
        optimizer.step()
    assert torch.isfinite(w).all()
    for side, n in (("left", 16), ("right", 5)):
        basis = optimizer.state[w][f"{side}_basis"]
        assert basis.dtype == dtype
        assert torch.allclose(
            basis.T @ basis, torch.eye(n, dtype=dtype), atol=1e-5 if dtype == torch.float32 else 1e-12
        )


def test_reasons_and_mistakes_are_worded():
    w = nn.Parameter(torch.ones(2, 2))
    optimizer = SOAP([w])
    w.grad = torch.full_like(w, float("nan"))
    optimizer.step()
    assert optimizer.stop_reason == "non-finite gradient at step 1: parameters unchanged"
    assert torch.equal(w, torch.ones(2, 2))
    with pytest.raises(InputError, match=r"SOAP needs real.*complex parameter of shape \(3,\).*Use Adam or ESGD"):
        SOAP([nn.Parameter(torch.ones(3, dtype=torch.complex64))])
    with pytest.raises(InputError, match="lr >= 0, eps > 0"):
        SOAP([w], lr=-1.0)
    with pytest.raises(InputError, match="precondition_frequency >= 1"):
        SOAP([w], precondition_frequency=0)


def test_with_a_relative_eps_steps_do_not_depend_on_the_size_of_the_loss():
    ends = []
    for size in (1.0, 2.0**-40):  # a power of two, so that rounding is the same
        p = nn.Parameter(random(4, 3))
        optimizer = SOAP([p], lr=0.01, eps=1e-30, relative_eps=1e-5)
        for _ in range(20):
            p.grad = size * p.detach() @ p.detach().T @ p.detach()
            optimizer.step()
        ends.append(p.detach())
    assert torch.allclose(*ends, atol=1e-9) and not torch.allclose(ends[0], random(4, 3))
    with pytest.raises(InputError, match="relative_eps >= 0"):
        SOAP([nn.Parameter(random(2))], relative_eps=-1.0)
