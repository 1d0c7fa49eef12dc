"""Kernel regression of operators: against its own definition with functions really left out, and as a start."""

import pytest
import torch

from nfsolve.fields.kernel import KERNELS, answers, evaluate, kernel
from nfsolve.fields.start import PARTS, Start, nearest


def pairs(n: int = 40, p: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*size, generator=chance, dtype=torch.float64) for size in ((n, 3), (3, p)))
    return x, torch.tanh(x @ w / 2) + 0.1 * (x @ w).square()


def parts(found) -> list[torch.Tensor]:
    return [getattr(found, name) for name in PARTS["kernel"]]


def test_functions_of_the_training_are_answered_as_if_they_were_left_out():
    x, y = pairs()
    found = kernel(x, y)
    assert found is not None
    gaps = y - evaluate(found.name, parts(found), x)
    for i in (0, 17):  # the same kernel, fitted without the function
        rest = torch.arange(len(x)) != i
        known = found.known[rest]
        gram = answers(found.name, known, known) + found.damping * torch.eye(len(known), dtype=torch.float64)
        weight = torch.linalg.solve(gram, (y - found.mean)[rest])
        expected = answers(found.name, found.known[i : i + 1], known) @ weight + found.mean
        assert torch.allclose(y[i] - gaps[i], expected[0], rtol=1e-4, atol=1e-7)
    assert found.size == pytest.approx(float(gaps.square().mean(1).sqrt().mean()), rel=1e-3)


def test_functions_that_were_not_seen_are_answered_as_well_as_foretold():
    x, y = pairs(400)
    found = kernel(x[:300], y[:300])
    assert found is not None and found.error < 0.02
    missed = (evaluate(found.name, parts(found), x[300:]) - y[300:]).square().mean(1).sqrt().mean()
    assert 0.2 * found.size < float(missed) < 5 * found.size


@pytest.mark.parametrize("name", KERNELS)
def test_slopes_are_those_of_the_kernels(name):
    r = torch.linspace(0.1, 9, 20, dtype=torch.float64, requires_grad=True)
    value, slope = KERNELS[name](r)
    assert torch.allclose(torch.autograd.grad(value.sum(), r)[0], slope)


def test_the_better_map_is_taken_and_a_bad_one_left_out():
    x, y = pairs(200)
    assert type(nearest(x, y)).__name__ == "Kernel"
    assert type(nearest(x, x @ torch.ones(3, 5, dtype=torch.float64))).__name__ == "Affine"
    noise = torch.randn(200, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert nearest(x, noise) is None and kernel(x[:10], y[:10]) is None and kernel(x, y * torch.nan) is None


def test_a_start_keeps_its_digits_and_comes_back_from_its_weights():
    x, y = pairs(200)
    found = nearest(x, y)
    assert found is not None
    start = Start(found).to(torch.float32)
    assert all(b.dtype == torch.float64 for name, b in start.named_buffers() if name != "kernel")
    assert torch.allclose(start(x), evaluate(found.name, parts(found), x))  # type: ignore[union-attr]
    other = Start()
    other.load_state_dict(start.state_dict())
    assert torch.equal(other(x), start(x)) and "kernel regression" in other.remark()


def test_values_between_scattered_points_are_interpolated():
    x, _ = pairs(60)
    at = torch.rand(150, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    truth = lambda at: torch.sin(at @ torch.ones(2, 3, dtype=torch.float64) + torch.arange(3.0))  # noqa: E731
    labels = (x @ truth(at).T)[..., None]
    found = nearest(x, labels.flatten(1))
    assert found is not None
    start, new = Start(found, at, labels), 0.2 + 0.6 * at[:30]
    values = start(x[:4]).unflatten(1, (-1, 1))
    expected = (truth(new) @ x[:4].T)[..., None]
    assert torch.allclose(start.between(new, values), expected, atol=2e-2)
    own = new[:, None].expand(-1, 4, -1)
    assert torch.allclose(start.between(own, values), start.between(new, values))


@pytest.mark.parametrize("kinds", [1, 2])
def test_functions_of_which_most_are_the_same_have_no_kernel(kinds):
    x, chance = torch.zeros(40, 5, dtype=torch.float64), torch.Generator().manual_seed(0)
    x[: 3 * (kinds - 1)] = 1.0
    assert kernel(x, torch.randn(40, 6, generator=chance, dtype=torch.float64)) is None
