"""Point clouds: domains that are known only by points inside them and, perhaps, on their boundary."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains.domain import Domain
from nfsolve.domains.mesh_files import Names
from nfsolve.domains.pieces import Piece

CHUNK = 2_000_000  # distances at a time


class PointCloud(Domain):
    """A domain known only by its points, e.g. the nodes of a mesh, from which `interior` residuals draw theirs.

    Args:
        points: Points ``(n, d)``: an array, a tensor or nested lists.
        boundary: Points ``(m, d)`` of its boundary, or None; they are the part ``"boundary"``.
        normals: Outward normals ``(m, d)`` there, or None; they are scaled to length 1.
        names: Names of the coordinates, separated by spaces or as a tuple.
        regions: A name for each point, or None; the points of one name are a part of the domain, as in
            ``@interior(where="steel")``. Points named ``""`` are in no part.
        parts: A name for each boundary point, or None; the points of one name are a part of the boundary.

    Raises:
        InputError: Shapes do not fit, a value is not finite, all points share a coordinate, or a normal is zero.

    Examples:
        >>> cloud = PointCloud([[0, 0], [1, 0.5], [2, 1]], [[0, 0], [2, 1]], parts=["inlet", "outlet"])
        >>> cloud.parts
        ('boundary', 'inlet', 'outlet')
    """

    solid = False

    def __init__(
        self,
        points: Any,
        boundary: Any = None,
        normals: Any = None,
        names: str | Sequence[str] = "x y",
        regions: Any = None,
        parts: Any = None,
    ):
        coordinates = tuple(names.split() if isinstance(names, str) else names)
        self.points = _table(points, "points", len(coordinates))
        self.rim = None if boundary is None else _table(boundary, "boundary points", len(coordinates))
        self.normals = None
        if normals is not None:
            directions = _table(normals, "normals", len(coordinates))
            if self.rim is None or directions.shape != self.rim.shape:
                raise InputError(
                    f"A PointCloud needs a normal for each point of boundary=, got {len(directions)} normals for "
                    f"{0 if self.rim is None else len(self.rim)} points"
                )
            lengths = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
            if (lengths == 0).any():
                raise InputError("The normals of a PointCloud are directions, but one of them has length 0")
            self.normals = directions / lengths
        self._region_of = _labels(regions, "regions", len(self.points), "points")
        self._part_of = _labels(parts, "parts", 0 if self.rim is None else len(self.rim), "boundary points")
        everything = self.points if self.rim is None else torch.cat([self.points, self.rim])
        low, high = everything.amin(0).tolist(), everything.amax(0).tolist()
        for name, a, b in zip(coordinates, low, high, strict=True):
            if a == b:
                raise InputError(
                    f"The points of a PointCloud must differ in each coordinate, but {name} = {a:g} everywhere",
                    do="leave this coordinate out",
                )
        super().__init__(coordinates, tuple(zip(low, high, strict=True)))
        self.boundary_dims = 1

    def __repr__(self) -> str:
        rim = "" if self.rim is None else f", boundary of {len(self.rim)}"
        return f"PointCloud({len(self.points)} points of {', '.join(self.names)}{rim})"

    def scale(self, unit: Tensor) -> Tensor:
        """Pick a point for each row, by its first coordinate."""
        return self.points.to(unit)[_pick(unit, len(self.points))]

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far the nearest point of the cloud is; never negative."""
        known = self.points if self.rim is None else torch.cat([self.points, self.rim])
        rows = max(1, CHUNK // len(known))
        known = known.to(points)
        exact = "donot_use_mm_for_euclid_dist"  # through a matrix product, equal points are 1e-8 apart
        nearest = [torch.cdist(p, known, compute_mode=exact).amin(1, keepdim=True) for p in points.split(rows)]
        return torch.cat(nearest) if nearest else points[:, :1]

    def own_pieces(self) -> list[Piece]:
        """Return the boundary points of each name as a piece; none where there are none."""
        if self.rim is None:
            return []
        rows: dict[str, list[int]] = {}
        for i in range(len(self.rim)):
            rows.setdefault(self._part_of[i] if self._part_of else "", []).append(i)
        return [
            Piece(("boundary", *_as_names(name)), float(len(held)), partial(self._on_rim, torch.tensor(held)))
            for name, held in rows.items()
        ]

    def regions(self) -> dict[str, Domain]:
        """Return the points of each name; as in `Domain`."""
        found: dict[str, Domain] = {}
        for name in dict.fromkeys(filter(None, self._region_of)):
            part = copy.copy(self)
            part.points = self.points[[of == name for of in self._region_of]]
            part.rim, part.normals, part._region_of, part._part_of = None, None, [], []
            found[name] = part
        return found

    def interface(self, first: str, second: str, what: str = "the interface") -> list[Piece]:
        """Refuse: points have no surface between them."""
        raise InputError(
            f"{what} needs a domain with a volume, got {self!r}",
            do="mark the residual @interior(points=array) with points between the parts",
        )

    def _on_rim(self, rows: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        assert self.rim is not None
        chosen = rows.to(unit.device)[_pick(unit, len(rows))]
        points = self.rim.to(unit)[chosen]
        # a residual that asks for a normal that nobody gave is told so where the points are drawn
        return points, torch.full_like(points, torch.nan) if self.normals is None else self.normals.to(unit)[chosen]


def _pick(unit: Tensor, n: int) -> Tensor:
    return (unit[:, 0] * n).long().clamp(0, n - 1)


def _as_names(name: str) -> Names:
    return (name,) if name else ()


def _labels(values: Any, what: str, n: int, of: str) -> list[str]:
    """Return a name for each point, or none at all."""
    if values is None:
        return []
    labels = [values] if isinstance(values, str) else list(values)
    if len(labels) != n or any(label is None for label in labels):
        raise InputError(
            f"{what}= of a PointCloud must have a name for each of its {n} {of}, got {len(labels)}",
            do=f'write {what}=["inlet", "wall", ...], with "" for a point of no part',
        )
    return [str(label) for label in labels]


def _table(values: Any, what: str, columns: int) -> Tensor:
    try:
        table = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach().clone()
    except (TypeError, ValueError) as error:
        raise InputError(f"The {what} of a PointCloud must be an array (n, d) of numbers ({error})") from error
    if table.ndim != 2 or table.shape[1] != columns or not len(table):
        raise InputError(
            f"The {what} of a PointCloud must have shape (n, {columns}), a column for each name, got "
            f"{tuple(table.shape)}",
            do="give names='x y z' for three columns",
        )
    if not torch.isfinite(table).all():
        raise InputError(f"The {what} of a PointCloud must be finite numbers, but some are not")
    return table
