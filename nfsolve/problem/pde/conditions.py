"""Conditions: residual methods marked with the part of the domain on which they hold."""

import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from numbers import Integral, Real
from types import FunctionType
from typing import Any, overload

import numpy as np
import torch

from nfsolve._core.errors import InputError, place_of


@dataclass(frozen=True)
class Condition:
    """Where a residual method holds and how it is sampled.

    Attributes:
        kind: ``interior``, ``face``, ``boundary``, ``interface``, ``paired``, ``integral`` or ``measured``.
        sides: For a face, coordinate -> a value or several; for paired values, the two places.
        part: Names of the parts of the boundary, of which empty means all; of an interface the two parts of the domain.
        where: For the inside, a shape or the name of a part of the domain, or a function of coordinates; for a face or
            a boundary, a function of coordinates and normals; either may be a method's name.
        data: For measured data, the name of the file, the columns by name, or a method that returns them.
        points: Number of points, or None for the problem's default.
        weight: Factor on the mean square of the residual in the loss.
        at: The points themselves, where the user gives them: an array, or columns by name.
        over: For an integral, the region of integration, as for `nfsolve.Solution.integral`.
        equals: The value of an integral: a number, or the name of an attribute or method.
        nodes: Nodes of the quadrature of an integral along each coordinate; None for as many as are cheap.
    """

    kind: str
    sides: dict[str, Any] = field(default_factory=dict)
    part: tuple[str, ...] = ()
    where: Any = None
    data: Any = ""
    points: int | None = None
    weight: float = 1.0
    at: Any = None
    over: Any = None
    equals: Any = 0.0
    nodes: int | None = None

    @property
    def fixed(self) -> bool:
        """Whether the points are given, so that none are drawn."""
        return self.kind == "measured" or self.at is not None

    @property
    def together(self) -> bool:
        """Whether a face fixes several coordinates at once: a point, or a line in space."""
        single = not any(isinstance(value, tuple | list) for value in self.sides.values())
        return self.kind == "face" and len(self.sides) > 1 and single


Method = Callable[..., Any]


def _mark(method: Method, condition: Condition) -> Method:
    if not callable(method) and not isinstance(method, staticmethod | classmethod):
        named = {"interior": "where", "boundary": "part", "integral": "over"}.get(condition.kind, "")
        do = f"@{condition.kind}({named}={method!r})" if named and isinstance(method, str) else f"@{condition.kind}"
        raise InputError(f"@{condition.kind} marks a method, got {method!r}", do=f"write {do} above def ...")
    name, points, weight = method.__name__, condition.points, condition.weight
    if points is not None and (isinstance(points, bool) or not isinstance(points, Integral) or points < 1):
        raise InputError(
            f"points of condition '{name}' must be a whole number of at least 1, got {points!r}{place_of(method)}",
            do="points of your own are for @interior(points=array), or for @measured with their values",
        )
    if isinstance(weight, bool) or not isinstance(weight, Real) or not (weight >= 0 and math.isfinite(weight)):
        raise InputError(
            f"weight of condition '{name}' must be a number that is not negative, got {weight!r}{place_of(method)}",
            do="for a weight of each equation write one method for each; weights that adapt are in nfsolve.weighting",
        )
    before = getattr(method, "condition", None)
    if before is None:
        _check_new(method)
    else:
        condition = _either(before, condition, method)
    method = _copy(method)
    method.condition = condition  # type: ignore[attr-defined]  # read by PDE.conditions
    return method


def _copy(method: Method) -> Method:
    """Return a function of its own, so that one that is marked in several places has a mark in each."""
    if not isinstance(method, FunctionType):
        return method
    code = method.__code__, method.__globals__, method.__name__, method.__defaults__, method.__closure__
    copied = FunctionType(*code)
    copied.__kwdefaults__ = method.__kwdefaults__
    update_wrapper(copied, method)
    del copied.__wrapped__  # type: ignore[attr-defined]  # it is not a wrapper
    return copied


