"""A shaded view of a mesh: orthographic projection and a depth buffer, in numpy.

Every triangle is tried on the square of pixels that bounds it (Pineda, "A parallel algorithm for polygon
rasterization", SIGGRAPH 1988), for all triangles of about one size at once.
"""

import math
from dataclasses import dataclass

import numpy as np

from nfsolve.meshes.mesh import Mesh

FRAGMENTS = 2**22  # pairs of triangle and pixel tried at once, for memory


@dataclass(frozen=True)
class View:
    """Where an orthographic camera stands.

    Attributes:
        azimuth: Angle around the axis ``up``, degrees.
        elevation: Angle above the plane normal to it, degrees.
        up: Axis that points upwards in the image: 1 (y, as in most scans) or 2 (z).
        reach: Half the side of what the image shows.
    """

    azimuth: float = 30.0
    elevation: float = 20.0
    up: int = 1
    reach: float = 1.1

    def axes(self) -> np.ndarray:
        """Return the directions right, up and towards the camera as rows, ``(3, 3)``."""
        a, e = math.radians(self.azimuth), math.radians(self.elevation)
        towards = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
        right = np.array([math.cos(a), 0.0, -math.sin(a)])
        rows = np.stack([right, np.cross(towards, right), towards])  # with y up
        return rows if self.up == 1 else rows[:, [2, 0, 1]]


def render(mesh: Mesh, view: View = View(), size: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Draw a mesh.

    Args:
        mesh: The mesh.
        view: The camera.
        size: Width and height of the image, pixels.

    Returns:
        Brightness in [0, 1] and depth (distance towards the camera) ``(size, size)``, row 0 on top; NaN where
        the mesh is not.
    """
    seen = mesh.vertices @ view.axes().T
    pixels = np.stack([seen[:, 0], -seen[:, 1]], 1) * size / (2 * view.reach) + (size - 1) / 2
    place, face, weights = _nearest(pixels, seen[:, 2], mesh.faces, size)
    shade, depth = np.full(size * size, np.nan), np.full(size * size, np.nan)
    corners = mesh.faces[face]
    depth[place] = (weights * seen[corners, 2]).sum(1)
    normal = np.einsum("nk,nkd->nd", weights, _normals(mesh)[corners]) @ view.axes().T
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    light = np.array([-0.45, 0.55, 0.70])
    shade[place] = 0.12 + 0.88 * (normal @ light).clip(0, 1)
    return shade.reshape(size, size), depth.reshape(size, size)


def _nearest(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest face at every pixel: flat pixel, face and barycentric weights ``(n, 3)``."""
    corners = pixels[faces]  # (F, 3, 2)
    first = np.ceil(corners.min(1)).astype(np.int64).clip(0)
    sides = np.floor(corners.max(1)).astype(np.int64).clip(max=size - 1) - first + 1
    seen = np.flatnonzero((sides > 0).all(1))
    block = 2 ** np.ceil(np.log2(sides[seen].max(1))).astype(np.int64)  # triangles of about one size go together
    parts = []
    for width in np.unique(block):
        chosen = seen[block == width]
        for piece in np.array_split(chosen, -(-len(chosen) * int(width) ** 2 // FRAGMENTS)):
            parts.append(_fragments(corners[piece], first[piece], piece, int(width), size))
    place, face, weights = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _nothing()
    near = (weights * depth[faces[face]]).sum(1)
    order = np.lexsort((near, place))
    last = np.append(np.diff(place[order]) > 0, True)[: len(order)]  # of each pixel's run, the nearest
    return place[order][last], face[order][last], weights[order][last]


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3))


def _fragments(
    corners: np.ndarray, first: np.ndarray, face: np.ndarray, width: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the pixels inside triangles, among width x width from the first: pixel, face, weights."""
    steps = np.stack(np.meshgrid(np.arange(width), np.arange(width), indexing="ij"), -1).reshape(1, -1, 2)
    pixel = first[:, None] + steps  # (F, width^2, 2)
    a, b, c = (corners[:, None, i] for i in range(3))
    area = _cross(b - a, c - a)
    flat = area == 0  # a triangle seen from its edge covers no pixel
    area = np.where(flat, 1.0, area)
    v, w = _cross(pixel - a, c - a) / area, _cross(b - a, pixel - a) / area
    hit = (v >= 0) & (w >= 0) & (v + w <= 1) & (pixel < size).all(-1) & ~flat
    rows, columns = np.nonzero(hit)
    found = pixel[rows, columns]
    weights = np.stack([1 - v[hit] - w[hit], v[hit], w[hit]], 1)
    return found[:, 1] * size + found[:, 0], face[rows], weights


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _normals(mesh: Mesh) -> np.ndarray:
    """Return area-weighted normals at the vertices, ``(V, 3)``, not normalised."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    flat = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    index = mesh.faces.reshape(-1)
    return np.stack([np.bincount(index, flat[:, d], len(mesh.vertices)) for d in range(3)], 1)
