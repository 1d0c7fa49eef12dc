"""A shaded view of a mesh, in matplotlib: orthographic, the farthest triangles first."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nfsolve._core.errors import require
from nfsolve.meshes.mesh import Mesh

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIGHT = np.array([-0.45, 0.55, 0.70])  # right, up and towards the camera


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


def draw_mesh(axes: "Axes", mesh: Mesh, view: View = View()) -> None:
    """Draw the triangles of a closed mesh that face the camera, shaded by their directions.

    Args:
        axes: Axes of matplotlib, which take the limits of the view.
        mesh: The mesh.
        view: The camera.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    collections = require("matplotlib.collections", extra="plot", purpose="drawing a mesh")
    corners = (mesh.vertices @ view.axes().T)[mesh.faces]  # (F, 3 corners, right up towards)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ahead = np.flatnonzero(normals[:, 2] > 0)
    ahead = ahead[np.argsort(corners[ahead, :, 2].mean(1), kind="stable")]
    directions = normals[ahead] / np.linalg.norm(normals[ahead], axis=1, keepdims=True)
    brightness = 0.12 + 0.88 * (directions @ LIGHT).clip(0, 1)
    shades = brightness[:, None].repeat(3, 1)
    # edges in the colour of their triangle close the gaps that antialiasing leaves
    looks = {"facecolors": shades, "edgecolors": shades, "linewidths": 0.3, "rasterized": True}
    axes.add_collection(collections.PolyCollection(corners[ahead, :, :2], **looks))
    axes.set(xlim=(-view.reach, view.reach), ylim=(-view.reach, view.reach), aspect="equal", xticks=[], yticks=[])
