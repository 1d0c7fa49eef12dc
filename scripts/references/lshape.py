"""Poisson's equation -laplace(u) = 1 on the L-shape [-1, 1]^2 minus (0, 1]^2, u = 0, by particular solutions.

Fox, Henrici & Moler, SIAM J. Numer. Anal. 4 (1967) 89; Betcke & Trefethen, SIAM Review 47 (2005) 469. u is a sum of
functions that satisfy the equation exactly, with coefficients fitted on the boundary; by the maximum principle the
error anywhere is at most the largest value on the boundary.
"""

import numpy as np

Table = dict[str, np.ndarray]

POINTS = 101
RIGHT_ANGLES = {-1 - 1j: 1, 1 - 1j: 1j, 1 + 0j: -1, 1j: -1, -1 + 1j: -1j}  # corner -> direction of its first side
RADIUS = np.sqrt(2.0)


def particular(z: np.ndarray) -> np.ndarray:
    """Return a function with -laplace = 1 and the logarithmic singularities of u at all six corners.

    Between sides at a right angle, u = -Im(w^2 log w) / pi + analytic, with w = z from the corner on, turned
    so that the sides are the positive real and imaginary axes; at the re-entrant corner the coefficient is -1 / (3 pi).
    """
    u = -(np.abs(z) ** 2) / 4
    for corner, direction in RIGHT_ANGLES.items():
        u = u - _square_log((z - corner) / direction) / np.pi
    return u - _square_log(z * 1j**-1) / (3 * np.pi)


def _square_log(w: np.ndarray) -> np.ndarray:
    """Im(w^2 log w) with arg w in (-pi / 4, 7 pi / 4): the cut leaves the domain out."""
    turned = w * np.exp(-0.75j * np.pi)
    log = np.log(np.where(w == 0, 1, turned)) + 0.75j * np.pi
    return (w**2 * log).imag


def harmonic(z: np.ndarray, degree: int) -> np.ndarray:
    """Return harmonic functions: r^(2 k / 3) sin(2 k phi / 3) at the re-entrant corner, and polynomials.

    Args:
        z: Points ``(n,)``.
        degree: Largest power of r.

    Returns:
        Values ``(n, m)``, scaled to about 1.
    """
    r = np.abs(z)
    phi = np.angle(np.where(z == 0, 1, z) * np.exp(-1.25j * np.pi)) + 0.75 * np.pi
    k = np.array([k for k in range(1, 3 * degree // 2) if k % 3])
    fractional = (r[:, None] / RADIUS) ** (2 * k / 3) * np.sin(2 / 3 * phi[:, None] * k)
    powers = (z[:, None] / RADIUS) ** np.arange(degree + 1)
    return np.concatenate([fractional, powers.real, powers.imag[:, 1:]], 1)


def boundary(n: int) -> np.ndarray:
    """Return n points on each of six sides, clustered at the corners as Chebyshev nodes are."""
    corners = np.array([0, 1, 1 - 1j, -1 - 1j, -1 + 1j, 1j])
    s = (1 - np.cos(np.pi * (np.arange(n) + 0.5) / n)) / 2
    return np.concatenate([a + (b - a) * s for a, b in zip(corners, np.roll(corners, -1), strict=True)])


def lshape(degree: int = 50) -> tuple[Table, float]:
    """Solve, and bound the error.

    Args:
        degree: Largest power in the sum.

    Returns:
        Axes ``x``, ``y`` and ``u`` over them, NaN outside the domain, and a bound of the relative L2 error.
    """
    z = boundary(8 * degree)
    coefficients = np.linalg.lstsq(harmonic(z, degree), -particular(z), rcond=1e-15)[0]

    def u(z: np.ndarray) -> np.ndarray:
        return particular(z) + harmonic(z, degree) @ coefficients

    largest = np.abs(u(np.append(boundary(10007), [0, 1, 1 - 1j, -1 - 1j, -1 + 1j, 1j]))).max()
    axis = np.linspace(-1, 1, POINTS)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    inside = (x <= 0) | (y <= 0)
    values = np.full(x.shape, np.nan)
    values[inside] = u((x + 1j * y)[inside])
    values[(np.maximum(np.abs(x), np.abs(y)) == 1) & inside] = 0
    values[((x == 0) & (y >= 0)) | ((y == 0) & (x >= 0))] = 0
    # the error in L2 is at most its largest value times the root of the area 3
    return {"x": axis, "y": axis, "u": values}, float(largest / np.sqrt(np.nanmean(values**2)))
