"""Boxes: an interval for each coordinate, with faces and exact periodicity."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain, Piece, UnitSampler


@dataclass(frozen=True)
class Periodic:
    """Bounds of a coordinate along which every field is exactly periodic."""

    low: float
    high: float


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
        **bounds: For each coordinate a pair ``(low, high)``, or `periodic` of one.

    Attributes:
        names: Coordinate names, in column order.
        bounds: ``(low, high)`` for each coordinate.
        periodic: For each coordinate, whether fields are periodic along it.

    Raises:
        InputError: There is no coordinate, or bounds are reversed, empty, or not finite.
    """

    def __init__(self, **bounds: tuple[float, float] | Periodic):
        if not bounds:
            raise InputError("a Box without coordinates", "at least one, as in Box(t=(0, 1), x=(-1, 1))")
        pairs = {name: _pair(name, value) for name, value in bounds.items()}
        super().__init__(
            tuple(pairs), tuple(pairs.values()), tuple(isinstance(value, Periodic) for value in bounds.values())
        )

    def __repr__(self) -> str:
        parts = (
            f"{name}={'periodic' if wraps else ''}({low:g}, {high:g})"
            for name, (low, high), wraps in zip(self.names, self.bounds, self.periodic, strict=True)
        )
        return f"{type(self).__name__}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __mul__(self, shape: Domain) -> Domain:
        """Let a shape stand for all values of this box's coordinates: ``Box(t=(0, 1)) * Disk(x=0, y=0)``.

        The boundary of the product is the boundary of the shape at all these values; its start is ``@face(t=0)``.
        """
        from nfsolve.domains.product import Product  # product.py builds on this file

        return Product(self, shape)

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
                (f"{name}={value:g}",),
                math.prod(lengths[:column] + lengths[column + 1 :]),
                partial(self._on_side, column, value, sign),
            )
            for column, name in enumerate(self.names)
            if not self.periodic[column]
            for value, sign in zip(self.bounds[column], (-1.0, 1.0), strict=True)
        ]

    def _on_side(self, column: int, value: float, sign: float, unit: Tensor) -> tuple[Tensor, Tensor]:
        others = unit[:, : len(self.names) - 1]  # of an interval, none
        points = self.scale(torch.cat([others[:, :column], unit[:, :1], others[:, column:]], 1))
        points[:, column] = value
        normals = torch.zeros_like(points)
        normals[:, column] = sign
        return points, normals

    def interior(self, n: int, sample: UnitSampler, place: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Sample points; the unit cube fills a box, so none is rejected."""
        return (place or self.scale)(sample(n, len(self.names)))

    def check_points(self, points: Tensor, what: str = "points") -> None:
        """Refuse points that are not in the box.

        Args:
            points: Points ``(n, d)``.
            what: What they are, for the message.

        Raises:
            InputError: The shape is wrong, or a point is outside or not finite.
        """
        self.check_shape(points, what)
        for column, (name, (low, high)) in enumerate(zip(self.names, self.bounds, strict=True)):
            slack = 1e-6 * (high - low)
            values = points[:, column]
            outside = ~((values >= low - slack) & (values <= high + slack))
            if outside.any():
                first = int(outside.nonzero()[0])
                raise InputError(
                    f"{int(outside.sum())} of {len(points)} {what} outside the domain, "
                    f"first {name} = {float(values[first]):g} in row {first}",
                    f"{low:g} <= {name} <= {high:g}",
                    "enlarge the domain or drop these points",
                )

    def face(self, sides: Mapping[str, object]) -> list[tuple[int, float, float]]:
        """Resolve a description of faces such as ``t=0`` or ``x=(-1, 1)``.

        Args:
            sides: Coordinate name -> one end of its interval, or both.

        Returns:
            For each face ``(column, value, sign)``, with the sign of its outward normal.

        Raises:
            InputError: An unknown or periodic coordinate, or a value that is not an end of its interval.
        """
        faces = []
        for name, values in sides.items():
            column = self.index(name)
            low, high = self.bounds[column]
            if self.periodic[column]:
                raise InputError(
                    f"face {name} = {values} of a periodic coordinate",
                    f"a coordinate that is not periodic; the field repeats along {name} and has no end there",
                    f"drop the condition, or write {name}=({low:g}, {high:g})",
                )
            for value in values if isinstance(values, tuple | list) else (values,):
                if not isinstance(value, int | float) or not (
                    math.isclose(value, low, abs_tol=1e-12) or math.isclose(value, high, abs_tol=1e-12)
                ):
                    raise InputError(
                        f"face {name} = {value}",
                        f"an end of {name}, {low:g} or {high:g}",
                        "faces are the sides of the domain; use @measured for values inside",
                    )
                is_low = math.isclose(value, low, abs_tol=1e-12)
                faces.append((column, low if is_low else high, -1.0 if is_low else 1.0))
        return faces


class Interval(Box):
    """A box of one coordinate: ``Interval(x=(0, 1))``."""

    def __init__(self, **bounds: tuple[float, float] | Periodic):
        _check_count(self, bounds, 1)
        super().__init__(**bounds)


class Rectangle(Box):
    """A box of two coordinates: ``Rectangle(x=(0, 2), y=(0, 1))``."""

    def __init__(self, **bounds: tuple[float, float] | Periodic):
        _check_count(self, bounds, 2)
        super().__init__(**bounds)


def _check_count(box: Box, bounds: Mapping[str, object], count: int) -> None:
    if len(bounds) != count:
        name = type(box).__name__
        raise InputError(f"{name} with {len(bounds)} coordinates", f"{count}", "use Box for any number")


def _pair(name: str, value: tuple[float, float] | Periodic) -> tuple[float, float]:
    if isinstance(value, Periodic):
        value = (value.low, value.high)
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError) as error:
        raise InputError(f"bounds {value!r} of coordinate '{name}'", "a pair (low, high) of numbers") from error
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        kind = "reversed" if low > high else "empty" if low == high else "not finite"
        raise InputError(
            f"{kind} bounds ({low:g}, {high:g}) of coordinate '{name}'",
            "low < high, both finite",
            f"write {name}=({min(low, high):g}, {max(low, high):g})" if low > high else "",
        )
    return low, high
