"""Label solvers of the operator problems against integrators, closed forms and manufactured solutions."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp

from nfsolve._core.errors import InputError
from nfsolve.functions import GaussianField, NeumannField, PeriodicField, Thresholded
from problems.operators._etdrk4 import march
from problems.operators._solvers import (
    advection,
    burgers,
    chebyshev,
    darcy,
    diffusion_reaction,
    interpolation,
    relative_gap,
    with_error,
)


def functions(space, n: int, seed: int = 0):
    c = space.sample(n, torch.Generator().manual_seed(seed))
    return lambda x: space.evaluate(c, torch.tensor(x, dtype=torch.float64)[:, None]).numpy()


def speeds(n: int):
    v = functions(GaussianField(0.2), n)
    low = v(np.linspace(0, 1, 1001)).min(1, keepdims=True)
    return lambda x: v(x) - low + 1


CASES = {
    "diffusion_reaction": (diffusion_reaction, functions(GaussianField(0.2), 6), {}, 1e-7),
    "advection": (advection, speeds(6), {}, 1e-9),
    "burgers": (burgers, functions(PeriodicField(), 6), {"nu": 0.01}, 1e-12),
    "burgers, steep": (burgers, functions(PeriodicField(), 6), {"nu": 0.001}, 1e-12),
}


@pytest.mark.parametrize("name", CASES)
def test_solutions_are_converged_and_on_the_grid_that_was_asked_for(name):
    solver, inputs, options, below = CASES[name]
    s, error = with_error(solver, inputs, nt=21, nx=51, **options)
    assert s.shape == (6, 21, 51)
    assert 0 < error < below
    other = solver(lambda x: inputs(x)[1:3], nt=11, nx=26, **options)
    assert relative_gap(other, s[1:3, ::2, ::2]) < 10 * below


def test_chebyshev_matrices_are_exact_for_polynomials():
    x, second = chebyshev(8)
    np.testing.assert_allclose(second @ x**5, 20 * x**3, atol=1e-9)
    at = np.array([0.0, 0.3, x[3], 1.0])
    np.testing.assert_allclose(interpolation(x, at) @ x**7, at**7, atol=1e-13)


def test_diffusion_reaction_against_an_integrator_of_finite_differences():
    # the boundary layers of f(0) != 0 included; two grids and Richardson extrapolation
    inputs = functions(GaussianField(0.2), 1)

    def on_grid(m: int) -> np.ndarray:
        x = np.linspace(0, 1, m + 1)
        f, d = inputs(x)[0, 1:-1], 0.01 * m**2

        def slope(_, s):
            padded = np.pad(s, 1)
            return d * (padded[2:] - 2 * s + padded[:-2]) + 0.01 * s**2 + f

        end = solve_ivp(slope, (0, 1), 0 * f, "LSODA", [0.5, 1.0], rtol=1e-9, atol=1e-11, lband=1, uband=1)
        return np.pad(end.y.T, ((0, 0), (1, 1)))[:, :: m // 20]

    coarse, fine = on_grid(200), on_grid(400)
    expected = (4 * fine - coarse) / 3
    s = diffusion_reaction(inputs, nt=11, nx=21)[0, [5, 10]]
    assert np.abs(s - expected).max() < 1e-6 * np.abs(expected).max()


def test_diffusion_reaction_without_reaction_is_a_sine_series():
    # f = 1: s = sum over odd k of 4 / (pi k) (1 - exp(-D pi^2 k^2 t)) / (D pi^2 k^2) sin(k pi x)
    s = diffusion_reaction(lambda x: np.ones((1, len(x))), nt=5, nx=9, reaction=0.0)[0]
    k = np.arange(1, 20001, 2)
    t, x = np.linspace(0, 1, 5)[:, None, None], np.linspace(0, 1, 9)[:, None]
    rate = 0.01 * (math.pi * k) ** 2
    expected = (4 / (math.pi * k) * (1 - np.exp(-rate * t)) / rate * np.sin(math.pi * k * x)).sum(-1)
    assert np.abs(s - expected).max() < 1e-7


def test_advection_along_characteristics_that_integrators_follow():
    inputs = speeds(1)
    s = advection(inputs, nt=6, nx=11)[0]
    back = solve_ivp(lambda _, x: -inputs(x)[0], (0, 0.2), [0.7, 0.8, 0.9, 1.0], rtol=1e-10, atol=1e-11)
    assert back.y[:, -1].min() > 0
    np.testing.assert_allclose(s[1, 7:], np.sin(np.pi * back.y[:, -1]), atol=1e-8)
    for j, i in [(5, 1), (5, 4), (4, 2)]:
        entered = j / 5 - quad(lambda x: 1 / inputs(np.array([x]))[0, 0], 0, i / 10, epsabs=1e-11)[0]
        assert entered > 0
        assert s[j, i] == pytest.approx(math.sin(math.pi / 2 * entered), abs=1e-9)


def test_advection_at_constant_speed():
    s = advection(lambda x: np.full((1, len(x)), 2.0), nt=11, nx=11)[0]
    t, x = np.linspace(0, 1, 11)[:, None], np.linspace(0, 1, 11)
    expected = np.where(x >= 2 * t, np.sin(np.pi * (x - 2 * t)), np.sin(np.pi / 2 * (t - x / 2)))
    assert np.abs(s - expected).max() < 1e-11
    with pytest.raises(InputError, match="the speed u must be positive on .*, but it falls to -0.5"):
        advection(lambda x: x[None] - 0.5)


@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_burgers_against_exponential_time_differencing(mean):
    inputs, nu, m = functions(PeriodicField(), 2), 0.01, 512
    s = burgers(lambda x: inputs(x) + mean, nt=6, nx=17, nu=nu)
    wave = 2j * np.pi * np.arange(m // 2 + 1)
    derivative = -wave / 2
    derivative[m // 3 :] = 0  # two-thirds rule

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return derivative * np.fft.rfft(np.fft.irfft(v) ** 2)

    start = np.fft.rfft(inputs(np.arange(m) / m) + mean)
    ends = np.stack(march(start, (nu * wave**2).real, nonlinear, [(0.2, 100)] * 5), 1)
    expected = np.fft.irfft(ends)[:, :, :: m // 16]
    assert np.abs(s[:, 1:, :-1] - expected).max() < 1e-8
    assert np.abs(s[:, :, 0] - s[:, :, -1]).max() < 1e-12
    assert np.abs(s[:, 0] - inputs(np.linspace(0, 1, 17)) - mean).max() < 1e-15


def test_burgers_with_a_closed_form():
    # phi = 2 + exp(-4 pi^2 nu t) cos(2 pi x) solves the heat equation
    nu, t, x = 0.05, np.linspace(0, 1, 5)[:, None], np.linspace(0, 1, 11)

    def exact(t, x):
        decay = np.exp(-4 * math.pi**2 * nu * t)
        return 4 * math.pi * nu * decay * np.sin(2 * math.pi * x) / (2 + decay * np.cos(2 * math.pi * x))

    s = burgers(lambda x: exact(0.0, x)[None], nt=5, nx=11, nu=nu)[0]
    assert np.abs(s - exact(t, x)).max() < 1e-13
    with pytest.raises(InputError, match=r"nu must be at least 9e-05 for initial values of this size, got 1e-05"):
        burgers(lambda x: exact(0.0, x)[None], nu=1e-5)


def two_valued(n: int, m: int) -> np.ndarray:
    space = Thresholded(NeumannField(modes=16))
    c = space.sample(n, torch.Generator().manual_seed(0))
    return space.on_grid(c, torch.linspace(0, 1, m + 1, dtype=torch.float64)).numpy()


def test_darcy_is_the_solution_of_the_assembled_matrix():
    m, a = 12, two_valued(2, 12)
    for coefficients, u in zip(a, darcy(a), strict=True):
        matrix = np.zeros(((m + 1) ** 2, (m + 1) ** 2))
        number = np.arange((m + 1) ** 2).reshape(m + 1, m + 1)
        for i in range(1, m):
            for j in range(1, m):
                for k, n in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                    flux = 2 / (1 / coefficients[i, j] + 1 / coefficients[k, n])
                    matrix[number[i, j], number[i, j]] += flux
                    matrix[number[i, j], number[k, n]] -= flux
        inner = number[1:-1, 1:-1].ravel()
        expected = np.linalg.solve(matrix[np.ix_(inner, inner)], np.full(len(inner), 1 / m**2))
        np.testing.assert_allclose(u[1:-1, 1:-1].ravel(), expected, rtol=1e-6)
        assert u[0].max() == u[:, -1].max() == 0


def test_darcy_with_one_coefficient_is_a_double_sine_series():
    m = 64
    u = darcy(np.full((1, m + 1, m + 1), 2.0))[0]
    k = np.arange(1, 400, 2)
    sine = np.sin(math.pi * k / 2)
    centre = 16 / math.pi**4 * (np.outer(sine, sine) / (np.outer(k, k) * (k[:, None] ** 2 + k**2))).sum() / 2
    assert u[m // 2, m // 2] == pytest.approx(centre, rel=1e-3)
    np.testing.assert_allclose(u, u.T, rtol=1e-9)
    np.testing.assert_allclose(u, u[::-1], rtol=1e-9, atol=1e-15)


def test_strips_place_interfaces_where_they_are():
    fine = np.where(np.linspace(0, 1, 257) < 0.4, 3.0, 12.0)
    a = np.broadcast_to(fine[:, None], (1, 257, 257))
    reference = darcy(a)[:, ::16, ::16]
    plain, strips = darcy(a[:, ::16, ::16]), darcy(a, 16)
    assert relative_gap(strips, reference) < 0.4 * relative_gap(plain, reference)


def test_darcy_is_symmetric_where_its_coefficients_are():
    a = two_valued(1, 48)
    a = np.maximum(a, a[:, ::-1])
    u = darcy(a, 4)
    assert u.shape == (1, 13, 13)
    np.testing.assert_allclose(u, u[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(darcy(a.swapaxes(1, 2), 4), u.swapaxes(1, 2), rtol=1e-6)


def test_bad_coefficients_are_named():
    with pytest.raises(InputError, match="coefficients must be positive, got 0"):
        darcy(np.zeros((1, 5, 5)))
    with pytest.raises(InputError, match="1 or an even number of steps between nodes, got 3 for 5 points"):
        darcy(np.ones((1, 5, 5)), 3)
