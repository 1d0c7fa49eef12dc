"""Corners of plane domains, at which solutions of elliptic equations are singular.

Near a corner of interior angle w, a harmonic function with zero values or zero flux on both sides is a sum of
r^b sin(b phi) or r^b cos(b phi), where b is a multiple of pi / w. With values on one side and flux on the other, b is
an odd multiple of pi / (2 w). log r occurs where b is whole (P. Grisvard, Elliptic Problems in Nonsmooth Domains, 1985;
G. Strang & G. J. Fix, An Analysis of the Finite Element Method, 1973, chapter 8).
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from nfsolve.domains.pieces import Piece

if TYPE_CHECKING:
    from nfsolve.domains.domain import Domain

NODES = 501  # along a piece of the boundary
HALVINGS = 48
BEND = 0.05  # radians between neighbouring normals, above which there is a corner between them
RING = 720  # directions in which it is looked for the inside
RADII = (2e-4, 4e-4)  # of the size: where the two sides of a corner are looked for
STRAIGHT = 0.02  # radians that an angle differs from pi at least
SAME = 1e-4  # of the size: what is closer is one corner
MOST = 12
GOLDEN = (math.sqrt(5) - 1) / 2
DRAWN = 3  # of so many points on the sides of a domain with a re-entrant corner, one is drawn to a corner
NEARER = 6.0  # power of the even spacing at which distances of these lie: half of them are within 2 % of the way
ON_SIDE = 1e-9  # of the size: how far a point may be from the line through a corner


class Corner(NamedTuple):
    """A corner of a domain in two of its coordinates.

    Attributes:
        columns: Columns of the two coordinates.
        place: Where it is.
        direction: Angle of the line that halves it, from the first coordinate towards the second, in radians.
        angle: Interior angle in radians, below pi where the domain is convex.
    """

    columns: tuple[int, int]
    place: tuple[float, float]
    direction: float
    angle: float


def corners_of(domain: "Domain") -> tuple[Corner, ...]:
    """Find the corners of a domain in the plane.

    Args:
        domain: The domain.

    Returns:
        Its corners, the largest angles first, at most twelve; none in other dimensions, of points without a
        volume, or beside periodic sides.
    """
    plane = domain.space == (0, 1) and len(domain.names) == 2 and domain.boundary_dims == 1
    if not (domain.solid and plane) or any(domain.periodic):
        return ()
    found: list[Corner] = []
    places = _candidates(domain)
    first = (torch.cdist(places, places) < SAME * domain.size).to(torch.uint8).argmax(1)
    for place in places[first == torch.arange(len(places))]:
        corner = _corner(domain, place)
        if corner is not None and all(math.dist(corner.place, c.place) > SAME * domain.size for c in found):
            found.append(corner)
    found.sort(key=lambda corner: (-round(corner.angle, 6), corner.place))
    return tuple(found[:MOST])


def drawn_to_corners(
    domain: "Domain", points: Tensor, normals: Tensor, where: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Tensor:
    """Move every third point of straight sides along its side, close to a corner, where a domain is not convex.

    At a re-entrant corner a solution changes like r^b with b < 1, so that evenly spaced points leave the corner free.

    Args:
        domain: The domain.
        points: Points on its boundary ``(n, d)``.
        normals: Outward normals ``(n, d)``.
        where: Which points and normals count, as for `Domain.boundary`; a point that would not is left where it is.

    Returns:
        Points ``(n, d)``; the same ones where no corner is re-entrant, and in other dimensions.
    """
    corners = domain.sharp_corners()
    if not corners or corners[0].angle < math.pi:
        return points
    plane = list(corners[0].columns)
    places = torch.tensor([corner.place for corner in corners], dtype=points.dtype)
    away = points[:, None, plane] - places
    off = (away * normals[:, None, plane]).sum(-1).abs() > ON_SIDE * domain.size
    distance, nearest = away.norm(dim=-1).masked_fill(off, math.inf).min(1)
    chosen = distance.isfinite().nonzero()[::DRAWN, 0]
    if not len(chosen):
        return points
    unit = (torch.arange(len(chosen), dtype=points.dtype) + 0.5) * GOLDEN % 1
    moved = points[chosen].clone()
    moved[:, plane] = places[nearest[chosen]] + unit[:, None] ** NEARER * away[chosen, nearest[chosen]]
    good = domain.signed_distance(moved)[:, 0].abs() <= ON_SIDE * domain.size
    if where is not None:
        good &= where(moved, normals[chosen])
    points = points.clone()
    points[chosen[good]] = moved[good]
    return points


def _candidates(domain: "Domain") -> Tensor:
    """Return where pieces of the boundary begin, end, bend or are cut off, ``(n, 2)``."""
    return torch.cat([torch.zeros(0, 2, dtype=torch.float64), *(_breaks(piece) for piece in domain.pieces())])


def _breaks(piece: Piece) -> Tensor:
    """Return the same for one piece: both ends, and both sides of each place where it is not smooth."""

    def at(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points, normals = piece.place(t[:, None])
        keep = torch.ones(len(t), dtype=torch.bool) if piece.keep is None else piece.keep(points, normals)
        return points, normals, keep

    t = torch.linspace(0, 1, NODES, dtype=torch.float64).clamp(max=1 - 1e-12)
    points, normals, keep = at(t)
    bent = (normals[1:] * normals[:-1]).sum(1) < math.cos(BEND)
    broken = ((keep[1:] != keep[:-1]) | (bent & keep[1:])).nonzero()[:, 0]
    low, high = t[broken], t[broken + 1]
    _, first, kept = at(low)
    for _ in range(HALVINGS // 2 if len(broken) else 0):
        middle = (low + high) / 2
        _, normal, keeps = at(middle)
        same = (keeps == kept) & ((normal * first).sum(1) >= math.cos(BEND / 2))
        low, high = middle.where(same, low), high.where(same, middle)
    return torch.cat([points[[0, -1]], at(low)[0], at(high)[0]])


def _corner(domain: "Domain", place: Tensor) -> Corner | None:
    """Return the corner at about a place, None where the inside is not a sector there."""
    # angles at which the inside begins and ends, counter-clockwise
    near, far = (_sides(domain, place, radius * domain.size) for radius in RADII)
    if near is None or far is None:
        return None
    lines = []
    for one, other in zip(near, far, strict=True):
        p, q = (place + r * domain.size * _unit(a) for r, a in zip(RADII, (one, other), strict=True))
        lines.append((p, q - p))
    (p, along), (q, across) = lines
    determinant = along[0] * across[1] - along[1] * across[0]
    if abs(float(determinant)) < 1e-3 * float(along.norm() * across.norm()):
        return None  # nearly one line
    step = ((q - p)[0] * across[1] - (q - p)[1] * across[0]) / determinant
    vertex = p + step * along
    begin, end = (math.atan2(float(d[1]), float(d[0])) for d in (along, across))
    angle = (end - begin) % (2 * math.pi)
    if abs(angle - math.pi) < STRAIGHT:
        return None
    direction = math.remainder(begin + angle / 2, 2 * math.pi)
    return Corner((0, 1), (float(vertex[0]), float(vertex[1])), direction, angle)


def _sides(domain: "Domain", place: Tensor, radius: float) -> tuple[Tensor, Tensor] | None:
    """Return the angles at which a circle enters the inside and leaves it, counter-clockwise, if it does so once."""

    def inside(angle: Tensor) -> Tensor:
        return domain.signed_distance(place + radius * _unit(angle))[:, 0] < 0

    # an odd turn, for sides of many domains lie at whole degrees
    angles = 0.123 / RING + 2 * math.pi * torch.arange(RING + 1, dtype=torch.float64) / RING
    now = inside(angles)
    changes = (now[1:] != now[:-1]).nonzero()[:, 0]
    if len(changes) != 2:
        return None
    low, high = angles[changes], angles[changes + 1]
    before = now[changes]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = inside(middle) == before
        low, high = middle.where(same, low), high.where(same, middle)
    enters = 0 if not before[0] else 1
    middle = (low + high) / 2
    return middle[enters], middle[1 - enters]


def _unit(angle: Tensor) -> Tensor:
    return torch.stack([torch.cos(angle), torch.sin(angle)], -1)
