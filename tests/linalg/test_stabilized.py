"""Runge-Kutta-Chebyshev steps against the exponential of a matrix."""

import numpy as np
import pytest
from scipy.linalg import expm

from nfsolve.linalg.stabilized import Unstable, integrate, rayleigh, spectral_radius

N = 40
HEAT = (np.diag(-2.0 * np.ones(N)) + np.diag(np.ones(N - 1), 1) + np.diag(np.ones(N - 1), -1)) * (N + 1) ** 2
X = np.arange(1, N + 1) / (N + 1)
START = X * (1 - X) ** 2


def never(*_: object) -> bool:
    return False


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_heat_decays_as_by_the_exponential(tolerance: float) -> None:
    times = [0.0, 0.013, 0.05, 0.2]
    found = integrate(lambda t, y: HEAT @ y, START, times, tolerance, tolerance * 0.1, never)
    for t, state in zip(times, found, strict=True):
        assert np.abs(state - expm(t * HEAT) @ START).max() < 3 * tolerance


def test_work_grows_as_the_root_of_stiffness() -> None:
    counts = []
    for factor in (1, 16):
        count = 0

        def rate(t: float, y: np.ndarray, factor: int = factor) -> np.ndarray:
            nonlocal count
            count += 1
            return factor * HEAT @ (y - START * np.sin(t)) + START * np.cos(t)

        found = integrate(rate, 0 * START, [0.0, 1.0], 1e-5, 1e-7, never)
        assert np.abs(found[-1] - START * np.sin(1.0)).max() < 1e-5
        counts.append(count)
    assert counts[1] < 6 * counts[0]


def test_spectral_radius_and_sign() -> None:
    largest = -np.linalg.eigvalsh(HEAT)[0]
    slope = HEAT @ START
    radius, direction = spectral_radius(lambda t, y: HEAT @ y, 0.0, START, slope, None)
    assert 0.9 * largest < radius < 1.01 * largest
    assert rayleigh(lambda t, y: HEAT @ y, 0.0, START, slope, direction) < -0.9 * largest


def test_growth_without_bound_and_a_stop_are_said() -> None:
    with pytest.raises(Unstable, match="too small"):
        integrate(lambda t, y: y * y, np.ones(2), [0.0, 2.0], 1e-6, 1e-8, never)
    with pytest.raises(Unstable, match="time is up"):
        integrate(lambda t, y: HEAT @ y, START, [0.0, 1.0], 1e-6, 1e-8, lambda *_: True)
