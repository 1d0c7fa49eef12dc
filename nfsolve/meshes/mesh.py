"""Closed triangle meshes: read, checked, moved, written; points inside by the generalized winding number.

The winding number of a surface around x is the solid angle it covers, seen from x, over 4 pi (Jacobson, Kavan &
Sorkine-Hornung, "Robust inside-outside segmentation using generalized winding numbers", ACM TOG 32(4), 2013).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from nfsolve._core.arrays import read_arrays, real_numbers, reason
from nfsolve._core.errors import InputError, require
from nfsolve.meshes.bodies import body_labels, face_volumes, turned_outwards

ENDINGS = (".npz", ".obj", ".ply", ".stl", ".off")
WRITTEN = (".ply", ".obj", ".stl", ".off", ".glb")
CLOUDS = (".ply", ".glb", ".xyz")
HEADER = 2**16  # bytes in which the header of a PLY file ends


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Args:
        vertices: Corners ``(V, 3)``, float64.
        faces: Rows of three vertices ``(F, 3)``, int64, counter-clockwise when seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray

    @classmethod
    def read(cls, path: Path) -> "Mesh":
        """Read a closed mesh: npz with ``vertices`` and ``faces``, or OBJ, PLY, STL, OFF.

        Vertices of the same coordinates become one (STL stores each triangle on its own), and bodies that are
        inside out are turned, see `nfsolve.meshes.bodies`.

        Args:
            path: The file.

        Returns:
            The mesh, checked by `check_closed`.

        Raises:
            InputError: The file cannot be read, or does not hold a closed mesh.
            MissingExtra: A file that is not npz needs trimesh.
        """
        vertices, faces = _arrays(path)
        return cls.closed(vertices, faces, f"mesh '{path}'")

    @classmethod
    def closed(cls, vertices: np.ndarray, faces: np.ndarray, name: str = "the mesh") -> "Mesh":
        """Make a closed mesh out of arrays of any number type.

        Args:
            vertices: Corners ``(V, 3)``.
            faces: Rows of three vertices ``(F, 3)``.
            name: What to call it in messages.

        Returns:
            A checked mesh with merged vertices, its bodies turned outwards.

        Raises:
            InputError: The arrays do not describe a closed mesh.
        """
        _check_arrays(vertices, faces, name)
        corners, index = np.unique(vertices.astype(np.float64) + 0.0, axis=0, return_inverse=True)  # -0 becomes 0
        merged = index.reshape(-1)[faces.astype(np.int64)]
        distinct = (merged != np.roll(merged, 1, axis=1)).all(axis=1)
        mesh = cls(corners, merged[distinct])
        mesh.check_closed(name)
        if distinct.any():
            mesh = cls(corners, turned_outwards(corners, mesh.faces))
        if mesh.volume() <= 1e-12 * np.prod(np.ptp(corners, axis=0)):
            raise InputError(
                f"{name} must be a closed surface around a solid, but it encloses no volume", do="check its faces"
            )
        return mesh

    def check_closed(self, name: str = "the mesh") -> None:
        """Refuse a surface with a border.

        A surface is closed when every edge is run as often in one direction as in the other; then its
        winding number is a whole number everywhere. Edges of four faces, where two bodies touch, pass.

        Args:
            name: What to call it in the message.

        Raises:
            InputError: With the number of open edges, of non-manifold edges and of edges where neighbours
                have opposite orientations.
        """
        open_edges, crowded, flipped = self.defects()
        if not open_edges and not crowded and not flipped:
            return
        if open_edges or crowded:
            raise InputError(
                f"{name} must be watertight, with every edge between two triangles, but it has {open_edges} open edges "
                f"and {crowded} non-manifold edges",
                do="close its holes, e.g. with MeshLab or meshfix, or remesh it",
            )
        raise InputError(
            f"triangles of {name} must all be counter-clockwise when seen from outside, but {flipped} edges lie "
            "between triangles of opposite orientation",
            do="make its normals consistent, e.g. with MeshLab or trimesh.repair.fix_normals",
        )

    def defects(self) -> tuple[int, int, int]:
        """Count edges that a closed surface does not have.

        Returns:
            Edges of one face; edges of more than two faces that do not cancel; edges of two faces with the
            same direction.
        """
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        forward = edges[:, 0] < edges[:, 1]
        key = edges.min(1) * len(self.vertices) + edges.max(1)
        _, index, uses = np.unique(key, return_inverse=True, return_counts=True)
        net = np.bincount(index.reshape(-1), weights=np.where(forward, 1.0, -1.0))
        wrong = net != 0
        return int((uses == 1).sum()), int((wrong & (uses > 2)).sum()), int((wrong & (uses == 2)).sum())

    def volume(self) -> float:
        """Return the enclosed volume; negative for a mesh that is inside out."""
        return float(face_volumes(self.vertices, self.faces).sum())

    def frame(self, fit: str, reach: float) -> tuple[np.ndarray, float]:
        """Find the frame in which the mesh fills [-1, 1]^3: x there is (x here - centre) / scale.

        Args:
            fit: ``"box"`` (the longest side of the bounding box spans [-reach, reach]) or ``"sphere"`` (the
                farthest vertex is at distance ``reach`` from the centre). The centre is that of the box.
            reach: How far the mesh reaches there.

        Returns:
            Centre ``(3,)`` and scale.
        """
        centre = (self.vertices.min(0) + self.vertices.max(0)) / 2
        offset = self.vertices - centre
        size = np.linalg.norm(offset, axis=1).max() if fit == "sphere" else np.abs(offset).max()
        return centre, float(size / reach)

    def moved(self, centre: np.ndarray, scale: float) -> "Mesh":
        """Return the mesh in another frame, (vertices - centre) / scale."""
        return Mesh((self.vertices - centre) / scale, self.faces)

    def contains(self, points: Tensor) -> Tensor:
        """Tell which points are inside: their winding number is above 1/2.

        The hierarchical evaluation of libigl is used (Barill et al., "Fast winding numbers for soups and
        clouds", ACM TOG 37(4), 2018); its error, below 0.01 as measured, decides nothing on a closed mesh.

        Args:
            points: ``(n, 3)``.

        Returns:
            ``(n, 1)``, bool, on the CPU.

        Raises:
            MissingExtra: libigl is not installed.
        """
        igl = require("igl", extra="mesh", purpose="the inside test of a mesh")
        where = np.ascontiguousarray(points.detach().double().cpu().numpy())
        winding = igl.fast_winding_number(np.ascontiguousarray(self.vertices), np.ascontiguousarray(self.faces), where)
        return torch.from_numpy(winding > 0.5)[:, None]

    def distance(self, points: Tensor) -> Tensor:
        """Return signed distances to the surface, negative where the winding number is above 1/2.

        Args:
            points: ``(n, 3)``.

        Returns:
            ``(n, 1)``, float64, on the CPU.

        Raises:
            MissingExtra: libigl is not installed.
        """
        igl = require("igl", extra="mesh", purpose="distances to a mesh")
        where = np.ascontiguousarray(points.detach().double().cpu().numpy())
        squared, _, _ = igl.point_mesh_squared_distance(
            where, np.ascontiguousarray(self.vertices), np.ascontiguousarray(self.faces)
        )
        away = torch.from_numpy(np.sqrt(squared))[:, None]
        return torch.where(self.contains(points), -away, away)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draw points on the surface, uniform in area.

        Args:
            n: How many.
            generator: CPU generator.

        Returns:
            ``(n, 3)``, float64.
        """
        a, b, c = (torch.from_numpy(self.vertices[self.faces[:, i]]) for i in range(3))
        areas = torch.linalg.cross(b - a, c - a).norm(dim=1)
        u = torch.rand(n, 3, generator=generator, dtype=torch.float64)
        rise = areas.cumsum(0)
        face = torch.searchsorted(rise, u[:, 0] * rise[-1]).clamp_max(len(areas) - 1)
        root = u[:, 1:2].sqrt()  # Osada et al. 2002, "Shape distributions", equation (1)
        return (1 - root) * a[face] + root * (1 - u[:, 2:]) * b[face] + root * u[:, 2:] * c[face]

    @property
    def parts(self) -> int:
        """Number of connected bodies, the walls of cavities among them."""
        return int(body_labels(self.faces).max()) + 1

    def large_parts(self, share: float) -> "Mesh":
        """Return the connected parts whose area is at least this share of the largest one's."""
        labels = body_labels(self.faces)
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)
        areas = np.bincount(labels, np.linalg.norm(np.cross(b - a, c - a), axis=1))
        return self._keep((areas >= share * areas.max())[labels])

    def without_cavities(self) -> "Mesh":
        """Return the mesh without the bodies that are turned inwards: the walls of holes inside the solid."""
        labels = body_labels(self.faces)
        return self._keep(np.bincount(labels, face_volumes(self.vertices, self.faces))[labels] > 0)

    def _keep(self, chosen: np.ndarray) -> "Mesh":
        """Return the chosen faces ``(F,)`` and their vertices."""
        used, index = np.unique(self.faces[chosen], return_inverse=True)
        return Mesh(self.vertices[used], index.reshape(-1, 3))

    def write(self, path: Path, colours: np.ndarray | None = None) -> None:
        """Write the mesh; the ending of the path chooses the format.

        Args:
            path: A file with the ending .ply, .obj, .stl, .off or .glb.
            colours: Red, green and blue of the vertices in [0, 1], ``(V, 3)``; STL has none.

        Raises:
            InputError: The file has another ending.
            MissingExtra: trimesh is not installed.
        """
        trimesh = require("trimesh", extra="mesh", purpose="writing a mesh")
        if path.suffix.lower() not in WRITTEN:
            raise InputError(
                f"a mesh is written as {', '.join(WRITTEN)}, got '{path.name}'", do="end the name with one of them"
            )
        shades = None if colours is None else as_bytes(colours)
        trimesh.Trimesh(self.vertices, self.faces, vertex_colors=shades, process=False).export(path)


