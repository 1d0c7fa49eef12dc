"""Coarser levels of a cone-beam problem: merged voxels and bins, and the voxels that can hold anything."""

import math

import torch.nn.functional as F
from torch import Tensor

from nfsolve.forward.radon import Projector, VoxelGrid

EMPTY = 1e-3  # of the largest line integral: rays below it have met nothing


def coarsening(points: float) -> int:
    """Side of the blocks of voxels of a stage with this factor on the number of points."""
    return max(1, round(points ** (-1 / 3)))


def coarse_grid(grid: VoxelGrid, factor: int) -> VoxelGrid:
    """Merge blocks of factor^3 voxels; blocks at the border may reach over it."""
    nz, ny, nx = (math.ceil(n / factor) for n in grid.shape)
    return VoxelGrid((nz, ny, nx), grid.voxel * factor)


def merged(projections: Tensor, c: int) -> Tensor:
    """Average blocks of c x c bins about the middle of the panel, (views, rows, columns)."""
    top, left = ((n % c) // 2 for n in projections.shape[1:])
    return F.avg_pool2d(projections[:, None, top:, left:], c)[:, 0]


def support(projector: Projector, p: Tensor, counts: float, shape: tuple[int, int, int]) -> Tensor:
    """Give the indices of the voxels that no empty ray crosses, and of their neighbours: elsewhere f = 0, as f >= 0."""
    threshold = EMPTY * float(p.max()) + (3 / math.sqrt(counts) if counts else 0.0)  # noise of rays through air
    crossed = projector.adjoint((p < threshold).to(p)).reshape(1, 1, *shape) > 0
    return F.max_pool3d((~crossed).to(p), 3, 1, 1).reshape(-1).nonzero()[:, 0]
