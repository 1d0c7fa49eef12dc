"""Families of input functions: where they are seen, what residuals name of them, and which were seen before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.diff import parse, partials
from nfsolve.problem.pde import apply_ansatz

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
    """Give the matrix from values at the sensors to the coefficients of a function with these values.

    Of all such functions it is the likeliest, for independent coefficients of the variances that draws have: without
    them, a wave and its alias between the sensors would share the amplitude.

    Args:
        space: The space.
        sensors: Points ``(m, d)``.
        like: Type and device of the values.

    Returns:
        ``(k, m)``.
    """
    deviations = space.draw(1000, generator(0, "variances")).square().mean(0).sqrt()
    smallest = torch.finfo(like.dtype).eps ** 0.7  # rounding of the values, amplified, stays below what is left out
    matrix = deviations[:, None] * torch.linalg.pinv(space.basis(sensors) * deviations, rtol=smallest)
    return matrix.to(like)


def sample(
    problem: Any, purpose: str, n: int, like: Tensor, sizes: tuple[int, ...], labelled: bool = True
) -> dict[str, Any]:
    """Draw functions of a problem and, where it has a solver, solve for them.

    Args:
        problem: The operator problem.
        purpose: Which stream of its ``data_seed``.
        n: Number of functions.
        like: Type and device of the field.
        sizes: Points of the evaluation grid along each coordinate.
        labelled: Whether the solutions are wanted.

    Returns:
        ``coefficients``; ``functions``, what the field reads; ``values (n, m)`` of all inputs at the sensors, float64;
        with solutions ``truth (n, points, k)``, float64, ``size (n, 1, k)``, their root mean square, and ``floor``,
        their relative error.

    Raises:
        InputError: Training needs solutions that the problem does not give, or they do not fit.
    """
    chance, spaces = generator(problem.data_seed, purpose), problem.spaces()
    coefficients = {name: space.draw(n, chance) for name, space in spaces.items()}
    functions, values = read(problem, coefficients, like)
    found = {"coefficients": coefficients, "functions": functions, "values": values}
    callables = (as_callable(spaces[name], coefficients[name]) for name in problem.inputs)
    solved = problem.labels(*callables) if labelled else None
    if solved is None:
        if labelled and problem.data:
            raise InputError(f"data for {type(problem).__name__}", "solutions, as from a method labels(self, ...)")
        return found
    truth = as_labels(solved[0], n, sizes, problem.outputs)
    size = truth.square().mean(1, keepdim=True).sqrt()
    return found | {"truth": truth.to(like.device), "size": size.to(like), "floor": float(solved[1])}


def read(problem: Any, coefficients: Coefficients, like: Tensor) -> tuple[Any, Tensor]:
    """Give what the field reads of some functions, and their values at all sensors, (n, m), float64."""
    spaces = problem.spaces()
    values = {name: spaces[name].evaluate(c, problem.sensor_points(name)) for name, c in coefficients.items()}
    seen = problem.seen({name: column.to(like) for name, column in values.items()})
    return seen, torch.cat([values[name] for name in problem.inputs], 1)


def several(functions: Any) -> tuple[Tensor, ...]:
    """Give what a field reads of its input functions as a tuple."""
    return functions if isinstance(functions, tuple) else (functions,)


def as_read(functions: list[Tensor]) -> Any:
    """Give the values of input functions as a field reads them: one tensor, or a tuple of several."""
    return functions[0] if len(functions) == 1 else tuple(functions)


def lifted(problem: Any, plain: Callable[[Tensor], Tensor], rows: dict[str, Any], points: Tensor) -> Tensor:
    """Apply an ansatz that names input functions, as they are known from their values at the sensors.

    Args:
        problem: The operator problem.
        plain: Raw outputs of B functions side by side, points ``(n, d)`` -> ``(n, B k)``.
        rows: ``functions``, what the field reads, and ``lifting``, the matrices of `reconstruction` by name.
        points: Points ``(n, d)``.

    Returns:
        The outputs, ``(n, B k)``.
    """
    given = {}
    for name, values in zip(problem.inputs, several(rows["functions"]), strict=True):
        if name in rows["lifting"]:
            columns = [problem.domain.index(c) for c in problem.inputs[name].split()]
            basis = problem.spaces()[name].basis(points[:, columns])
            given[name] = F.linear(basis, values @ rows["lifting"][name].T)[..., None]
    raw, k = plain(points), len(problem.outputs)
    return apply_ansatz(problem, points[:, None], raw.unflatten(-1, (raw.shape[-1] // k, k)), given).flatten(-2)


def as_callable(space: Any, coefficients: Tensor) -> Callable[[Any], np.ndarray]:
    """Give functions as a solver takes them: points ``(m,)`` or ``(m, d)`` -> values ``(n, m)``, float64 arrays."""

    def of_points(x: Any) -> np.ndarray:
        points = torch.as_tensor(np.asarray(x, np.float64))
        return space.evaluate(coefficients, points[:, None] if points.ndim == 1 else points).numpy()

    return of_points


def as_labels(values: Any, n: int, sizes: tuple[int, ...], outputs: tuple[str, ...]) -> Tensor:
    """Check labels and lay them out.

    Args:
        values: Values on the evaluation grid, ``(n, *sizes)`` or ``(n, *sizes, k)``.
        n: Number of functions.
        sizes: Points of the grid along each coordinate.
        outputs: Names of the unknowns.

    Returns:
        ``(n, points, k)``, float64.

    Raises:
        InputError: Another shape, or values that are not finite.
    """
    values = torch.as_tensor(np.asarray(values, np.float64))
    expected = (n, *sizes, len(outputs))
    if tuple(values.shape) not in (expected, expected[:-1] if len(outputs) == 1 else expected):
        raise InputError(
            f"labels of shape {tuple(values.shape)}",
            f"{expected} for {n} functions, a grid of {' x '.join(map(str, sizes))} points and {', '.join(outputs)}",
        )
    values = values.reshape(n, -1, len(outputs))
    bad = (~torch.isfinite(values)).flatten(1).sum(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise InputError(
            f"labels of {int((bad > 0).sum())} of {n} functions are NaN or infinite, "
            f"first {int(bad[first])} values of function {first}",
            "finite numbers",
            "leave these functions out, or solve for them with smaller steps",
        )
    return values
