"""From a residual method's signature to its values: which derivatives it names, and how it gets them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError, nearest, place_of
from nfsolve.diff import Name, Unsupported, parse, partials
from nfsolve.domains.quadrature import gauss
from nfsolve.problem.pde.conditions import arguments
from nfsolve.problem.rows import IntegralRows, Rows

Function = Callable[[Tensor], Tensor]
Space = tuple[int, ...] | None  # columns of the coordinates of space, as for `parse`

PIECE = 2**16  # points evaluated at once, for memory


def in_pieces(field: Function, points: Tensor) -> Tensor:
    """Evaluate a field at many points, a piece at a time, (n, d) -> (n, k)."""
    return torch.cat([field(part) for part in points.split(PIECE)])


def as_field(function: Callable[..., Any], coordinates: tuple[str, ...], outputs: tuple[str, ...] = ()) -> Function:
    """Let a callable of named coordinates, such as an exact solution, stand in for a field.

    Args:
        function: A field (points ``(n, d)`` -> ``(n, k)``), or a function whose parameters are coordinate
            names, each a column ``(n, 1)``, and that returns ``(n, k)``, or for each unknown a column ``(n, 1)``, an
            array ``(n,)`` or a number: alone, in a tuple or list, or in a dictionary by name.
        coordinates: Names of the coordinates.
        outputs: Names of the unknowns; empty takes any number.

    Returns:
        A function of points ``(n, d)``.
    """
    if isinstance(function, nn.Module):
        return function
    try:
        names = tuple(inspect.signature(function).parameters)
    except ValueError:  # of a function that is written in C, such as torch.sin
        return function
    if not names or not set(names) <= set(coordinates):
        return function

    def of_points(points: Tensor) -> Tensor:
        columns = (points[..., i : i + 1] for i in map(coordinates.index, names))
        return _joined(function, function(*columns), points, outputs)

    return of_points


def _joined(function: Callable[..., Any], values: Any, points: Tensor, outputs: tuple[str, ...]) -> Tensor:
    """Join what a function of the user returned at points (n, d) to values (n, k)."""
    name = getattr(function, "__name__", "function")
    if isinstance(values, Mapping) and set(values) == set(outputs):
        values = [values[out] for out in outputs]
    try:
        parts = [_column(part, points) for part in (values if isinstance(values, tuple | list) else (values,))]
        joined = torch.cat(parts, -1)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, Unsupported):
            raise
        came = f"a {type(values).__name__}" if not isinstance(values, dict) else f"a dict of {', '.join(values)}"
        raise InputError(
            f"`{name}` must return a column (n, 1) for each of {', '.join(outputs) or 'the unknowns'}, but it returned "
            f"{'None' if values is None else came}{place_of(function)}",
            do="return u, or u, v for two unknowns",
        ) from error
    if outputs and joined.shape != (*points.shape[:-1], len(outputs)):
        raise InputError(
            f"`{name}` must return {len(outputs)} column{'s' * (len(outputs) > 1)} ({', '.join(outputs)}), but at "
            f"{len(points)} points it returned shape {tuple(joined.shape)}{place_of(function)}",
            do="return u, or u, v for two unknowns",
        )
    return joined


def _column(values: Any, points: Tensor) -> Tensor:
    table = values
    if isinstance(values, int | float | np.ndarray | np.number):  # anything else is a tensor, or a jet that stands in
        table = torch.as_tensor(values, dtype=points.dtype, device=points.device)
    if table.ndim == 0:
        return table.expand(*points.shape[:-1], 1)
    return table[..., None] if table.shape == points.shape[:-1] else table


_PARSED: dict[tuple[str, tuple[str, ...], tuple[str, ...], Space], Name] = {}  # torch.compile looks through lru_cache


def _parse(text: str, outputs: tuple[str, ...], coordinates: tuple[str, ...], space: Space) -> Name:
    key = (text, outputs, coordinates, space)
    if key not in _PARSED:
        _PARSED[key] = parse(text, outputs, coordinates, space)
    return _PARSED[key]


def values(
    wanted: tuple[str, ...],
    function: Function,
    rows: Rows,
    outputs: tuple[str, ...],
    coordinates: tuple[str, ...],
    space: Space = None,
) -> dict[str, Any]:
    """Evaluate everything that a signature names, in one derivative pass.

    Args:
        wanted: Names in the signature.
        function: Points ``(n, d)`` -> values ``(n, k)``.
        rows: The n points, with what belongs to them. With B copies, the function gives the values of B fields side
            by side, ``(n, B k)``.
        outputs: Names of the unknowns.
        coordinates: Names of the coordinates.
        space: Columns along which ``lap_u`` differentiates; None takes all that are not named as a time.

    Returns:
        Name -> column ``(n, 1)``, or ``(B n, 1)``, one field after the other.

    Raises:
        InputError: An unknown name, or a field with another number of outputs.
    """
    copies, points = rows.copies, _repeated(rows.points, rows.copies)
    found: dict[str, Any] = {name: points[..., i : i + 1] for i, name in enumerate(coordinates)}
    found |= rows.columns | rows.inputs
    if rows.normals is not None:
        normals = _repeated(rows.normals, copies)
        for head in ("n_", "normal_"):
            found |= {head + name: normals[..., i : i + 1] for i, name in enumerate(coordinates)}
    found["integral"] = partial(_along, function, rows, outputs, coordinates, space)
    found["D"] = lambda composite, along: _composite(composite, along, function, rows, outputs, coordinates, space)
    names = {text: _parse(text, outputs, coordinates, space) for text in wanted if text not in found}
    if names:
        columns = partials(function, rows.points, {name.along for name in names.values()})
        some = next(iter(columns.values()))
        if some.shape[-1] != copies * len(outputs):
            raise InputError(
                f"The field must have {len(outputs)} output{'s' * (len(outputs) > 1)} ({', '.join(outputs)}), "
                f"got {some.shape[-1] // copies}",
                do="build it with FIELD.for_problem(problem), or change the width of its last layer",
            )
        columns = {along: one_after_another(column, copies) for along, column in columns.items()}
        found |= {text: columns[name.along][..., name.output : name.output + 1] for text, name in names.items()}
    return {name: found[name] for name in wanted}


def one_after_another(values: Tensor, copies: int) -> Tensor:
    """Turn the values of several fields side by side, (n, B k), into one field after the other, (B n, k)."""
    return values if copies == 1 else values.unflatten(-1, (copies, -1)).transpose(0, 1).flatten(0, 1)


def _repeated(rows: Tensor, copies: int) -> Tensor:
    return rows if copies == 1 else rows.repeat(copies, 1)


def call(
    method: Callable[..., Tensor],
    function: Function,
    rows: Rows,
    outputs: tuple[str, ...],
    coordinates: tuple[str, ...],
    space: Space = None,
) -> Tensor:
    """Call a residual method with the columns that its signature names; arguments as for `values`."""
    if isinstance(rows, IntegralRows):
        return rows.add_up(call(method, function, rows.flat(), outputs, coordinates, space))
    if not isinstance(rows, Rows):
        name = getattr(method, "__name__", "residual")
        raise InputError(
            f"the points of residual '{name}' must be Rows, got a {type(rows).__name__}",
            do="write Rows(points), from nfsolve.problem.rows",
        )
    wanted = arguments(method)
    found = (values if rows.partners is None else _pairs)(wanted, function, rows, outputs, coordinates, space)
    residual = method(*(found[name] for name in wanted))
    if not isinstance(residual, Tensor):
        _check_residual(method, residual)
    return residual


def _check_residual(method: Callable[..., Any], residual: Any) -> None:
    """Refuse a residual that is not a tensor; the message names the method and its place."""
    came = "None" if residual is None else f"a {type(residual).__name__}"
    advice = "return a column, (n, 1)"
    if residual is None:
        advice = "add the missing return"
    elif isinstance(residual, tuple | list):
        advice = "join the columns with torch.cat([...], -1), or write one method for each equation"
    name = getattr(method, "__name__", "residual")
    raise InputError(
        f"`{name}` must return a tensor of shape (n, k), but it returned {came}{place_of(method)}", do=advice
    )


def _pairs(
    wanted: tuple[str, ...],
    function: Function,
    rows: Rows,
    outputs: tuple[str, ...],
    coordinates: tuple[str, ...],
    space: Space,
) -> dict[str, Any]:
    """Evaluate ``u_low`` and ``u_high`` at both points of each pair, other names at the first; as `values`."""
    found: dict[str, Any] = {}
    assert rows.partners is not None
    for side, points in (("_low", rows.points), ("_high", rows.partners)):
        names = tuple(name.removesuffix(side) for name in wanted if name.endswith(side))
        at = values(names, function, replace(rows, points=points), outputs, coordinates, space)
        found |= {name + side: column for name, column in at.items()}
    rest = tuple(name for name in wanted if name not in found)
    return found | values(rest, function, rows, outputs, coordinates, space)


def _composite(
    term: Callable[..., Tensor],
    along: str,
    function: Function,
    rows: Rows,
    outputs: tuple[str, ...],
    coordinates: tuple[str, ...],
    space: Space,
) -> Tensor:
    """Differentiate a composite term such as k u_x along a coordinate, by forward mode over the points."""
    if along not in coordinates:
        raise InputError(
            f"unknown coordinate '{along}' in D(..., '{along}'): this problem has {', '.join(coordinates)}",
            do=nearest(str(along), coordinates),
        )
    fixed = [name for name in arguments(term) if name in rows.inputs]
    if fixed:
        raise InputError(
            f"D(..., '{along}') takes coordinates, unknowns and their derivatives, got the input function '{fixed[0]}'",
            do=f"write the product rule out, with {fixed[0]}_{along}",
        )
    direction = torch.zeros_like(rows.points)
    direction[..., coordinates.index(along)] = 1.0

    def at(points: Tensor) -> Tensor:
        return call(term, function, replace(rows, points=points), outputs, coordinates, space)

    return torch.func.jvp(at, (rows.points,), (direction,))[1]


VARIABLES = ("s", "tau", "xi", "eta")  # what an integrand may call the coordinate that it is integrated over
NODES = 20  # of a Gauss rule


def _along(
    function: Function,
    rows: Rows,
    outputs: tuple[str, ...],
    coordinates: tuple[str, ...],
    space: Space,
    term: Callable[..., Tensor],
    *,
    nodes: int = NODES,
    **limits: Any,
) -> Tensor:
    """Integrate a term along a coordinate, at each point: ``integral(lambda s, u: exp(s - x) * u, x=(0, x))``.

    Args:
        function: As for `values`, like the next four.
        rows: The n points.
        outputs: Names of the unknowns.
        coordinates: Names of the coordinates.
        space: Columns of space.
        term: The integrand, whose signature names coordinates, unknowns and derivatives at the nodes; ``s``, ``tau``,
            ``xi`` or ``eta`` is the coordinate that is integrated over. They are ``(q, n, 1)``, so that columns
            ``(n, 1)`` combine with them.
        nodes: Nodes of the Gauss rule.
        **limits: Coordinate -> lower and upper limit, numbers or columns ``(n, 1)``.

    Returns:
        The integral, ``(n, k)``.

    Raises:
        InputError: Not one coordinate of the problem with two limits, or an argument without a meaning.
    """
    if len(limits) != 1 or next(iter(limits)) not in coordinates or not isinstance(next(iter(limits.values())), tuple):
        given = ", ".join(f"{name}=..." for name in limits)
        raise InputError(
            f"integral(..., {given}) needs one of the coordinates {', '.join(coordinates)} with two limits",
            do=f"write integral(lambda s, {outputs[0]}: {outputs[0]}, {coordinates[-1]}=(0, {coordinates[-1]}))",
        )
    [(name, (low, high))] = limits.items()
    for end in (low, high):
        if not isinstance(end, int | float | np.number | Tensor):
            known = isinstance(end, str) and end in coordinates
            do = (
                f"take {end} into the signature of the method and write {end} without quotes" if known else "write 0, 1"
            )
            raise InputError(
                f"the limits of integral(..., {name}=...) must be numbers or columns (n, 1), got {end!r}", do=do
            )
    points, column = rows.points, coordinates.index(name)
    ends = [torch.as_tensor(end).to(points).reshape(-1, 1).expand(len(points), 1) for end in (low, high)]
    places, weights = gauss(ends[0][:, 0], ends[1][:, 0], nodes)  # (n, q)
    before, after = points[:, :column], points[:, column + 1 :]
    parts = [part[:, None].expand(-1, nodes, -1) for part in (before, after)]
    at = Rows(torch.cat([parts[0], places[..., None], parts[1]], -1).flatten(0, 1))
    free = [variable for variable in VARIABLES if variable not in (*coordinates, *outputs)]
    wanted = tuple(name if w in free else w for w in arguments(term))
    try:
        found = values(tuple(dict.fromkeys(wanted)), function, at, outputs, coordinates, space)
    except InputError as error:
        called = f"; the coordinate that integral(...) runs along is called {' or '.join([name, *free])} in its term"
        raise InputError(error.sentence, do=error.do + called) from error
    columns = [found[w] for w in wanted]
    columns = [c.unflatten(0, places.shape).transpose(0, 1) if isinstance(c, Tensor) else c for c in columns]
    return (weights.T[..., None] * term(*columns)).sum(0)