def write_points(path: Path, points: np.ndarray, colours: np.ndarray) -> None:
    """Write a cloud of coloured points.

    Args:
        path: A file with the ending .ply, .glb or .xyz.
        points: ``(n, 3)``.
        colours: Red, green and blue in [0, 1], ``(n, 3)``.

    Raises:
        InputError: The file has another ending.
        MissingExtra: trimesh is not installed.
    """
    trimesh = require("trimesh", extra="mesh", purpose="writing a point cloud")
    if path.suffix.lower() not in CLOUDS:
        raise InputError(
            f"a point cloud is written as {', '.join(CLOUDS)}, got '{path.name}'", do="end the name with one of them"
        )
    trimesh.PointCloud(points, as_bytes(colours)).export(path)


def as_bytes(colours: np.ndarray) -> np.ndarray:
    """Return colours in [0, 1] as bytes."""
    return (255 * colours.clip(0, 1)).round().astype(np.uint8)


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read vertices and faces as they are stored."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"a mesh must end in one of {', '.join(ENDINGS)}, but '{path}' does not", do="convert it")
    if ending == ".npz":
        arrays = read_arrays(path)
        missing = [name for name in ("vertices", "faces") if name not in arrays]
        if missing:
            raise InputError(
                f"mesh '{path}' must have arrays vertices and faces, but it has {', '.join(arrays) or 'none'}",
                do="rename its arrays",
            )
        return arrays["vertices"], arrays["faces"]
    trimesh = require("trimesh", extra="mesh", purpose=f"reading a {ending[1:].upper()} file")
    options: dict[str, Any] = {"skip_materials": True} if ending == ".obj" else {}
    try:
        loaded = trimesh.load_mesh(path, process=False, **options)
        vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces)
        for name, held in (("vertex", len(vertices)), ("face", len(faces))) if ending == ".ply" else ():
            if held < _claimed(path, name):
                raise ValueError(f"it claims {_claimed(path, name)} rows of {name}, but holds {held}")
        return vertices, faces
    except Exception as error:  # parsers raise whatever they like, and guess the encoding of what is not text
        why = "its header and its size do not agree" if isinstance(error, ImportError) else reason(error)
        raise InputError(
            f"mesh '{path}' must be a whole OBJ, PLY, STL or OFF file, but it could not be read ({why})",
            do="open it in a viewer, or save it again",
        ) from error


