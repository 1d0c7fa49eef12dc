"""What every domain offers: names, bounds, a signed distance, points inside and on the boundary, set operations.

A shape gives its signed distance (negative inside) and the pieces of its boundary; the rest follows.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.coordinates import TIMES
from nfsolve._core.errors import InputError, unknown
from nfsolve.domains.corners import Corner, corners_of
from nfsolve.domains.pieces import Mask, Piece, UnitSampler, accepted, on_pieces
from nfsolve.domains.quadrature import Rule, on_box, on_region
from nfsolve.domains.stretch import Front, Graded, Stretch

NUDGE = 1e-6  # of the size: how far from a point of the boundary both sides are looked at


class Hole(NamedTuple):
    """What was taken out of the inside of a domain, approximated by a ball.

    Attributes:
        columns: Columns of the coordinates in which it is a hole; a hole of all times has no column of time.
        centre: Its middle, one number for each column.
        radius: Half its shortest side.
    """

    columns: tuple[int, ...]
    centre: tuple[float, ...]
    radius: float


class Domain(ABC):
    """A set of points with named coordinates.

    ``a | b`` is the union, ``a & b`` the intersection, ``a - b`` the difference of two domains with the same names;
    ``Box(t=(0, 1)) * shape`` is the product of an interval of times, or of parameters, with a shape.

    Attributes:
        names: Coordinate names, in column order.
        bounds: ``(low, high)`` for each coordinate.
        periodic: For each coordinate, whether fields are periodic along it.
        parameters: Names of the coordinates that are not directions of space, such as a material constant.
        boundary_dims: Unit coordinates that a point of the boundary needs.
        solid: Whether the domain has a volume, so that a grid of its bounds meets it.
    """

    solid = True

    def __init__(
        self,
        names: tuple[str, ...],
        bounds: tuple[tuple[float, float], ...],
        periodic: tuple[bool, ...] | None = None,
        boundary_dims: int | None = None,
    ):
        if len(set(names)) < len(names):
            raise InputError(f"Each coordinate must have a different name, got {', '.join(names)}")
        self.names = names
        self.parameters: frozenset[str] = frozenset()
        self.bounds = bounds
        self.periodic = periodic or (False,) * len(names)
        self.boundary_dims = boundary_dims or max(1, len(names) - 1)
        self.label = ""
        self.stretch: Stretch | Graded | None = None
        self._sharp: tuple[Corner, ...] | None = None  # corners, once they were asked for

    def stretched(self, fronts: tuple[Front, ...]) -> Self:
        """Return the same domain, in which points and random features concentrate where a solution is steep.

        Args:
            fronts: Where that is.

        Returns:
            A copy.
        """
        other = copy.copy(self)
        time = self.names.index("t") if "t" in self.names else None
        other.stretch = Stretch(tuple(fronts), self.periodic, time) if fronts else None
        return other

    def graded(self, cells: tuple[tuple[float, ...], ...]) -> Self:
        """Return the same domain, in which each of some cells gets as many points.

        Args:
            cells: For each coordinate the ends of its cells, ascending from bound to bound, or none.

        Returns:
            A copy.
        """
        other = copy.copy(self)
        unit = [
            tuple(2 * (end - low) / (high - low) - 1 for end in ends)
            for ends, (low, high) in zip(cells, self.bounds, strict=True)
        ]
        other.stretch = Graded(tuple(unit))
        return other

    @property
    def size(self) -> float:
        """The longest side of the bounds."""
        return max(high - low for low, high in self.bounds)

    @property
    def space(self) -> tuple[int, ...]:
        """Columns of the coordinates of space: those that are not parameters and not named as a time."""
        return tuple(i for i, name in enumerate(self.names) if name not in TIMES and name not in self.parameters)

    @abstractmethod
    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the boundary: negative inside, zero on it, positive outside.

        For set operations and products it is a lower bound of the distance with the right sign.

        Args:
            points: Points ``(n, d)``.

        Returns:
            Distances ``(n, 1)`` in the unit of the coordinates.
        """

    @abstractmethod
    def own_pieces(self) -> list[Piece]:
        """Return the pieces of the boundary under the names of the shape."""

    def pieces(self) -> list[Piece]:
        """Return the pieces of the boundary with all their names.

        Returns:
            The pieces; none for a domain without boundary.
        """
        extra = (self.label,) if self.label else ()
        return [Piece((*p.names, *extra), p.size, p.place, p.keep) for p in self.own_pieces()]

    def holes(self) -> tuple[Hole, ...]:
        """Return what was taken out of the domain: solutions may have singularities in there, close to its rim."""
        return ()

    def sharp_corners(self) -> tuple[Corner, ...]:
        """Return the corners in a plane of space, at which solutions may be singular; as `corners_of` finds them."""
        if self._sharp is None:
            self._sharp = self._find_corners()
        return self._sharp

    def _find_corners(self) -> tuple[Corner, ...]:
        return corners_of(self)

    def solids(self) -> tuple[Hole, ...]:
        """Return the ball that approximates the domain, or those of its parts: the holes where it is taken away."""
        centre = tuple((low + high) / 2 for low, high in self.bounds)
        return (Hole(tuple(range(len(centre))), centre, min(high - low for low, high in self.bounds) / 2),)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of the boundary."""
        return tuple(dict.fromkeys(name for piece in self.pieces() for name in piece.names))

    def named(self, label: str) -> Self:
        """Return the same domain with a further name for its whole boundary, such as ``"hole"``.

        Args:
            label: The name, for ``@boundary(part="hole")``.

        Returns:
            A copy.
        """
        other = copy.copy(self)
        other.label = label
        return other

    def regions(self) -> dict[str, "Domain"]:
        """Return the parts of a union that have names, such as ``left`` of ``Box(...).named("left") | ...``."""
        return {}

    def lifted(self, shape: "Domain") -> "Domain":
        """Return a shape as a part of this domain: at all values of the coordinates that only this domain has.

        Raises:
            InputError: The shape has other coordinates.
        """
        if shape.names == self.names:
            return shape
        raise InputError(
            f"{shape!r} must have the coordinates {', '.join(self.names)} to be a part of {self!r}",
            do="name its coordinates as those of the domain, in the same order",
        )

    def interface(self, first: str, second: str, what: str = "the interface") -> list[Piece]:
        """Return the pieces of the boundary of one named part behind which another begins; normals point into it.

        Args:
            first: Name of a part, see `regions`.
            second: Name of another.
            what: What asks for it, for messages.

        Returns:
            The pieces.

        Raises:
            InputError: There is no such part.
        """
        known = self.regions()
        for name in (first, second):
            if name not in known:
                raise unknown("part", name, known, f"name the parts of a union, as in a.named({name!r}) | b: {what}")
        inside, beyond = known[first], known[second]

        def joins(piece: Piece, points: Tensor, normals: Tensor) -> Tensor:
            keep = beyond.signed_distance(points + NUDGE * self.size * normals)[:, 0] < 0
            return keep if piece.keep is None else keep & piece.keep(points, normals)

        return [Piece(p.names, p.size, p.place, partial(joins, p)) for p in inside.pieces()]

    def index(self, name: str) -> int:
        """Return the column of a coordinate.

        Args:
            name: Coordinate name.

        Returns:
            Its column in arrays of points.

        Raises:
            InputError: The domain has no such coordinate.
        """
        if name not in self.names:
            raise unknown("coordinate", name, self.names)
        return self.names.index(name)

    def grid(self, *shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
        """List the points of a regular grid over the bounds that includes both ends of each coordinate.

        Args:
            *shape: Number of points along each coordinate, in the order of `names`.
            dtype: Type of the points.
            device: Device of the points.

        Returns:
            Points ``(prod(shape), d)``; the last coordinate varies fastest, so a result reshaped to
            ``shape`` is indexed in the order of `names`. `contains` says which are in the domain.

        Raises:
            InputError: The number of sizes is not the number of coordinates, or a size is below 1.
        """
        if len(shape) != len(self.names) or any(n < 1 for n in shape):
            raise InputError(
                f"A grid needs one positive size for each of {', '.join(self.names)}, got {shape}",
                do=f"write grid({', '.join(f'n_{name}' for name in self.names)})",
            )
        axes = [
            torch.linspace(low, high, n, dtype=dtype, device=device)
            for (low, high), n in zip(self.bounds, shape, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))

    def scale(self, unit: Tensor) -> Tensor:
        """Map points of the unit cube into the bounds.

        Args:
            unit: Points ``(n, d)`` in [0, 1]^d.

        Returns:
            Points ``(n, d)`` within the bounds, of the same type and device.
        """
        low = unit.new_tensor([b[0] for b in self.bounds])
        high = unit.new_tensor([b[1] for b in self.bounds])
        if self.stretch is not None:
            unit = (self.stretch.even(2 * unit - 1) + 1) / 2
        return low + unit * (high - low)

    def contains(self, points: Tensor, slack: float = 0.0) -> Tensor:
        """Tell which points are in the domain, its boundary included.

        Args:
            points: Points ``(n, d)``.
            slack: Distance outside that still counts.

        Returns:
            bool ``(n,)``; False for points that are not finite.
        """
        # one part in 1e9, or what the type can tell apart
        reach = max(self.size, *(abs(end) for pair in self.bounds for end in pair))
        rounding = max(1e-9, 4 * torch.finfo(points.dtype).eps) * reach
        return self.signed_distance(points)[:, 0] <= slack + rounding

    def check_points(self, points: Tensor, what: str = "points") -> None:
        """Refuse points that are not in the domain.

        Args:
            points: Points ``(n, d)``.
            what: What they are, for the message.

        Raises:
            InputError: The shape is wrong, or a point is outside or not finite.
        """
        self.check_shape(points, what)
        outside = ~self.contains(points, slack=1e-6 * self.size)
        if outside.any():
            first = int(outside.nonzero()[0])
            place = ", ".join(f"{n} = {float(v):g}" for n, v in zip(self.names, points[first], strict=True))
            raise InputError(
                f"{int(outside.sum())} of {len(points)} {what} are outside {self!r}, first {place} in row {first}",
                do="enlarge the domain or drop these points",
            )

    def check_shape(self, points: Tensor, what: str = "points") -> None:
        """Refuse an array that does not have one column for each coordinate.

        Raises:
            InputError: It has another shape.
        """
        if points.ndim != 2 or points.shape[1] != len(self.names):
            raise InputError(
                f"{what} must have shape (n, {len(self.names)}) with columns {', '.join(self.names)}, "
                f"got shape {tuple(points.shape)}",
            )

    def face(self, sides: Mapping[str, object]) -> list[tuple[int, float, float]]:
        """Resolve a description of faces such as ``t=0`` or ``x=(-1, 1)``, or of inner planes such as ``x=0.5``.

        Args:
            sides: Coordinate name -> a value in its bounds, or several.

        Returns:
            For each ``(column, value, sign)``, with the sign of its normal: outward at the ends of the bounds, towards
            larger values inside.

        Raises:
            InputError: An unknown coordinate, a value that is not in its bounds, an end of a periodic coordinate that
                is named alone (with others it is a point or line like any other), or a domain without volume.
        """
        if not self.solid:
            sought = ", ".join(f"{name}={value}" for name, value in sides.items())
            raise InputError(
                f"@face({sought}) needs a domain with a volume, got {self!r}",
                do=f"mark the residual @boundary, or @boundary(part=...) with one of "
                f"{', '.join(self.parts) or 'no parts'}",
            )
        found = []
        place = len(sides) > 1 and not any(isinstance(value, tuple | list) for value in sides.values())
        for name, values in sides.items():
            column = self.index(name)
            for value in values if isinstance(values, tuple | list) else (values,):
                found.append((column, *self._end(column, value, place)))
        return found

    def _end(self, column: int, value: object, place: bool = False) -> tuple[float, float]:
        """Return a value of a coordinate, one of its ends where it is as near, and the sign of the normal there."""
        name, (low, high) = self.names[column], self.bounds[column]
        ends = shortest((low, high))
        if not isinstance(value, int | float | np.number) or not math.isfinite(value):
            raise InputError(
                f"A face must be at a value of {name} from {ends[0]} to {ends[1]}, got {name} = {value}",
                do=f"write {name}={ends[0]}, {name}={ends[1]} or {name}=({ends[0]}, {ends[1]})",
            )
        # as near as a number that was computed otherwise may come, whatever the size of the interval
        slack = 1e-9 * (high - low) + 4e-16 * max(abs(low), abs(high))
        at_end = min(abs(value - low), abs(value - high)) <= slack
        if at_end and self.periodic[column] and not place:
            raise InputError(
                f"{name} is periodic: the field repeats along it and has no end there, so there is no face "
                f"{name} = {value}",
                do=f"drop the condition, or write {name}=({low:g}, {high:g})",
            )
        if at_end:
            return (low, -1.0) if abs(value - low) <= slack else (high, 1.0)
        if not low < value < high:
            raise InputError(
                f"A face must lie in {ends[0]} <= {name} <= {ends[1]}, got {name} = {value}",
                do="move it into the domain, or enlarge the domain",
            )
        return float(value), 1.0

    def interior(self, n: int, sample: UnitSampler, place: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Sample points inside the domain.

        Args:
            n: Number of points.
            sample: Samples points of the unit cube.
            place: Maps them into the bounds, where not `scale` does.

        Returns:
            Points ``(n, d)``, float64 on the CPU.

        Raises:
            InputError: The domain is empty, or too thin to be met.
        """

        def candidates(unit: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            points = (place or self.scale)(unit)
            # the picks of a point cloud are members, and looking each of them up would be slow
            keep = self.contains(points) if self.solid else torch.ones(len(points), dtype=torch.bool)
            return (points,), keep

        what = f"the interior of {self!r}"
        return accepted(n, len(self.names), sample, candidates, what, "it is empty or very thin: check its parts")[0]

    def boundary(
        self,
        n: int,
        sample: UnitSampler,
        part: str | tuple[str, ...] = (),
        where: Mask | None = None,
        what: str = "boundary condition",
    ) -> tuple[Tensor, Tensor]:
        """Sample points on the boundary, uniform by length or area.

        Args:
            n: Number of points.
            sample: Samples points of the unit cube.
            part: Names of parts; empty takes the whole boundary.
            where: A further condition on points and normals, or None.
            what: What asks for them, for messages.

        Returns:
            Points and outward unit normals, each ``(n, d)``, float64 on the CPU.

        Raises:
            InputError: The domain has no boundary or no such part, or nothing of it satisfies ``where``.
        """
        pieces = self._chosen((part,) if isinstance(part, str) else tuple(part), what)
        return on_pieces(pieces, n, self.boundary_dims, sample, where, what)

    def quadrature(self, n: int, fixed: Mapping[str, float] | None = None) -> Rule:
        """Return a rule for integrals over the domain, or over its section where some coordinates are fixed.

        Args:
            n: Nodes along each coordinate, of each panel where the domain is not a box.
            fixed: Coordinate -> its value; the integral runs over the others.

        Returns:
            Nodes in all coordinates, with weights.

        Raises:
            InputError: The domain has no volume, or no point at these values.
        """
        at = {self.index(name): float(value) for name, value in (fixed or {}).items()}
        if not self.solid:
            raise InputError(f"an integral needs a domain with a volume, got {self!r}", do="give over= a shape")
        rule = self._rule(n, at, [column for column in range(len(self.names)) if column not in at])
        if not len(rule.points):
            place = ", ".join(f"{self.names[column]} = {value:g}" for column, value in at.items())
            raise InputError(f"{self!r} has no points at {place}", do="choose values within it")
        return rule

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        """Return a rule over the free columns."""

        def whole(part: Tensor) -> Tensor:
            points = part.new_empty(len(part), len(self.names))
            points[:, free] = part
            for column, value in fixed.items():
                points[:, column] = value
            return points

        if not free:
            point = whole(torch.zeros(1, 0, dtype=torch.float64))
            return Rule(point[self.contains(point)], torch.ones(int(self.contains(point)), 1, dtype=torch.float64))
        rule = on_region(lambda part: self.signed_distance(whole(part))[:, 0], [self.bounds[i] for i in free], n)
        return Rule(whole(rule.points), rule.weights)

    def boundary_quadrature(
        self, n: int, part: str | tuple[str, ...] = (), fixed: Mapping[str, float] | None = None
    ) -> Rule:
        """Return a rule for integrals over the boundary.

        Args:
            n: Nodes along each coordinate of each piece.
            part: Names of parts; empty takes the whole boundary.
            fixed: Coordinate of a box -> its value, such as a time; the integral runs over the others.

        Returns:
            Nodes with weights and outward normals.

        Raises:
            InputError: There is no such part, or these coordinates cannot be fixed on the boundary.
        """
        if fixed:
            raise InputError(
                f"{' and '.join(fixed)} cannot be fixed on the boundary of {self!r}",
                do="write the domain as Box(t=(0, 1)) * shape",
            )
        pieces = self._chosen((part,) if isinstance(part, str) else tuple(part), "the integral")
        return self._rule_on(pieces, n, f"{part or 'the boundary'} of {self!r} is cut away by its other parts")

    def interface_quadrature(self, n: int, first: str, second: str, fixed: Mapping[str, float] | None = None) -> Rule:
        """Return a rule on the interface between two named parts, with normals into the second; see `interface`."""
        if fixed:
            raise InputError(
                f"{' and '.join(fixed)} cannot be fixed on an interface in {self!r}",
                do="write the domain as Box(t=(0, 1)) * (a | b)",
            )
        return self._rule_on(self.interface(first, second), n, f"the parts {first} and {second} do not touch")

    def _rule_on(self, pieces: list[Piece], n: int, nothing: str) -> Rule:
        rules = []
        for piece in pieces:
            dims = self.boundary_dims
            if piece.keep is None:
                unit = on_box([(0.0, 1.0)] * dims, n)
            else:
                unit = on_region(partial(_cut_away, piece), [(0.0, 1.0)] * dims, n)
            points, normals = piece.place(unit.points)
            rules.append(Rule(points, piece.size * unit.weights, normals))
        if not sum(len(rule.points) for rule in rules):
            raise InputError(nothing, do="check how the domain is put together")
        return Rule(
            torch.cat([rule.points for rule in rules]),
            torch.cat([rule.weights for rule in rules]),
            torch.cat([rule.normals for rule in rules if rule.normals is not None]),
        )

    def _chosen(self, part: tuple[str, ...], what: str) -> list[Piece]:
        pieces = self.pieces()
        if not pieces:
            raise InputError(
                f"{what} holds on the boundary of {self!r}, which has no boundary",
                do="drop the condition, or give a PointCloud boundary=points, normals=normals",
            )
        known = [name for piece in pieces for name in piece.names]
        for name in part:
            if name not in known:
                raise unknown("boundary part", name, dict.fromkeys(known), f"in {what}")
        return [p for p in pieces if not part or set(part) & set(p.names)]

    def __or__(self, other: "Domain") -> "Domain":
        """Return the union."""
        return self._combined("|", other)

    def __and__(self, other: "Domain") -> "Domain":
        """Return the intersection."""
        return self._combined("&", other)

    def __sub__(self, other: "Domain") -> "Domain":
        """Return the difference."""
        return self._combined("-", other)

    def _combined(self, operation: str, other: "Domain") -> "Domain":
        return Combined(self, operation, other)


class Combined(Domain):
    """The union, intersection or difference of two domains with the same coordinates.

    Args:
        first: A domain.
        operation: ``"|"``, ``"&"`` or ``"-"``.
        second: A domain.

    Raises:
        InputError: Other coordinates, a domain without volume, a periodic coordinate where the operation
            would lose it, or bounds that do not overlap.
    """

    def __init__(self, first: Domain, operation: str, second: Domain):
        self.first, self.operation, self.second = first, operation, second
        if first.names != second.names:
            raise InputError(
                f"Both domains of {first!r} {operation} {second!r} must have the same coordinates in the same order, "
                f"but they have {', '.join(first.names)} and {', '.join(second.names)}",
                do="rename or reorder those of one of them",
            )
        if not (first.solid and second.solid):
            raise InputError(
                f"Both domains of {first!r} {operation} {second!r} must have a volume",
                do="choose the points before making the PointCloud",
            )
        if any(second.periodic) or (any(first.periodic) and operation != "-"):
            raise InputError(
                f"Only the first domain of a difference may have a periodic coordinate, got {first!r} {operation} "
                f"{second!r}",
                do="leave periodic(...) out of the others",
            )
        super().__init__(first.names, self._overlap(), first.periodic, first.boundary_dims)
        self.parameters = first.parameters | second.parameters

    def __repr__(self) -> str:
        return f"({self.first!r} {self.operation} {self.second!r})"

    def regions(self) -> dict[str, Domain]:
        """Return the named parts of a union; as in `Domain`."""
        if self.operation != "|":
            return {}
        return {
            name: region
            for part in (self.first, self.second)
            for name, region in (*part.regions().items(), *([(part.label, part)] if part.label else []))
        }

    def _overlap(self) -> tuple[tuple[float, float], ...]:
        if self.operation == "-":
            return self.first.bounds
        pairs = [(*a, *b) for a, b in zip(self.first.bounds, self.second.bounds, strict=True)]
        if self.operation == "|":
            return tuple((min(a, c), max(b, d)) for a, b, c, d in pairs)
        found = tuple((max(a, c), min(b, d)) for a, b, c, d in pairs)
        if any(low >= high for low, high in found):
            raise InputError(f"{self!r} is empty, because its two domains do not overlap", do="check their bounds")
        return found

    def signed_distance(self, points: Tensor) -> Tensor:
        """Combine the distances: minimum, maximum, or maximum with the complement; as in `Domain`."""
        a, b = self.first.signed_distance(points), self.second.signed_distance(points)
        if self.operation == "|":
            return torch.minimum(a, b)
        return torch.maximum(a, b if self.operation == "&" else -b)

    def holes(self) -> tuple[Hole, ...]:
        """Return the holes of both parts, and what was taken away, where their middles are outside; as in `Domain`."""
        found = self.first.holes() + (self.second.solids() if self.operation == "-" else self.second.holes())
        around = [h for h in found if len(h.columns) > 1 and not any(self.periodic[i] for i in h.columns)]
        middles = torch.tensor([sum(b) / 2 for b in self.bounds], dtype=torch.float64).repeat(len(around), 1)
        for middle, hole in zip(middles, around, strict=True):
            middle[list(hole.columns)] = torch.tensor(hole.centre, dtype=torch.float64)
        outside = self.signed_distance(middles)[:, 0] > 0
        return tuple(hole for hole, is_outside in zip(around, outside, strict=True) if is_outside)

    def solids(self) -> tuple[Hole, ...]:
        """Return those of both parts of a union; as in `Domain`."""
        return self.first.solids() + self.second.solids() if self.operation == "|" else super().solids()

    def own_pieces(self) -> list[Piece]:
        """Return what survives of both boundaries; normals of what is taken away point into it."""
        flip = -1.0 if self.operation == "-" else 1.0
        return [
            Piece(
                piece.names,
                piece.size,
                piece.place if sign > 0 else partial(_flipped, piece),
                partial(self._survives, piece, sign, part is self.second),
            )
            for part, sign in ((self.first, 1.0), (self.second, flip))
            for piece in part.pieces()
        ]

    def _survives(self, piece: Piece, sign: float, is_second: bool, points: Tensor, normals: Tensor) -> Tensor:
        """Keep what has the domain behind it and nothing ahead; where boundaries coincide, only the first one's."""
        ahead, behind = points + NUDGE * self.size * normals, points - NUDGE * self.size * normals
        keep = _separates(self, ahead, behind)
        if is_second:
            keep &= ~_separates(self.first, ahead, behind)
        return keep if piece.keep is None else keep & piece.keep(points, sign * normals)


def _cut_away(piece: Piece, unit: Tensor) -> Tensor:
    """Return 1 where a piece is not on the boundary of the whole domain, -1 where it is."""
    assert piece.keep is not None
    return torch.where(piece.keep(*piece.place(unit)), -1.0, 1.0)


def _flipped(piece: Piece, unit: Tensor) -> tuple[Tensor, Tensor]:
    points, normals = piece.place(unit)
    return points, -normals


def _separates(domain: Domain, ahead: Tensor, behind: Tensor) -> Tensor:
    return (domain.signed_distance(ahead)[:, 0] > 0) & (domain.signed_distance(behind)[:, 0] < 0)


def shortest(pair: tuple[float, float]) -> tuple[str, str]:
    """Write both ends with as few digits as tell them apart."""
    short = tuple(f"{end:g}" for end in pair)
    low, high = short if short[0] != short[1] else (f"{end:.15g}" for end in pair)
    return low, high
