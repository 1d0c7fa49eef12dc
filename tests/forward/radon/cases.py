"""Small odd geometries, and a Gaussian with its line integrals in closed form."""

import math

import torch

from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, VoxelGrid

ANGLES = (0.0, 0.3, math.pi / 2, 2.5, -1.0)
ODD = ParallelBeam(ANGLES, n_bins=9, spacing=0.17, centre=0.05)
ODD_FAN = FanBeam(ANGLES, n_bins=9, spacing=0.3, source_origin=3.0, source_detector_distance=5.0, centre=0.05)
ODD_CONE = ConeBeam(
    ANGLES, (6, 9), spacing=(0.35, 0.3), source_origin=3.0, source_detector_distance=5.0, centre=(-0.1, 0.05)
)
ODD_GRID = PixelGrid(rows=7, columns=5, pixel=0.21)
ODD_VOLUME = VoxelGrid((4, 7, 5), 0.21)
CASES = {"parallel": (ODD, ODD_GRID), "fan": (ODD_FAN, ODD_GRID), "cone": (ODD_CONE, ODD_VOLUME)}
CENTRE, SD = (0.2, -0.3, 0.15), 0.15


def gaussian(points):
    away = points - points.new_tensor(CENTRE[: points.shape[1]])
    return torch.exp(-0.5 * away.square().sum(-1, keepdim=True) / SD**2)


def gaussian_integrals(rays):
    """Exact integrals of `gaussian` along lines, (m, 1)."""
    feet, directions = rays
    away = feet - feet.new_tensor(CENTRE[: feet.shape[1]])
    squared = away.square().sum(-1) - (away * directions).sum(-1) ** 2
    return SD * math.sqrt(2 * math.pi) * torch.exp(-0.5 * squared[:, None] / SD**2)


def bin_averages(integrals, geometry, factor):
    """Averages over each bin of exact integrals of the rays of `geometry.refined(factor)`."""
    views, *bins = geometry.shape
    split = integrals(geometry.refined(factor).rays()).reshape(views, *(n for b in bins for n in (b, factor)))
    return split.mean(tuple(range(2, split.dim(), 2)))


def pixel_averages(field, grid, factor):
    """Averages of a field over each pixel or voxel, a column."""
    split = field(grid.refined(factor).centres()).reshape([n for s in grid.shape for n in (s, factor)])
    return split.mean(tuple(range(1, split.dim(), 2))).reshape(-1, 1)


def relative(u, reference):
    return float((u - reference).norm() / reference.norm())


def random_column(n, seed=0, dtype=torch.float64):
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=dtype)
