"""Polygons: any simple closed chain of straight edges, convex or not."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.pieces import Piece

CHUNK = 20_000  # points at a time; each meets every edge


class Polygon(Domain):
    """A polygon in the plane; its boundary has the parts ``"edge 0"``, ``"edge 1"``, ...

    Edge i goes from vertex i to vertex i + 1; the last one returns to vertex 0.

    Args:
        vertices: Corners in order, clockwise or not, the first one not repeated.
        names: Names of the two coordinates, separated by a space.

    Raises:
        InputError: Fewer than three corners, an edge without length, edges that cross, or no area.
    """

    def __init__(self, vertices: Sequence[Sequence[float]], names: str = "x y"):
        try:
            corners = torch.tensor([[float(v) for v in vertex] for vertex in vertices], dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The vertices of a Polygon must be pairs of numbers ({error})", do="write [(0, 0), (1, 0), (0, 1)]"
            ) from error
        coordinates = tuple(names.split() if isinstance(names, str) else names)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or len(coordinates) != 2:
            raise InputError(
                f"A Polygon needs three or more pairs and two names, got vertices of shape {tuple(corners.shape)} "
                f"with names {names!r}",
            )
        if not torch.isfinite(corners).all():
            raise InputError("The vertices of a Polygon must be finite numbers, and one is not")
        self.corners = corners
        self.edges = corners.roll(-1, 0) - corners
        self.lengths = torch.linalg.vector_norm(self.edges, dim=-1)
        low, high = corners.amin(0).tolist(), corners.amax(0).tolist()
        self._check(max(h - b for h, b in zip(high, low, strict=True)))
        super().__init__(coordinates, tuple(zip(low, high, strict=True)))

    def __repr__(self) -> str:
        corners = ", ".join(f"({x:g}, {y:g})" for x, y in self.corners[:4].tolist())
        return f"Polygon([{corners}{', ...' if len(self.corners) > 4 else ''}])"

    def _check(self, size: float) -> None:
        short = (self.lengths <= 1e-12 * size).nonzero()
        if len(short):
            i = int(short[0])
            raise InputError(f"edge {i} of a Polygon has no length", do="do not repeat a corner")
        crossing = _first_crossing(self.corners)
        if crossing is not None:
            i, j = crossing
            raise InputError(
                f"The edges of a Polygon may meet only at common corners, but edges {i} and {j} cross",
                do="list the corners in order around the shape",
            )
        # shoelace formula; twice the area, positive for counter-clockwise corners
        doubled = float(_cross(self.corners, self.corners.roll(-1, 0)).sum())
        if abs(doubled) <= 1e-12 * size**2:
            raise InputError("A Polygon must have an area, but all its corners are on one line")
        self.area = 0.5 * abs(doubled)
        self.orientation = math.copysign(1.0, doubled)

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the nearest edge; as in `Domain`."""
        return torch.cat([self._distance(chunk) for chunk in points.split(CHUNK)]) if len(points) else points[:, :1]

    def _distance(self, points: Tensor) -> Tensor:
        corners, edges = self.corners.to(points), self.edges.to(points)
        away = points[:, None] - corners
        along = ((away * edges).sum(-1) / (edges * edges).sum(-1)).clamp(0, 1)
        distance = torch.linalg.vector_norm(away - along[..., None] * edges, dim=-1).amin(1)
        # a ray in +x from the point crosses the boundary an odd number of times from inside
        following = corners.roll(-1, 0)
        y = points[:, 1:]
        spans = (corners[:, 1] > y) != (following[:, 1] > y)
        meets = corners[:, 0] + (y - corners[:, 1]) * edges[:, 0] / torch.where(edges[:, 1] == 0, 1, edges[:, 1])
        inside = (spans & (points[:, :1] < meets)).sum(1) % 2 == 1
        return torch.where(inside, -distance, distance)[:, None]

    def own_pieces(self) -> list[Piece]:
        """Return the edges as pieces."""
        normals = self.orientation * torch.stack([self.edges[:, 1], -self.edges[:, 0]], 1) / self.lengths[:, None]
        return [
            Piece((f"edge {i}",), float(self.lengths[i]), partial(_on_edge, self.corners[i], self.edges[i], normals[i]))
            for i in range(len(self.corners))
        ]


def _on_edge(start: Tensor, edge: Tensor, normal: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    points = start.to(unit) + unit[:, :1] * edge.to(unit)
    return points, normal.to(unit).expand_as(points)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _first_crossing(corners: Tensor) -> tuple[int, int] | None:
    """Find two edges that are no neighbours and meet: each one's ends lie on both sides of the other, or on it."""
    start, end = corners, corners.roll(-1, 0)
    n = len(corners)
    p, q = start[:, None], end[:, None]  # edge i against edge j
    side_start, side_end = _cross(q - p, start[None] - p), _cross(q - p, end[None] - p)
    apart = side_start * side_end > 0
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    disjoint = ((low[:, None] > high[None]) | (low[None] > high[:, None])).any(-1)
    meet = ~apart & ~apart.T & ~disjoint
    steps = (torch.arange(n)[:, None] - torch.arange(n)) % n
    meet &= (steps > 1) & (steps < n - 1)
    found = meet.nonzero()
    return None if not len(found) else (int(found[0].min()), int(found[0].max()))
