"""Families of input functions: where they are seen, what residuals name of them, and which were seen before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff import parse, partials

Coefficients = dict[str, Tensor]
"""Input function -> coefficients ``(n, k)`` in its space, float64 on the CPU."""


def sensor_points(domain: Any, coordinates: tuple[str, ...], count: int) -> Tensor:
    """Lay out the points at which an operator sees an input function.

    Args:
        domain: The domain, for bounds and periodicity.
        coordinates: Coordinates on which the function lives; none for a number.
        count: Points along each of them, equidistant, with both ends; without the upper end of a period.

    Returns:
        Points ``(m, d)``, float64; ``(1, 0)`` for a number.
    """
    axes = []
    for name in coordinates:
        column = domain.index(name)
        low, high = domain.bounds[column]
        axes.append(
            low + (high - low) * torch.arange(count, dtype=torch.float64) / count
            if domain.periodic[column]
            else torch.linspace(low, high, count, dtype=torch.float64)
        )
    if not axes:
        return torch.empty(1, 0, dtype=torch.float64)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def input_columns(
    wanted: tuple[str, ...], problem: Any, spaces: dict[str, Any], coefficients: Coefficients, points: Tensor
) -> dict[str, Tensor]:
    """Evaluate the input functions, and their derivatives, that a signature names.

    Args:
        wanted: Names in the signature; those of other things are passed over.
        problem: The operator problem, for ``inputs`` and ``domain``.
        spaces: Input function -> its space.
        coefficients: B functions.
        points: Points ``(n, d)``, float64.

    Returns:
        Name -> column ``(B n, 1)``, one function after the other.
    """
    found: dict[str, Tensor] = {}
    for name, space in spaces.items():
        own = tuple(problem.inputs[name].split())
        names = {
            text: parse(text, (name,), own)
            for text in wanted
            if text == name or (text.startswith(name + "_") and text not in spaces)
        }
        if names:
            x = points[:, [problem.domain.index(c) for c in own]]
            columns = partials(space.basis, x, {read.along for read in names.values()})
            found |= {text: (coefficients[name] @ columns[read.along].T).reshape(-1, 1) for text, read in names.items()}
    return found


def reconstruction(space: Any, sensors: Tensor, like: Tensor) -> Tensor:
    """Return the matrix from values at the sensors to the coefficients of a function with these values.

    Of all such functions it is the likeliest, for independent coefficients of the variances that draws have: without
    them, a wave and its alias between the sensors would share the amplitude.

    Args:
        space: The space.
        sensors: Points ``(m, d)``.
        like: Type and device of the values.

    Returns:
        ``(k, m)``.
    """
    deviations = space.sample(1000, generator(0, "variances")).square().mean(0).sqrt()
    smallest = torch.finfo(like.dtype).eps ** 0.7  # rounding of the values, amplified, stays below what is left out
    matrix = deviations[:, None] * torch.linalg.pinv(space.basis(sensors) * deviations, rtol=smallest)
    return matrix.to(like)


def read(problem: Any, coefficients: Coefficients, like: Tensor) -> tuple[Any, Tensor]:
    """Return what the field reads of some functions, and their values at all sensors, (n, m), float64."""
    spaces = problem.spaces()
    values = {name: spaces[name].evaluate(c, problem.sensor_points(name)) for name, c in coefficients.items()}
    return as_seen(problem, values, like)


def as_seen(problem: Any, values: dict[str, Tensor], like: Tensor) -> tuple[Any, Tensor]:
    """Return what the field reads of values at the sensors (n, m) by input function, and them in one row."""
    seen = problem.seen({name: column.to(like) for name, column in values.items()})
    return seen, torch.cat([values[name] for name in problem.inputs], 1)


def several(functions: Any) -> tuple[Tensor, ...]:
    """Return what a field reads of its input functions as a tuple."""
    return functions if isinstance(functions, tuple) else (functions,)


def as_read(functions: list[Any]) -> Any:
    """Return what there is of each input function as a field reads it: alone, or a tuple where there are several."""
    return functions[0] if len(functions) == 1 else tuple(functions)


def as_callable(space: Any, coefficients: Tensor) -> Callable[[Any], np.ndarray]:
    """Return functions as a solver takes them: points ``(m,)`` or ``(m, d)`` -> values ``(n, m)``, float64 arrays."""

    def of_points(x: Any) -> np.ndarray:
        points = torch.as_tensor(np.asarray(x, np.float64))
        return space.evaluate(coefficients, points[:, None] if points.ndim == 1 else points).numpy()

    return of_points
