"""Solids inside closed surface meshes, from files such as STL, PLY and OBJ, or filled by meshes of tetrahedra."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, require
from nfsolve.domains.domain import Domain
from nfsolve.domains.mesh_files import Mesh, Names, is_mesh, merged, read, said
from nfsolve.domains.pieces import Piece
from nfsolve.domains.quadrature import Rule, on_box

MOST_NODES = 200_000  # of a quadrature over the faces
GROUPED = {"split_objects": True, "split_groups": True, "group_material": False}  # of OBJ; other readers ignore it
# barycentric places at which both sides of a face are looked at
PLACES = (
    (1 / 3, 1 / 3, 1 / 3),
    (0.8, 0.1, 0.1),
    (0.1, 0.8, 0.1),
    (0.1, 0.1, 0.8),
    (0.45, 0.45, 0.1),
    (0.1, 0.45, 0.45),
)


class Solid(Domain):
    """The inside of a closed triangle mesh, ``Solid("part.stl")``, or of a mesh of tetrahedra, ``Solid("part.msh")``.

    Its boundary is the part ``"surface"``; the objects and groups of an OBJ file, the solids of a text STL and the
    named groups of triangles of a mesh (physical groups of gmsh; numbered ones are ``"group 3"``) are also parts, under
    their names. Named groups of tetrahedra are parts of the domain, as in ``@interior(where="steel")``. If all faces
    point inwards, they are reversed.

    Args:
        surface: File that trimesh reads (STL, PLY, OBJ, OFF, ...), file that meshio reads (.msh, .vtu, .vtk, ...), a
            `trimesh.Trimesh`, a `meshio.Mesh`, or vertices ``(V, 3)`` and faces ``(F, 3)``.
        names: Names of the three coordinates, separated by spaces.
        scale: Factor on the coordinates of the file, such as 0.001 from millimetres to metres.

    Raises:
        InputError: The file cannot be read, or the surface is open, of mixed orientation, without volume, or crosses
            itself.
        MissingExtra: trimesh, meshio or libigl is not installed.
    """

    def __init__(self, surface: Any, names: str = "x y z", scale: float = 1.0):
        coordinates = tuple(names.split() if isinstance(names, str) else names)
        if len(coordinates) != 3 or not (math.isfinite(scale) and scale > 0):
            raise InputError(
                f"A Solid needs three names and a positive scale, got names={names!r} and scale={scale!r}",
                do='write Solid("part.stl", names="x y z", scale=0.001)',
            )
        self.said = said(surface, "mesh" if is_mesh(surface) else "surface")
        self._regions: dict[str, Domain] = {}
        self.tetrahedra: np.ndarray | None = None
        if is_mesh(surface):
            vertices, faces, groups = self._of_mesh(read(surface, self.said), coordinates, scale)
        else:
            vertices, faces, groups = _read(surface, self.said)
        self.vertices, self.faces = _closed(vertices * scale, faces, self.said)
        self.groups = groups
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        cross = np.cross(b - a, c - a)
        self.areas = np.linalg.norm(cross, axis=1) / 2
        self.face_normals = cross / np.maximum(2 * self.areas, 1e-300)[:, None]
        low, high = self.vertices.min(0).tolist(), self.vertices.max(0).tolist()
        super().__init__(coordinates, tuple(zip(low, high, strict=True)))
        self._check_crossing()

    def __repr__(self) -> str:
        return f"Solid({self.said}, {len(self.faces)} faces)"

    def _of_mesh(self, mesh: Mesh, names: tuple[str, ...], scale: float) -> tuple[np.ndarray, np.ndarray, list[Names]]:
        """Return vertices, faces of the surface and the names of their groups."""
        if mesh.cells.shape[1] == 3:
            return mesh.vertices, mesh.cells, mesh.groups
        if mesh.cells.shape[1] == 2:
            raise InputError(f"{self.said} has lines only", do="write Polygon(file) for an outline")
        self.tetrahedra = mesh.vertices[mesh.cells] * scale
        for name in mesh.names:
            part = mesh.group(name)
            faces, _ = part.boundary(f"{name!r} of {self.said}")
            region = Solid((part.vertices * scale, faces), names=" ".join(names))
            region.said, region.tetrahedra = f"{name!r} of {self.said}", part.vertices[part.cells] * scale
            self._regions[name] = region
        return mesh.vertices, *mesh.boundary(self.said)

    def regions(self) -> dict[str, Domain]:
        """Return the named groups of tetrahedra of a mesh; as in `Domain`."""
        return dict(self._regions)

    def _check_crossing(self) -> None:
        """Look at both sides of every face: inside there must be one body, outside none."""
        igl = require("igl", extra="mesh", purpose="a domain inside a surface mesh")
        corners = self.vertices[self.faces]
        step = 1e-4 * np.sqrt(self.areas)[:, None] * self.face_normals
        big = self.areas > 1e-12 * self.areas.max()
        for weights in PLACES:
            at = (np.array(weights)[None, :, None] * corners).sum(1)
            for side, wanted in ((-1.0, 1), (1.0, 0)):
                found = igl.fast_winding_number(self.vertices, self.faces, at + side * step)
                bad = (np.abs(np.asarray(found) - wanted) > 0.4) & big
                if bad.any():
                    place = ", ".join(f"{value:.4g}" for value in at[bad.argmax()])
                    raise InputError(
                        f"{self.said} must not cross itself, but {int(bad.sum())} of its {len(bad)} faces "
                        f"lie inside another part of it or overlap it, the first near ({place})",
                        do="unite its bodies in the program that made it, or use Solid(a) | Solid(b) for two files",
                    )

    def signed_distance(self, points: Tensor) -> Tensor:
        """Measure how far points are from the surface; as in `Domain`."""
        igl = require("igl", extra="mesh", purpose="a domain inside a surface mesh")
        where = points.detach().cpu().double().numpy()
        if not len(where):
            return points[:, :1]
        finite = np.isfinite(where).all(1)
        found = np.full(len(where), np.inf)
        if finite.any():
            kind = igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
            found[finite] = igl.signed_distance(where[finite], self.vertices, self.faces, sign_type=kind)[0]
        return torch.from_numpy(found).to(points)[:, None]

    def own_pieces(self) -> list[Piece]:
        """Return the faces of each group as a piece."""
        return [
            Piece(("surface", *names), float(self.areas[chosen].sum()), partial(self._on, chosen))
            for names, chosen in self._chosen_faces().items()
        ]

    def _chosen_faces(self) -> dict[Names, np.ndarray]:
        chosen: dict[Names, list[int]] = {}
        for face, names in enumerate(self.groups):
            chosen.setdefault(names, []).append(face)
        return {names: np.array(faces) for names, faces in chosen.items()}

    def _on(self, chosen: np.ndarray, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Place points uniformly by area: the first unit coordinate runs along the faces, and then within one."""
        ends = np.concatenate([[0.0], np.cumsum(self.areas[chosen])])
        ends /= ends[-1]
        first = unit[:, 0].double().cpu().numpy()
        face = np.clip(np.searchsorted(ends, first, side="right") - 1, 0, len(chosen) - 1)
        within = (first - ends[face]) / np.maximum(ends[face + 1] - ends[face], 1e-300)
        u = np.sqrt(np.clip(within, 0, 1))[:, None]
        v = unit[:, 1].double().cpu().numpy()[:, None]
        a, b, c = (self.vertices[self.faces[chosen[face], i]] for i in range(3))
        points = (1 - u) * a + u * (1 - v) * b + u * v * c
        return torch.from_numpy(points), torch.from_numpy(self.face_normals[chosen[face]])

    def _rule(self, n: int, fixed: dict[int, float], free: list[int]) -> Rule:
        """Return a rule on tetrahedra, those of a mesh or around the centre of a star-shaped solid; else as any."""
        tetrahedra = self.tetrahedra
        if tetrahedra is None:
            corners = self.vertices[self.faces]
            tetrahedra = np.concatenate([np.broadcast_to(self.vertices.mean(0), corners[:, :1].shape), corners], 1)
        volumes = np.linalg.det(tetrahedra[:, 1:] - tetrahedra[:, :1]) / 6
        volumes = np.abs(volumes) if self.tetrahedra is not None else volumes
        if fixed or (volumes < -1e-12 * volumes.max()).any():
            return super()._rule(n, fixed, free)
        unit = on_box([(0.0, 1.0)] * 3, max(2, min(n, round((MOST_NODES / len(volumes)) ** (1 / 3)))))
        r, s, t = unit.points.numpy().T
        weights = 6 * unit.weights.numpy()[:, 0] * r**2 * s  # of the map from the cube to a tetrahedron
        places = np.stack([1 - r, r * (1 - s), r * s * (1 - t), r * s * t], 1)
        points = np.einsum("qk,fkd->fqd", places, tetrahedra)
        return Rule(
            torch.from_numpy(points.reshape(-1, 3)), torch.from_numpy(np.outer(volumes, weights).reshape(-1, 1))
        )

    def _rule_on(self, pieces: list[Piece], n: int, nothing: str) -> Rule:
        """Return a rule on the faces of some parts, each with nodes of its own."""
        if any(piece.keep is not None for piece in pieces):
            return super()._rule_on(pieces, n, nothing)
        chosen = np.concatenate([piece.place.args[0] for piece in pieces if isinstance(piece.place, partial)])
        unit = on_box([(0.0, 1.0)] * 2, max(2, min(n, round((MOST_NODES / len(chosen)) ** 0.5))))
        s, t = unit.points.numpy().T
        weights = 2 * unit.weights.numpy()[:, 0] * s
        places = np.stack([1 - s, s * (1 - t), s * t], 1)
        points = np.einsum("qk,fkd->fqd", places, self.vertices[self.faces[chosen]])
        normals = np.repeat(self.face_normals[chosen], len(s), 0)
        return Rule(
            torch.from_numpy(points.reshape(-1, 3)),
            torch.from_numpy(np.outer(self.areas[chosen], weights).reshape(-1, 1)),
            torch.from_numpy(normals),
        )


