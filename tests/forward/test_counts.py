"""Counts: there and back, and residuals against closed forms and the negative log-likelihood of Poisson counts."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import functional_call, jacfwd, jacrev, vmap

from nfsolve.forward.counts import (
    air_normalised,
    counted_anew,
    gaussian_residual,
    line_integrals_of_counts,
    poisson_counts,
    poisson_residual,
)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_counts_give_back_the_line_integrals():
    p = torch.rand(5, 7, generator=generator(), dtype=torch.float64)
    flat, dark = torch.linspace(900, 1100, 7, dtype=torch.float64), 30.0
    counts = dark + (flat - dark) * torch.exp(-p)
    assert torch.allclose(line_integrals_of_counts(counts, flat, dark), p, atol=1e-13, rtol=0)


def test_air_beside_the_object_removes_the_drift_of_the_beam():
    p = torch.rand(4, 9, generator=generator(), dtype=torch.float64)
    p[:, [0, 1, -1]] = 0
    drift = torch.tensor([0.2, -0.1, 0.0, 1.0], dtype=torch.float64)[:, None]
    assert torch.allclose(air_normalised(p + drift, (0, 1, -1)), p, atol=1e-14, rtol=0)


def test_air_is_averaged_as_transmission_and_not_as_its_logarithm():
    level = air_normalised(column(0.0, 1.0).T, (0, 1))
    assert float(level.neg().exp().mean()) == pytest.approx(1, abs=1e-14)


def test_bad_counts_are_worded():
    with pytest.raises(
        ValueError, match=r"2 of 3 counts are zero or below the dark field, and have .* Poisson likelihood"
    ):
        line_integrals_of_counts(torch.tensor([[0.0, 5.0, -1.0]]), torch.tensor(9.0))
    with pytest.raises(ValueError, match=r"1 of 2 counts"):
        line_integrals_of_counts(torch.tensor([[math.nan, 5.0]]), torch.tensor(9.0))
    with pytest.raises(ValueError, match=r"the flat field must be above the dark field in every bin"):
        line_integrals_of_counts(torch.ones(1, 2), torch.tensor([9.0, 2.0]), 2.0)
    with pytest.raises(ValueError, match=r"at least one of the detector's 4, got \[4\]"):
        air_normalised(torch.zeros(2, 4), [4])
    with pytest.raises(ValueError, match=r"got \[\]"):
        air_normalised(torch.zeros(2, 4), [])


def test_noise_comes_from_its_generator_and_has_its_moments():
    p = torch.full((20000, 1), 2.0, dtype=torch.float32)
    counts = poisson_counts(p, 1000.0, generator())
    assert counts.dtype == p.dtype and torch.equal(counts, counts.round())
    assert torch.equal(counts, poisson_counts(p, 1000.0, generator()))
    mean = 1000 * math.exp(-2)
    assert float(counts.mean()) == pytest.approx(mean, rel=3e-3)
    assert float(counts.var()) == pytest.approx(mean, rel=5e-2)


def test_the_gaussian_residual_is_the_weighted_misfit():
    assert torch.equal(gaussian_residual(column(3.0), column(1.0), column(25.0)), column(10.0))
    assert torch.equal(gaussian_residual(column(3.0), column(1.0)), column(2.0))


@pytest.mark.parametrize("d", [-30.0, -3.0, -0.51, -0.49, -1e-3, 1e-3, 0.49, 0.51, 3.0, 9.0])
def test_the_poisson_residual_is_the_signed_root_of_the_deviance(d):
    n, I0 = 37.0, 1e4
    q = math.log(I0 / n) - d
    mean = I0 * math.exp(-q)
    deviance = 2 * (n * math.log(n / mean) - (n - mean))
    r = float(poisson_residual(column(q), column(n), I0))
    # the textbook form cancels near d = 0, to eps n / deviance
    assert r == pytest.approx(-math.copysign(math.sqrt(deviance), d), rel=1e-12 + 1e-13 / d**2)


def test_single_precision_agrees_with_double_across_the_switch():
    q = torch.linspace(2, 8, 2001, dtype=torch.float64)[:, None]
    n = torch.full_like(q, 1e3)
    exact = poisson_residual(q, n, 1e5)
    assert float((poisson_residual(q.float(), n.float(), 1e5) - exact).abs().max() / exact.abs().max()) < 1e-6


def test_half_the_squares_have_the_gradient_and_curvature_of_the_likelihood():
    q = 4 + torch.rand(50, 1, generator=generator(), dtype=torch.float64)
    counts = poisson_counts(
        q + 0.3 * torch.randn(50, 1, generator=generator(1), dtype=torch.float64), 500.0, generator()
    )
    counts[:5] = 0
    q[5:10] = torch.log(500 / counts[5:10].clamp(min=1))  # at zero misfit

    def half_squares(q):
        return 0.5 * (poisson_residual(q, counts, 500.0) ** 2).sum()

    def likelihood(q):
        return (500 * torch.exp(-q) + counts * q).sum()

    q.requires_grad_()
    ours, theirs = (grad(f(q), q, create_graph=True)[0] for f in (half_squares, likelihood))
    assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-11)
    ours, theirs = (grad(g.sum(), q)[0] for g in (ours, theirs))
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("I0", [1e3, 1e5])
def test_the_mean_square_is_one_at_the_truth(I0):
    q = torch.linspace(0, 3, 40000, dtype=torch.float64)[:, None]
    counts = poisson_counts(q, I0, generator())
    assert float((poisson_residual(q, counts, I0) ** 2).mean()) == pytest.approx(1, abs=0.03)
    assert float((gaussian_residual(q, torch.log(I0 / counts), counts) ** 2).mean()) == pytest.approx(1, abs=0.05)


def test_a_predicted_attenuation_too_large_is_positive_as_in_the_gaussian_residual():
    n = column(1e4, 1e4)
    p = torch.log(1e5 / n)
    q = p + column(1e-3, -1e-3)
    assert torch.allclose(poisson_residual(q, n, 1e5), gaussian_residual(q, p, n), rtol=1e-3)


def test_zero_counts_are_finite_and_smooth():
    q = column(-1.0, 0.0, 5.0, 60.0).requires_grad_()
    r = poisson_residual(q, torch.zeros_like(q), 100.0)
    assert torch.allclose(0.5 * r**2, 100 * torch.exp(-q), rtol=1e-12)
    (g,) = grad(r.sum(), q, create_graph=True)
    assert torch.isfinite(g).all() and torch.isfinite(grad(g.sum(), q)[0]).all()


def test_derivatives_of_both_orders_at_and_near_zero_misfit():
    n = column(0.0, 3.0, 3.0, 3.0, 3.0, 50.0, 50.0)
    q = torch.log(100 / n.clamp(min=1)) + column(0.0, 0.0, 1e-4, -0.3, 0.6, -0.6, 0.0)
    q.requires_grad_()
    assert gradcheck(lambda q: poisson_residual(q, n, 100.0), q)
    assert gradgradcheck(lambda q: poisson_residual(q, n, 100.0), q)


def test_per_ray_intensities_and_function_transforms():
    n, I0 = column(0.0, 5.0, 9.0), column(10.0, 20.0, 30.0)
    layer = torch.nn.Linear(2, 1).double()
    x = torch.rand(3, 2, generator=generator(), dtype=torch.float64)

    def residual(params):
        return poisson_residual(functional_call(layer, params, (x,)), n, I0)

    params = dict(layer.named_parameters())
    forward, backward = (jac(residual)(params)["weight"] for jac in (jacfwd, jacrev))
    assert torch.allclose(forward, backward, atol=1e-12)
    q = torch.rand(4, 3, 1, generator=generator(), dtype=torch.float64)
    batched = vmap(lambda q: poisson_residual(q, n, I0))(q)
    assert torch.allclose(batched, torch.stack([poisson_residual(one, n, I0) for one in q]))


def test_line_integrals_are_counted_anew():
    p = torch.full((50, 80), 2.0, dtype=torch.float64)
    measured, n = counted_anew(p, 40.0, 3)
    assert torch.equal(n, poisson_counts(p, 40.0, torch.Generator().manual_seed(3)))
    assert (n == 0).any() and float(n.mean()) == pytest.approx(40 * math.exp(-2), rel=0.03)
    assert torch.allclose(measured, -torch.log(n.clamp(min=1) / 40))
    assert torch.equal(measured, counted_anew(p, 40.0, 3)[0]) and not torch.equal(n, counted_anew(p, 40.0, 4)[1])
