"""Where functions in a file are known: points of outputs and sensors of inputs, from arrays of several shapes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve.functions.stored import by_rows


def uniform(sizes: Sequence[int], bounds: Sequence[tuple[float, float]] | None = None) -> np.ndarray:
    """Return the points of a uniform grid with both ends ``(prod(sizes), d)``, by default on [0, 1]."""
    bounds = bounds or [(0.0, 1.0)] * len(sizes)
    return product(
        [np.linspace(*b, n) if n > 1 else np.array([sum(b) / 2]) for n, b in zip(sizes, bounds, strict=True)]
    )


def product(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the points of a grid ``(prod(sizes), d)`` by its axes, the last one running first."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def points_of(arrays: Sequence[Any], names: Sequence[str], outputs: Any) -> tuple[Any, tuple[int, ...]]:
    """Find out what the points of output functions are.

    Args:
        arrays: One array of points: (m,), (m, d), (n, m), (n, m, d), (*sizes, d) or (n, *sizes, d); or one array for
            each coordinate: the axes of a grid, (m,) each, or the column of each point, (m,) or (*sizes).
        names: What they are called.
        outputs: The outputs (n, m), (n, *sizes), or the same with a last axis of channels.

    Returns:
        Points (m, d) or (n, m, d), and the axes of the outputs that are points.

    Raises:
        InputError: The shapes do not fit.
    """
    n, shape = len(outputs), tuple(outputs.shape[1:])
    if len(arrays) == 1:
        found = _of_one(arrays[0], names[0], n, shape)
    else:
        columns = [real_numbers(a, f"the points '{name}'") for name, a in zip(names, arrays, strict=True)]
        found = _of_several(columns, shape)
    if found is None:
        given = ", ".join(f"{name} {tuple(a.shape)}" for name, a in zip(names, arrays, strict=True))
        raise InputError(
            f"points must be (points, d), (functions, points, d), or the axes of a grid, and fit outputs of shape "
            f"{tuple(outputs.shape)}, (functions, points) or (functions, points, k), but they are {given}",
            do="store arrays whose numbers of functions and points agree",
        )
    return found


def _of_one(at: Any, name: str, n: int, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...]] | None:
    own = tuple(at.shape)
    if len(own) == 1 and own == shape[:1]:
        return real_numbers(at, f"the points '{name}'")[:, None], shape[:1]
    if len(own) == 2 and own[0] == 1 and own[1:] == shape[:1]:  # a row of MATLAB
        return real_numbers(at, f"the points '{name}'").T, shape[:1]
    d = len(own) - 1
    if d >= 1 and own[:-1] == shape[:d]:
        return real_numbers(at, f"the points '{name}'").reshape(-1, own[-1]), shape[:d]
    if len(own) == 2:
        for sizes in (shape, shape[:-1]):
            if len(sizes) > 1 and math.prod(sizes) == own[0]:
                return real_numbers(at, f"the points '{name}'"), sizes
    if d >= 2 and own[:-1] == (n, *shape[: d - 1]):
        m = math.prod(shape[: d - 1])
        return by_rows(at, (n, m, own[-1]), lambda rows: rows.reshape(len(rows), m, own[-1])), shape[: d - 1]
    if own == (n, *shape[:1]):
        return by_rows(at, (*own, 1), lambda rows: rows[..., None]), shape[:1]
    return None


def _of_several(columns: list[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]] | None:
    d, own = len(columns), {c.shape for c in columns}
    if all(c.ndim == 1 for c in columns) and tuple(map(len, columns)) == shape[:d]:
        return product(columns), shape[:d]
    [*only] = own
    if len(only) == 1 and only[0] == shape[: len(only[0])]:
        return np.stack([c.ravel() for c in columns], 1), only[0]
    return None


def sensors_of(given: Any, name: str, count: int, n: int) -> Any:
    """Find out where an input function is given.

    Args:
        given: (m,), (m, d), (n, m), (n, m, d) or (*sizes, d), for m sensors and n functions.
        name: The array's name.
        count: m.
        n: Number of functions.

    Returns:
        (m, d), or (n, m, d) where each function has its own.

    Raises:
        InputError: Another shape.
    """
    own = tuple(given.shape)
    if len(own) == 2 and own == (n, count) and count > 3:
        return by_rows(given, (*own, 1), lambda rows: rows[..., None])
    if len(own) == 3 and own[:2] == (n, count):
        return given
    at = real_numbers(given, f"'{name}'")
    if own in ((count,), (1, count)):
        at = at.reshape(-1, 1)
    elif len(own) > 2 and math.prod(own[:-1]) == count:
        at = at.reshape(count, -1)
    if at.ndim != 2 or len(at) != count or not np.isfinite(at).all():
        raise InputError(
            f"sensors must be {count} rows of finite coordinates, (sensors, d), or (functions, sensors, d) where each "
            f"function has its own, but '{name}' has shape {own}",
            do="correct it, or leave it out",
        )
    return at


def likely_sensors(shape: tuple[int, ...], sizes: tuple[int, ...], points: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Say where an input function without sensors is given, as its shape suggests.

    Args:
        shape: Its shape, without the axis of functions.
        sizes: Axes of the outputs.
        points: Their points (m, d), the same for all functions.

    Returns:
        Sensors, or None; and in words what was assumed, if anything.
    """
    d, whole = points.shape[1], math.prod(shape)
    if shape == sizes or (len(shape) == 1 and whole == len(points)):
        words = "" if shape == sizes and len(sizes) > 1 else "it has as many values as there are points"
        return points, f"at the points of the outputs, as {words}" if words else ""
    if len(shape) == d > 1:
        bounds = list(zip(points.min(0).tolist(), points.max(0).tolist(), strict=True))
        return uniform(shape, bounds), f"on a uniform grid of {' x '.join(map(str, shape))} over the box of the points"
    return None, ""