def _read(surface: Any, what: str) -> tuple[np.ndarray, np.ndarray, list[Names]]:
    """Return vertices, faces, and the names of the groups of each face."""
    if isinstance(surface, tuple | list) and len(surface) == 2:
        vertices, faces = (np.asarray(part) for part in surface)
        return vertices, faces, [()] * len(faces)
    trimesh = require("trimesh", extra="mesh", purpose="a domain inside a surface mesh")
    mesh: Any = surface
    if isinstance(mesh, trimesh.Trimesh):
        return np.asarray(mesh.vertices), np.asarray(mesh.faces), [()] * len(mesh.faces)
    if not isinstance(surface, str | Path):
        raise InputError(
            f"a Solid needs a file, a trimesh.Trimesh or vertices and faces, got {type(surface).__name__}",
            do='write Solid("part.stl")',
        )
    if not Path(surface).is_file():
        raise InputError(f"there is no file '{surface}'", do="give its path from the folder where you run")
    try:
        scene = trimesh.load(Path(surface), force="scene", process=False, **GROUPED)
        named = {name: part for name, part in scene.geometry.items() if len(getattr(part, "faces", ()))}
    except Exception as error:  # of many readers
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{what} could not be read ({reason})", do="write it again as STL, PLY or OBJ") from error
    if not named:
        raise InputError(f"{what} has no triangles", do="write a surface mesh, and no points or lines")
    starts = np.cumsum([0] + [len(part.vertices) for part in named.values()])
    vertices = np.concatenate([np.asarray(part.vertices) for part in named.values()])
    faces = np.concatenate([np.asarray(part.faces) + s for part, s in zip(named.values(), starts, strict=False)])
    several = len(named) > 1
    groups: list[Names] = [(name,) * several for name, part in named.items() for _ in range(len(part.faces))]
    return vertices, faces, groups


