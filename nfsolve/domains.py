"""Domains: where the coordinates of a problem live, with their bounds, faces and grids."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown


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


class Box:
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
        self.names: tuple[str, ...] = tuple(pairs)
        self.bounds: tuple[tuple[float, float], ...] = tuple(pairs.values())
        self.periodic: tuple[bool, ...] = tuple(isinstance(value, Periodic) for value in bounds.values())

    def __repr__(self) -> str:
        parts = (
            f"{name}={'periodic' if wraps else ''}({low:g}, {high:g})"
            for name, (low, high), wraps in zip(self.names, self.bounds, self.periodic, strict=True)
        )
        return f"Box({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Box) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def index(self, name: str) -> int:
        """Give the column of a coordinate.

        Args:
            name: Coordinate name.

        Returns:
            Its column in arrays of points.

        Raises:
            InputError: The box has no such coordinate.
        """
        if name not in self.names:
            raise unknown("coordinate", name, self.names)
        return self.names.index(name)

    def grid(self, *shape: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
        """List the points of a regular grid that includes both ends of each coordinate.

        Args:
            *shape: Number of points along each coordinate, in the order of `names`.
            dtype: Type of the points.
            device: Device of the points.

        Returns:
            Points ``(prod(shape), d)``; the last coordinate varies fastest, so a result reshaped to
            ``shape`` is indexed in the order of `names`.

        Raises:
            InputError: The number of sizes is not the number of coordinates, or a size is below 1.
        """
        if len(shape) != len(self.names) or any(n < 1 for n in shape):
            raise InputError(
                f"grid sizes {shape}",
                f"one positive size for each of {', '.join(self.names)}",
                f"write grid({', '.join(f'n_{name}' for name in self.names)})",
            )
        axes = [
            torch.linspace(low, high, n, dtype=dtype, device=device)
            for (low, high), n in zip(self.bounds, shape, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))

    def scale(self, unit: Tensor) -> Tensor:
        """Map points of the unit cube into the box.

        Args:
            unit: Points ``(n, d)`` in [0, 1]^d.

        Returns:
            Points ``(n, d)`` in the box, of the same type and device.
        """
        low = unit.new_tensor([b[0] for b in self.bounds])
        high = unit.new_tensor([b[1] for b in self.bounds])
        return low + unit * (high - low)

    def check_points(self, points: Tensor, what: str = "points") -> None:
        """Refuse points that are not in the box.

        Args:
            points: Points ``(n, d)``.
            what: What they are, for the message.

        Raises:
            InputError: The shape is wrong, or a point is outside or not finite.
        """
        if points.ndim != 2 or points.shape[1] != len(self.names):
            raise InputError(
                f"{what} of shape {tuple(points.shape)}",
                f"(n, {len(self.names)}) with columns {', '.join(self.names)}",
            )
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
            InputError: An unknown coordinate, or a value that is not an end of its interval.
        """
        faces = []
        for name, values in sides.items():
            column = self.index(name)
            low, high = self.bounds[column]
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
