"""What a cone beam scans: ellipsoids, or the samples of a volume with linear interpolation between them.

Projections and truth come from the object itself, never from the grid of the reconstruction: no inverse crime.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve import InputError
from nfsolve.data.slices import read_volume
from nfsolve.forward.phantoms import SHEPP_LOGAN_3D, phantom_image, phantom_projections
from nfsolve.forward.radon import ConeBeam, VoxelGrid, line_integrals
from nfsolve.problem import in_pieces

SUB_RAYS = 2  # per direction in each bin
RAYS = 2**12  # integrated at once, for memory


class Body(Protocol):
    """Something to scan.

    Attributes:
        grid: Voxels of the reconstruction; lengths are in units of half its longest side.
        unit: That half side in mm, or 1 where it is not known.
    """

    @property
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""
        ...

    @property
    def unit(self) -> float:
        """Half the longest side, in mm."""
        ...

    def project(self, geometry: ConeBeam) -> Tensor:
        """Average line integrals over each bin, (views, rows, columns)."""
        ...

    def truth(self) -> Tensor:
        """Average the attenuation over each voxel, (nz, ny, nx)."""
        ...


@dataclass(frozen=True)
class Phantom:
    """The Shepp-Logan head of ellipsoids in [-1, 1]^3."""

    size: int
    unit: float = 1.0

    @property
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""
        return VoxelGrid((self.size, self.size, self.size), 2 / self.size)

    def project(self, geometry: ConeBeam) -> Tensor:
        """Average exact chords over each bin."""
        return phantom_projections(SHEPP_LOGAN_3D, geometry)

    def truth(self) -> Tensor:
        """Average the attenuation over 4^3 points of each voxel."""
        return phantom_image(SHEPP_LOGAN_3D, self.grid)


@dataclass(frozen=True)
class Sampled:
    """A volume given by samples at the centres of fine voxels.

    Attributes:
        values: Attenuation per half of the longest side, (1, 1, nz, ny, nx), float32.
        fine: Its voxels.
        factor: Fine voxels along each side of a voxel of the reconstruction.
        unit: Half the longest side in mm, or 1 where it is not known.
    """

    values: Tensor
    fine: VoxelGrid
    factor: int
    unit: float

    @classmethod
    def read(cls, path: str, size: int) -> "Sampled":
        """Read a volume, to be reconstructed with ``size`` voxels along its longest side.

        Args:
            path: What `read_volume` reads.
            size: A divisor of the number of its voxels along each side, after division by the same factor.

        Returns:
            The volume; values per mm are turned into values per half side.

        Raises:
            InputError: The reconstruction would not be on a coarser grid, or blocks of voxels do not fit.
        """
        volume = read_volume(path)
        longest = max(volume.values.shape)
        factor = longest // size
        if factor < 2 or any(n % factor for n in volume.values.shape) or longest % size:
            raise InputError(
                f"size must be a half, a third ... of the longest side of '{volume.name}', and divide its "
                f"{' x '.join(map(str, volume.values.shape))} voxels into whole ones, got {size}",
                do="take a smaller size: data and reconstruction on one grid would be an inverse crime",
            )
        if volume.values.min() < 0 or not 0 < volume.values.max() < math.inf:
            raise InputError(
                f"attenuations are not negative, and some are positive, but those of '{volume.name}' go from "
                f"{volume.values.min():g} to {volume.values.max():g}",
                do="turn Hounsfield units into attenuations: mu = mu_water (1 + HU / 1000)",
            )
        half = longest * volume.voxel / 2 if volume.unit == "mm" else 1.0
        values = torch.as_tensor(volume.values * half, dtype=torch.float32)[None, None]
        nz, ny, nx = volume.values.shape
        return cls(values, VoxelGrid((nz, ny, nx), 2 / longest), factor, half)

    @property
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""
        nz, ny, nx = (n // self.factor for n in self.fine.shape)
        return VoxelGrid((nz, ny, nx), self.fine.voxel * self.factor)

    def at(self, points: Tensor) -> Tensor:
        """Interpolate linearly at points (n, 3), zero outside, (n, 1)."""
        ends = points.new_tensor([high for _, high in self.fine.bounds])
        flipped = points.new_tensor([1.0, -1.0, 1.0])  # row 0 lies at the largest y
        places = (points / ends * flipped)[None, None, None]
        return F.grid_sample(self.values, places, align_corners=False).reshape(-1, 1)

    def project(self, geometry: ConeBeam) -> Tensor:
        """Average line integrals over sub-rays of each bin, by two samples for each fine voxel."""
        (rows, columns), samples = geometry.n_bins, 2 * max(self.fine.shape)
        views = []
        for view in range(len(geometry.angles)):
            feet, directions = geometry.subset([view]).refined(SUB_RAYS).rays(torch.float32)
            pieces = zip(feet.split(RAYS), directions.split(RAYS), strict=True)
            integrals = torch.cat([line_integrals(self.at, rays, samples, self.fine.bounds) for rays in pieces])
            views.append(integrals.reshape(rows, SUB_RAYS, columns, SUB_RAYS).mean((1, 3)))
        return torch.stack(views).double()

    def truth(self) -> Tensor:
        """Average the interpolated attenuation over each voxel, by two points for each fine voxel and direction."""
        side = 2 * self.factor
        nz, ny, nx = self.grid.shape
        values = in_pieces(self.at, self.fine.refined(2).centres(torch.float32))
        return F.avg_pool3d(values.reshape(1, 1, nz * side, ny * side, nx * side), side)[0, 0].double()
