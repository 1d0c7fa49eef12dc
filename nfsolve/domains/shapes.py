"""Round shapes: the disk and the ball."""

import math

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.pieces import Piece


class Ball(Domain):
    """All points within a radius of a centre; `Disk` and `Sphere` say in how many dimensions.

    Args:
        radius: Radius.
        **centre: Coordinate -> where the centre is.

    Raises:
        InputError: The radius is not positive, or the centre has another number of coordinates.
    """

    dimension: int
    part: str

    def __init__(self, *, radius: float, **centre: float):
        kind = type(self).__name__
        numbers = [value for value in (radius, *centre.values()) if isinstance(value, int | float)]
        if len(numbers) != 1 + len(centre) or not all(map(math.isfinite, numbers)):
            raise InputError(f"{kind} with centre {centre} and radius {radius}", "finite numbers")
        if len(centre) != self.dimension:
            raise InputError(
                f"{kind} with centre {', '.join(centre) or 'nowhere'}",
                f"{self.dimension} coordinates",
                f"write {kind}({', '.join(f'{name}=0' for name in 'xyz'[: self.dimension])}, radius={radius:g})",
            )
        if radius <= 0:
            raise InputError(f"{kind} with radius {radius:g}", "a positive one")
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


class Disk(Ball):
    """A disk, ``Disk(x=0, y=0, radius=1)``; its boundary is the part ``"rim"``.

    Args:
        radius: Radius.
        **centre: The two coordinates -> where the centre is.
    """

    dimension = 2
    part = "rim"


class Sphere(Ball):
    """A solid ball in three dimensions, ``Sphere(x=0, y=0, z=0, radius=1)``; its boundary is the part ``"surface"``.

    Args:
        radius: Radius.
        **centre: The three coordinates -> where the centre is.
    """

    dimension = 3
    part = "surface"
