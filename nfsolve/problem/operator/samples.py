"""Functions with their solutions: drawn and solved for or stored, in the layout of scores and mini-batches."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve.problem.operator.families import Coefficients
from nfsolve.problem.rows import LabelRows

LEAST = 1e-3  # of the root mean square of all labels: smaller ones count as if they were as large


@dataclass(frozen=True)
class FunctionSet:
    """Input functions of an operator, with their solutions on the evaluation grid where these are known.

    Attributes:
        functions: What the field reads of them, ``(n, m)`` at m sensors; a tuple of several input functions.
        values: Values ``(n, m)`` of all inputs at their sensors, side by side, float64.
        coefficients: By input function, of those that are drawn.
        truth: Solutions ``(n, points, k)``, float64.
        size: Root mean squares of the solutions ``(n, 1, k)``, as in `sizes_of`.
        floor: Relative error of the solutions.
    """

    functions: Any
    values: Tensor
    coefficients: Coefficients = field(default_factory=dict)
    truth: Tensor | None = None
    size: Tensor | None = None
    floor: float | None = None

    def __len__(self) -> int:
        """Return the number of functions."""
        return len(self.values)

    def with_labels(self, solved: Any, sizes: tuple[int, ...], outputs: tuple[str, ...], like: Tensor) -> Self:
        """Return these functions with their solutions.

        Args:
            solved: The solutions, as for `as_labels`, and their relative error.
            sizes: Points of the grid along each coordinate.
            outputs: Names of the unknowns.
            like: Type and device of the field.
        """
        truth = as_labels(solved[0], len(self), sizes, outputs)
        return replace(self, truth=truth.to(like.device), size=sizes_of(truth).to(like), floor=float(solved[1]))


def sizes_of(truth: Tensor) -> Tensor:
    """Return by what the misfit of labels is divided.

    Args:
        truth: Solutions ``(n, points, k)``.

    Returns:
        Their root mean squares ``(n, 1, k)``; of a solution that is tiny or zero a thousandth of that of all solutions,
        and 1 of an unknown that is zero in all of them.
    """
    size = root_mean_square(truth)
    usual = truth.square().mean((0, 1), keepdim=True).sqrt()
    return torch.where(usual > 0, size.maximum(LEAST * usual), 1.0)


def root_mean_square(truth: Tensor) -> Tensor:
    """Return the root mean squares ``(n, 1, k)`` of solutions ``(n, points, k)``, without missing values, NaN."""
    return truth.square().nanmean(1, keepdim=True).sqrt().nan_to_num(0.0)


def label_rows(
    points: Tensor, truth: Tensor, size: Tensor, like: Tensor, functions: Any, lifting: dict[str, Tensor]
) -> LabelRows:
    """Return the rows of a mini-batch that compare a field with labels.

    Args:
        points: Points ``(n, d)`` of all functions, or ``(n, B, d)``, each function its own, as the field takes them.
        truth: Solutions of B functions there ``(B, n, k)``, NaN where one is missing.
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

    Of points that do not form a grid, for which ``sizes`` has another length, it gives each coordinate of all of them
    ``(n,)``; of those that each function has for itself, ``(n, B, d)``, ``(B, n)``.
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
