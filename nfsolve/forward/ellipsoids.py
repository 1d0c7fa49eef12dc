"""Phantoms made of ellipsoids, with values, voxel averages and line integrals in closed form.

A ray that passes an ellipsoid of value v adds v times its chord. The phantom is the head of A. C. Kak, M. Slaney,
"Principles of Computerized Tomographic Imaging", 1988, table 3.1, with the contrasts of `ellipses.SHEPP_LOGAN`, as
in M. Schabel's phantom3d.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve.forward import bodies
from nfsolve.forward.radon import ConeBeam, VoxelGrid


@dataclass(frozen=True)
class Ellipsoid:
    """One ellipsoid with an axis along z, whose value adds to those it overlaps.

    Attributes:
        value: Added inside, per unit of length.
        a: Half axis along the horizontal direction `angle`, in units of length.
        b: The other horizontal half axis.
        c: Half axis along z.
        x: Centre.
        y: Centre.
        z: Centre.
        angle: Direction of the half axis a, in degrees from the x axis.
    """

    value: float
    a: float
    b: float
    c: float
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    angle: float = 0.0

    def unit(self, points: Tensor, directions: bool = False) -> Tensor:
        """Map points, or directions, (n, 3), so that the ellipsoid becomes the unit ball at the origin."""
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        if not directions:
            points = points - points.new_tensor([self.x, self.y, self.z])
        rows = [[c / self.a, -s / self.b, 0], [s / self.a, c / self.b, 0], [0, 0, 1 / self.c]]
        return points @ points.new_tensor(rows)


SHEPP_LOGAN_3D = (
    Ellipsoid(1.0, 0.69, 0.92, 0.81),
    Ellipsoid(-0.8, 0.6624, 0.874, 0.78, 0.0, -0.0184),
    Ellipsoid(-0.2, 0.11, 0.31, 0.22, 0.22, 0.0, 0.0, -18.0),
    Ellipsoid(-0.2, 0.16, 0.41, 0.28, -0.22, 0.0, 0.0, 18.0),
    Ellipsoid(0.1, 0.21, 0.25, 0.41, 0.0, 0.35, -0.15),
    Ellipsoid(0.1, 0.046, 0.046, 0.05, 0.0, 0.1, 0.25),
    Ellipsoid(0.1, 0.046, 0.046, 0.05, 0.0, -0.1, 0.25),
    Ellipsoid(0.1, 0.046, 0.023, 0.05, -0.08, -0.605),
    Ellipsoid(0.1, 0.023, 0.023, 0.02, 0.0, -0.606),
    Ellipsoid(0.1, 0.023, 0.046, 0.02, 0.06, -0.605),
)


def ellipsoid_values(ellipsoids: Sequence[Ellipsoid], points: Tensor) -> Tensor:
    """Evaluate a phantom at points.

    Args:
        ellipsoids: The phantom.
        points: Points (n, 3).

    Returns:
        Sum of the values of the ellipsoids that hold each point, (n, 1).
    """
    return bodies.values_at(ellipsoids, points)


def ellipsoid_volume(
    ellipsoids: Sequence[Ellipsoid],
    grid: VoxelGrid,
    supersample: int = 4,
    dtype: torch.dtype = torch.float64,
    device: Any = "cpu",
) -> Tensor:
    """Average a phantom over the voxels of a grid.

    Args:
        ellipsoids: The phantom.
        grid: Voxels.
        supersample: Points per voxel and direction.
        dtype: Type of the volume.
        device: Device of the volume.

    Returns:
        Volume (nz, ny, nx).
    """
    centres = grid.centres(dtype, device)
    inside = VoxelGrid((supersample, supersample, supersample), grid.voxel / supersample).centres(dtype, device)
    return bodies.cell_averages(ellipsoids, centres, inside).reshape(grid.shape)


def ellipsoid_integrals(ellipsoids: Sequence[Ellipsoid], rays: tuple[Tensor, Tensor]) -> Tensor:
    """Integrate a phantom exactly along infinite lines.

    Args:
        ellipsoids: The phantom.
        rays: A point on each line and its unit direction, both (m, 3).

    Returns:
        Line integrals, (m, 1).
    """
    return bodies.integrals(ellipsoids, rays)


def ellipsoid_projections(
    ellipsoids: Sequence[Ellipsoid],
    geometry: ConeBeam,
    sub_rays: int = 4,
    dtype: torch.dtype = torch.float64,
    device: Any = "cpu",
) -> Tensor:
    """Average exact line integrals over each detector bin.

    Args:
        ellipsoids: The phantom.
        geometry: Views and panel.
        sub_rays: Evenly spread rays per direction, of which the squared number is averaged in each bin.
        dtype: Type of the projections.
        device: Device of the projections.

    Returns:
        Projections (views, rows, columns).
    """
    rows, columns = geometry.n_bins
    projections = []
    for view in range(len(geometry.angles)):  # one by one: the memory of all sub-rays is large
        rays = geometry.subset([view]).refined(sub_rays).rays()
        integrals = ellipsoid_integrals(ellipsoids, rays).reshape(rows, sub_rays, columns, sub_rays)
        projections.append(integrals.mean((1, 3)))
    return torch.stack(projections).to(device=device, dtype=dtype)