def _closed(vertices: np.ndarray, faces: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the mesh with equal vertices merged, faces outwards; refuse what is not a closed surface."""
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise InputError(
            f"{what} must have vertices (V, 3) and triangles (F, 3), got shapes {vertices.shape} and {faces.shape}",
            do="triangulate its faces",
        )
    if not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{what} has vertices that are not finite, or faces of vertices that it does not have")
    size = float(np.ptp(vertices, axis=0).max())
    corners, index = merged(vertices)
    used, faces = np.unique(index[faces], return_inverse=True)
    corners, faces = corners[used], faces.reshape(-1, 3).astype(np.int64)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    key = edges.min(1) * len(corners) + edges.max(1)
    _, at, uses = np.unique(key, return_inverse=True, return_counts=True)
    net = np.bincount(at.reshape(-1), weights=np.where(edges[:, 0] < edges[:, 1], 1.0, -1.0))
    if (uses % 2).any():
        raise InputError(
            f"{what} must be closed, with every edge between two triangles, but {int((uses % 2).sum())} edges are open",
            do="close its holes, e.g. with MeshLab or trimesh.repair.fill_holes, or remesh it",
        )
    if net.any():
        raise InputError(
            f"triangles of {what} must all be counter-clockwise when seen from outside, but at {int((net != 0).sum())} "
            "edges neighbours have opposite orientations",
            do="make its normals consistent, e.g. with MeshLab or trimesh.repair.fix_normals",
        )
    a, b, c = (corners[faces[:, i]] for i in range(3))
    volume = float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)
    if abs(volume) <= 1e-12 * size**3:
        raise InputError(f"{what} encloses no volume", do="check its faces")
    return corners, faces if volume > 0 else faces[:, ::-1].copy()
