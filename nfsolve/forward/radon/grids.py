"""Pixels of an image and voxels of a volume, both with sides along the axes."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

Bounds = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PixelGrid:
    """Square pixels of an image.

    Attributes:
        rows: Number of rows; row 0 lies at the largest y.
        columns: Number of columns; column 0 lies at the smallest x.
        pixel: Side of a pixel, in units of length.
        centre: Middle (x, y) of the image; the origin is the axis of rotation.
    """

    rows: int
    columns: int
    pixel: float
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        if min(self.rows, self.columns) < 1 or not 0 < self.pixel < math.inf:
            raise InputError(
                f"an image needs at least one pixel, of positive size, got {self.rows} x {self.columns} pixels of side "
                f"{self.pixel}",
                do="give positive numbers of rows and columns, and the side of a pixel in the unit of the detector",
            )
        if len(self.centre) != 2 or not all(map(math.isfinite, self.centre)):
            raise InputError(
                f"the middle of an image is given by two finite coordinates (x, y), got {self.centre}",
                do="give (0.0, 0.0) for an image about the rotation axis",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of an image, (rows, columns)."""
        return self.rows, self.columns

    @property
    def bounds(self) -> Bounds:
        """Bounds (low, high) of x and y."""
        return _bounds(self.shape[::-1], self.pixel, self.centre)

    def centres(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List pixel centres (x, y), row by row, (rows * columns, 2), in units of length."""
        x = self.centre[0] + _steps(self.columns, dtype, device) * self.pixel
        y = self.centre[1] - _steps(self.rows, dtype, device) * self.pixel
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        return torch.stack([xx, yy], -1).reshape(-1, 2)

    def refined(self, factor: int) -> "PixelGrid":
        """Split each pixel into factor x factor smaller ones."""
        return replace(self, rows=self.rows * factor, columns=self.columns * factor, pixel=self.pixel / factor)

    def coarsened(self, side: int) -> "PixelGrid":
        """Merge blocks of side^2 pixels; blocks at the border may reach over it."""
        return PixelGrid(-(-self.rows // side), -(-self.columns // side), self.pixel * side, self.centre)


@dataclass(frozen=True)
class VoxelGrid:
    """Cubic voxels of a volume centred at the origin.

    Attributes:
        shape: Number of slices, rows and columns, (nz, ny, nx); slice 0 lies at the smallest z, row 0 at the
            largest y, column 0 at the smallest x.
        voxel: Side of a voxel, in units of length.
    """

    shape: tuple[int, int, int]
    voxel: float

    def __post_init__(self):
        if len(self.shape) != 3 or min(self.shape) < 1 or not 0 < self.voxel < math.inf:
            raise InputError(
                f"a volume needs three positive numbers of voxels and a positive side, got {self.shape} voxels of side "
                f"{self.voxel}",
                do="give the shape as (slices, rows, columns)",
            )

    @property
    def bounds(self) -> Bounds:
        """Bounds (low, high) of x, y and z."""
        return _bounds(self.shape[::-1], self.voxel, (0.0, 0.0, 0.0))

    @property
    def slice(self) -> PixelGrid:
        """Pixels of one slice."""
        return PixelGrid(self.shape[1], self.shape[2], self.voxel)

    def heights(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List the heights z of the middles of the slices, (nz,), in units of length."""
        return _steps(self.shape[0], dtype, device) * self.voxel

    def centres(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List voxel centres (x, y, z), slice by slice, row by row, (nz * ny * nx, 3), in units of length."""
        z = self.heights(dtype, device).repeat_interleave(self.shape[1] * self.shape[2])
        return torch.cat([self.slice.centres(dtype, device).repeat(self.shape[0], 1), z[:, None]], -1)

    def refined(self, factor: int) -> "VoxelGrid":
        """Split each voxel into factor^3 smaller ones."""
        nz, ny, nx = self.shape
        return VoxelGrid((nz * factor, ny * factor, nx * factor), self.voxel / factor)

    def coarsened(self, side: int) -> "VoxelGrid":
        """Merge blocks of side^3 voxels; blocks at the border may reach over it."""
        nz, ny, nx = (-(-n // side) for n in self.shape)
        return VoxelGrid((nz, ny, nx), self.voxel * side)


def _steps(n: int, dtype: torch.dtype, device: Any) -> Tensor:
    return torch.arange(n, dtype=dtype, device=device) - (n - 1) / 2


def _bounds(counts: tuple[int, ...], side: float, centre: tuple[float, ...]) -> Bounds:
    return tuple((c - n * side / 2, c + n * side / 2) for n, c in zip(counts, centre, strict=True))
