"""Round shapes: the disk and the ball."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.pieces import Piece
from nfsolve.domains.quadrature import Rule, on_box


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
        center: Where the centre is, if the coordinates are called x and y.
        **centre: The two coordinates -> where the centre is, otherwise.
    """

    dimension = 2
    part = "rim"


class Sphere(Ball):
    """A solid ball in three dimensions, ``Sphere(x=0, y=0, z=0, radius=1)``; its boundary is the part ``"surface"``.

    Args:
        radius: Radius.
        center: Where the centre is, if the coordinates are called x, y and z.
        **centre: The three coordinates -> where the centre is, otherwise.
    """

    dimension = 3
    part = "surface"
