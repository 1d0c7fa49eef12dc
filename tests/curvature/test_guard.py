"""The guard: silent failures of a second derivative are found, correct models are let through."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from nfsolve._core.errors import InputError
from nfsolve.curvature import LeastSquares, foreign_operations, hessian_product
from nfsolve.curvature.guard import TRUSTED, relative_gap
from nfsolve.curvature.sampled import sample_products
from nfsolve.domains import Box
from nfsolve.fields import MLP, Gabor, Gaussian, RandomWeightFactorization, ReLU, Sine, factorize
from nfsolve.optim import ESGD, DiagGN


class Scan(torch.autograd.Function):
    """Running product of exp(-x); the backward is right, and autograd does not see it."""

    @staticmethod
    def forward(ctx, x):
        y = torch.exp(-torch.cumsum(x, 1))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        raw = (g * y).detach()  # as a kernel of its own would give it
        return -raw.flip(1).cumsum(1).flip(1)


class Seen(Scan):
    """The same with a backward that autograd sees."""

    @staticmethod
    def forward(ctx, x):
        y = torch.exp(-torch.cumsum(x, 1))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        y = torch.exp(-torch.cumsum(x, 1))
        return -(g * y).flip(1).cumsum(1).flip(1)


class Once(Scan):
    """The same, and it says that it has no second derivative."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return -(g * y).flip(1).cumsum(1).flip(1)


def rays(scan, activation=torch.sin, dtype=torch.float32, n=64) -> LeastSquares:
    """Transmittance along rays of a small density field, as in volume rendering."""
    source = torch.Generator().manual_seed(0)
    x = torch.rand(n, 8, 2, generator=source, dtype=torch.float64).to(dtype)
    y = torch.rand(n, 8, generator=source, dtype=torch.float64).to(dtype)
    shapes = {"a": (16, 2), "b": (16,), "c": (1, 16), "d": (1,)}
    start = {
        k: nn.Parameter(torch.randn(s, generator=source, dtype=torch.float64).to(dtype)) for k, s in shapes.items()
    }

    def residual(q):
        density = torch.nn.functional.softplus(activation(x @ q["a"].T + q["b"]) @ q["c"].T + q["d"])[..., 0]
        return torch.cat([scan(0.2 * density) - y, 0.1 * density]) / (8 * n) ** 0.5

    return LeastSquares(residual, start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", [torch.sin, torch.relu])
@pytest.mark.parametrize("method", ["autograd", "gauss_newton"])
def test_a_backward_that_autograd_does_not_see_is_refused(activation, method, dtype):
    goal = rays(Scan.apply, activation, dtype)
    before = goal.theta()
    words = r"differ by \d+% from finite differences.*the backward of Scan is probably.*method=\"finite_difference\""
    with pytest.raises(InputError, match=words):
        ESGD(goal.parameters, method=method).step(goal)
    assert torch.equal(goal.theta(), before)
    ESGD(goal.parameters, method=method, guard=False).step(goal)
    assert not torch.equal(goal.theta(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", [torch.sin, torch.relu])
@pytest.mark.parametrize("method", ["autograd", "gauss_newton"])
def test_a_custom_backward_that_autograd_sees_passes(activation, method, dtype):
    goal = rays(Seen.apply, activation, dtype)
    assert foreign_operations(goal.loss()) == ["Seen"]
    ESGD(goal.parameters, method=method).step(goal)


def test_without_the_check_the_product_would_be_silently_wrong():
    goal, truth = rays(Scan.apply), rays(lambda x: torch.exp(-torch.cumsum(x, 1)))
    v = [torch.ones_like(p) for p in goal.parameters]
    wrong, right = (hessian_product(g.loss, g.parameters, v) for g in (goal, truth))
    for a, b in zip(wrong.gradient, right.gradient, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    gap = sum(float((a - b).square().sum()) for a, b in zip(wrong.product, right.product, strict=True)) ** 0.5
    assert gap > 0.3 * sum(float(b.square().sum()) for b in right.product) ** 0.5


def test_what_needs_first_derivatives_only_goes_on():
    goal = rays(Scan.apply)
    ESGD(goal.parameters, method="finite_difference").step(goal)
    DiagGN(goal.parameters).step(goal)


def test_a_backward_that_says_it_is_final_is_found_although_torch_stays_silent():
    goal = rays(Once.apply)
    with pytest.raises(InputError, match="the backward of Once is probably not differentiable"):
        ESGD(goal.parameters).step(goal)


def test_an_operation_of_torch_without_a_second_derivative_is_worded():
    x = nn.Parameter(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    goal = LeastSquares(lambda q: torch.pdist(q["x"]) - 1, {"x": x})
    with pytest.raises(InputError, match=r"need second derivatives.*\(.*_pdist_backward.*DiagGN"):
        ESGD(goal.parameters).step(goal)
    ESGD(goal.parameters, method="finite_difference").step(goal)


def test_it_runs_once_and_not_after_a_resume():
    goal = rays(Seen.apply)
    made = ESGD(goal.parameters, lr=1e-3)
    made.step(goal)
    first = goal.evaluations
    made.step(goal)
    assert goal.evaluations == first + 3 and first > 3
    again = ESGD(goal.parameters, lr=1e-3)
    again.load_state_dict(made.state_dict())
    again.step(goal)
    assert goal.evaluations == first + 6


def test_operations_of_torch_are_not_foreign():
    x = torch.randn(4, 3, requires_grad=True, generator=torch.Generator().manual_seed(0))
    lstm = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    y = torch.fft.fft(lstm(x)).abs().cumsum(0).sort(0)[0]
    z = x.clone()
    z[:, 0] = y[:, 0] ** 2  # CopySlices
    (g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
    assert foreign_operations(z.sum() + g.square().sum() + torch.linalg.svdvals(x).sum()) == []


FIELDS = {
    "sine": (Sine(30.0), False),
    "gaussian": (Gaussian(), False),
    "wavelet": (Gabor(), False),
    "factorized": (Sine(30.0), True),
    "relu": (ReLU(), False),
}


def field_fit(name, dtype, batch=128):
    activation, factorized = FIELDS[name]
    made = MLP(Box(x=(-1, 1), y=(-1, 1)), "u", width=48, depth=3, activation=activation, dtype=dtype, seed=0)
    made = factorize(made, RandomWeightFactorization(mean=1.0, std=0.1)) if factorized else made
    x = torch.rand(batch, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype) * 2 - 1
    y = torch.sin(5 * x[:, :1]) * x[:, 1:]
    return LeastSquares(lambda q: (functional_call(made, q, (x,)) - y) / batch**0.5, dict(made.named_parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FIELDS)
def test_correct_fields_pass_even_where_they_are_compared(name, dtype):
    goal = field_fit(name, dtype)
    found = sample_products(goal, goal.parameters, "autograd", "rademacher", torch.Generator().manual_seed(2))

    def gradient():
        with torch.enable_grad():
            return torch.autograd.grad(goal.loss(), goal.parameters)

    gap = relative_gap(gradient, goal.parameters, found.probes, found.products)
    if name == "relu":  # kinks: differences cannot be trusted, and say so
        assert gap is None
    else:
        assert gap is not None and gap < TRUSTED
    ESGD(goal.parameters).step(goal)


def test_a_gauss_newton_product_without_any_graph_is_worded():
    x = nn.Parameter(torch.ones(2, 3))
    goal = LeastSquares(lambda q: Scan.apply(q["x"]), {"x": x})
    with pytest.raises(InputError, match=r"need second derivatives.*\(.*does not require grad"):
        ESGD(goal.parameters, method="gauss_newton").step(goal)
