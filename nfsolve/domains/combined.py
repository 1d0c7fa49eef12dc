"""Set operations on domains: union, intersection and difference, by the signs of signed distances."""

from functools import partial

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.pieces import Piece

NUDGE = 1e-6  # of the size: how far from a point of the boundary both sides are looked at


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


def _flipped(piece: Piece, unit: Tensor) -> tuple[Tensor, Tensor]:
    points, normals = piece.place(unit)
    return points, -normals


def _separates(domain: Domain, ahead: Tensor, behind: Tensor) -> Tensor:
    return (domain.signed_distance(ahead)[:, 0] > 0) & (domain.signed_distance(behind)[:, 0] < 0)
