"""Where conditions are sampled and solutions scored: points of a domain for each kind of mark."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.random import generator as make_generator
from nfsolve.domains import Domain
from nfsolve.domains.corners import drawn_to_corners
from nfsolve.domains.over import rule_over
from nfsolve.domains.pieces import accepted, on_pieces
from nfsolve.domains.quadrature import Rule
from nfsolve.problem.pde.conditions import Condition, arguments
from nfsolve.problem.rows import IntegralRows, Rows, as_pytree
from nfsolve.sampling import sobol

UnitSampler = Callable[[int, int], Tensor]
"""Number of points and of coordinates -> points of the unit cube ``(n, d)``."""

SCORED_POINTS = 20_000  # on the default grid
SCORED_PICKS = 4096  # of a domain without volume
NODES = {1: 64, 2: 24, 3: 10}  # of the quadrature of an integral along each of so many coordinates


def sample_rows(
    domain: Domain,
    name: str,
    condition: Condition,
    n: int,
    sample: UnitSampler,
    place: Callable[[Tensor], Tensor] | None = None,
    where: Callable[[Tensor, Tensor], Tensor] | None = None,
    region: Domain | None = None,
) -> Rows:
    """Sample the points of one condition.

    Args:
        domain: The domain.
        name: Name of the residual, for messages.
        condition: Its mark: interior, face, boundary or paired.
        n: Number of points.
        sample: Draws points ``(m, d)`` of the unit cube.
        place: Maps them to where interior residuals are sampled; None fills the domain.
        where: Tells of points, and of their normals on a boundary, which are meant, as `mask` gives it.
        region: The part of the domain on which the residual holds; None for all of it.

    Returns:
        The points; on faces and boundaries with normals where the domain has them, of paired conditions with partners.

    Raises:
        InputError: The mark selects nothing of the domain.
    """
    what = f"@{condition.kind} of '{name}'"
    if condition.kind == "interior":
        return Rows(_inside(domain, region or domain, n, sample, place, where, what))
    if condition.kind == "face":
        return _on_faces(region or domain, domain.face(condition.sides), name, condition, n, sample, where)
    if condition.kind == "paired":
        return _pairs(region or domain, name, condition, n, sample)
    if condition.kind == "interface":
        first, second = condition.part
        pieces = domain.interface(first, second, what)
        do = f"check that the parts {first} and {second} touch"
        return Rows(*on_pieces(pieces, n, domain.boundary_dims, sample, None, what, do))
    points, normals = domain.boundary(n, sample, condition.part, where, f"boundary condition '{name}'")
    if normals.isnan().any():  # a point cloud may be without
        return Rows(points)
    return Rows(drawn_to_corners(domain, points, normals, where), normals)


def _inside(
    domain: Domain,
    region: Domain,
    n: int,
    sample: UnitSampler,
    place: Callable[[Tensor], Tensor] | None,
    where: Callable[[Tensor, Tensor], Tensor] | None,
    what: str,
) -> Tensor:
    """Sample points inside a region of a domain."""
    if where is None and (region is domain or place is None):
        return region.interior(n, sample, place)

    def candidates(unit: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        points = (place or region.scale)(unit)
        keep = region.contains(points) if region.solid else torch.ones(len(points), dtype=torch.bool)
        return (points,), keep if where is None else keep & where(points, torch.zeros_like(points))

    return accepted(n, len(domain.names), sample, candidates, what, "check where=")[0]


def _on_faces(
    domain: Domain,
    faces: list[tuple[int, float, float]],
    name: str,
    condition: Condition,
    n: int,
    sample: UnitSampler,
    where: Callable[[Tensor, Tensor], Tensor] | None,
) -> Rows:
    if condition.together:
        fixed = {column: value for column, value, _ in faces}
        return Rows(_at(domain, n, fixed, sample, f"@face of '{name}'", where=where))
    points, normals = [], []
    for i, (column, value, sign) in enumerate(faces):
        share = n // len(faces) + (i < n % len(faces))
        what = f"the face {domain.names[column]} = {value:g} of '{name}'"
        points.append(_at(domain, max(share, 1), {column: value}, sample, what, sign, where))
        normal = torch.zeros_like(points[-1])
        normal[:, column] = sign
        normals.append(normal)
    return Rows(torch.cat(points), torch.cat(normals))


def _at(
    domain: Domain,
    n: int,
    fixed: dict[int, float],
    sample: UnitSampler,
    what: str,
    sign: float = 0.0,
    where: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Sample points of the domain with some coordinates fixed; ``where`` gets normals of this sign along them."""

    def candidates(unit: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        points = domain.scale(unit)
        for column, value in fixed.items():
            points[:, column] = value
        # the picks of a point cloud are members
        keep = domain.contains(points) if domain.solid else torch.ones(len(points), dtype=torch.bool)
        if where is not None:
            normals = torch.zeros_like(points)
            normals[:, list(fixed)] = sign
            keep &= where(points, normals)
        return (points,), keep

    d = len(domain.names)
    if len(fixed) == d:
        sample = _no_matter
    do = "check where=" if where is not None else f"it lies outside {domain!r}, or only touches it"
    return accepted(n, d, sample, candidates, what, do)[0]


def _no_matter(n: int, d: int) -> Tensor:
    return torch.full((n, d), 0.5, dtype=torch.float64)


def _pairs(domain: Domain, name: str, condition: Condition, n: int, sample: UnitSampler) -> Rows:
    [(coordinate, (first, second))] = condition.sides.items()
    column = domain.index(coordinate)
    low, high = domain.bounds[column]
    if domain.periodic[column]:
        raise InputError(
            f"the field repeats exactly along the periodic coordinate {coordinate}, so '{name}' cannot be "
            f"@paired({coordinate}=...)",
            do="drop the condition",
        )
    if not (low <= first <= high and low <= second <= high):
        raise InputError(
            f"the values of @paired({coordinate}=({first:g}, {second:g})) of '{name}' must lie in "
            f"{low:g} <= {coordinate} <= {high:g}",
            do="move them into the domain",
        )
    points = _at(domain, n, {column: first}, sample, f"@paired of '{name}'")
    partners = points.clone()
    partners[:, column] = second
    lost = int((~domain.contains(partners)).sum())
    if lost:
        raise InputError(
            f"the domain must have the same section at both values of a pair, but {lost} of {n} partners of '{name}' "
            f"at {coordinate} = {second:g} are outside {domain!r}",
            do="compare other values, or use a box",
        )
    return Rows(points, partners=partners)


def integral_rows(domain: Domain, region: Domain | None, name: str, condition: Condition, places: Tensor) -> Rows:
    """Lay out the nodes of integrals.

    Args:
        domain: The domain.
        region: The part on which the unknowns of the integrand live; None for all of it.
        name: Name of the residual, for messages.
        condition: Its mark.
        places: Unit points ``(m, d)``, of which the columns are used that are not integrated over.

    Returns:
        A row for each integral.

    Raises:
        InputError: The mark selects nothing of the domain.
    """
    open_columns = [i for i in range(len(domain.names)) if i not in domain.space] if domain.space else []
    values = domain.scale(places)[: len(places) if open_columns else 1]
    over: Any = condition.over
    inside = region if over is None and region is not None else domain
    key = tuple(over.items()) if isinstance(over, dict) else tuple(over) if isinstance(over, list) else over
    at = tuple((domain.names[i], float(values[0, i])) for i in open_columns)
    try:
        rule = _rule(inside, key, nodes_of(domain, condition), at)
    except InputError as error:
        raise InputError(f"@integral of '{name}': {error.sentence}", do=error.do) from error
    points = rule.points.expand(len(values), -1, -1).clone()
    points[..., open_columns] = values[:, None, open_columns]
    normals = None if rule.normals is None else rule.normals.expand(len(values), -1, -1)
    return IntegralRows(points, normals, weights=rule.weights.expand(len(values), -1, -1))


def nodes_of(domain: Domain, condition: Condition) -> int:
    """Return the number of nodes of an integral along each coordinate."""
    inside = condition.over is None or isinstance(condition.over, Domain) or condition.over in [*domain.regions()]
    dims = (len(domain.space) or len(domain.names)) - (not inside)
    return condition.nodes or NODES.get(max(dims, 1), 6)


@lru_cache(maxsize=64)
def _rule(domain: Domain, key: Any, nodes: int, at: tuple[tuple[str, float], ...]) -> Rule:
    """Return a rule, which is costly where a shape is cut: it is the same at every time."""
    over: Any = key
    if isinstance(key, tuple):
        over = list(key) if isinstance(key[0], str) else dict(key)
    return rule_over(domain, over, nodes, dict(at))


def mask(where: Any, what: str, names: tuple[str, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    """Turn what a user wrote as ``where`` into a mask of points and normals.

    Args:
        where: A function of coordinates and normals, by name.
        what: What it is, for messages.
        names: Names of the coordinates.

    Returns:
        Points ``(n, d)`` and normals ``(n, d)`` -> bool ``(n,)``.
    """
    if not callable(where):
        raise InputError(
            f"{what} must be a function of coordinates or the name of a method, got {where!r}",
            do="write where=lambda x: x > 0",
        )
    wanted = arguments(where)
    known = (*names, *(f"n_{n}" for n in names))
    for argument in wanted:
        if argument not in known:
            raise unknown("argument", argument, known, f"in {what}")

    def chosen(points: Tensor, normals: Tensor) -> Tensor:
        both = torch.cat([points, normals], 1)
        found = torch.as_tensor(where(*(both[:, known.index(a)][:, None] for a in wanted)))
        if found.dtype != torch.bool or found.numel() != len(points):
            raise InputError(
                f"{what} must return truth values ({len(points)}, 1), got {found.dtype} of shape {tuple(found.shape)}",
                do="compare columns, as in lambda x, y: (x < 0) & (y > 0)",
            )
        return found.reshape(-1)

    return chosen


@as_pytree
@dataclass(frozen=True, eq=False)
class Grid:
    """Points at which a solution is scored, those of a grid that lie in a domain.

    Attributes:
        points: Points ``(n, d)``.
        sizes: Points of the whole grid along each coordinate; empty where they do not form a grid.
        inside: Which points of the whole grid these are, bool ``(prod(sizes),)``; None where they are all.
    """

    points: Tensor
    sizes: tuple[int, ...] = ()
    inside: Tensor | None = None


@as_pytree
@dataclass(frozen=True, eq=False)
class Reference(Grid):
    """What is known of a solution.

    Attributes:
        values: Its values ``(n, k)`` at the points.
        floor: Their relative error.
        living: Where each unknown lives, bool ``(n, k)``; None where all live everywhere.
    """

    values: Tensor = field(kw_only=True)
    floor: float = field(kw_only=True)
    living: Tensor | None = field(default=None, kw_only=True)


def evaluation_points(domain: Domain, sizes: tuple[int, ...] | None) -> Grid:
    """Lay out the points at which a solution is scored.

    Args:
        domain: The domain.
        sizes: Points along each coordinate, or None for about 20 000 in all.

    Returns:
        As `inside_only`; for a domain without volume picks from it that never change.
    """
    d = len(domain.names)
    if not domain.solid:
        chance = make_generator(0, "evaluation")
        return Grid(domain.interior(SCORED_PICKS, lambda n, k: sobol(n, k, chance)))
    sizes = sizes or (max(2, round(SCORED_POINTS ** (1 / d))),) * d
    return inside_only(domain, domain.grid(*sizes), sizes)


def box_grid(domain: Domain, sizes: tuple[int, ...] | None) -> Grid:
    """Lay out the points at which solutions for many functions are known, all of a grid.

    Args:
        domain: The domain.
        sizes: As for `evaluation_points`.

    Returns:
        The points ``(prod(sizes), d)``, float64.

    Raises:
        InputError: Points of the grid are outside the domain.
    """
    laid = evaluation_points(domain, sizes)
    if laid.inside is not None or not laid.sizes:
        raise InputError(
            f"an operator needs a box for its evaluation grid, got {domain!r}", do="give the problem a Box as domain"
        )
    return laid


def inside_only(domain: Domain, grid: Tensor, sizes: tuple[int, ...], known: Tensor | None = None) -> Grid:
    """Keep the points of a grid that are in the domain, and of which something is known.

    Args:
        domain: The domain.
        grid: Points ``(prod(sizes), d)``.
        sizes: Points along each coordinate.
        known: Where something is known, bool ``(prod(sizes),)``; None for everywhere.

    Returns:
        The points kept.

    Raises:
        InputError: No point is inside.
    """
    inside = (
        domain.contains(grid, slack=1e-6 * domain.size) if domain.solid else torch.ones(len(grid), dtype=torch.bool)
    )
    if known is not None:
        inside &= known
    if not inside.any():
        raise InputError(
            f"none of the points of the evaluation grid {sizes} lies in {domain!r}", do="make evaluation finer"
        )
    return Grid(grid, sizes) if inside.all() else Grid(grid[inside], sizes, inside)
