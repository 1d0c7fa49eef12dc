"""What a field of density holds as geometry: its surface, cleaned, and the points that views of it see."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve import InputError
from nfsolve.data.photos import Photographs
from nfsolve.meshes import Mesh, level_set, write_points
from nfsolve.plot import panels
from nfsolve.problem import FieldFunction
from problems.nerf._renderer import Renderer

SOLID = 0.5  # opacity above which a ray ends in a point


@dataclass(frozen=True)
class ColouredMesh:
    """A surface with the colours of its vertices ``(V, 3)``, or without."""

    mesh: Mesh
    colours: np.ndarray | None

    def write(self, path: str | Path) -> Path:
        """Write it as .ply, .glb, .obj, .off or .stl (which has no colours)."""
        self.mesh.write(Path(path), self.colours)
        return Path(path)


@dataclass(frozen=True)
class PointCloud:
    """Points ``(n, 3)`` of a surface with their colours ``(n, 3)``."""

    points: np.ndarray
    colours: np.ndarray

    def write(self, path: str | Path) -> Path:
        """Write it as .ply, .glb or .xyz."""
        write_points(Path(path), self.points, self.colours)
        return Path(path)


def surface(density: FieldFunction, bounds: Any, n: int, level: float, like: Tensor) -> Mesh:
    """Extract the surface of one density from n^3 points of a box.

    Args:
        density: Points ``(m, 3)`` -> density ``(m, 1)``.
        bounds: ``(low, high)`` of each coordinate.
        n: Points along each side.
        level: The density.
        like: A tensor of the type and on the device that ``density`` takes.

    Returns:
        The surface, in the coordinates of the box.
    """
    low, high = np.array(bounds).T

    def values(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return panels.array(density(torch.from_numpy(low + (points + 1) / 2 * (high - low)).to(like))).reshape(-1)

    mesh = level_set(values, n, level)
    return Mesh(low + (mesh.vertices + 1) / 2 * (high - low), mesh.faces)


def cleaned(mesh: Mesh, share: float, cavities: bool = False) -> Mesh:
    """Leave out floaters, and the walls of holes that nobody sees.

    Args:
        mesh: A closed surface, turned outwards.
        share: Area of a part, in parts of the largest, below which it is left out.
        cavities: Whether to keep what is turned inwards.

    Returns:
        The rest.
    """
    solid = mesh if cavities else mesh.without_cavities()
    return solid.large_parts(share)


def point_cloud(renderer: Renderer, photographs: Photographs, n: int) -> PointCloud:
    """Collect the points in which rays of all views end, with the colours that they see.

    Args:
        renderer: The scene.
        photographs: Views of it.
        n: Points, about; rays that meet nothing give none.

    Returns:
        The points, in the coordinates of the poses.

    Raises:
        InputError: No ray meets anything, or the scene is in normalised device coordinates.
    """
    if photographs.ndc is not None:
        raise InputError("a point cloud needs a scene in world coordinates, not NDC", do="train with ndc=False")
    total = int(photographs.cameras.sizes.prod(-1).sum())
    stride = max(1, total // n) | 1  # odd, so that it is no multiple of a width
    index = torch.arange(0, total, stride, device=photographs.cameras.sizes.device)
    rays = photographs.rays(*photographs.cameras.locate(index))
    seen = renderer.render_rays(rays)
    solid = seen.opacity[:, 0] > SOLID
    if not bool(solid.any()):
        raise InputError("a point cloud needs a scene with density, but all rays pass", do="train the field longer")
    points = (rays.origins + seen.depth * rays.directions)[solid]
    return PointCloud(panels.array(points).astype(np.float64), panels.array(seen.rgb[solid]).astype(np.float64))
