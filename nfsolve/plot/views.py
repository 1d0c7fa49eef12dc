"""Where a solution is drawn: the line or plane of its domain, slices of it at stated places, or its points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.coordinates import TIMES
from nfsolve._core.random import generator
from nfsolve.domains import Domain
from nfsolve.plot.panels import array
from nfsolve.plot.resolved import resolved_bounds
from nfsolve.problem.pde.evaluate import as_field
from nfsolve.problem.pde.pde import PDE
from nfsolve.problem.pde.sample import Reference
from nfsolve.sampling import sobol

ALONG = {1: 400, 2: 201}  # points along each axis of a line, and of a plane
SCATTERED = 2000  # points of a cloud
IN_TIME, IN_SPACE = (0.0, 0.5, 1.0), (0.25, 0.5, 0.75)  # where slices are, as shares of the bounds


@dataclass(frozen=True)
class View:
    """Points at which a solution is drawn side by side.

    Attributes:
        points: Points ``(n, d)`` in the domain, float64.
        axes: Columns of the coordinates along the axes of the picture, one to three.
        label: Where the other coordinates are, in words; empty where there are no others.
        bounds: Bounds along the axes, closer than the domain's where waves are short (`resolved_bounds`).
        shape: Points along each axis of a grid, or None for scattered points.
        inside: For each point of the grid whether it is one of ``points``, bool ``(prod(shape),)``.
        reference: Reference values ``(n, k)``, or None.
    """

    points: Tensor
    axes: tuple[int, ...]
    label: str
    bounds: tuple[tuple[float, float], ...]
    shape: tuple[int, ...] | None = None
    inside: Tensor | None = None
    reference: Tensor | None = None

    def arrange(self, values: Tensor) -> np.ndarray:
        """Lay values ``(n,)`` out for drawing: over the grid, NaN outside the domain; scattered ones as they are."""
        if self.shape is None or self.inside is None:
            return array(values)
        table = torch.full((len(self.inside),), torch.nan, dtype=torch.float64)
        table[self.inside] = values.double().cpu()
        return array(table.reshape(self.shape))


def time_of(domain: Domain) -> int | None:
    """Return the column of time, if there is one."""
    return next((i for i, name in enumerate(domain.names) if name in TIMES), None)


def views(problem: PDE, data: dict[str, Any], field: Callable[[Tensor], Tensor] | None = None) -> list[View]:
    """Choose where to draw a solution.

    Args:
        problem: A PDE.
        data: What it loaded, with its reference.
        field: Points ``(n, d)``, float64, to values ``(n, k)``, to see whether its waves can be shown.

    Returns:
        A line or a plane of one or two coordinates; of more, planes through the domain: two coordinates of space (or
        time and space) run, time is at its start, middle and end or a third coordinate at three places, and the
        others are in their middle. Of a cloud its points. Where waves are too short for the points of a grid, the
        middle of a coordinate.
    """
    domain: Domain = problem.domain
    reference: Reference | None = data.get("reference")
    axes, fixed = across_and_fixed(domain)
    drawn = [] if field is None else [field]
    if reference is not None and (known := getattr(problem, "exact", None)) is not None:
        drawn.append(as_field(known, domain.names))
    ends: dict[int, tuple[float, float]] | None = None
    found = []
    for at in _values(domain, fixed):
        if not domain.solid:
            found.append(_scattered(domain, axes, at))
        elif reference is not None and reference.sizes and not hasattr(problem, "exact"):
            found.append(_stored(domain, axes, at, reference))
        else:
            ends = ends or resolved_bounds(domain, drawn, dict.fromkeys(axes, ALONG[len(axes)]))
            found.append(_grid(domain, axes, at, ends))
    found = [view for view in found if len(view.points)]
    if reference is not None and (known := getattr(problem, "exact", None)) is not None:
        exact = as_field(known, domain.names)
        found = [View(**{**vars(view), "reference": _where_it_lives(problem, view, exact)}) for view in found]
    return found


def line(problem: Any, column: int, known: bool) -> View:
    """Return a view along one coordinate, with the others in their middle.

    Args:
        problem: A PDE.
        column: The coordinate.
        known: Whether its exact solution is asked for.
    """
    domain: Domain = problem.domain
    middle = {i: sum(domain.bounds[i]) / 2 for i in range(len(domain.names)) if i != column}
    view = _grid(domain, (column,), middle)
    if not known or not hasattr(problem, "exact"):
        return view
    return View(**{**vars(view), "reference": as_field(problem.exact, domain.names)(view.points)})


def _where_it_lives(problem: Any, view: View, exact: Any) -> Tensor:
    """Return reference values at a view, NaN where an unknown does not live."""
    values, living = exact(view.points), problem.living(view.points)
    return values if living is None else torch.where(living, values, torch.nan)


def across_and_fixed(domain: Domain) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose the columns that run along the axes, and those that are fixed, the one that varies first."""
    columns, time = range(len(domain.names)), time_of(domain)
    shape = getattr(domain, "shape", domain)
    if not domain.solid:  # a cloud, at values of the box that it may be multiplied with
        axes = tuple(domain.index(name) for name in shape.names)[:3]
    elif len(columns) <= 2:
        axes = tuple(sorted(columns, key=lambda i: i != time))
    else:
        first = domain.space if len(domain.space) > 1 or time is None else (time, *domain.space)
        axes = tuple(dict.fromkeys((*first, *columns)))[:2]
    return axes, tuple(sorted((i for i in columns if i not in axes), key=lambda i: i != time))


