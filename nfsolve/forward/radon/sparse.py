"""Sparse matrices from pixels or voxels to the bins of a tomograph.

Entry (ray, pixel) is the average over the ray's bin of the lengths of rays inside the pixel: the area of the shadow
of the pixel in the bin. Source: see `footprints`.
"""

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.radon.cone import ConeBeam
from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.footprints import shares
from nfsolve.forward.radon.grids import PixelGrid, VoxelGrid
from nfsolve.forward.radon.parallel import ParallelBeam

Geometry = ParallelBeam | FanBeam | ConeBeam
Entries = tuple[Tensor, Tensor, Tensor]  # bin of one view, pixel, weight; sorted by pixel


def bytes_of_matrix(geometry: Geometry, grid: PixelGrid | VoxelGrid, dtype: torch.dtype) -> float:
    """Estimate the bytes of a matrix and its transposed."""
    side = grid.pixel if isinstance(grid, PixelGrid) else grid.voxel
    spacings = geometry.spacing if isinstance(geometry, ConeBeam) else (geometry.spacing,)
    taps = math.prod(1 + 4 / math.pi * side * geometry.magnification / width for width in spacings)  # of a pixel
    entries = len(geometry.angles) * math.prod(grid.shape) * taps
    return 2 * entries * (torch.finfo(dtype).bits // 8 + 4)  # with an index of each entry


def matrices(geometry: Geometry, grid: PixelGrid | VoxelGrid, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the matrix (views * bins, pixels), CSR, and its transposed.

    Args:
        geometry: Views and detector.
        grid: Pixels for parallel and fan beams, voxels for cone beams.
        dtype: Type of the entries.
    """
    from scipy import sparse  # slow to import

    bins, pixels = math.prod(geometry.shape[1:]), math.prod(grid.shape)
    real = torch.empty(0, dtype=dtype).numpy().dtype
    columns, values, ends = np.empty(0, np.int32), np.empty(0, real), [np.zeros(1, np.int64)]
    for view in range(len(geometry.angles)):
        ray, pixel, weight = _entries(geometry, grid, view)
        entries = weight.to(dtype).numpy(), (ray.int().numpy(), pixel.int().numpy())
        part = sparse.coo_array(entries, shape=(bins, pixels)).tocsr()  # linear in time, unlike a sort
        for whole, piece in ((columns, part.indices), (values, part.data)):
            whole.resize(whole.size + piece.size, refcheck=False)  # in place: a list of parts takes twice the memory
            whole[whole.size - piece.size :] = piece
        ends.append(ends[-1][-1] + part.indptr[1:])
    shape = (math.prod(geometry.shape), pixels)
    rows = np.concatenate(ends).astype(np.int32 if len(values) < 2**31 else np.int64)  # products are bound by traffic
    matrix = sparse.csr_array((values, columns, rows), shape=shape)
    return _csr(matrix), _csr(matrix.T.tocsr())


def _entries(geometry: Geometry, grid: PixelGrid | VoxelGrid, view: int) -> Entries:
    if isinstance(geometry, ConeBeam) and isinstance(grid, VoxelGrid):
        return _voxel_entries(geometry, grid, view)
    if not isinstance(geometry, ConeBeam) and isinstance(grid, PixelGrid):
        return _pixel_entries(geometry, grid, view)
    raise mismatch(geometry, grid)


def mismatch(geometry: Geometry, grid: PixelGrid | VoxelGrid) -> InputError:
    """Return the error that a grid does not fit a beam."""
    return InputError(
        f"parallel and fan beams project a PixelGrid, and cone beams a VoxelGrid, got a {type(geometry).__name__} with "
        f"a {type(grid).__name__}",
        do="take the grid that fits the beam",
    )


def _pixel_entries(geometry: ParallelBeam | FanBeam, grid: PixelGrid, view: int) -> Entries:
    position, magnification, way = geometry.project(grid.centres(), view)
    bins, fractions = shares(position, _sides(grid.pixel * magnification, way), _axis(geometry))
    weight = fractions * (grid.pixel**2 / geometry.spacing * magnification * way.norm(dim=-1))[:, None]
    return _kept(bins, weight, grid.pixel)


def _voxel_entries(geometry: ConeBeam, grid: VoxelGrid, view: int) -> Entries:
    (nz, ny, nx), voxel, (dv, du) = grid.shape, grid.voxel, geometry.spacing
    position, magnification, way = geometry.fan.project(grid.slice.centres(), view)
    columns, across = shares(position, _sides(voxel * magnification, way), _axis(geometry.fan))
    raised = (grid.heights()[:, None] - geometry.lifts[view]) * magnification  # on the panel, (nz, ny * nx)
    rise = raised / geometry.source_detector_distance  # height per unit of depth
    height = voxel * magnification.expand_as(rise)
    vertical = (geometry.n_bins[0], dv, geometry.centre[0])
    rows, up = shares(raised.reshape(-1), (height.reshape(-1), (height * rise.abs()).reshape(-1)), vertical)
    length = (way.square().sum(-1) + rise**2).sqrt()
    scale = (voxel**3 / (dv * du) * magnification**2 * length).reshape(-1, 1)
    rows, up = (z.reshape(nz, ny * nx, -1, 1) for z in (rows, up * scale))
    bins = rows * geometry.n_bins[1] + columns[:, None]
    weight = up * across[:, None]
    return _kept(bins.reshape(nz * ny * nx, -1), weight.reshape(nz * ny * nx, -1), voxel)


def _axis(geometry: ParallelBeam | FanBeam) -> tuple[int, float, float]:
    return geometry.n_bins, geometry.spacing, geometry.centre


def _sides(pixel: Tensor, way: Tensor) -> tuple[Tensor, Tensor]:
    return pixel * way[:, 0].abs(), pixel * way[:, 1].abs()


def _kept(bins: Tensor, weight: Tensor, pixel: float) -> Entries:
    index, tap = torch.nonzero(weight > 1e-13 * pixel, as_tuple=True)
    return bins[index, tap], index, weight[index, tap]


def _csr(matrix: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        ends, columns = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
        return torch.sparse_csr_tensor(
            ends, columns, torch.from_numpy(matrix.data), matrix.shape, check_invariants=False
        )
