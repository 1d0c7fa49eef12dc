"""Polygons: straight edges around an area of the plane, with or without holes, given as corners or by a mesh."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains import mesh_files
from nfsolve.domains.domain import Domain, Hole
from nfsolve.domains.mesh_files import Mesh, Names
from nfsolve.domains.outline import (
    Ring,
    check,
    check_holes,
    closed_chains,
    contains,
    cross,
    crossed,
    trapezoids,
    without_straight,
)
from nfsolve.domains.pieces import Piece
from nfsolve.domains.quadrature import Rule, gauss

CHUNK = 4_000_000  # pairs of a point and an edge at a time
FEW = 200  # edges, of which each is a piece of its own and has a name
EXAMPLE = "write [(0, 0), (1, 0), (0, 1)], or a list of such rings, the outline first and then its holes"


class Polygon(Domain):
    """An area of the plane with straight edges: ``Polygon([(0, 0), (1, 0), (0, 1)])``, ``Polygon("plate.msh")``.

    Edge i, the part ``"edge i"`` of the boundary, goes from corner i to corner i + 1, and the last one returns to the
    start. Numbers continue through all rings; more than 200 edges have no names. With holes, ``"outer"``,
    ``"hole 1"``, ``"hole 2"``, ... are parts too. Named groups of lines of a mesh are parts of the boundary
    (physical groups of gmsh; numbered ones are ``"group 3"``), and named groups of its triangles are parts of the
    domain, as in ``@interior(where="steel")`` and ``@interface("steel", "copper")``.

    Args:
        vertices: Corners ``(n, 2)`` in order, clockwise or not; or several such rings, the outline first and then its
            holes; or a file that meshio reads (.msh, .vtu, .vtk, ...) with a mesh of triangles or a closed outline of
            lines; or a `meshio.Mesh`. The first corner may be repeated at the end.
        names: Names of the two coordinates, separated by a space.
        parts: Instead of numbered edges, a name for each edge or one for all; of several rings, a list with this for
            each ring. Edges of one name are one part.
        scale: Factor on the coordinates, such as 0.001 from millimetres to metres.

    Raises:
        InputError: Fewer than three corners, an edge without length, edges that cross or touch, no area, a hole
            outside the outline, an outline of lines that is open, or names that do not fit.
        MissingExtra: The file needs meshio, which is not installed.

    Examples:
        >>> plate = Polygon([[(0, 0), (3, 0), (3, 2), (0, 2)], [(1, 1), (2, 1), (2, 1.5)]], parts=["rim", "hole"])
        >>> plate.parts, plate.area
        (('rim', 'outer', 'hole', 'hole 1'), 5.75)
    """

    def __init__(self, vertices: Any, names: str = "x y", parts: Any = None, scale: float = 1.0):
        coordinates = tuple(names.split() if isinstance(names, str) else names)
        if len(coordinates) != 2 or not (isinstance(scale, int | float) and math.isfinite(scale) and scale > 0):
            raise InputError(
                f"A Polygon needs two names and a positive scale, got names={names!r} and scale={scale!r}",
                do='write Polygon(corners, names="x y")',
            )
        self.said, self._regions = "", {}
        if mesh_files.is_mesh(vertices) or isinstance(vertices, str | Path):
            self.said = mesh_files.said(vertices)
            if parts is not None:
                raise InputError(
                    f"the edges of {self.said} have the names of its groups, got parts= besides",
                    do="leave parts= out, or select edges by @boundary(where=lambda x, y: ...)",
                )
            mesh = _read(vertices, self.said, scale)
            if mesh.cells.shape[1] == 3:
                self._regions = {name: self._part(name, mesh.group(name), coordinates) for name in mesh.names}
            self._join_mesh(mesh, self.said)
        else:
            rings = _given(vertices, parts)
            self._join([ring._replace(corners=scale * ring.corners) for ring in rings], "a Polygon")
        super().__init__(coordinates, self._bounds())

    def __repr__(self) -> str:
        if self.said:
            return f"Polygon({self.said}, {len(self.corners)} edges)"
        corners = ", ".join(f"({x:g}, {y:g})" for x, y in self.corners[:4].tolist())
        more = self.rings - 1
        said = f"[{corners}{', ...' if len(self.corners) > 4 else ''}]"
        return f"Polygon({said}{f' and {more} hole' + 's' * (more > 1) if more else ''})"

    def _part(self, name: str, mesh: Mesh, names: tuple[str, ...]) -> "Polygon":
        """Return a group of triangles as a polygon of its own."""
        part = object.__new__(Polygon)
        part.said, part._regions = f"{name!r} of {self.said}", {}
        part._join_mesh(mesh, part.said)
        Domain.__init__(part, names, part._bounds())
        return part

    def _bounds(self) -> tuple[tuple[float, float], ...]:
        return tuple(zip(self.corners.amin(0).tolist(), self.corners.amax(0).tolist(), strict=True))

    def _join_mesh(self, mesh: Mesh, what: str) -> None:
        triangles = mesh.cells.shape[1] == 3
        edges, groups = mesh.boundary(what) if triangles else (mesh.cells, mesh.groups)
        chains = [without_straight(chain, mesh.vertices) for chain in closed_chains(edges, groups, triangles, what)]
        self._join([Ring(mesh.vertices[corners], names) for corners, names in chains], what, triangles)

    def _join(self, rings: list[Ring], what: str, directed: bool = False) -> None:
        """Put rings together to one boundary, and refuse what is none; directed ones have the inside to their left."""
        parts = [torch.tensor(ring.corners, dtype=torch.float64) for ring in rings]
        self.corners = torch.cat(parts)
        self.edges = torch.cat([part.roll(-1, 0) - part for part in parts])
        self.lengths = torch.linalg.vector_norm(self.edges, dim=-1)
        self.rings = len(rings)
        # shoelace formula; twice the area, positive for counter-clockwise corners
        doubled = [float(cross(part, part.roll(-1, 0)).sum()) for part in parts]
        check(parts, doubled, what, directed)
        if directed:
            signs, holes = [1.0] * len(parts), [area < 0 for area in doubled]
        else:
            around = [sum(contains(b, a[:1]) for j, b in enumerate(parts) if j != i) for i, a in enumerate(parts)]
            if what == "a Polygon":
                check_holes(around, parts)
            holes = [n % 2 == 1 for n in around]
            signs = [math.copysign(1.0, -area if hole else area) for area, hole in zip(doubled, holes, strict=True)]
        self.area = 0.5 * sum(sign * area for sign, area in zip(signs, doubled, strict=True))
        sign = torch.tensor(signs, dtype=torch.float64).repeat_interleave(torch.tensor([len(part) for part in parts]))
        outwards = torch.stack([self.edges[:, 1], -self.edges[:, 0]], 1)
        self.normals = sign[:, None] * outwards / self.lengths[:, None]
        self._holes = [part for part, hole in zip(parts, holes, strict=True) if hole]
        self.edge_names: list[Names] = []
        more = what != "a Polygon" or len(rings) > 1 or len(self.corners) > FEW
        for i, ring in enumerate(rings):
            said = f"hole {sum(holes[: i + 1])}" if holes[i] else "outer"
            self.edge_names += [(*own, said) if more else own for own in ring.names]

    def regions(self) -> dict[str, Domain]:
        """Return the named groups of triangles of a mesh; as in `Domain`."""
        return dict(self._regions)

    def holes(self) -> tuple[Hole, ...]:
        """Return what the inner rings leave out; as in `Domain`."""
        found = []
        for ring in self._holes:
            low, high = ring.amin(0), ring.amax(0)
            found.append(Hole((0, 1), tuple(((low + high) / 2).tolist()), float((high - low).min()) / 2))
        return tuple(found)

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the nearest edge; as in `Domain`."""
        rows = max(1, CHUNK // len(self.corners))
        return torch.cat([self._distance(chunk) for chunk in points.split(rows)]) if len(points) else points[:, :1]

    def _distance(self, points: Tensor) -> Tensor:
        corners, edges = self.corners.to(points), self.edges.to(points)
        away = points[:, None] - corners
        along = ((away * edges).sum(-1) / (edges * edges).sum(-1)).clamp(0, 1)
        distance = torch.linalg.vector_norm(away - along[..., None] * edges, dim=-1).amin(1)
        return torch.where(crossed(corners, edges, points) % 2 == 1, -distance, distance)[:, None]

    def own_pieces(self) -> list[Piece]:
        """Return the edges as pieces; where they are many, those with the same names are one piece."""
        groups: dict[object, list[int]] = {}
        for i, names in enumerate(self.edge_names):
            groups.setdefault(names if len(self.corners) > FEW else i, []).append(i)
        return [
            Piece(self.edge_names[chosen[0]], float(self.lengths[chosen].sum()), partial(self._on, chosen))
            for chosen in groups.values()
        ]

    def _on(self, chosen: list[int], unit: Tensor) -> tuple[Tensor, Tensor]:
        """Place points uniformly by length along some edges."""
        lengths = self.lengths[chosen].to(unit)
        ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        place = unit[:, 0].contiguous() * ends[-1]
        edge = (torch.searchsorted(ends, place, right=True) - 1).clamp(0, len(chosen) - 1)
        along = (place - ends[edge]) / lengths[edge]
        rows = torch.tensor(chosen, device=unit.device)[edge]
        points = self.corners.to(unit)[rows] + along[:, None] * self.edges.to(unit)[rows]
        return points, self.normals.to(unit)[rows]

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        """Return a rule on trapezoids between the corners; a section has that of any domain."""
        if fixed:
            return super()._rule(n, fixed, free)
        cut = trapezoids(self.corners.numpy(), (self.corners + self.edges).numpy())
        x0, x1, *heights = torch.from_numpy(cut).unbind(1)
        low, rise, top, climb = heights[0], heights[1] - heights[0], heights[2], heights[3] - heights[2]
        unit, weights = gauss(torch.zeros(()).double(), torch.ones(()).double(), _nodes(n, 2 * n / math.sqrt(len(cut))))
        s, t = unit[None, :, None], unit[None, None, :]
        below, above = (a[:, None, None] + b[:, None, None] * s for a, b in ((low, rise), (top, climb)))
        width = (x1 - x0)[:, None, None]
        x, y = (x0[:, None, None] + width * s).expand(-1, -1, len(unit)), below + t * (above - below)
        weight = weights[None, :, None] * weights * width * (above - below)
        return Rule(torch.stack([x, y], -1).reshape(-1, 2), weight.reshape(-1, 1))

    def _rule_on(self, pieces: list[Piece], n: int, nothing: str) -> Rule:
        """Return a rule on each edge of some parts; as in `Domain` where other shapes cut them."""
        if any(piece.keep is not None for piece in pieces):
            return super()._rule_on(pieces, n, nothing)
        chosen = [i for piece in pieces for i in getattr(piece.place, "args", ([],))[0]]
        unit, weights = gauss(torch.zeros(()).double(), torch.ones(()).double(), _nodes(n, 4 * n / len(chosen)))
        points = self.corners[chosen, None] + unit[None, :, None] * self.edges[chosen, None]
        normals = self.normals[chosen].repeat_interleave(len(unit), 0)
        return Rule(points.reshape(-1, 2), (self.lengths[chosen, None] * weights).reshape(-1, 1), normals)


def _nodes(n: int, share: float) -> int:
    """Return how many nodes a panel gets: its share, but few where panels are many."""
    return min(n, max(3, math.ceil(share)))


def _read(source: Any, what: str, scale: float) -> Mesh:
    if not mesh_files.is_mesh(source):
        raise InputError(
            f"a Polygon is read from a mesh, a file that ends in {', '.join(mesh_files.ENDINGS)}, got '{source}'",
            do='for a table of corners write Polygon(numpy.loadtxt("outline.txt")), and for a surface Solid(file)',
        )
    mesh = mesh_files.read(source, what)
    if mesh.cells.shape[1] == 4:
        raise InputError(f"{what} has tetrahedra, so it is a body in space", do="write Solid(file)")
    mesh = mesh.flat(what)
    return Mesh(scale * mesh.vertices, mesh.cells, mesh.groups, mesh.sides)


def _given(vertices: Any, parts: Any) -> list[Ring]:
    """Return the rings that a user gave, with the names of their edges."""
    several = _is_nested(vertices)
    tables = [
        _table(ring, f" (ring {i})" if several else "") for i, ring in enumerate(vertices if several else [vertices])
    ]
    total, given, rings = sum(len(table) for table in tables), [], []
    if parts is not None:
        given = [parts] if not several else list(parts) if not isinstance(parts, str) else [parts] * len(tables)
        if len(given) != len(tables):
            raise InputError(
                f"parts= of a Polygon with {len(tables)} rings must have an entry for each ring, got {len(given)}",
                do='write parts=["rim", "hole"], or a list of names for the edges of a ring',
            )
    start = 0
    for i, table in enumerate(tables):
        names: list[Names] = [(f"edge {start + k}",) if total <= FEW else () for k in range(len(table))]
        names = _named(given[i], len(table), f" of ring {i}" * several) if given else names
        rings.append(Ring(table, names))
        start += len(table)
    return rings


def _is_nested(vertices: Any) -> bool:
    """Return whether something is a list of rings, and not one."""
    try:
        return np.ndim(vertices[0][0]) > 0 or getattr(vertices, "ndim", 0) == 3
    except (TypeError, IndexError, KeyError, ValueError):
        return False


def _named(given: Any, n: int, of: str) -> list[Names]:
    names = [given] * n if isinstance(given, str) else list(given) if isinstance(given, Sequence) else [given]
    if len(names) != n or not all(isinstance(name, str) and name for name in names):
        raise InputError(
            f"parts= of a Polygon must be a name for each of the {n} edges{of}, or one name for all, got {given!r}",
            do='write parts=["bottom", "right", "top", "left"]',
        )
    return [(name,) for name in names]


def _table(vertices: Any, ring: str) -> np.ndarray:
    try:
        corners = np.array(
            vertices.detach().cpu().numpy() if isinstance(vertices, Tensor) else vertices, dtype=np.float64
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"The vertices of a Polygon{ring} must be pairs of numbers ({error})", do=EXAMPLE) from error
    if corners.ndim == 2 and len(corners) > 3 and (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    if corners.ndim != 2 or corners.shape[1:] != (2,) or len(corners) < 3:
        raise InputError(
            f"A Polygon needs three or more pairs of numbers, got vertices{ring} of shape {corners.shape}", do=EXAMPLE
        )
    if not np.isfinite(corners).all():
        raise InputError(f"The vertices of a Polygon{ring} must be finite numbers, but one of them is not")
    return corners