def _either(lower: Condition, upper: Condition, method: Method) -> Condition:
    """Return the condition that two marks above one method make: it holds on the sides or parts of both.

    Args:
        lower: The mark next to the method.
        upper: The mark above it.
        method: The method, for messages.

    Returns:
        The condition.

    Raises:
        InputError: The marks cannot be one condition.
    """
    alike = lower.kind == upper.kind and lower.weight == upper.weight
    alike = alike and (lower.points is None) == (upper.points is None) and lower.where == upper.where
    points = None if lower.points is None else lower.points + (upper.points or 0)
    if alike and lower.kind == "face" and not (lower.together or upper.together):
        names = [*lower.sides, *(name for name in upper.sides if name not in lower.sides)]
        sides = {name: (*_several(lower.sides.get(name)), *_several(upper.sides.get(name))) for name in names}
        return replace(
            upper, sides={name: tuple(dict.fromkeys(values)) for name, values in sides.items()}, points=points
        )
    if alike and lower.kind == "boundary" and lower.part and upper.part:
        return replace(upper, part=tuple(dict.fromkeys((*lower.part, *upper.part))), points=points)
    raise InputError(
        f"two marks above one method '{method.__name__}', @{upper.kind} and @{lower.kind}, cannot be one condition"
        f"{place_of(method)}",
        do="write a method for each; only @face and named parts of @boundary with the same weight can be combined",
    )


