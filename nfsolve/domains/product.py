"""Products of a box (time, parameters) with a shape."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.box import Box
from nfsolve.domains.domain import Domain
from nfsolve.domains.pieces import Piece


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
