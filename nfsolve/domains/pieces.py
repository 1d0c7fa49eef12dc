"""Pieces of boundaries, and drawing by rejection from a low-discrepancy sequence."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

UnitSampler = Callable[[int, int], Tensor]
"""Points of the unit cube: (n, d) -> ``(n, d)`` in [0, 1)^d, new ones at every call."""

Mask = Callable[[Tensor, Tensor], Tensor]
"""Points ``(n, d)`` and outward normals ``(n, d)`` -> which of them count, bool ``(n,)``."""

HOPELESS = 2**17  # tries without one success after which there is nothing to find
MOST_TRIES = 2**22


@dataclass(frozen=True)
class Piece:
    """A piece of a boundary with one formula.

    Attributes:
        names: Names by which a condition can ask for it.
        size: Its length or area; a point counts 1.
        place: Unit points ``(m, boundary_dims)`` -> points and outward normals ``(m, d)``, uniform on the piece.
        keep: Which of these are on the boundary of the whole domain; None where all are.
    """

    names: tuple[str, ...]
    size: float
    place: Callable[[Tensor], tuple[Tensor, Tensor]]
    keep: Mask | None = None


def on_pieces(
    pieces: list[Piece], n: int, dims: int, sample: UnitSampler, where: Mask | None, what: str, do: str = ""
) -> tuple[Tensor, Tensor]:
    """Sample points on pieces of a boundary, uniform by length or area over all of them together.

    Args:
        pieces: At least one.
        n: Number of points.
        dims: Unit coordinates that each point needs.
        sample: Samples points of the unit cube.
        where: A further condition, or None.
        what: What asks for the points, for the message.
        do: What to do where nothing is found.

    Returns:
        Points and outward unit normals, each ``(n, d)``.

    Raises:
        InputError: Nothing of the pieces remains.
    """
    ends = torch.tensor([0.0, *(piece.size for piece in pieces)], dtype=torch.float64).cumsum(0)
    ends = ends / ends[-1]

    def candidates(unit: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        # the first unit coordinate runs along all pieces, one after the other
        chosen = (torch.searchsorted(ends, unit[:, 0].contiguous(), right=True) - 1).clamp(0, len(pieces) - 1)
        along = (unit[:, 0] - ends[chosen]) / (ends[chosen + 1] - ends[chosen])
        unit = torch.cat([along[:, None], unit[:, 1:]], 1)
        order, points, normals, keep = [], [], [], []
        for i, piece in enumerate(pieces):
            rows = (chosen == i).nonzero()[:, 0]
            p, normal = piece.place(unit[rows])
            order.append(rows)
            points.append(p)
            normals.append(normal)
            keep.append(piece.keep(p, normal) if piece.keep else torch.ones(len(p), dtype=torch.bool))
        back = torch.cat(order).argsort()
        points, normals, keep = (torch.cat(parts)[back] for parts in (points, normals, keep))
        return (points, normals), keep if where is None else keep & where(points, normals)

    if where is None:
        do = do or "the other parts of the domain cut this one away"
    else:
        do = "check `where`: it gets columns (n, 1) and is True where the condition holds"
    points, normals = accepted(n, dims, sample, candidates, what, do)
    return points, normals


def accepted(
    n: int,
    dims: int,
    sample: UnitSampler,
    candidates: Callable[[Tensor], tuple[tuple[Tensor, ...], Tensor]],
    what: str,
    do: str,
) -> tuple[Tensor, ...]:
    """Sample until n candidates are accepted; they are the first ones of one sequence, so their evenness stays.

    Args:
        n: Number to accept.
        dims: Dimension of the unit cube.
        sample: Samples points of the unit cube.
        candidates: Unit points -> arrays with one row for each, and which rows are accepted.
        what: What is sought, for the message.
        do: What to do when nothing is found.

    Returns:
        The arrays, ``n`` rows each.

    Raises:
        InputError: Nothing is accepted, or so little that the search has no end.
    """
    tries = n
    while True:
        arrays, keep = candidates(sample(tries, dims))
        rows = keep.nonzero()[:n, 0]
        if len(rows) == n:
            return tuple(array[rows] for array in arrays)
        found = int(keep.sum())
        wanted = math.ceil(1.1 * tries * n / found) + 16 if found else 16 * max(tries, 64)
        if (not found and tries >= HOPELESS) or wanted > MOST_TRIES:
            raise InputError(f"{what} selects nothing: {found} of {tries} points that were tried are in it", do=do)
        tries = wanted
