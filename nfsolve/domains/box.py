"""Boxes: an interval for each coordinate, with faces and exact periodicity; and their products with shapes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.corners import Corner
from nfsolve.domains.domain import Domain, Hole, Piece, UnitSampler, shortest
from nfsolve.domains.quadrature import Rule, on_box


@dataclass(frozen=True)
class Periodic:
    """Bounds of a coordinate along which every field is exactly periodic."""

    low: float
    high: float


@dataclass(frozen=True)
class Parameter:
    """Bounds of a coordinate that is not a direction of space."""

    low: float
    high: float


def parameter(low: float, high: float) -> Parameter:
    """Mark a coordinate of a `Box` as a parameter: ``Box(t=(0, 1), x=(-1, 1), k=parameter(1, 3))``.

    ``lap_u`` does not differentiate along it. Also mark a time in this way if it is not called t, time or tau.

    Args:
        low: Lower bound.
        high: Upper bound.

    Returns:
        The marked bounds.
    """
    return Parameter(low, high)


Bounds = tuple[float, float] | Periodic | Parameter


def periodic(low: float, high: float) -> Periodic:
    """Mark a coordinate of a `Box` as periodic: ``Box(t=(0, 1), x=periodic(-1, 1))``.

    Args:
        low: Lower bound.
        high: Upper bound; the period is ``high - low``.

    Returns:
        The marked bounds.
    """
    return Periodic(low, high)


class Box(Domain):
    """An axis-aligned box with named coordinates.

    ``Box(t=(0, 1), x=(-1, 1))`` is the rectangle 0 <= t <= 1, -1 <= x <= 1. The order of the names is the
    order of the columns of every array of points.

    Args:
        **bounds: For each coordinate a pair ``(low, high)``, or `periodic` or `parameter` of one.

    Attributes:
        names: Coordinate names, in column order.
        bounds: ``(low, high)`` for each coordinate.
        periodic: For each coordinate, whether fields are periodic along it.

    Raises:
        InputError: There is no coordinate, or bounds are reversed, empty, or not finite.

    Examples:
        >>> box = Box(t=(0, 1), x=periodic(-1, 1))
        >>> box.names, box.grid(3, 2).shape
        (('t', 'x'), torch.Size([6, 2]))
        >>> box.face({"t": 0})  # column, value, sign of the outward normal
        [(0, 0.0, -1.0)]
    """

    def __init__(self, *unnamed: object, **bounds: Bounds):
        kind = type(self).__name__
        if unnamed or not bounds:
            raise InputError(
                f"{kind} needs the bounds of its coordinates by name, got {', '.join(map(repr, unnamed)) or 'none'}",
                do=f"write {kind}(x=(0, 1)), or {kind}(t=(0, 1), x=(-1, 1)) for two coordinates",
            )
        pairs = {name: _pair(name, value) for name, value in bounds.items()}
        super().__init__(
            tuple(pairs), tuple(pairs.values()), tuple(isinstance(value, Periodic) for value in bounds.values())
        )
        self.parameters = frozenset(name for name, value in bounds.items() if isinstance(value, Parameter))

    def __repr__(self) -> str:
        marks = ("periodic" if wraps else "parameter" * (name in self.parameters) for name, wraps in self._wraps())
        ends = zip(self.names, marks, self.bounds, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={mark}{_shown(pair)}' for name, mark, pair in ends)})"

    def _wraps(self) -> list[tuple[str, bool]]:
        return list(zip(self.names, self.periodic, strict=True))

    def _key(self) -> tuple[object, ...]:
        return self.names, self.bounds, self.periodic, self.parameters, self.stretch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __mul__(self, shape: Domain) -> Domain:
        """Return a shape at all values of this box's coordinates: ``Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)``.

        The boundary of the product is the boundary of the shape at all these values; its start is ``@face(t=0)``.
        """
        return Product(self, shape)

    def __rmul__(self, shape: Domain) -> Domain:
        """Return the same product for ``Disk(...) * Box(t=(0, 1))``: the coordinates of the box come first."""
        return self * shape

    def lifted(self, shape: Domain) -> Domain:
        """Return a shape in the last coordinates at all values of the first; as in `Domain`."""
        more = len(self.names) - len(shape.names)
        if more > 0 and self.names[more:] == shape.names:
            return Product(Box(**dict(zip(self.names[:more], self._marked(), strict=False))), shape)
        return super().lifted(shape)

    def _find_corners(self) -> tuple[Corner, ...]:
        """Return the corners of a box in a plane, at all values of times and parameters."""
        if len(self.space) != 2 or len(self.names) == 2:
            return super()._find_corners()
        marked = dict(zip(self.names, self._marked(), strict=True))
        plane = Box(**{self.names[column]: marked[self.names[column]] for column in self.space})
        return tuple(corner._replace(columns=self.space) for corner in plane.sharp_corners())

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the sides; as in `Domain`."""
        low = points.new_tensor([b[0] for b in self.bounds])
        high = points.new_tensor([b[1] for b in self.bounds])
        beyond = torch.maximum(low - points, points - high)
        outside = torch.linalg.vector_norm(beyond.clamp(min=0), dim=-1, keepdim=True)
        return outside + beyond.amax(-1, keepdim=True).clamp(max=0)

    def own_pieces(self) -> list[Piece]:
        """Return the sides as pieces named ``x=0``; periodic coordinates have none."""
        lengths = [high - low for low, high in self.bounds]
        return [
            Piece(
                (f"{name}={shown}",),
                math.prod(lengths[:column] + lengths[column + 1 :]),
                partial(self._on_side, column, value, sign),
            )
            for column, name in enumerate(self.names)
            if not self.periodic[column]
            for value, shown, sign in zip(self.bounds[column], shortest(self.bounds[column]), (-1.0, 1.0), strict=True)
        ]

    def _on_side(self, column: int, value: float, sign: float, unit: Tensor) -> tuple[Tensor, Tensor]:
        others = unit[:, : len(self.names) - 1]  # of an interval, none
        points = self.scale(torch.cat([others[:, :column], unit[:, :1], others[:, column:]], 1))
        points[:, column] = value
        normals = torch.zeros_like(points)
        normals[:, column] = sign
        return points, normals

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        rule = on_box([self.bounds[column] for column in free], n)
        points = _with_fixed(rule.points, fixed, len(self.names))
        return Rule(points[self.contains(points)], rule.weights[self.contains(points)])

    def boundary_quadrature(
        self, n: int, part: str | tuple[str, ...] = (), fixed: Mapping[str, float] | None = None
    ) -> Rule:
        """Return a rule on sides, at fixed values of some coordinates; as in `Domain`."""
        fixed = fixed or {}
        if not fixed:
            return super().boundary_quadrature(n, part)
        columns = {self.index(name): float(value) for name, value in fixed.items()}
        rest = {name: pair for name, pair in zip(self.names, self._marked(), strict=True) if name not in fixed}
        rule = Box(**rest).boundary_quadrature(n, part)
        assert rule.normals is not None
        normals = _with_fixed(rule.normals, dict.fromkeys(columns, 0.0), len(self.names))
        return Rule(_with_fixed(rule.points, columns, len(self.names)), rule.weights, normals)

    def _marked(self) -> list[Bounds]:
        """Return the bounds as the constructor takes them."""
        marks = (Periodic if wraps else Parameter if name in self.parameters else None for name, wraps in self._wraps())
        return [mark(*pair) if mark else pair for mark, pair in zip(marks, self.bounds, strict=True)]

    def interior(self, n: int, sample: UnitSampler, place: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Sample points; the unit cube fills a box, so none is rejected."""
        return (place or self.scale)(sample(n, len(self.names)))

    def check_points(self, points: Tensor, what: str = "points") -> None:
        """Refuse points that are not in the box, in the words of its coordinates."""
        self.check_shape(points, what)
        for column, (name, (low, high)) in enumerate(zip(self.names, self.bounds, strict=True)):
            slack = 1e-6 * (high - low)
            values = points[:, column]
            outside = ~((values >= low - slack) & (values <= high + slack))
            if outside.any():
                first = int(outside.nonzero()[0])
                raise InputError(
                    f"{int(outside.sum())} of {len(points)} {what} are outside the domain, "
                    f"first {name} = {float(values[first]):g} in row {first}, where {low:g} <= {name} <= {high:g}",
                    do="enlarge the domain or drop these points",
                )


class Product(Domain):
    """A shape for every value of the box's coordinates: ``Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)``.

    Its boundary is the boundary of the shape at all these values, with normals in the shape's coordinates; the
    ends of the box's coordinates are faces, ``@face(t=0)``.

    Args:
        box: Time, parameters, or both.
        shape: A domain of other coordinates.

    Raises:
        InputError: A name that both have.
    """

    def __init__(self, box: Box, shape: Domain):
        if not isinstance(shape, Domain):
            raise InputError(f"The right-hand side of {box!r} * ... must be a domain, got {shape!r}")
        self.box, self.shape = box, shape
        self.solid = shape.solid
        super().__init__(
            box.names + shape.names,
            box.bounds + shape.bounds,
            box.periodic + shape.periodic,
            shape.boundary_dims + len(box.names),
        )
        self.parameters = box.parameters | shape.parameters

    def __repr__(self) -> str:
        return f"{self.box!r} * {self.shape!r}"

    def _split(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return points[:, : len(self.box.names)], points[:, len(self.box.names) :]

    def scale(self, unit: Tensor) -> Tensor:
        """Map points of the unit cube into the bounds; as in `Domain`."""
        if self.stretch is not None:
            return super().scale(unit)
        first, second = self._split(unit)
        return torch.cat([self.box.scale(first), self.shape.scale(second)], 1)

    def signed_distance(self, points: Tensor) -> Tensor:
        """Take the larger of both distances; as in `Domain`."""
        first, second = self._split(points)
        return torch.maximum(self.box.signed_distance(first), self.shape.signed_distance(second))

    def contains(self, points: Tensor, slack: float = 0.0) -> Tensor:
        """Tell which points are in both; as in `Domain`."""
        first, second = self._split(points)
        return self.box.contains(first, slack) & self.shape.contains(second, slack)

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        first, second = self._shared({self.names[column]: value for column, value in fixed.items()})
        return self.box.quadrature(n, first) @ self.shape.quadrature(n, second)

    def boundary_quadrature(
        self, n: int, part: str | tuple[str, ...] = (), fixed: Mapping[str, float] | None = None
    ) -> Rule:
        """Return a rule on the boundary of the shape, at all or fixed values of the box; as in `Domain`."""
        first, second = self._shared(fixed or {})
        return self.box.quadrature(n, first) @ self.shape.boundary_quadrature(n, part, second)

    def interface_quadrature(self, n: int, first: str, second: str, fixed: Mapping[str, float] | None = None) -> Rule:
        """Return a rule on an interface of the shape, at all or fixed values of the box; as in `Domain`."""
        at, others = self._shared(fixed or {})
        return self.box.quadrature(n, at) @ self.shape.interface_quadrature(n, first, second, others)

    def regions(self) -> dict[str, Domain]:
        """Return the named parts of the shape at all values of the box; as in `Domain`."""
        return {name: Product(self.box, part) for name, part in self.shape.regions().items()}

    def lifted(self, shape: Domain) -> Domain:
        """Return a shape in the coordinates of this one's shape at all values of the box; as in `Domain`."""
        return Product(self.box, shape) if shape.names == self.shape.names else super().lifted(shape)

    def _shared(self, fixed: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
        """Divide fixed values between box and shape."""
        for name in fixed:
            self.index(name)
        first, second = ({n: v for n, v in fixed.items() if n in part.names} for part in (self.box, self.shape))
        return first, second

    def holes(self) -> tuple[Hole, ...]:
        """Return the holes of the shape, at all values of the box; as in `Domain`."""
        start = len(self.box.names)
        return tuple(h._replace(columns=tuple(start + i for i in h.columns)) for h in self.shape.holes())

    def _find_corners(self) -> tuple[Corner, ...]:
        """Return the corners of the shape, at all values of the box."""
        start = len(self.box.names)
        return tuple(
            c._replace(columns=(start + c.columns[0], start + c.columns[1])) for c in self.shape.sharp_corners()
        )

    def own_pieces(self) -> list[Piece]:
        """Return the pieces of the shape, at all values of the box."""
        return [
            Piece(piece.names, piece.size, partial(self._place, piece), partial(self._keep, piece))
            for piece in self.shape.pieces()
        ]

    def _place(self, piece: Piece, unit: Tensor) -> tuple[Tensor, Tensor]:
        dims = self.shape.boundary_dims
        points, normals = piece.place(unit[:, :dims])
        box = self.box.scale(unit[:, dims:])
        return torch.cat([box, points], 1), torch.cat([torch.zeros_like(box), normals], 1)

    def _keep(self, piece: Piece, points: Tensor, normals: Tensor) -> Tensor:
        if piece.keep is None:
            return torch.ones(len(points), dtype=torch.bool)
        return piece.keep(self._split(points)[1], self._split(normals)[1])

    def face(self, sides: Mapping[str, object]) -> list[tuple[int, float, float]]:
        """Resolve faces of the box, or of the shape where it has some; as in `Box`."""
        faces = []
        for name, values in sides.items():
            column = self.index(name)
            part, offset = (self.box, 0) if name in self.box.names else (self.shape, len(self.box.names))
            faces += [(offset + c, value, sign) for c, value, sign in part.face({self.names[column]: values})]
        return faces


class Interval(Box):
    """A box of one coordinate: ``Interval(x=(0, 1))``."""

    def __init__(self, *unnamed: object, **bounds: Bounds):
        super().__init__(*unnamed, **bounds)
        _check_count(self, 1)


class Rectangle(Box):
    """A box of two coordinates: ``Rectangle(x=(0, 2), y=(0, 1))``."""

    def __init__(self, *unnamed: object, **bounds: Bounds):
        super().__init__(*unnamed, **bounds)
        _check_count(self, 2)


def _with_fixed(part: Tensor, fixed: dict[int, float], d: int) -> Tensor:
    """Put fixed columns between those of a table, ``(n, d)`` in all."""
    columns = iter(part.unbind(1))
    return torch.stack(
        [part.new_full((len(part),), fixed[column]) if column in fixed else next(columns) for column in range(d)], 1
    )


def _check_count(box: Box, count: int) -> None:
    if len(box.names) != count:
        raise InputError(
            f"{type(box).__name__} has {count} coordinate{'s' * (count > 1)}, got {len(box.names)}",
            do="use Box for any number",
        )


def _pair(name: str, value: Any) -> tuple[float, float]:
    if isinstance(value, Periodic | Parameter):
        value = (value.low, value.high)
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The bounds of coordinate '{name}' must be a pair of numbers, got {value!r}", do=f"write {name}=(0, 1)"
        ) from error
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        kind = "reversed" if low > high else "empty" if low == high else "not finite"
        raise InputError(
            f"The bounds of coordinate '{name}' must be finite, the lower first, but ({low:g}, {high:g}) are {kind}",
            do=f"write {name}=({min(low, high):g}, {max(low, high):g})" if low > high else "",
        )
    return low, high


def _shown(pair: tuple[float, float]) -> str:
    return f"({', '.join(shortest(pair))})"