def _several(value: Any) -> tuple[Any, ...]:
    """Return the values of one side as a tuple, empty for none."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _check_new(method: Method) -> None:
    """Refuse a second condition of one name in a class body, where it would silently replace the first."""
    frame = inspect.currentframe()
    for _ in range(3):  # this function, _mark, and the decorator around it
        frame = frame.f_back if frame is not None else None
    body = frame.f_locals if frame is not None else {}
    if "__qualname__" in body and hasattr(body.get(method.__name__), "condition"):
        raise InputError(
            f"There are two conditions named '{method.__name__}' in {body['__qualname__']}{place_of(method)}",
            do="rename one, because the second would replace the first",
        )


@overload
def interior(method: Method, /) -> Method: ...
@overload
def interior(*, where: Any = None, points: Any = None, weight: float = 1.0) -> Callable[[Method], Method]: ...
def interior(
    method: Method | None = None,
    /,
    *,
    where: Any = None,
    points: Any = None,
    weight: float = 1.0,
    **others: Any,
) -> Any:
    """Mark a residual that holds inside the domain; with or without arguments.

    Args:
        method: The residual method, when used without arguments.
        where: A part of the domain: its name in a union, a shape, or a function of coordinates that is True there. A
            residual of an unknown that lives on one part only holds on that part without it.
        points: Number of points; default ``n_points`` of the problem. Or the points themselves: an array ``(n, d)``, or
            the columns by name as for `measured`.
        weight: Factor on its mean square in the loss.
        **others: None; any other name raises an error that says what to write.

    Returns:
        The marked method, or a decorator.

    Raises:
        InputError: Anything else is given.

    Examples:
        >>> from nfsolve import PDE, Box, interior
        >>> class Growth(PDE):
        ...     domain = Box(t=(0, 1))
        ...
        ...     @interior
        ...     def growth(self, u, u_t):
        ...         return u_t - u
        >>> Growth().conditions()["growth"].kind
        'interior'
    """
    _refuse("interior", others, "for an equation on a part of the domain write where=", "where=, points= and weight=")
    at = columns_of(points) if is_table(points) or np.ndim(points) > 0 else None
    count = points if at is None else _length(at)
    condition = Condition("interior", where=where, points=count, weight=weight, at=at)
    if method is not None:
        return _mark(method, condition)
    return lambda method: _mark(method, condition)


def _length(at: Any) -> int:
    """Return the number of points in a table; at least 1, as an empty one is refused where it is read."""
    some = next(iter(at.values()), ()) if isinstance(at, Mapping) else at
    return max(1, np.size(some) if isinstance(at, Mapping) else len(some))


def face(
    *parts: str, where: Any = None, points: int | None = None, weight: float = 1.0, **sides: Any
) -> Callable[[Method], Method]:
    """Mark a residual that holds on sides of the domain, on planes in it, or at a point.

    ``@face(t=0)`` is a side, and ``@face(x=(-1, 1))`` two of them. With pairs of values the condition holds on all
    sides that are named: ``@face(x=(0, 1), y=(0, 1))`` means the four walls of a square. ``@face(x=0.5)`` is a plane
    inside the domain, with the normal towards larger x. Single values of several coordinates hold at the same time:
    ``@face(x=0, y=0.5)`` is a point in the plane, such as one that fixes a pressure, or a line in space. Sides with a
    name are called by it: ``@face("inlet")`` is ``@boundary(part="inlet")``.

    Args:
        *parts: Names of parts of the boundary, in place of coordinates.
        where: A function of coordinates and normals that is True where the residual holds, as for `boundary`:
            ``@face(x=0, where=lambda y: y < 0.5)``.
        points: Number of points on all these sides together; default ``n_face`` of the problem.
        weight: Factor on its mean square in the loss.
        **sides: Coordinate -> a value in its bounds, or several.

    Returns:
        The decorator.

    Raises:
        InputError: No side is named, or names and coordinates together.

    Examples:
        >>> @face(t=0, points=100, weight=10)
        ... def initial(self, u, x):
        ...     return u - x**2
        >>> initial.condition.sides, initial.condition.points
        ({'t': 0}, 100)
    """
    if not (parts or sides) or not all(isinstance(part, str) for part in parts):
        raise InputError(
            "`@face` needs a coordinate and its end, but it was used without a side",
            do="write `@face(x=(-1, 1))` or `@face(t=0)`, or `@boundary` for the whole boundary",
        )
    if parts and sides:
        raise InputError(
            f"`@face` needs either names of parts or values of coordinates, got {', '.join(map(repr, parts))} and "
            f"{', '.join(sides)}",
            do=f'write `@face("{parts[0]}", where=lambda ...)` for a part of a part',
        )
    if parts:
        return lambda method: _mark(
            method, Condition("boundary", part=parts, where=where, points=points, weight=weight)
        )
    return lambda method: _mark(method, Condition("face", sides, where=where, points=points, weight=weight))


@overload
def boundary(method: Method, /) -> Method: ...
@overload
def boundary(
    *, part: str | tuple[str, ...] = (), where: Any = None, points: int | None = None, weight: float = 1.0
) -> Callable[[Method], Method]: ...
def boundary(
    method: Method | None = None,
    /,
    *,
    part: str | tuple[str, ...] = (),
    where: Any = None,
    points: int | None = None,
    weight: float = 1.0,
    **others: Any,
) -> Any:
    """Mark a residual that holds on the boundary of any domain, or on a part of it; with or without arguments.

    ``@boundary``, ``@boundary(part="rim")``, ``@boundary(where=lambda x, y: x < 0)``. In the product of a box of
    times with a shape it is the boundary of the shape at all times.

    Args:
        method: The residual method, when used without arguments.
        part: Name of a part of the boundary, or several; the domain's ``parts`` lists them.
        where: A function of coordinates and normals (``x``, ``n_x``), each a column ``(n, 1)``, that is True where
            the residual holds; or the name of such a method.
        points: Number of points; default ``n_face`` of the problem.
        weight: Factor on its mean square in the loss.
        **others: None; any other name raises an error that says what to write.

    Returns:
        The marked method, or a decorator.

    Raises:
        InputError: Anything else is given.

    Examples:
        >>> @boundary(where=lambda x, n_x: (x > 0) & (n_x > 0))
        ... def flux(self, u_x, u_y, n_x, n_y):
        ...     return u_x * n_x + u_y * n_y
        >>> flux.condition.kind
        'boundary'
    """
    sides = ", ".join(f"{name}={value!r}" for name, value in others.items())
    _refuse("boundary", others, f"the sides of a Box are faces: write @face({sides})")
    parts = (part,) if isinstance(part, str) else tuple(part)
    condition = Condition("boundary", part=parts, where=where, points=points, weight=weight)
    if method is not None:
        return _mark(method, condition)
    return lambda method: _mark(method, condition)


def interface(
    first: str, second: str = "", /, *, points: int | None = None, weight: float = 1.0
) -> Callable[[Method], Method]:
    """Mark a residual that holds where two named parts of the domain touch: ``@interface("core", "shell")``.

    Its signature may name unknowns of both parts with their derivatives, at the same points, and the normal, ``n_x``,
    which points out of the first part and into the second.

    Args:
        first: Name of a part of the union that is the domain.
        second: Name of another.
        points: Number of points; default ``n_face`` of the problem.
        weight: Factor on its mean square in the loss.

    Returns:
        The decorator.

    Raises:
        InputError: Not two different names.

    Examples:
        >>> @interface("core", "shell")
        ... def flux(self, u_x, u_y, v_x, v_y, n_x, n_y):
        ...     return n_x * (10 * u_x - v_x) + n_y * (10 * u_y - v_y)
        >>> flux.condition.part
        ('core', 'shell')
    """
    if not (isinstance(first, str) and isinstance(second, str) and second and first != second):
        other = repr(second) if second else "no other"
        raise InputError(
            f"@interface needs the names of two parts of the domain, got {first!r} and {other}",
            do='write @interface("core", "shell") for domain = a.named("core") | b.named("shell")',
        )
    condition = Condition("interface", part=(first, second), points=points, weight=weight)
    return lambda method: _mark(method, condition)


def paired(
    *, points: int | None = None, weight: float = 1.0, **pair: tuple[float, float]
) -> Callable[[Method], Method]:
    """Mark a residual that compares the field at two values of one coordinate: ``@paired(x=(-1, 1))``.

    In its signature ``u_low`` and ``u_x_low`` are at the first value, ``u_high`` and ``u_x_high`` at the second,
    at the same other coordinates: ``u_high - u_low`` imposes softly what ``periodic`` bounds impose exactly.

    Args:
        points: Number of pairs; default ``n_face`` of the problem.
        weight: Factor on its mean square in the loss.
        **pair: One coordinate -> two values of it.

    Returns:
        The decorator.

    Raises:
        InputError: Not one coordinate with two different values.

    Examples:
        >>> @paired(x=(-1, 1))
        ... def repeats(self, u_low, u_high):
        ...     return u_high - u_low
        >>> repeats.condition.sides
        {'x': (-1, 1)}
    """
    _refuse("paired", {name: value for name, value in pair.items() if name in ("where", "part")}, "leave it out")
    values = next(iter(pair.values()), ())
    numbers = [v for v in values if isinstance(v, int | float)] if isinstance(values, tuple | list) else []
    if len(pair) != 1 or len(numbers) != 2 or len(values) != 2 or numbers[0] == numbers[1]:
        raise InputError(
            "@paired needs one coordinate and two different values of it, got "
            f"@paired({', '.join(f'{k}={v!r}' for k, v in pair.items())})",
            do="write @paired(x=(-1, 1))",
        )
    return lambda method: _mark(method, Condition("paired", dict(pair), points=points, weight=weight))


@overload
def integral(method: Method, /) -> Method: ...
@overload
def integral(
    *,
    over: Any = None,
    equals: Any = 0.0,
    nodes: int | None = None,
    points: int | None = None,
    weight: float = 1.0,
) -> Callable[[Method], Method]: ...
def integral(
    method: Method | None = None,
    /,
    *,
    over: Any = None,
    equals: Any = 0.0,
    nodes: int | None = None,
    points: int | None = None,
    weight: float = 1.0,
) -> Any:
    """Mark a method whose integral is known: ``@integral(equals=1)`` above ``def norm(self, u): return u**2``.

    The method returns the integrand; the residual is its integral minus ``equals``. The integral runs over space, at
    every time and for every parameter; without a coordinate of space it runs over all coordinates.

    Args:
        method: The method, when used without arguments.
        over: Region of integration: None for the inside, or the part on which its unknowns are defined; the name of a
            part of the domain or of its boundary, ``"boundary"``, two parts for their interface, a shape, or a section
            ``{"x": 0.5}``.
        equals: A number, or the name of an attribute or of a method, which may depend on time and parameters.
        nodes: Nodes of the quadrature along each coordinate.
        points: Number of times, or of parameter values, at which the condition is imposed; default 24.
        weight: Factor on its mean square in the loss.

    Returns:
        The marked method, or a decorator.

    Raises:
        InputError: ``nodes`` is not a positive whole number.

    Examples:
        >>> @integral(over="x=1", equals="inflow")
        ... def flux(self, u_x, n_x):
        ...     return u_x * n_x
        >>> flux.condition.equals
        'inflow'
    """
    if nodes is not None and (isinstance(nodes, bool) or not isinstance(nodes, Integral) or nodes < 1):
        raise InputError(f"@integral needs at least one node, got nodes={nodes!r}", do="choose a positive whole number")
    if isinstance(equals, bool) or not isinstance(equals, str | Real):
        raise InputError(
            f"@integral(equals=...) needs a number or the name of an attribute or method, got {equals!r}",
            do='write equals=1, or equals="mass" with def mass(self, t)',
        )
    over = list(over) if isinstance(over, tuple) else over
    made = Condition("integral", points=points, weight=weight, over=over, equals=equals, nodes=nodes)
    if method is not None:
        return _mark(method, made)
    return lambda method: _mark(method, made)


def measured(
    data: str | Mapping[str, Any] | Callable[[Any], Mapping[str, Any]], *, weight: float = 1.0
) -> Callable[[Method], Method]:
    """Mark a residual that compares the field with measured values.

    The columns of the data are coordinates and values; a value column ``u`` reaches the method as ``u_data``.

    Args:
        data: File name (.npz with one array for each column, or .csv with a header), looked for at the path
            given, then under ``$NFSOLVE_DATA``; the ending may be left out. Or the columns themselves, by name: a
            dictionary of arrays, tensors or lists, a table of pandas, or a dataset of xarray, whose coordinates become
            columns. A run keeps them in its folder. Or a method, written above, that returns them, where they depend on
            the problem's parameters.
        weight: Factor on its mean square in the loss. The default recipe of a problem with unknown numbers finds it by
            the evidence, unless it is another one than 1 (see `nfsolve.weighting.Evidence`).

    Returns:
        The decorator.

    Raises:
        InputError: The data are neither.

    Examples:
        >>> @measured("probes.csv")
        ... def gap(self, u, u_data):
        ...     return u - u_data
        >>> gap.condition.data
        'probes.csv'
    """
    data = columns_of(data)
    method = callable(data) and len(inspect.signature(data).parameters) == 1  # a residual has more: a bare @measured
    if not isinstance(data, str | Mapping | os.PathLike) and not method:
        raise InputError(
            f"@measured needs the name of a file, the columns by name or a method that returns them, got {data!r}",
            do='write @measured("probes.csv") or @measured({"x": x, "u": u})',
        )
    data = os.fspath(data) if isinstance(data, os.PathLike) else data
    return lambda method: _mark(method, Condition("measured", data=data, weight=weight))


def is_table(data: Any) -> bool:
    """Return whether data have columns by name."""
    return isinstance(data, Mapping) or hasattr(data, "columns") or hasattr(data, "to_dataframe")


def columns_of(data: Any) -> Any:
    """Return the columns by name of a table of pandas or polars, or of a dataset of xarray; anything else as it is.

    Raises:
        InputError: A `DataArray` of xarray without a name.
    """
    if hasattr(data, "to_dataframe"):  # coordinates of a grid become columns beside the values
        if getattr(data, "name", "") is None:
            raise InputError("a DataArray needs a name, that of the unknown, got none", do='write data.rename("u")')
        data = data.to_dataframe().reset_index()
    if hasattr(data, "columns") and not isinstance(data, Mapping):
        return {name: data[name] for name in data.columns}
    return data


def difference(names: tuple[str, ...], targets: tuple[str, ...]) -> Method:
    """Return the residual method ``NAME - TARGET``, with a column for each pair, whose signature has these names."""

    def residual(*columns: Any) -> Any:
        return torch.cat([a - b for a, b in zip(columns[: len(names)], columns[len(names) :], strict=True)], -1)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    residual.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by `arguments`
        [inspect.Parameter(name, kind) for name in (*names, *targets)]
    )
    return residual


def _refuse(mark: str, others: dict[str, Any], advice: str, takes: str = "points= and weight=") -> None:
    if others:
        raise InputError(f"@{mark} takes {takes}, got {next(iter(others))}=", do=advice)


def arguments(method: Method) -> tuple[str, ...]:
    """Return the names in a residual method's signature, without self."""
    names = tuple(inspect.signature(method).parameters)
    return names[1:] if names[:1] == ("self",) else names
