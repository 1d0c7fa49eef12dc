"""Poisson3d-CG of PINNacle: laplace(u) = k^2 u - f in a cube with four holes, no flux through any side, k jumps.

Finite volumes around the points of a grid, of which the holes cut away a part: no flux passes through what is cut. The
error is of second order in the width of the cells, so two widths are extrapolated to zero.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import LinearOperator, cg

Table = dict[str, np.ndarray]

HOLES = [((0.4, 0.3, 0.6), 0.2), ((0.6, 0.7, 0.6), 0.2), ((0.2, 0.8, 0.7), 0.1), ((0.6, 0.2, 0.3), 0.1)]
WAVE_NUMBERS = (8.0, 10.0)  # below and above
POINTS = 25  # intervals of the result along each axis
LINES = 12  # along which a face, or a cell, is measured


def source(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return f."""
    a, b, c = np.sin(np.pi * x), np.sin(10 * np.pi * y), np.sin(5 * np.pi * z)
    r2 = x**2 + y**2 + z**2
    return 20 * np.exp(a + b + c) * (r2 - 1) / (r2 + 1) + 100 * a * b * c


def edges(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the cells around the points i / n along an axis."""
    middle = (np.arange(n) + 0.5) / n
    return np.concatenate([[0.0], middle]), np.concatenate([middle, [1.0]])


def sizes(n: int, flat: int | None) -> np.ndarray:
    """Return how much of each cell lies in no hole, or of each face between neighbours along an axis.

    Args:
        n: Number of intervals along each axis.
        flat: The axis across the faces; None for volumes.

    Returns:
        Volumes ``(n + 1,) * 3``, or areas, of which there are n along that axis.
    """
    low, high = edges(n)
    whole = np.where(np.arange(3)[:, None] == -1, 0.0, high - low)
    parts = [np.ones(n) if axis == flat else whole[axis] for axis in range(3)]
    total = parts[0][:, None, None] * parts[1][:, None] * parts[2]
    for centre, radius in HOLES:
        spans = []
        for axis in range(3):
            ends = (low, high) if axis != flat else (high[:-1], high[:-1])
            near = (ends[1] > centre[axis] - radius) & (ends[0] < centre[axis] + radius)
            spans.append((np.flatnonzero(near), ends))
        index = np.meshgrid(*(rows for rows, _ in spans), indexing="ij")
        box = tuple(part.ravel() for part in index)
        ends = [(e[0][i], e[1][i]) for (_, e), i in zip(spans, box, strict=True)]
        total[box] -= _in_ball(ends, centre, radius, flat)
    return np.maximum(total, 0.0)


def _in_ball(
    ends: list[tuple[np.ndarray, np.ndarray]], centre: tuple[float, ...], radius: float, flat: int | None
) -> np.ndarray:
    """Measure what a ball takes of cells or faces: exact lengths along lines, summed by the midpoint rule."""
    axes = [axis for axis in range(3) if axis != flat]
    last, across = axes[-1], axes[:-1]
    nodes = (np.arange(LINES) + 0.5) / LINES
    found = np.zeros(len(ends[0][0]))
    for chunk in np.array_split(np.arange(len(found)), max(1, len(found) // 20_000)):
        left = np.full((len(chunk), *(LINES,) * len(across)), radius**2)
        weight = np.ones(len(chunk))
        for k, axis in enumerate(across):
            low, high = (end[chunk] for end in ends[axis])
            shape = (len(chunk), *(LINES if j == k else 1 for j in range(len(across))))
            left = left - (low[:, None] + (high - low)[:, None] * nodes - centre[axis]).reshape(shape) ** 2
            weight = weight * (high - low) / LINES
        if flat is not None:
            left = left - ((ends[flat][0][chunk] - centre[flat]) ** 2).reshape((-1,) + (1,) * len(across))
        half = np.sqrt(np.maximum(left, 0)).reshape(len(chunk), -1)
        low, high = (end[chunk][:, None] for end in ends[last])
        length = np.minimum(high, centre[last] + half) - np.maximum(low, centre[last] - half)
        found[chunk] = weight * np.maximum(length, 0).sum(1)
    return found


def solve(n: int) -> np.ndarray:
    """Return u at the points of a grid with n intervals along each axis, ``(n + 1,) * 3``."""
    axis = np.arange(n + 1) / n
    volume, areas = sizes(n, None), [n * sizes(n, axis) for axis in range(3)]
    below, above = WAVE_NUMBERS[0] ** 2, WAVE_NUMBERS[1] ** 2
    square = np.where(axis < 0.5 - 1e-9, below, above)
    square[n // 2] = (below + above) / 2
    wanted = volume * source(axis[:, None, None], axis[:, None], axis)
    centre = volume * square
    for along, area in enumerate(areas):
        for rows in _both(along):
            centre[rows] += area
    centre[centre < 1e-9 / n] = 1.0  # in a hole

    def times(u: np.ndarray) -> np.ndarray:
        u = u.reshape(centre.shape)
        product = centre * u
        for along, area in enumerate(areas):
            first, second = _both(along)
            product[first] -= area * u[second]
            product[second] -= area * u[first]
        return product.ravel()

    size = centre.size
    inverse = diags_array(1 / centre.ravel())
    u, _ = cg(LinearOperator((size, size), times, dtype=float), wanted.ravel(), rtol=1e-8, M=inverse)
    return u.reshape(centre.shape)


def _both(along: int) -> Iterator[tuple[slice, ...]]:
    """Yield the rows of the first and of the second of all neighbours along an axis."""
    for part in (slice(None, -1), slice(1, None)):
        yield tuple(part if axis == along else slice(None) for axis in range(3))


def outside(points: np.ndarray) -> np.ndarray:
    """Tell which points ``(..., 3)`` are in no hole."""
    return np.all([np.linalg.norm(points - np.array(c), axis=-1) > r - 1e-9 for c, r in HOLES], 0)


def poisson3d_cg(level: int) -> Table:
    """Solve the problem, extrapolated from two grids.

    Args:
        level: 0 for the coarse solution, 1 for the fine one.

    Returns:
        Axes ``x``, ``y``, ``z`` and ``u`` over them, NaN in the holes.
    """
    coarse, fine = ((50, 100), (100, 150))[level]
    u = [solve(n)[(slice(None, None, n // POINTS),) * 3] for n in (coarse, fine)]
    ratio = (fine / coarse) ** 2
    axis = np.linspace(0, 1, POINTS + 1)
    known = outside(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1))
    return {"x": axis, "y": axis, "z": axis, "u": np.where(known, (ratio * u[1] - u[0]) / (ratio - 1), np.nan)}
