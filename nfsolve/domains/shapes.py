"""Round shapes and extrusions: disk and ball, ellipse, extrusion and cylinder."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain, shortest
from nfsolve.domains.pieces import Piece
from nfsolve.domains.quadrature import Rule, on_box

NEWTON = 4  # steps from an even angle to an even length


class Ball(Domain):
    """All points within a radius of a centre; `Disk` and `Sphere` say in how many dimensions.

    Args:
        radius: Radius.
        center: Where the centre is, if the coordinates are called x, y (and z).
        **centre: Coordinate -> where the centre is, otherwise.

    Raises:
        InputError: The radius is not positive, or the centre has another number of coordinates.
    """

    dimension: int
    part: str

    def __init__(self, *unnamed: object, radius: Any = None, center: Any = None, **centre: Any):
        kind, names = type(self).__name__, "xyz"[: self.dimension]
        center = centre.pop("centre", center)
        if center is not None and not centre and np.shape(center) == (self.dimension,):
            centre = dict(zip(names, center, strict=True))
            center = None
        numbers = [value for value in (radius, *centre.values()) if isinstance(value, int | float | np.number)]
        whole = len(numbers) == 1 + self.dimension == 1 + len(centre) and all(map(math.isfinite, numbers))
        if unnamed or center is not None or not whole or radius <= 0:
            given = [repr(value) for value in unnamed]
            given += [f"{name}={value!r}" for name, value in ({"center": center} | centre).items() if value is not None]
            raise InputError(
                f"{kind} needs a centre of {self.dimension} finite numbers and a positive radius, got "
                f"{', '.join(given) or 'no centre'} and {'no radius' if radius is None else f'radius={radius!r}'}",
                do=f"write {kind}({', '.join(f'{name}=0' for name in names)}, radius=1), "
                f"or {kind}(center=({', '.join('0' * self.dimension)}), radius=1)",
            )
        self.centre = tuple(float(value) for value in centre.values())
        self.radius = float(radius)
        super().__init__(tuple(centre), tuple((c - self.radius, c + self.radius) for c in self.centre))

    def __repr__(self) -> str:
        centre = ", ".join(f"{name}={c:g}" for name, c in zip(self.names, self.centre, strict=True))
        return f"{type(self).__name__}({centre}, radius={self.radius:g})"

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the rim; as in `Domain`."""
        away = points - points.new_tensor(self.centre)
        return torch.linalg.vector_norm(away, dim=-1, keepdim=True) - self.radius

    def own_pieces(self) -> list[Piece]:
        """Return the whole rim as one piece."""
        size = 2 * math.pi * self.radius if self.dimension == 2 else 4 * math.pi * self.radius**2
        return [Piece((self.part,), size, self._on_rim)]

    def _on_rim(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        angle = 2 * math.pi * unit[:, :1]
        normals = torch.cat([angle.cos(), angle.sin()], 1)
        if self.dimension == 3:  # slices of equal thickness have equal area (Archimedes)
            height = 2 * unit[:, 1:2] - 1
            normals = torch.cat([(1 - height**2).sqrt() * normals, height], 1)
        return normals.new_tensor(self.centre) + self.radius * normals, normals

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        """Return a rule in radius and direction; a section has that of any domain."""
        if fixed:
            return super()._rule(n, fixed, free)
        rule = on_box([(0.0, self.radius)] + [(0.0, 1.0)] * (self.dimension - 1), n)
        points, _ = self._on_rim(rule.points[:, 1:])
        radius, centre = rule.points[:, :1], points.new_tensor(self.centre)
        # the rim has the radius of the ball, and its unit coordinates are uniform by area
        area = 2 * math.pi if self.dimension == 2 else 4 * math.pi
        weights = area * rule.weights * radius ** (self.dimension - 1)
        return Rule(centre + (points - centre) * radius / self.radius, weights)


class Disk(Ball):
    """A disk, ``Disk(x=0, y=0, radius=1)``; its boundary is the part ``"rim"``.

    Args:
        radius: Radius.
        center: Position of the centre, if the coordinates are named x and y.
        **centre: Position of the centre along each coordinate, otherwise.
    """

    dimension = 2
    part = "rim"


class Sphere(Ball):
    """A solid ball in three dimensions, ``Sphere(x=0, y=0, z=0, radius=1)``; its boundary is the part ``"surface"``.

    Args:
        radius: Radius.
        center: Position of the centre, if the coordinates are named x, y and z.
        **centre: Position of the centre along each coordinate, otherwise.
    """

    dimension = 3
    part = "surface"


class Ellipse(Domain):
    """An ellipse, ``Ellipse(x=0, y=0, radii=(2, 1))``; its boundary is the part ``"rim"``.

    Args:
        radii: Half axes along the first and the second coordinate.
        angle: Angle by which it is turned counter-clockwise, in radians.
        **centre: Position of the centre along each of the two coordinates.

    Raises:
        InputError: Not two coordinates, or radii that are not two positive numbers.
    """

    def __init__(self, radii: Any = None, angle: float = 0.0, **centre: Any):
        numbers = [*(radii if np.shape(radii) == (2,) else ()), angle, *centre.values()]
        whole = len(numbers) == 5 and all(isinstance(v, int | float | np.number) and math.isfinite(v) for v in numbers)
        if not whole or min(numbers[:2]) <= 0:
            raise InputError(
                f"Ellipse needs a centre of two finite numbers and two positive radii, got {centre}, radii={radii!r}",
                do="write Ellipse(x=0, y=0, radii=(2, 1))",
            )
        self.radii, self.angle = (float(radii[0]), float(radii[1])), float(angle)
        self.centre = tuple(float(value) for value in centre.values())
        a, b, cos, sin = *self.radii, math.cos(angle), math.sin(angle)
        reach = math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)
        super().__init__(tuple(centre), tuple((c - r, c + r) for c, r in zip(self.centre, reach, strict=True)))
        self.turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)

    def __repr__(self) -> str:
        centre = ", ".join(f"{name}={c:g}" for name, c in zip(self.names, self.centre, strict=True))
        return f"Ellipse({centre}, radii=({self.radii[0]:g}, {self.radii[1]:g}))"

    def signed_distance(self, points: Tensor) -> Tensor:
        """Return a bound of how far points are from the rim; as in `Domain`."""
        own = (points - points.new_tensor(self.centre)) @ self.turn.to(points)
        return min(self.radii) * (torch.linalg.vector_norm(own / own.new_tensor(self.radii), dim=-1, keepdim=True) - 1)

    def own_pieces(self) -> list[Piece]:
        """Return the whole rim as one piece."""
        return [Piece(("rim",), float(self._length(2 * math.pi)), self._on_rim)]

    def _length(self, angle: Any) -> Any:
        """Return the length of the rim from angle 0 of (a cos, b sin)."""
        a, b = self.radii
        from scipy.special import ellipeinc  # takes 0.3 s

        return b * ellipeinc(angle, 1 - (a / b) ** 2)

    def _on_rim(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.radii
        table = np.linspace(0, 2 * math.pi, 1025)
        wanted = unit[:, 0].double().cpu().numpy() * self._length(table[-1])
        angle = np.interp(wanted, self._length(table), table)
        for _ in range(NEWTON):
            angle = angle - (self._length(angle) - wanted) / np.hypot(a * np.sin(angle), b * np.cos(angle))
        return self._at(torch.from_numpy(angle).to(unit))

    def _rule_on(self, pieces: list[Piece], n: int, nothing: str) -> Rule:
        """Return evenly spaced angles: of smooth periodic functions the most precise rule."""
        a, b = self.radii
        angle = 2 * math.pi * torch.arange(4 * n, dtype=torch.float64) / (4 * n)
        weights = torch.hypot(a * angle.sin(), b * angle.cos()) * 2 * math.pi / (4 * n)
        points, normals = self._at(angle)
        return Rule(points, weights[:, None], normals)

    def _at(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Return points of the rim and normals there."""
        (a, b), cos, sin, unit = self.radii, angle.cos(), angle.sin(), angle
        turn = self.turn.to(unit).T
        normals = torch.stack([cos / a, sin / b], 1) @ turn
        points = torch.stack([a * cos, b * sin], 1) @ turn + unit.new_tensor(self.centre)
        return points, normals / torch.linalg.vector_norm(normals, dim=1, keepdim=True)


class Extrusion(Domain):
    """A shape of the plane, extruded along a third coordinate: ``Extrusion(Polygon(...), z=(0, 1))``.

    The parts of its boundary are those of the shape, as its sides, and the lids ``"z=0"`` and ``"z=1"``. For a shape
    that exists at all times write ``Box(t=(0, 1)) * shape`` instead.

    Args:
        shape: The section.
        first: Whether the new coordinate comes before those of the shape.
        **axis: The new coordinate -> its ends.

    Raises:
        InputError: Not one coordinate with two ends, the lower first.
    """

    def __init__(self, shape: Domain, *, first: bool = False, **axis: Any):
        ends: Any = next(iter(axis.values()), ())
        if len(axis) != 1 or np.shape(ends) != (2,) or not ends[0] < ends[1] or not isinstance(shape, Domain):
            given = ", ".join(f"{name}={value!r}" for name, value in axis.items())
            raise InputError(
                f"Extrusion needs a shape and one coordinate with two ends, the lower first, got {shape!r} and "
                f"{given or 'no coordinate'}",
                do="write Extrusion(Disk(x=0, y=0, radius=1), z=(0, 2))",
            )
        self.shape, self.first = shape, first
        name = next(iter(axis))
        pair = (float(ends[0]), float(ends[1]))
        names, bounds = (name,), (pair,)
        names, bounds = (
            (names + shape.names, bounds + shape.bounds) if first else (shape.names + names, shape.bounds + bounds)
        )
        super().__init__(names, bounds, boundary_dims=max(shape.boundary_dims + 1, len(shape.names)))
        self.axis, self.ends = name, pair

    def __repr__(self) -> str:
        return f"Extrusion({self.shape!r}, {self.axis}=({self.ends[0]:g}, {self.ends[1]:g}))"

    def _split(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the columns of the shape and that of the axis."""
        column = self.names.index(self.axis)
        return torch.cat([points[:, :column], points[:, column + 1 :]], 1), points[:, column : column + 1]

    def _joined(self, shape: Tensor, axis: Tensor) -> Tensor:
        return torch.cat([axis, shape] if self.first else [shape, axis], 1)

    def signed_distance(self, points: Tensor) -> Tensor:
        """Take the larger of both distances; as in `Domain`."""
        section, axis = self._split(points)
        along = torch.maximum(self.ends[0] - axis, axis - self.ends[1])
        return torch.maximum(self.shape.signed_distance(section), along)

    def own_pieces(self) -> list[Piece]:
        """Return the sides and both lids."""
        height = self.ends[1] - self.ends[0]
        sides = [
            Piece(p.names, p.size * height, partial(self._side, p), partial(self._keep, p)) if p.keep
            else Piece(p.names, p.size * height, partial(self._side, p))
            for p in self.shape.pieces()
        ]  # fmt: skip
        area = math.prod(high - low for low, high in self.shape.bounds)
        return sides + [
            Piece((f"{self.axis}={shown}",), area, partial(self._lid, value, sign), self._on_lid)
            for value, shown, sign in zip(self.ends, shortest(self.ends), (-1.0, 1.0), strict=True)
        ]

    def _side(self, piece: Piece, unit: Tensor) -> tuple[Tensor, Tensor]:
        points, normals = piece.place(unit[:, : self.shape.boundary_dims])
        axis = self.ends[0] + (self.ends[1] - self.ends[0]) * unit[:, -1:]
        return self._joined(points, axis.to(points)), self._joined(normals, torch.zeros_like(normals[:, :1]))

    def _keep(self, piece: Piece, points: Tensor, normals: Tensor) -> Tensor:
        assert piece.keep is not None
        return piece.keep(self._split(points)[0], self._split(normals)[0])

    def _lid(self, value: float, sign: float, unit: Tensor) -> tuple[Tensor, Tensor]:
        section = self.shape.scale(unit[:, : len(self.shape.names)])
        axis = torch.full_like(section[:, :1], value)
        return self._joined(section, axis), self._joined(torch.zeros_like(section), torch.full_like(axis, sign))

    def _on_lid(self, points: Tensor, normals: Tensor) -> Tensor:
        return self.shape.contains(self._split(points)[0])

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        """Return the product of the rules of the shape and of the axis."""
        at = {self.names[column]: value for column, value in fixed.items()}
        section = self.shape.quadrature(n, {name: value for name, value in at.items() if name != self.axis})
        axis = on_box([self.ends], n)
        if self.axis in at:
            inside = self.ends[0] <= at[self.axis] <= self.ends[1]
            axis = Rule(torch.full((int(inside), 1), at[self.axis], dtype=torch.float64), torch.ones(int(inside), 1))
        return axis @ section if self.first else section @ axis


class Cylinder(Extrusion):
    """A round cylinder, ``Cylinder(x=0, y=0, z=(0, 2), radius=1)``; its side is the part ``"rim"``.

    Args:
        radius: Radius.
        **place: Three coordinates: both ends of the first or the last one, and the position of the axis in the others.
    """

    def __init__(self, radius: Any = None, **place: Any):
        axes = [name for name, value in place.items() if isinstance(value, tuple | list)]
        if len(place) != 3 or len(axes) != 1 or radius is None or list(place).index(axes[0]) == 1:
            given = ", ".join(f"{name}={value!r}" for name, value in place.items())
            raise InputError(
                "Cylinder needs the position of its axis in two coordinates, both ends of the first or the last one, "
                f"and a radius, got {given or 'none'} and radius={radius!r}",
                do="write Cylinder(x=0, y=0, z=(0, 2), radius=1)",
            )
        centre = {name: value for name, value in place.items() if name != axes[0]}
        super().__init__(Disk(radius=radius, **centre), first=next(iter(place)) == axes[0], **{axes[0]: place[axes[0]]})
