"""Plates with round holes, by the method of particular solutions: sums of functions that satisfy the equation exactly.

Around each hole, and its images in the sides, stand multipoles K_n(k r) cos(n phi) and sin(n phi) (log r and r^-n for
k = 0); single sources outside the corners, exponentially clustered (Gopal & Trefethen, SIAM J. Numer. Anal. 57 (2019)
2074), take what is not smooth there. Coefficients are fitted on the boundary. Where a maximum principle holds, the
error inside is at most the largest on the boundary.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.special import ive, kve

Table = dict[str, np.ndarray]
Hole = tuple[complex, float]  # centre and radius
Columns = np.ndarray  # values and both derivatives of functions at points, (3, points, functions)


def multipoles(z: np.ndarray, centre: complex, radius: float, order: int, k: complex) -> Columns:
    """Return K_n(k r) cos(n phi), n = 0 .. order, and K_n(k r) sin(n phi) of about size 1 at a radius.

    Args:
        z: Points ``(m,)``.
        centre: Where r = 0.
        radius: Where they are of size 1.
        order: Largest n.
        k: Root of the constant of (laplace - k^2) u = 0, with positive real part; 0 for Laplace's equation.

    Returns:
        Values, derivatives along x and y ``(3, m, 2 order + 1)``.
    """
    r, phi, n = np.abs(z - centre)[:, None], np.angle(z - centre)[:, None], np.arange(order + 1)
    if k:
        size = _ascending(order + 1, k * np.array([[radius]]))
        at = _ascending(order + 1, k * r) * np.exp(-k * (r - radius))
        radial = at[:, :-1] / size[:, :-1]
        slope = -k * at[:, 1:] / size[:, :-1] + n * radial / r
    else:
        radial = np.where(n == 0, np.log(r), (radius / r) ** n)
        slope = np.where(n == 0, 1.0, -n * radial) / r
    return _turned(radial, slope, r, phi, n)


def _ascending(order: int, x: np.ndarray) -> np.ndarray:
    """Return exp(x) K_n(x), n = 0 .. order, ``(m, order + 1)`` at x ``(m, 1)``: upwards the recurrence is stable."""
    found = [kve(0, x), kve(1, x)]
    for n in range(1, order):
        found.append(found[-2] + 2 * n / x * found[-1])
    return np.concatenate(found, 1)


def waves(z: np.ndarray, radius: float, order: int, k: complex) -> Columns:
    """Return I_n(k r) cos(n phi) and sin(n phi), smooth everywhere, as `multipoles`; powers of r for k = 0."""
    r, phi, n = np.abs(z)[:, None], np.angle(z)[:, None], np.arange(order + 1)
    r = np.maximum(r, 1e-9 * radius)
    if k:
        size = ive(n, k * radius)
        growth = np.exp(np.real(k) * (r - radius))
        radial = ive(n, k * r) * growth / size
        slope = k * (ive(n - 1, k * r) + ive(n + 1, k * r)) / 2 * growth / size
    else:
        radial = (r / radius) ** n
        slope = n * radial / r
    return _turned(radial, slope, r, phi, n)


def _turned(radial: np.ndarray, slope: np.ndarray, r: np.ndarray, phi: np.ndarray, n: np.ndarray) -> Columns:
    """Multiply radial functions and their slopes ``(m, n)`` by cosines and sines."""
    c, s = np.cos(n * phi), np.sin(n * phi)
    values = np.concatenate([radial * c, (radial * s)[:, 1:]], 1)
    along = np.concatenate([slope * c, (slope * s)[:, 1:]], 1)
    around = np.concatenate([-n * radial * s, (n * radial * c)[:, 1:]], 1) / r
    return np.stack([values, np.cos(phi) * along - np.sin(phi) * around, np.sin(phi) * along + np.cos(phi) * around])


def images(holes: Iterable[Hole], half: complex) -> list[Hole]:
    """Return holes in a rectangle [-a, a] x [-b, b], half = a + i b, and their reflections in its sides and corners."""
    found = []
    for c, radius in holes:
        xs = (c.real, 2 * half.real - c.real, -2 * half.real - c.real)
        ys = (c.imag, 2 * half.imag - c.imag, -2 * half.imag - c.imag)
        found += [(complex(x, y), radius) for x in xs for y in ys]
    return found


def outside(corner: complex, distances: np.ndarray) -> np.ndarray:
    """Return points outside a corner of a rectangle about 0, on its diagonal, at distances from it."""
    return (
        corner
        + distances
        * np.exp(1j * np.pi / 4)
        ** np.array([1, 3, -3, -1])[
            [(1, 1), (-1, 1), (-1, -1), (1, -1)].index((int(np.sign(corner.real)), int(np.sign(corner.imag))))
        ]
    )


def sides(half: complex, n: int) -> np.ndarray:
    """Return n points on each side of a rectangle, clustered at its corners."""
    s = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    a, b = half.real, half.imag
    return np.concatenate([a + 1j * b * s, -a + 1j * b * s, a * s + 1j * b, a * s - 1j * b])


def rims(holes: Iterable[Hole], n: int) -> np.ndarray:
    """Return n points on the rim of each hole."""
    return np.concatenate([c + r * np.exp(2j * np.pi * (np.arange(n) + 0.5) / n) for c, r in holes])


def fitted(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return coefficients of least squares, by columns of equal size."""
    size = np.linalg.norm(matrix, axis=0)
    size[size < 1e-10 * size.max()] = size.max()  # zero but for rounding
    return np.linalg.lstsq(matrix / size, wanted, rcond=1e-14)[0] / size


