"""Phantoms made of ellipses or ellipsoids, with values, cell averages and line integrals in closed form.

A shape is mapped to the unit ball at the origin; a line o + l d has the chord 2 sqrt(|d|^2 - |o x d|^2) / |d|^2 in it,
and adds the shape's value times that chord. The heads are the modified Shepp-Logan phantom: L. A. Shepp, B. F. Logan,
IEEE Trans. Nuclear Science 21(3), 1974, with the contrasts of P. Toft's thesis; and, in space, A. C. Kak, M. Slaney,
"Principles of Computerized Tomographic Imaging", 1988, table 3.1, with the same contrasts, as in M. Schabel's
phantom3d.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve.forward.radon import ConeBeam, Geometry, PixelGrid, VoxelGrid

PER_CELL = 64  # points averaged in each pixel or voxel: 8 x 8, or 4 x 4 x 4
PER_BIN = 16  # rays averaged in each bin: 16 in a row, or 4 x 4


@dataclass(frozen=True)
class Ellipse:
    """One ellipse, whose value adds to those it overlaps.

    Attributes:
        value: Added inside, per unit of length.
        a: Half axis along the direction `angle`, in units of length.
        b: The other half axis.
        x: Centre.
        y: Centre.
        angle: Direction of the half axis a, in degrees from the x axis (as in the published tables).
    """

    value: float
    a: float
    b: float
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0

    def to_unit(self, points: Tensor, directions: bool = False) -> Tensor:
        """Map points, or directions, (n, 2), so that the ellipse becomes the unit circle at the origin."""
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        if not directions:
            points = points - points.new_tensor([self.x, self.y])
        return points @ points.new_tensor([[c / self.a, -s / self.b], [s / self.a, c / self.b]])


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

    def to_unit(self, points: Tensor, directions: bool = False) -> Tensor:
        """Map points, or directions, (n, 3), so that the ellipsoid becomes the unit ball at the origin."""
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        if not directions:
            points = points - points.new_tensor([self.x, self.y, self.z])
        rows = [[c / self.a, -s / self.b, 0], [s / self.a, c / self.b, 0], [0, 0, 1 / self.c]]
        return points @ points.new_tensor(rows)


Phantom = Sequence[Ellipse] | Sequence[Ellipsoid]

SHEPP_LOGAN = (
    Ellipse(1.0, 0.69, 0.92),
    Ellipse(-0.8, 0.6624, 0.874, 0.0, -0.0184),
    Ellipse(-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    Ellipse(-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    Ellipse(0.1, 0.21, 0.25, 0.0, 0.35),
    Ellipse(0.1, 0.046, 0.046, 0.0, 0.1),
    Ellipse(0.1, 0.046, 0.046, 0.0, -0.1),
    Ellipse(0.1, 0.046, 0.023, -0.08, -0.605),
    Ellipse(0.1, 0.023, 0.023, 0.0, -0.606),
    Ellipse(0.1, 0.023, 0.046, 0.06, -0.605),
)

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


def phantom_values(phantom: Phantom, points: Tensor) -> Tensor:
    """Sum the values of the shapes that hold each point.

    Args:
        phantom: Ellipses or ellipsoids.
        points: Points (n, d), with d = 2 or 3.

    Returns:
        Values (n, 1), per unit of length.
    """
    total = points.new_zeros(len(points), 1)
    for shape in phantom:
        total = total + shape.value * (_squared(shape.to_unit(points)) <= 1).to(points)
    return total


def phantom_image(
    phantom: Phantom, grid: PixelGrid | VoxelGrid, per_cell: int = PER_CELL, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Average a phantom over the pixels or voxels of a grid.

    Args:
        phantom: Ellipses for pixels, ellipsoids for voxels.
        grid: Pixels or voxels.
        per_cell: About so many points, evenly spread over each cell, are averaged.
        dtype: Type of the image.

    Returns:
        Image (rows, columns), or volume (nz, ny, nx).
    """
    side = round(per_cell ** (1 / len(grid.shape)))
    if isinstance(grid, PixelGrid):
        offsets = PixelGrid(side, side, grid.pixel / side).centres(dtype)
    else:
        offsets = VoxelGrid((side, side, side), grid.voxel / side).centres(dtype)
    centres = grid.centres(dtype)
    total = torch.zeros_like(centres[:, :1])
    for offset in offsets:
        total += phantom_values(phantom, centres + offset)
    return (total / len(offsets)).reshape(grid.shape)


def phantom_integrals(phantom: Phantom, rays: tuple[Tensor, Tensor]) -> Tensor:
    """Integrate a phantom exactly along infinite lines.

    Args:
        phantom: Ellipses or ellipsoids.
        rays: A point on each line and its unit direction, both (m, d).

    Returns:
        Line integrals, (m, 1).
    """
    feet, directions = rays
    total = feet.new_zeros(len(feet), 1)
    for shape in phantom:
        o, d = shape.to_unit(feet), shape.to_unit(directions, directions=True)
        squared = _squared(d)
        total = total + shape.value * 2 * (squared - _squared(_cross(o, d))).clamp(min=0).sqrt() / squared
    return total


def phantom_projections(
    phantom: Phantom, geometry: Geometry, per_bin: int = PER_BIN, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Average exact line integrals over each detector bin.

    Args:
        phantom: Ellipses for parallel and fan beams, ellipsoids for cone beams.
        geometry: Views and detector.
        per_bin: About so many rays, evenly spread over each bin, are averaged; 1 gives line integrals at its centre.
        dtype: Type of the projections.

    Returns:
        Sinogram (views, bins), or projections (views, rows, columns).
    """
    bins = geometry.n_bins if isinstance(geometry, ConeBeam) else (geometry.n_bins,)
    side = round(per_bin ** (1 / len(bins)))
    split = [n for size in bins for n in (size, side)]
    views = []
    for view in range(len(geometry.angles)):  # one by one: the memory of all sub-rays is large
        integrals = phantom_integrals(phantom, geometry.subset([view]).refined(side).rays())
        views.append(integrals.reshape(split).mean(tuple(range(1, len(split), 2))))
    return torch.stack(views).to(dtype)


def _cross(o: Tensor, d: Tensor) -> Tensor:
    """Return the distance of the lines from the origin, times |d|: one number in a plane, a vector in space."""
    return o[:, :1] * d[:, 1:] - o[:, 1:] * d[:, :1] if o.shape[1] == 2 else torch.linalg.cross(o, d)


def _squared(vectors: Tensor) -> Tensor:
    first, *others = vectors.split(1, dim=1)  # a third of the time of a sum over a few columns
    return sum((column**2 for column in others), first**2)
