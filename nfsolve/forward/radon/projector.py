"""Projectors from pixels or voxels to the bins of a tomograph, with exact adjoints, as a sparse matrix or without one.

Both give the same numbers to rounding. The matrix is faster; without it the memory is that of some images.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nfsolve._core.arrays import memory
from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.radon.cone import ConeBeam
from nfsolve.forward.radon.grids import PixelGrid, VoxelGrid
from nfsolve.forward.radon.linear import LinearMap
from nfsolve.forward.radon.matrix_free import PlaneProducts
from nfsolve.forward.radon.matrix_free_volume import VolumeProducts
from nfsolve.forward.radon.parallel import ParallelBeam
from nfsolve.forward.radon.sparse import Geometry, bytes_of_matrix, matrices, mismatch

Form = Literal["auto", "sparse", "matrix-free"]
FORMS = get_args(Form)
GIB = 2**30
SHARE, MOST = 1 / 8, GIB  # of the memory of this machine, and at most, for a matrix where the form is chosen


class Projector(LinearMap):
    """Linear map from pixel or voxel values to bin averages of their line integrals, with its exact adjoint.

    Images enter as columns, (pixels, k), row by row from the top (volumes slice by slice); sinograms leave as
    columns, (views * bins, k). A detector that sees only a part of the grid is fine; outside the grid the field
    counts as zero.

    Args:
        geometry: Views and detector.
        grid: Pixels for parallel and fan beams, voxels for cone beams.
        dtype: Type of the matrix entries, of images and of data.
        device: Their device.
        form: ``"sparse"`` keeps a matrix and its transposed, ``"matrix-free"`` computes footprints in each product;
            ``"auto"`` takes the matrix if it needs at most 1 GiB and an eighth of the memory of this machine.

    Attributes:
        form: The form that was taken.
        choice: Form and expected memory, in words.

    Raises:
        InputError: The grid is of the wrong kind, reaches the source, no ray meets it, the form is unknown, or memory
            is too small.
    """

    def __init__(
        self,
        geometry: Geometry,
        grid: PixelGrid | VoxelGrid,
        dtype: torch.dtype = torch.float64,
        device: Any = "cpu",
        form: Form = "auto",
    ):
        if form not in FORMS:
            raise unknown("form of a projector", form, FORMS)
        if isinstance(geometry, ConeBeam) != isinstance(grid, VoxelGrid):
            raise mismatch(geometry, grid)
        _check_source(geometry, grid)
        self.geometry, self.grid = geometry, grid
        size = bytes_of_matrix(geometry, grid, dtype)
        self.form: Form = (
            ("sparse" if size <= min(SHARE * memory(), MOST) else "matrix-free") if form == "auto" else form
        )
        shape = math.prod(geometry.shape), math.prod(grid.shape)
        if self.form == "sparse":
            _check_size(geometry, grid, size)
            self._matrices = [matrix.to(device) for matrix in matrices(geometry, grid, dtype)]
            meets, maps = self.matrix.values().numel() > 0, (self.matrix.__matmul__, self.transposed.__matmul__)
            expected = f"by a sparse matrix of about {size / GIB:.2g} GiB"
        else:
            kind = VolumeProducts if isinstance(geometry, ConeBeam) else PlaneProducts
            products: Any = kind(geometry, grid, dtype, device)  # type: ignore[arg-type]
            meets, maps = products.meets, (products.forward, products.adjoint)
            expected = f"without a matrix, in about {products.bytes / GIB:.2g} GiB; a matrix takes {size / GIB:.2g} GiB"
        views = f"{len(geometry.angles)} views of {_times(grid.shape)} pixels"
        self.choice = f"line integrals in {views} are computed {expected}"
        if not meets:
            raise InputError(
                f"no ray of the {type(geometry).__name__} meets the grid over {grid.bounds}",
                do="check units of length, and the centres of grid and detector",
            )
        super().__init__(*maps, shape)

    @property
    def matrix(self) -> Tensor:
        """The matrix A, CSR, (views * bins, pixels)."""
        return self._matrix(0)

    @property
    def transposed(self) -> Tensor:
        """Its transposed, CSR, (pixels, views * bins)."""
        return self._matrix(1)

    def _matrix(self, index: int) -> Tensor:
        if self.form != "sparse":
            raise InputError("this projector keeps no matrix", do='give form="sparse", if there is memory for it')
        return self._matrices[index]


def _check_source(geometry: Geometry, grid: PixelGrid | VoxelGrid) -> None:
    if isinstance(geometry, ParallelBeam):
        return
    radius = math.hypot(*(max(map(abs, ends)) for ends in grid.bounds[:2]))
    if radius >= geometry.source_origin:
        raise InputError(
            f"the source must lie outside the grid in every view, but it is {geometry.source_origin:g} from the axis "
            f"and the grid reaches {radius:g}",
            do="check that both have the same unit of length, or take a smaller grid",
        )


def _check_size(geometry: Geometry, grid: PixelGrid | VoxelGrid, size: float) -> None:
    """Refuse matrices that do not fit into memory, before the machine runs out of it."""
    if size > memory():
        raise InputError(
            f"the matrix of {len(geometry.angles)} views and {_times(grid.shape)} pixels takes about "
            f"{size / GIB:.3g} GiB, and this machine has {memory() / GIB:.3g} GiB",
            do='give form="matrix-free" (--projector matrix-free), fewer views (--every), or fewer pixels (--size)',
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
