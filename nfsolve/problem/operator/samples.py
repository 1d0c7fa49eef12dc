"""Functions with their solutions: drawn and solved for or stored, in the layout of scores and mini-batches."""

from typing import Any

import torch
from torch import Tensor

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem.operator.families import as_callable, as_seen, read
from nfsolve.problem.rows import LabelRows

LEAST = 1e-3  # of the root mean square of all labels: smaller ones count as if they were as large


def sample(
    problem: Any, purpose: str, n: int, like: Tensor, sizes: tuple[int, ...], labelled: bool = True
) -> dict[str, Any]:
    """Draw functions of a problem and, where it has a solver, solve for them; or take those that it has stored.

    Args:
        problem: The operator problem.
        purpose: Which stream of its ``data_seed``.
        n: Number of functions.
        like: Type and device of the field.
        sizes: Points of the evaluation grid along each coordinate.
        labelled: Whether the solutions are wanted.

    Returns:
        ``functions``, what the field reads; ``values (n, m)`` of all inputs at the sensors, float64; where they are
        drawn ``coefficients``; with solutions ``truth (n, points, k)``, float64, ``size (n, 1, k)``, their root mean
        square, and ``floor``, their relative error.

    Raises:
        InputError: Training needs solutions that the problem does not give, or they do not fit.
    """
    stored = problem.stored(purpose)
    if stored is not None:
        values, *solved = stored
        functions, values = as_seen(problem, values, like)
        found = {"functions": functions, "values": values}
    else:
        chance, spaces = generator(problem.data_seed, purpose), problem.spaces()
        coefficients = {name: space.sample(n, chance) for name, space in spaces.items()}
        functions, values = read(problem, coefficients, like)
        found = {"coefficients": coefficients, "functions": functions, "values": values}
        callables = (as_callable(spaces[name], coefficients[name]) for name in problem.inputs)
        solved = problem.labels(*callables) if labelled else None
    if solved is None:
        if labelled and problem.data:
            raise InputError(
                f"{type(problem).__name__} has no solutions to train on", do="write a method labels(self, ...)"
            )
        return found
    return found | labelled_by(solved, len(found["values"]), sizes, problem.outputs, like)


def labelled_by(solved: Any, n: int, sizes: tuple[int, ...], outputs: tuple[str, ...], like: Tensor) -> dict[str, Any]:
    """Lay out solutions.

    Args:
        solved: The solutions, as for `as_labels`, and their relative error.
        n: Number of functions.
        sizes: Points of the grid along each coordinate.
        outputs: Names of the unknowns.
        like: Type and device of the field.

    Returns:
        ``truth (n, points, k)``, float64, ``size (n, 1, k)`` as in `sizes_of`, and ``floor``, the error.
    """
    truth = as_labels(solved[0], n, sizes, outputs)
    return {"truth": truth.to(like.device), "size": sizes_of(truth).to(like), "floor": float(solved[1])}


def sizes_of(truth: Tensor) -> Tensor:
    """Return by what the misfit of labels is divided.

    Args:
        truth: Solutions ``(n, points, k)``.

    Returns:
        Their root mean squares ``(n, 1, k)``; of a solution that is tiny or zero a thousandth of that of all solutions,
        and 1 of an unknown that is zero in all of them.
    """
    size = truth.square().mean(1, keepdim=True).sqrt()
    usual = truth.square().mean((0, 1), keepdim=True).sqrt()
    return torch.where(usual > 0, size.maximum(LEAST * usual), 1.0)


def label_rows(
    points: Tensor, truth: Tensor, size: Tensor, like: Tensor, functions: Any, lifting: dict[str, Tensor]
) -> LabelRows:
    """Return the rows of a mini-batch that compare a field with labels.

    Args:
        points: Points ``(n, d)`` of all functions, or ``(n, B, d)``, each function its own, as the field takes them.
        truth: Solutions of B functions there ``(B, n, k)``.
        size: Their root mean squares ``(B, 1, k)``.
        like: Type and device of the field.
        functions: What the field reads of the functions.
        lifting: As in `FunctionRows`.

    Returns:
        The rows, one function after the other.
    """
    truth, size = truth.to(like), size.to(like)
    return LabelRows(
        points,
        functions=functions,
        lifting=lifting,
        truth=truth.flatten(0, 1),
        size=size.expand_as(truth).flatten(0, 1),
    )


def axes_of(points: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """Return the coordinates along each axis of a grid of points ``(prod(sizes), d)``.

    Of points that are no grid, as ``sizes`` of another length say, it gives each coordinate of all of them ``(n,)``; of
    those that each function has for itself, ``(n, B, d)``, ``(B, n)``.
    """
    if points.ndim == 3 or len(sizes) < points.shape[-1]:
        return list(points.transpose(0, -2).unbind(-1))
    laid = points.reshape(*sizes, -1)
    return [laid.movedim(i, 0).flatten(1)[:, i] for i in range(len(sizes))]


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
    values = torch.from_numpy(real_numbers(values, "labels"))
    expected = (n, *sizes, len(outputs))
    if tuple(values.shape) not in (expected, expected[:-1] if len(outputs) == 1 else expected):
        raise InputError(
            f"labels for {n} functions and {', '.join(outputs)} on a grid of {' x '.join(map(str, sizes))} points must "
            f"have shape {expected}, got {tuple(values.shape)}"
        )
    values = values.reshape(n, -1, len(outputs))
    bad = (~torch.isfinite(values)).flatten(1).sum(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise InputError(
            f"labels must be finite, but those of {int((bad > 0).sum())} of {n} functions are NaN or infinite, "
            f"first {int(bad[first])} values of function {first}",
            do="leave these functions out, or solve for them with smaller steps",
        )
    return values
