"""Evolution equations v_t = L v + N(v) with a diagonal L, by ETDRK4.

Kassam & Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214.
"""

from collections.abc import Callable, Iterable

import numpy as np

CONTOUR = np.exp(1j * np.pi * (np.arange(32) + 0.5) / 16)  # mean over a unit circle around each h L


class ETDRK4:
    """Exponential time differencing Runge-Kutta of order four, eqs. 26-29 of the paper, for a diagonal L.

    Args:
        linear: Eigenvalues of L ``(m,)``.
        nonlinear: Maps coefficients ``(..., m)`` to those of N(u).
        h: Time step.
    """

    def __init__(self, linear: np.ndarray, nonlinear: Callable[[np.ndarray], np.ndarray], h: float):
        self.nonlinear = nonlinear
        self.whole, self.half = np.exp(h * linear), np.exp(h * linear / 2)
        z = h * linear[:, None] + CONTOUR
        e = np.exp(z)

        def mean(values: np.ndarray) -> np.ndarray:
            average = h * values.mean(1)
            return average.real if np.isrealobj(linear) else average

        self.stage = mean((np.exp(z / 2) - 1) / z)
        self.first = mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3)
        self.middle = 2 * mean((2 + z + e * (z - 2)) / z**3)
        self.last = mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3)

    def step(self, v: np.ndarray) -> np.ndarray:
        """Advance coefficients ``(..., m)`` by one step."""
        n_v = self.nonlinear(v)
        half_v = self.half * v
        a = half_v + self.stage * n_v
        n_a = self.nonlinear(a)
        n_b = self.nonlinear(half_v + self.stage * n_a)
        c = self.half * a + self.stage * (2 * n_b - n_v)
        return self.whole * v + self.first * n_v + self.middle * (n_a + n_b) + self.last * self.nonlinear(c)


def march(
    v: np.ndarray,
    linear: np.ndarray,
    nonlinear: Callable[[np.ndarray], np.ndarray],
    intervals: Iterable[tuple[float, int]],
) -> list[np.ndarray]:
    """Integrate over intervals one after the other.

    Args:
        v: Coefficients at the start ``(..., m)``.
        linear: Eigenvalues of L ``(m,)``.
        nonlinear: Maps coefficients to those of N(u).
        intervals: Length of each interval and the number of steps in it.

    Returns:
        Coefficients at the end of each interval.
    """
    made: dict[str, ETDRK4] = {}
    ends = []
    for length, steps in intervals:
        h = f"{length / steps:.12g}"  # steps that differ by rounding share their coefficients
        if h not in made:
            made[h] = ETDRK4(linear, nonlinear, length / steps)
        for _ in range(steps):
            v = made[h].step(v)
        ends.append(v)
    return ends
