"""Periodic evolution equations in one dimension: Allen-Cahn, Korteweg-de Vries, Kuramoto-Sivashinsky (twice)."""

from collections.abc import Callable

import numpy as np

from problems.operators._etdrk4 import march
from scripts.references.spectral import on_grid, wave_numbers

Table = dict[str, np.ndarray]

POINTS = 201  # of x in the files
TIMES = 101


def allen_cahn(level: int, times: int = TIMES, nu: float = 1e-4) -> Table:
    """Solve u_t = nu u_xx + 5 u - 5 u^3, u(0, x) = x^2 cos(pi x), period 2.

    The initial value has a kink at x = 1: its exact Fourier coefficients are truncated (samples would alias), and
    steps grow geometrically from t = 0. After the first interval the solution is smooth.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        times: How many of the times of the file, from the first.
        nu: Diffusivity.

    Returns:
        Axes ``t``, ``x`` and ``u`` over them.
    """
    n, steps = ((3200, 10), (6400, 30))[level]
    linear = 5 - nu * wave_numbers(n) ** 2

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return np.fft.rfft(-5 * np.fft.irfft(v) ** 3)

    k = np.arange(n // 2 + 1)
    start = n * (-1.0) ** k * (_moment(k - 1) + _moment(k + 1)) / 4  # samples begin at x = -1
    first = 1 / (TIMES - 1)
    graded = [(first * 2.0**-20, steps)] + [(first * 2.0**-j, steps) for j in range(20, 0, -1)]
    ends = march(start, linear, nonlinear, graded + [(first, steps)] * (times - 2))
    x = np.linspace(-1, 1, POINTS)
    rows = [x**2 * np.cos(np.pi * x)] + [on_grid(v, POINTS) for v in ends[len(graded) - 1 :]]
    return {"t": np.linspace(0, 1, TIMES)[:times], "x": x, "u": np.stack(rows)}


def _moment(m: np.ndarray) -> np.ndarray:
    """Integrate x^2 cos(m pi x) over [-1, 1]."""
    return np.where(m == 0, 2 / 3, 4 * (-1.0) ** m / (np.pi * np.where(m == 0, 1, m)) ** 2)


def kdv(level: int, times: int = TIMES, dispersion: float = 0.022) -> Table:
    """Solve u_t + u u_x + dispersion^2 u_xxx = 0, u(0, x) = cos(pi x), period 2 (Zabusky & Kruskal, PRL 15, 1965).

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        times: How many of the times of the file, from the first.
        dispersion: Square root of the coefficient of u_xxx.

    Returns:
        Axes ``t``, ``x`` and ``u`` over them.
    """
    n, steps = ((800, 130), (1000, 390))[level]
    linear = 1j * dispersion**2 * wave_numbers(n) ** 3
    return _smooth(n, steps, 1.0, times, lambda x: np.cos(np.pi * x), linear, 1.0)


def kuramoto_sivashinsky(level: int, times: int = TIMES) -> Table:
    """Solve u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx = 0, u(0, x) = -sin(pi x), period 2, up to t = 0.5.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        times: How many of the times of the file, from the first.

    Returns:
        Axes ``t``, ``x`` and ``u`` over them.
    """
    n, steps = ((400, 70), (600, 210))[level]
    k = wave_numbers(n)
    return _smooth(n, steps, 0.5, times, lambda x: -np.sin(np.pi * x), 0.5 * k**2 - 0.005 * k**4, 5.0)


def ks(level: int, times: int = TIMES) -> Table:
    """Solve KS of PINNacle: u_t + (100/16) u u_x + (100/16^2) u_xx + (100/16^4) u_xxxx = 0, period 2 pi, up to t = 1.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.
        times: How many of the times of the file, from the first.

    Returns:
        Axes ``t``, ``x`` and ``u`` over them.
    """
    n, steps = ((400, 50), (600, 150))[level]
    k = wave_numbers(n) / np.pi  # of x = pi (s + 1), where s has period 2

    def initial(s: np.ndarray) -> np.ndarray:
        x = np.pi * (s + 1)
        return np.cos(x) * (1 + np.sin(x))

    linear = 100 / 16**2 * k**2 - 100 / 16**4 * k**4
    table = _smooth(n, steps, 1.0, times, initial, linear, 100 / 16 / np.pi)
    return table | {"x": np.pi * (table["x"] + 1)}


def _smooth(
    n: int,
    steps: int,
    end: float,
    times: int,
    initial: Callable[[np.ndarray], np.ndarray],
    linear: np.ndarray,
    advection: float,
) -> Table:
    """Solve u_t = L u - advection u u_x from smooth data, with `steps` steps between stored times."""
    derivative = -0.5j * advection * wave_numbers(n)
    derivative[2 * len(derivative) // 3 :] = 0  # two-thirds rule: u^2 does not alias

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return derivative * np.fft.rfft(np.fft.irfft(v) ** 2)

    start = np.fft.rfft(initial(-1 + 2 * np.arange(n) / n))
    ends = march(start, linear, nonlinear, [(end / (TIMES - 1), steps)] * (times - 1))
    x = np.linspace(-1, 1, POINTS)
    u = np.stack([initial(x)] + [on_grid(v, POINTS) for v in ends])
    return {"t": np.linspace(0, end, TIMES)[:times], "x": x, "u": u}
