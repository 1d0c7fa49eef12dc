"""Conditions: residual methods marked with the part of the domain on which they hold."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, overload

from nfsolve._core.errors import InputError


@dataclass(frozen=True)
class Condition:
    """Where a residual method holds and how it is sampled.

    Attributes:
        kind: ``interior``, ``face`` or ``measured``.
        sides: For a face, coordinate -> one end of its interval or both.
        data: For measured data, the name of the file.
        points: Number of points, or None for the problem's default.
        weight: Factor on the mean square of the residual in the loss.
    """

    kind: str
    sides: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    points: int | None = None
    weight: float = 1.0


Method = Callable[..., Any]


def _mark(method: Method, condition: Condition) -> Method:
    if condition.points is not None and condition.points < 1:
        raise InputError(f"points={condition.points} for condition '{method.__name__}'", "at least 1")
    method.condition = condition  # type: ignore[attr-defined]  # read by PDE.conditions
    return method


@overload
def interior(method: Method, /) -> Method: ...
@overload
def interior(*, points: int | None = None, weight: float = 1.0) -> Callable[[Method], Method]: ...
def interior(method: Method | None = None, /, *, points: int | None = None, weight: float = 1.0) -> Any:
    """Mark a residual that holds inside the domain; with or without arguments.

    Args:
        method: The residual method, when used without arguments.
        points: Number of points; default ``n_points`` of the problem.
        weight: Factor on its mean square in the loss.

    Returns:
        The marked method, or a decorator.
    """
    condition = Condition("interior", points=points, weight=weight)
    if method is not None:
        return _mark(method, condition)
    return lambda method: _mark(method, condition)


def face(*, points: int | None = None, weight: float = 1.0, **sides: Any) -> Callable[[Method], Method]:
    """Mark a residual that holds on sides of the box: ``@face(t=0)``, ``@face(x=(-1, 1))``.

    Args:
        points: Number of points on all these sides together; default ``n_face`` of the problem.
        weight: Factor on its mean square in the loss.
        **sides: Coordinate -> one end of its interval, or both.

    Returns:
        The decorator.

    Raises:
        InputError: No side is named.
    """
    if not sides:
        raise InputError("@face without a side", "a coordinate and its end, as in @face(x=(-1, 1))")
    return lambda method: _mark(method, Condition("face", sides, points=points, weight=weight))


def measured(data: str, *, weight: float = 1.0) -> Callable[[Method], Method]:
    """Mark a residual that compares the field with measured values.

    The columns of the file are coordinates and values; a value column ``u`` reaches the method as ``u_data``.

    Args:
        data: File name (.npz with one array for each column, or .csv with a header), looked for at the path
            given, then under ``$NFSOLVE_DATA``; the ending may be left out.
        weight: Factor on its mean square in the loss.

    Returns:
        The decorator.
    """
    return lambda method: _mark(method, Condition("measured", data=data, weight=weight))


def arguments(method: Method) -> tuple[str, ...]:
    """Give the names in a residual method's signature, without self."""
    names = tuple(inspect.signature(method).parameters)
    return names[1:] if names[:1] == ("self",) else names