def _claimed(path: Path, name: str) -> int:
    """Return how many rows of an element the header of a PLY file claims."""
    with path.open("rb") as file:
        head = file.read(HEADER).split(b"end_header")[0]
    found = re.search(rf"^\s*element\s+{name}\s+(\d+)".encode(), head, re.MULTILINE)
    return int(found[1]) if found else 0


def _check_arrays(vertices: np.ndarray, faces: np.ndarray, name: str) -> None:
    for array, what in ((vertices, "vertices"), (faces, "faces")):
        if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0:
            raise InputError(
                f"{what} of {name} must have shape (n, 3) with n > 0, but they have {array.shape}",
                do="check that it has faces, all of them triangles",
            )
    vertices = real_numbers(vertices, f"the vertices of {name}")
    if not np.issubdtype(faces.dtype, np.integer):
        raise InputError(
            f"faces of {name} must be whole numbers that count vertices from 0, but they have type {faces.dtype}",
            do="store them as integers",
        )
    bad = int((~np.isfinite(vertices)).any(axis=1).sum())
    if bad:
        raise InputError(
            f"vertices of {name} must be finite, but {bad} of {len(vertices)} are NaN or infinite", do="remove them"
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"faces of {name} must name vertices from 0 to {len(vertices) - 1}, but they name {faces.min()} to "
            f"{faces.max()}",
            do="count vertices from 0",
        )