def _values(domain: Domain, fixed: tuple[int, ...]) -> list[dict[int, float]]:
    """Return the values of the coordinates that do not run along an axis, for each view."""
    if not fixed:
        return [{}]
    first, time = fixed[0], time_of(domain)
    middle = {i: sum(domain.bounds[i]) / 2 for i in fixed}
    low, high = domain.bounds[first]
    return [{**middle, first: low + s * (high - low)} for s in (IN_TIME if first == time else IN_SPACE)]


def _label(domain: Domain, at: dict[int, float]) -> str:
    return ", ".join(f"{domain.names[i]} = {value:.4g}" for i, value in at.items())


def _whole(domain: Domain, axes: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(domain.bounds[i] for i in axes)


def _grid(
    domain: Domain, axes: tuple[int, ...], at: dict[int, float], ends: dict[int, tuple[float, float]] | None = None
) -> View:
    """Lay a grid over the axes, or the part of them between their ends, at fixed values of the others."""
    n, bounds = ALONG[len(axes)], tuple(ends[i] for i in axes) if ends else _whole(domain, axes)
    runs = [torch.linspace(*part, n, dtype=torch.float64) for part in bounds]
    over = torch.stack(torch.meshgrid(*runs, indexing="ij"), -1).reshape(-1, len(axes))
    points = torch.empty(len(over), len(domain.names), dtype=torch.float64)
    points[:, list(axes)] = over
    for i, value in at.items():
        points[:, i] = value
    inside = domain.contains(points)
    return View(points[inside], axes, _label(domain, at), bounds, (n,) * len(axes), inside)


def _stored(domain: Domain, axes: tuple[int, ...], at: dict[int, float], reference: Reference) -> View:
    """Take the points of a reference from a file that are nearest to fixed values of the others."""
    sizes, known = reference.sizes, reference.inside
    known = torch.ones(int(np.prod(sizes)), dtype=torch.bool) if known is None else known.cpu()
    number = torch.full((len(known),), -1)
    number[known] = torch.arange(int(known.sum()))
    chosen: list[Any] = [slice(None)] * len(sizes)
    for i, value in at.items():
        low, high = domain.bounds[i]
        chosen[i] = round((value - low) / (high - low) * (sizes[i] - 1))
        at = {**at, i: low + chosen[i] / max(sizes[i] - 1, 1) * (high - low)}
    left = [i for i in range(len(sizes)) if i not in at]
    table = number.reshape(sizes)[tuple(chosen)].permute([left.index(i) for i in axes])
    inside = table.reshape(-1) >= 0
    rows = table.reshape(-1)[inside]
    grid, exact = reference.points.cpu().double(), reference.values.cpu()
    label, bounds = _label(domain, at), _whole(domain, axes)
    return View(grid[rows], axes, label, bounds, tuple(table.shape), inside, exact[rows])


def _scattered(domain: Domain, axes: tuple[int, ...], at: dict[int, float]) -> View:
    """Take points of a cloud."""
    chance = generator(0, "picture")
    points = domain.interior(SCATTERED, lambda n, d: sobol(n, d, chance)).unique(dim=0)
    for i, value in at.items():
        points[:, i] = value
    return View(points.unique(dim=0), axes, _label(domain, at), _whole(domain, axes))