def dirichlet(
    holes: list[Hole],
    half: float,
    k: float,
    wanted: Callable[[np.ndarray], np.ndarray],
    order: int,
    points: int,
) -> tuple[Table, float]:
    """Solve (laplace - k^2) v = 0 in a square with holes, v given on the boundary.

    Args:
        holes: The holes.
        half: Half the side of the square, which has its centre at 0.
        k: The constant.
        wanted: Values of v at points of the boundary ``(m,)``.
        order: Largest order of the multipoles.
        points: Number of points of the result along each axis.

    Returns:
        Axes ``x``, ``y`` and ``u`` over them, NaN in the holes, and a bound of the error of v anywhere.
    """
    corner = half * (1 + 1j)
    centres = images(holes, corner)
    near = half * np.geomspace(1e-3, 1, 2 * order)

    def functions(z: np.ndarray) -> np.ndarray:
        around = [multipoles(z, c, r, order, k)[0] for c, r in centres]
        poles = [multipoles(z, p, abs(p - c), 1, k)[0] for c in corner * 1j ** np.arange(4) for p in outside(c, near)]
        return np.concatenate([waves(z, abs(corner), 3 * order, k)[0], *around, *(poles if k else [])], 1)

    def edge(n: int) -> np.ndarray:
        return np.concatenate([sides(corner, 3 * n), rims(holes, 2 * n)])

    fit, check = edge(10 * order), edge(731)
    coefficients = fitted(functions(fit), wanted(fit))
    bound = np.abs(functions(check) @ coefficients - wanted(check)).max()
    axis = np.linspace(-half, half, points)
    z = (axis[:, None] + 1j * axis).ravel()
    known = np.all([np.abs(z - c) > r - 1e-4 * half for c, r in holes], 0)
    u = np.full(z.shape, np.nan)
    u[known] = functions(z[known]) @ coefficients
    return {"x": axis, "y": axis, "u": u.reshape(points, points)}, float(bound)


def poisson2d_c(order: int = 14) -> tuple[Table, float]:
    """Solve Poisson2d-C of PINNacle: laplace(u) = 0 on [-0.5, 0.5]^2 with four holes, u = 1 outside and 0 on holes."""
    holes = [(complex(x, y), 0.1) for x in (-0.3, 0.3) for y in (-0.3, 0.3)]
    table, bound = dirichlet(holes, 0.5, 0.0, lambda z: 1.0 * (np.abs(_largest(z)) > 0.4999), order, 101)
    return table, bound / float(np.sqrt(np.nanmean(table["u"] ** 2)))


def poisson2d_cg(order: int = 22) -> tuple[Table, float]:
    """Solve Poisson2d-CG of PINNacle: -laplace(u) + 64 u = f on [-1, 1]^2 with four holes, u = 0.2 outside, 1 on holes.

    f = 10 (17 + r^2) S, S = sin(pi x) sin(4 pi y). With lap S = -c S, c = 17 pi^2 and m = 64 + c, a particular solution
    is 10 / m (17 + r^2 + 4 / m) S + 40 / m^2 (x S_x + y S_y) - 80 (c / m^3) S.
    """
    holes = [(0.5 + 0.5j, 0.2), (0.4 - 0.4j, 0.4), (-0.2 - 0.7j, 0.1), (-0.6 + 0.5j, 0.3)]

    def wanted(z: np.ndarray) -> np.ndarray:
        return np.where(np.abs(_largest(z)) > 0.9999, 0.2, 1.0) - forced(z)

    table, bound = dirichlet(holes, 1.0, 8.0, wanted, order, 101)
    table["u"] += forced(table["x"][:, None] + 1j * table["y"])
    return table, bound / float(np.sqrt(np.nanmean(table["u"] ** 2)))


def forced(z: np.ndarray) -> np.ndarray:
    """Return the particular solution of Poisson2d-CG."""
    x, y, c = z.real, z.imag, 17 * np.pi**2
    m = 64 + c
    s = np.sin(np.pi * x) * np.sin(4 * np.pi * y)
    stretched = np.pi * x * np.cos(np.pi * x) * np.sin(4 * np.pi * y)
    stretched += 4 * np.pi * y * np.sin(np.pi * x) * np.cos(4 * np.pi * y)
    return 10 / m * (17 + x**2 + y**2 + 4 / m - 8 * c / m**2) * s + 40 / m**2 * stretched


def _largest(z: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(z.real), np.abs(z.imag))
