"""Spaces of functions: covariances against the kernels, bases against nested autograd, seeds, bad parameters."""

import math

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve._core.spec import build, describe
from nfsolve.diff import partials
from nfsolve.functions import (
    ChebyshevSeries,
    FourierSeries,
    GaussianField,
    NeumannField,
    Numbers,
    PeriodicField,
    Thresholded,
)
from tests.oracles import derivative

KERNELS = {
    "rbf": lambda r: np.exp(-(r**2) / 2),
    "matern12": lambda r: np.exp(-r),
    "matern32": lambda r: (1 + math.sqrt(3) * r) * np.exp(-math.sqrt(3) * r),
    "matern52": lambda r: (1 + math.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-math.sqrt(5) * r),
}
SPACES = {
    "rbf": GaussianField(0.3),
    "shifted": GaussianField(0.5, bounds=(-2.0, 3.0)),
    "matern": GaussianField(0.2, "matern52", modes=30),
    "plane": GaussianField(0.4, bounds=((0.0, 1.0), (-1.0, 1.0))),
    "periodic": PeriodicField(modes=20),
    "neumann": NeumannField(modes=6),
    "chebyshev": ChebyshevSeries(9, bounds=(-1.0, 2.0)),
    "constant": ChebyshevSeries(1),
    "fourier": FourierSeries(4, bounds=(0.5, 2.0)),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dimensions(space) -> int:
    return 2 if space in (SPACES["plane"], SPACES["neumann"]) else 1


def covariance(space, x: torch.Tensor) -> np.ndarray:
    """The covariance that the variances of the coefficients imply: an identity, not a sample."""
    deviations = space.variances(space.frequencies()).sqrt()
    basis = space.basis(x) * torch.cat([deviations, deviations[1:]])
    return (basis @ basis.T).numpy()


@pytest.mark.parametrize("length", [0.03, 0.2, 5.0])
def test_rbf_has_the_covariance_to_rounding(length):
    x = torch.linspace(-1, 2, 40, dtype=torch.float64)[:, None]
    space = GaussianField(length, bounds=(-1.0, 2.0))
    expected = KERNELS["rbf"](np.abs(x.numpy() - x.numpy().T) / length)
    assert np.abs(covariance(space, x) - expected).max() < 1e-12
    assert space.cut < 1e-6


@pytest.mark.parametrize(("kernel", "below"), [("matern12", 1.2e-2), ("matern32", 3e-5), ("matern52", 1e-7)])
def test_matern_covariances_lack_only_what_is_cut(kernel, below):
    x = torch.linspace(0, 1, 30, dtype=torch.float64)[:, None]
    space = GaussianField(0.2, kernel)
    gap = KERNELS[kernel](np.abs(x.numpy() - x.numpy().T) / 0.2) - covariance(space, x)
    assert np.abs(gap).max() < below
    assert np.abs(gap).max() == pytest.approx(space.cut**2, rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_covariance_on_a_rectangle_is_isotropic(kernel):
    x = torch.rand(20, 2, generator=generator(), dtype=torch.float64) * torch.tensor([1.0, 2.0])
    space = GaussianField(0.5, kernel, ((0.0, 1.0), (0.0, 2.0)), 0 if kernel == "rbf" else 60)
    distance = np.linalg.norm(x.numpy()[:, None] - x.numpy(), axis=2)
    assert np.abs(covariance(space, x) - KERNELS[kernel](distance / 0.5)).max() < (1e-12 if kernel == "rbf" else 1e-4)


@pytest.mark.parametrize("space", [SPACES["rbf"], SPACES["periodic"]], ids=["rbf", "periodic"])
def test_samples_have_the_covariance(space):
    n = 20000
    x = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    f = space.evaluate(space.sample(n, generator()), x).numpy()
    expected = covariance(space, x)
    # the standard error of a sample covariance is at most sqrt(2 / n) of the largest variance
    assert np.abs(f.T @ f / n - expected).max() < 5 * math.sqrt(2 / n) * expected.max()
    assert np.abs(f.mean(0)).max() < 5 * math.sqrt(expected.max() / n)


def test_the_periodic_covariance_inverts_its_operator():
    # C = sigma^2 (-d^2/dx^2 + tau^2)^-1 has the kernel sigma^2 cosh(tau (1/2 - r)) / (2 tau sinh(tau / 2)), whose mean
    # over the period, sigma^2 / tau^2, is left out
    space = PeriodicField(sigma=2.0, tau=3.0, alpha=1.0, modes=4000)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    r = np.abs(x.numpy() - x.numpy().T)
    expected = 4 * np.cosh(3 * (0.5 - r)) / (6 * math.sinh(1.5)) - 4 / 9
    assert np.abs(covariance(space, x) - expected).max() < 1e-4
    f = space.evaluate(space.sample(5, generator()), torch.tensor([[0.2], [1.2]], dtype=torch.float64))
    torch.testing.assert_close(f[:, 0], f[:, 1])


def test_the_initial_values_of_burgers_have_the_published_size():
    deviation = math.sqrt(2) * 625 / (4 * math.pi**2 + 25) ** 2
    assert float(PeriodicField().variances(torch.zeros(1))[1]) == pytest.approx(deviation**2)


def test_neumann_fields_solve_the_equation_of_their_covariance():
    # (-Laplacian + tau^2) f is white noise for alpha = 2: coefficients of orthonormal functions of variance 1
    n, space = 4000, NeumannField(modes=4)
    c = space.sample(n, generator())
    k = math.pi * torch.arange(4, dtype=torch.float64)
    eigenvalues = (k[:, None] ** 2 + k**2 + 9).flatten()[1:]
    size = torch.ones(4, dtype=torch.float64)
    size[1:] = math.sqrt(0.5)
    white = c * eigenvalues * torch.outer(size, size).flatten()[1:]
    assert (white.T @ white / n - torch.eye(15)).abs().max() < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize("name", SPACES)
def test_derivatives_of_bases_by_jets_equal_nested_autograd(name):
    space = SPACES[name]
    d = dimensions(space)
    x = torch.rand(7, d, generator=generator(), dtype=torch.float64) + 0.1
    wanted = [(), (0,), (0, 0), (d - 1,), (0, d - 1)]
    result = partials(space.basis, x, wanted, engine="jets")
    for along in wanted:
        expected = derivative(space.basis, x, along)
        torch.testing.assert_close(result[along], expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def test_chebyshev_polynomials_and_fourier_series_are_what_they_say():
    x = torch.linspace(-1, 2, 13, dtype=torch.float64)[:, None]
    chebyshev = np.polynomial.chebyshev.chebvander((2 * x[:, 0].numpy() - 1) / 3, 8)
    np.testing.assert_allclose(SPACES["chebyshev"].basis(x).numpy(), chebyshev, atol=1e-13)
    fourier, x = FourierSeries(2, bounds=(0.5, 2.0)), torch.tensor([[0.7], [2.2]], dtype=torch.float64)
    z = 2 * math.pi * 0.2 / 1.5
    expected = [1, math.cos(z), math.cos(2 * z), math.sin(z), math.sin(2 * z)]
    np.testing.assert_allclose(fourier.basis(x).numpy(), [expected, expected], atol=1e-13)
    drawn = FourierSeries(3, size=2.0, decay=2.0).sample(1000, generator()).abs().amax(0)
    np.testing.assert_allclose(drawn, [2, 2, 0.5, 2 / 9, 2, 0.5, 2 / 9], rtol=0.02)
    assert 0.99 < float(ChebyshevSeries().sample(100, generator()).abs().max()) <= 1


@pytest.mark.parametrize("name", SPACES)
def test_seeds_types_and_descriptions(name):
    space = SPACES[name]
    c = space.sample(4, generator())
    assert c.dtype == torch.float64
    assert torch.equal(c, space.sample(4, generator()))
    assert not torch.equal(c, space.sample(4, generator(1)))
    x = torch.rand(5, dimensions(space), generator=generator())
    values = space.evaluate(c, x)
    assert values.shape == (4, 5) and values.dtype == torch.float32
    torch.testing.assert_close(values, space.evaluate(c, x.double()).float(), rtol=1e-4, atol=1e-4)
    assert build(describe(space)) == space


def test_the_first_functions_of_a_seed_are_these():
    # eigenvectors would leave signs to the linear algebra library; a sum of cosines does not
    x = torch.tensor([[0.25]], dtype=torch.float64)
    assert float(GaussianField().evaluate(GaussianField().sample(1, generator()), x)) == pytest.approx(-2.71563752907)
    assert float(PeriodicField().evaluate(PeriodicField().sample(1, generator()), x)) == pytest.approx(0.00737353262662)


def test_thresholded_fields_have_two_values_and_grids_agree_with_points():
    space = Thresholded(NeumannField(modes=10))
    c = space.sample(3, generator())
    axis = torch.linspace(0, 1, 6, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    smooth = space.space.on_grid(c, axis).flatten(1)
    torch.testing.assert_close(smooth, space.space.evaluate(c, points))
    values = space.evaluate(c, points)
    torch.testing.assert_close(values, space.on_grid(c, axis).flatten(1))
    assert set(values.unique().tolist()) == {3.0, 12.0}
    assert torch.equal(values == 3, smooth < 0)


def test_bad_parameters_are_named():
    with pytest.raises(InputError, match="length must be positive, got 0"):
        GaussianField(0.0)
    with pytest.raises(InputError, match="unknown kernel 'matern31': did you mean 'matern"):
        GaussianField(kernel="matern31")
    with pytest.raises(InputError, match=r"low < high, got \(1, 0\)"):
        GaussianField(bounds=(1.0, 0.0))
    with pytest.raises(
        InputError, match=r"at most 20000 harmonics, but length = 0.01 on .* takes \d+\. Choose .* modes="
    ):
        GaussianField(0.01, bounds=((0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(InputError, match="terms must be positive, got 0"):
        ChebyshevSeries(0)
    with pytest.raises(InputError, match="must be two values, but both are 3"):
        Thresholded(above=3.0)


def test_numbers_are_between_their_bounds():
    for space in (Numbers(0.01, 10.0), Numbers(0.01, 10.0, log=True)):
        drawn = space.sample(2000, generator())
        scaled = space.scaled(drawn)
        assert float(drawn.min()) >= 0.01 and float(drawn.max()) <= 10
        assert float(scaled.min()) >= -1 and float(scaled.max()) <= 1
        assert abs(float(scaled.mean())) < 0.05
    with pytest.raises(InputError, match="must be finite, the lower one first, got low=2, high=1. Exchange them"):
        Numbers(2.0, 1.0)
    with pytest.raises(InputError, match="must be finite and positive, the lower one first, got low=0, high=1"):
        Numbers(0.0, 1.0, log=True)
