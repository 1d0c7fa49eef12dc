"""Families of input functions: their sensors, and their values and derivatives in residuals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.diff import parse, partials
from nfsolve.domains import Domain
from nfsolve.functions import FunctionSpace

Coefficients = dict[str, Tensor]
"""Input function -> coefficients ``(n, k)`` in its space, float64 on the CPU."""


def sensor_points(domain: Domain, coordinates: tuple[str, ...], count: int) -> Tensor:
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
    wanted: tuple[str, ...],
    inputs: dict[str, str],
    domain: Domain,
    spaces: dict[str, FunctionSpace],
    coefficients: Coefficients,
    points: Tensor,
) -> dict[str, Tensor]:
    """Evaluate the input functions, and their derivatives, that a signature names.

    Args:
        wanted: Names in the signature; those of other things are passed over.
        inputs: Input function -> the coordinates on which it lives.
        domain: The domain.
        spaces: Input function -> its space.
        coefficients: B functions.
        points: Points ``(n, d)``, float64.

    Returns:
        Name -> column ``(B n, 1)``, one function after the other.
    """
    found: dict[str, Tensor] = {}
    for name, space in spaces.items():
        own = tuple(inputs[name].split())
        names = {
            text: parse(text, (name,), own)
            for text in wanted
            if text == name or (text.startswith(name + "_") and text not in spaces)
        }
        if names:
            x = points[:, [domain.index(c) for c in own]]
            columns = partials(space.basis, x, {read.along for read in names.values()})
            found |= {text: (coefficients[name] @ columns[read.along].T).reshape(-1, 1) for text, read in names.items()}
    return found


def reconstruction(space: FunctionSpace, sensors: Tensor, like: Tensor) -> Tensor:
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


def several(functions: Any) -> tuple[Tensor, ...]:
    """Return what a field reads of its input functions as a tuple."""
    return functions if isinstance(functions, tuple) else (functions,)


def as_read(functions: list[Any]) -> Any:
    """Return what there is of each input function as a field reads it: alone, or a tuple where there are several."""
    return functions[0] if len(functions) == 1 else tuple(functions)


def as_callable(space: FunctionSpace, coefficients: Tensor) -> Callable[[Any], np.ndarray]:
    """Return functions as a solver takes them: points ``(m,)`` or ``(m, d)`` -> values ``(n, m)``, float64 arrays."""

    def of_points(x: Any) -> np.ndarray:
        points = torch.as_tensor(np.asarray(x, np.float64))
        return space.evaluate(coefficients, points[:, None] if points.ndim == 1 else points).numpy()

    return of_points
