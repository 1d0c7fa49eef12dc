"""Outlines in the plane: closed chains of straight edges, how they are joined, and what is refused of them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.mesh_files import Names


class Ring(NamedTuple):
    """A closed chain of edges; the last one returns to the first corner."""

    corners: np.ndarray
    names: list[Names]


def check(rings: list[Tensor], doubled: list[float], what: str, directed: bool) -> None:
    """Refuse rings with edges without length, or that cross or touch, and rings without area."""
    corners, following = torch.cat(rings), torch.cat([ring.roll(-1, 0) for ring in rings])
    size = float((corners.amax(0) - corners.amin(0)).max())
    short = (torch.linalg.vector_norm(following - corners, dim=1) <= 1e-12 * size).nonzero()
    if len(short):
        raise InputError(f"edge {int(short[0])} of {what} has no length", do="do not repeat a corner")
    first = [sum(len(ring) for ring in rings[:i]) for i in range(len(rings))]
    after = torch.cat([(torch.arange(len(r)) + 1) % len(r) + start for r, start in zip(rings, first, strict=True)])
    crossing = _first_crossing(corners, following, None if directed else after)
    if crossing is not None:
        i, j = crossing
        of = [max(k for k, start in enumerate(first) if start <= edge) for edge in (i, j)]
        x, y = corners[j].tolist()
        raise InputError(
            f"The edges of {what} may meet only at common corners, but edges {i} and {j} cross"
            f"{f' (of rings {of[0]} and {of[1]})' if of[0] != of[1] else ''}, near ({x:.4g}, {y:.4g})",
            do="list the corners in order around the shape, and keep holes apart from it and from each other",
        )
    if min(abs(area) for area in doubled) <= 1e-12 * size**2:
        ring = " of one ring" if len(rings) > 1 else ""
        raise InputError(f"{what[:1].upper()}{what[1:]} must have an area, but all its corners{ring} are on one line")


def check_holes(around: list[int], rings: list[Tensor]) -> None:
    """Refuse rings after the first that are not holes in it."""
    for i, ring in enumerate(rings[1:], 1):
        inside = contains(rings[0], ring[:1])
        if not inside or around[i] != 1:
            raise InputError(
                f"ring {i} of a Polygon must be a hole in ring 0, but it lies "
                f"{'in another hole' if inside else 'outside'}",
                do="write Polygon(first) | Polygon(second) for several bodies",
            )


def closed_chains(
    edges: np.ndarray, groups: list[Names], directed: bool, what: str
) -> list[tuple[list[int], list[Names]]]:
    """Join edges ``(E, 2)`` to closed chains of corners; refuse what is open."""
    at: dict[int, list[int]] = {}
    for i, ends in enumerate(edges.tolist()):
        for corner in ends[:1] if directed else ends:
            at.setdefault(corner, []).append(i)
    loose = 0 if directed else sum(len(met) % 2 for met in at.values())
    if loose:
        raise InputError(
            f"the outline of {what} must be closed, but {loose} of its corners end one line, or three",
            do="join the ends of its lines, or write triangles too",
        )
    left, chains = dict.fromkeys(range(len(edges))), []
    while left:
        i = next(iter(left))
        start = corner = int(edges[i, 0])
        corners: list[int] = []
        names: list[Names] = []
        while not corners or corner != start:
            i = next(k for k in at[corner] if k in left)
            corners.append(corner)
            names.append(groups[i])
            a, b = edges[i].tolist()
            corner = b if a == corner else a
            del left[i]
        chains.append((corners, names))
    return chains


def without_straight(chain: tuple[list[int], list[Names]], vertices: np.ndarray) -> tuple[list[int], list[Names]]:
    """Join neighbouring edges of the same names that continue each other."""
    corners, names = chain
    edges = vertices[np.roll(corners, -1)] - vertices[corners]
    edges = edges / np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-300)
    turns = np.linalg.norm(edges - np.roll(edges, 1, 0), axis=1) > 1e-9
    kept = [k for k in range(len(corners)) if turns[k] or names[k] != names[k - 1]]
    return [corners[k] for k in kept], [names[k] for k in kept]


def trapezoids(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Cut the inside at the x of every corner.

    Returns:
        For each trapezoid x at its left and right side, y of its lower edge there, and y of its upper edge.
    """
    cuts = np.unique(np.concatenate([start[:, 0], end[:, 0]]))
    left, right = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    first, last = np.searchsorted(cuts, left), np.searchsorted(cuts, right)
    edge = np.repeat(np.arange(len(start)), last - first)  # an edge along y meets none
    slab = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    slope = (end[edge, 1] - start[edge, 1]) / (end[edge, 0] - start[edge, 0])
    y = [start[edge, 1] + slope * (cuts[slab + k] - start[edge, 0]) for k in (0, 1)]
    order = np.lexsort((y[0] + y[1], slab))
    low, high = order[::2], order[1::2]  # a line along y enters and leaves in turn
    return np.stack([cuts[slab[low]], cuts[slab[low] + 1], y[0][low], y[1][low], y[0][high], y[1][high]], 1)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the cross products of vectors ``(..., 2)``."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def crossed(corners: Tensor, edges: Tensor, points: Tensor) -> Tensor:
    """Count the edges that a ray in +x from each point ``(n, 2)`` crosses: an odd number from inside."""
    y, ends = points[:, 1:], corners + edges
    spans = (corners[:, 1] > y) != (ends[:, 1] > y)
    meets = corners[:, 0] + (y - corners[:, 1]) * edges[:, 0] / torch.where(edges[:, 1] == 0, 1, edges[:, 1])
    return (spans & (points[:, :1] < meets)).sum(1)


def contains(ring: Tensor, point: Tensor) -> bool:
    """Tell whether a point ``(1, 2)`` lies inside a ring of corners ``(n, 2)``."""
    return bool(crossed(ring, ring.roll(-1, 0) - ring, point) % 2)


def _first_crossing(start: Tensor, end: Tensor, after: Tensor | None) -> tuple[int, int] | None:
    """Find two edges that meet and are not neighbours: each one's ends lie on both sides of the other, or on it.

    Args:
        start: Where edges start, ``(E, 2)``.
        end: Where they end.
        after: For each the edge that follows; None if edges may have any corners in common.
    """
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    order = low[:, 0].argsort()
    reach = torch.searchsorted(low[order, 0].contiguous(), high[order, 0].contiguous(), right=True)
    span = int((reach - torch.arange(len(order))).max())  # so many in the order of x can meet
    for k in range(1, span):
        i, j = order[:-k], order[k:]
        near = ((low[i] <= high[j]) & (low[j] <= high[i])).all(1)
        i, j = i[near], j[near]
        if after is None:
            ends = ((a[i] == b[j]).all(1) for a in (start, end) for b in (start, end))
            shared = torch.stack(list(ends)).any(0)
        else:
            shared = (after[i] == j) | (after[j] == i)
        apart = _same_side(start[i], end[i], start[j], end[j]) | _same_side(start[j], end[j], start[i], end[i])
        found = (~shared & ~apart).nonzero()
        if len(found):
            pair = int(i[found[0, 0]]), int(j[found[0, 0]])
            return min(pair), max(pair)
    return None


def _same_side(p: Tensor, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Tell whether a and b lie strictly on one side of the line through p and q."""
    return cross(q - p, a - p) * cross(q - p, b - p) > 0
