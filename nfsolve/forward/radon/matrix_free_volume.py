"""Products of volumes with the projector of a cone beam, without a matrix; see `matrix_free`.

The shadow of a voxel is the product of that of its pixel in the slice, on the columns, and of its height on the rows.
Of each pixel, the voxels above it are spread over the rows first, and what they give over the columns.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from nfsolve.forward.radon.cone import ConeBeam
from nfsolve.forward.radon.footprints import curve_of
from nfsolve.forward.radon.grids import VoxelGrid
from nfsolve.forward.radon.matrix_free import (
    FanShadows,
    Shadows,
    Turn,
    margins,
    octants,
    pixels_at_once,
)


class VolumeProducts:
    """Products of volumes with the projector of a cone beam.

    Args:
        geometry: Views and panel.
        grid: Voxels.
        dtype: Type of volumes and data.
        device: Their device.

    Attributes:
        bytes: Expected memory of a product of one volume, beside the volume.
        meets: Whether any shadow may reach the panel.
    """

    def __init__(self, geometry: ConeBeam, grid: VoxelGrid, dtype: torch.dtype, device: Any):
        self.geometry, self.grid = geometry, grid
        self.groups = octants(geometry.fan, grid.slice, geometry.lifts)
        self.lifts = [geometry.lifts[group.members[0][0]] for group in self.groups]
        turns = dict(member for group in self.groups for member in group.members)
        self.turns = set(turns.values())
        self.backwards = torch.tensor([turns[view].reversed for view in range(len(turns))], device=device)
        self.columns = FanShadows(geometry.fan, grid.slice, [group.angle for group in self.groups], dtype, device)
        self.width = self.columns.before + geometry.n_bins[1] + self.columns.behind
        self.heights = grid.heights(dtype, device)
        (n_rows, _), (dv, du), voxel = geometry.n_bins, geometry.spacing, grid.voxel
        detector = geometry.source_detector_distance
        self.size = voxel * detector / dv  # of a voxel in rows, times its depth
        start = n_rows / 2 - geometry.centre[0] / dv
        nearest = geometry.source_origin - math.hypot(*(max(map(abs, ends)) for ends in grid.bounds[:2]))
        reach = grid.shape[0] / 2 + 1 + max(map(abs, self.lifts)) / voxel  # one beyond, for the width of a shadow
        top = self.size / nearest * reach
        self.before, self.behind = margins(start - top, start + top, n_rows)
        self.meets = self.columns.meets and start - top < n_rows and start + top > 0
        self.start, self.height = start + self.before, self.before + n_rows + self.behind
        self.factor = voxel**3 / (dv * du) * detector**2
        self.rows = max(1, pixels_at_once(device) // (grid.shape[0] * grid.shape[2]))
        numbers = 2 * math.prod(grid.shape) + 3 * len(turns) * self.width * n_rows
        of_block = self.rows * grid.shape[2] * (24 * self.height + len(self.turns) * grid.shape[0])
        self.bytes = (numbers + of_block) * torch.finfo(dtype).bits // 8

    def forward(self, x: Tensor) -> Tensor:
        """Apply A to volumes (voxels, k), giving data (views * rows * columns, k)."""
        volumes = x.T.reshape(-1, *self.grid.shape)
        data = x.new_zeros(len(volumes), len(self.geometry.angles), self.width, self.geometry.n_bins[0])
        seen = slice(self.before, self.before + self.geometry.n_bins[0])
        for block in range(self.blocks):
            # of each turned volume only the rows of the block are copied, for memory
            turned = {turn: _columns(turn.of(_slab(volumes, turn, self._rows(block)))) for turn in self.turns}
            for group in range(len(self.groups)):
                column, across, row, up = self._shares(group, block)
                for view, turn in self.groups[group].members:
                    for index, voxels in enumerate(turned[turn]):
                        rows = x.new_zeros(len(column), self.height)
                        for k, share in enumerate(up):
                            rows.view(-1)[k:].scatter_add_(0, row, share * voxels.view(-1))
                        for k, share in enumerate(across):
                            data[index, view].index_add_(0, column + k, rows[:, seen] * share)
        before, n_columns = self.columns.before, self.geometry.n_bins[1]
        seen_data = self._reversed(data[:, :, before : before + n_columns]).mT
        return self.factor * seen_data.reshape(len(volumes), -1).T

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^T to data (views * rows * columns, k), giving volumes (voxels, k)."""
        data = self._reversed(y.T.reshape(-1, *self.geometry.shape).mT)
        data = pad(data, (0, 0, self.columns.before, self.columns.behind)).contiguous()
        nz, ny, nx = self.grid.shape
        found = data.new_zeros(len(data), nz, ny, nx)
        for block in range(self.blocks):
            n_rows = len(range(ny)[self._rows(block)])
            sums = {turn: data.new_zeros(len(data), n_rows, nx * nz) for turn in self.turns}
            for group in range(len(self.groups)):
                column, across, row, up = self._shares(group, block)
                rows = data.new_zeros(len(column), self.height)
                seen = rows[:, self.before : self.before + self.geometry.n_bins[0]]
                for view, turn in self.groups[group].members:
                    for index, voxels in enumerate(sums[turn]):
                        seen.zero_()
                        for k, share in enumerate(across):
                            seen.addcmul_(data[index, view].index_select(0, column + k), share)
                        for k, share in enumerate(up):
                            voxels.view(-1).addcmul_(rows.view(-1)[k:].index_select(0, row), share)
            for turn, voxels in sums.items():
                part = voxels.reshape(len(data), n_rows, nx, nz).movedim(-1, 1)
                _slab(found, turn, self._rows(block)).add_(turn.back(part))
        return found.reshape(len(data), -1).T.mul_(self.factor)

    def _shares(self, group: int, block: int) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
        """Spread the voxels of a block, above p pixels, over columns and rows.

        Returns:
            First column of each pixel (p,), its shares in this and the next columns, (p, 1) each; first row of each
            voxel, counted through those of all pixels (p * nz,), and its shares in this and the next rows, likewise.
        """
        rows = self._rows(block)
        flat = self.columns.block(group, rows)
        nearness = self.columns.nearness(group, rows).reshape(-1, 1)
        column, across = replace(flat, area=None).shares()
        assert flat.area is not None
        heights = self.heights - self.lifts[group]
        size, slope = self.size * nearness, heights.abs() * nearness
        way = flat.area.reshape(-1, 1) / (self.columns.scale * nearness)  # per unit of depth, in the plane
        half, plateau = (1 + slope).mul_(size / 2), (1 - slope).abs_().mul_(size / 2)
        left = (heights / self.grid.voxel * size).add_(self.start).sub_(half)
        area = (way.square() + slope.square()).sqrt_().mul_(nearness.square())
        row, up = Shadows(left, half, plateau, curve_of(slope.clamp_(max=1).mul_(size)), area).shares()
        before = torch.arange(0, len(column) * self.height, self.height, device=row.device)
        row = (row.reshape(len(column), -1) + before[:, None]).reshape(-1)
        return column, [share[:, None] for share in across], row, up

    def _reversed(self, data: Tensor) -> Tensor:
        """Reverse the columns of the views (k, views, columns, rows) that are seen so."""
        return torch.where(self.backwards[:, None, None], data.flip(-2), data) if self.backwards.any() else data

    def _rows(self, block: int) -> slice:
        return slice(block * self.rows, (block + 1) * self.rows)

    @property
    def blocks(self) -> int:
        """Number of blocks of rows, of which the shares are computed at once."""
        return -(-self.grid.shape[1] // self.rows)


def _slab(volumes: Tensor, turn: Turn, rows: slice) -> Tensor:
    """Return a view of that part of volumes (k, nz, ny, nx) which, turned, has these rows."""
    n = volumes.shape[-2]
    first, last, _ = rows.indices(n)
    if turn.quarters in (2, 3):
        first, last = n - last, n - first
    if turn.quarters in (0, 2):
        return volumes[..., first:last, :]
    if turn.flipped:  # before it is turned
        first, last = n - last, n - first
    return volumes[..., first:last]


def _columns(volumes: Tensor) -> Tensor:
    """Put the voxels above each pixel together: (k, nz, ny, nx) -> (k, ny, nx * nz)."""
    return volumes.movedim(1, -1).flatten(2).contiguous()
