"""Input functions that have sensors of their own: rows with value and place of one sensor after the other."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.fields.operators import Functions

ORDER = "write value and place of one sensor after the other"


def own_dims(problem: Any) -> tuple[int, ...]:
    """Return the coordinates of a place for each input function of a problem that has its own sensors, 0 for others."""
    own = getattr(problem, "own_sensors", lambda _: False)
    return tuple(problem.sensor_points(name).shape[1] if own(name) else 0 for name in problem.inputs)


def checked_dims(dims: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    """Return the coordinates of a place for each input function, by default none.

    Args:
        dims: What was given; empty for none.
        columns: Columns of the rows of each input function.

    Raises:
        InputError: Another number of entries, or columns that do not make whole sensors.
    """
    found = tuple(dims) or (0,) * len(columns)
    if len(found) != len(columns) or any(d and m % (1 + d) for d, m in zip(found, columns, strict=True)):
        raise InputError(
            f"dims must have an entry for each of {len(columns)} input functions, and rows of value and place a "
            f"multiple of 1 + dims columns, got dims={found}, sensors={tuple(columns)}",
            do=ORDER,
        )
    return found


def counted(functions: Functions, usual: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """Return how many columns functions may have: any number of whole sensors where each has its own.

    Args:
        functions: What a field is asked to read.
        usual: Columns with which it was built.
        dims: As for `checked_dims`.
    """
    given = (functions,) if isinstance(functions, Tensor) else tuple(functions)
    if len(given) != len(usual):
        return tuple(usual)
    return tuple(
        f.shape[-1] if d and f.shape[-1] % (1 + d) == 0 else m for f, m, d in zip(given, usual, dims, strict=True)
    )
