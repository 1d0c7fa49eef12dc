"""Parallel-beam tomography: p(t, s) = integral of f along the line x . n = s, with n = (cos t, sin t).

Angles t are radians from the x axis, image row 0 lies at the largest y. Two ways to the same numbers: rays
sampled through any field, and a sparse matrix of exact strip areas on a pixel grid.
Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, chapter 3.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.radon.grids import PixelGrid
from nfsolve.forward.radon.parallel import ParallelBeam


class _Product(torch.autograd.Function):
    """A x or A^T x; torch's own backward of a sparse product is 20 times slower and refuses torch.func."""

    @staticmethod
    def forward(x: Tensor, projector: "Projector", transpose: bool) -> Tensor:
        return (projector.transposed if transpose else projector.matrix) @ x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, ctx.projector, ctx.transpose = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(grads[0], ctx.projector, not ctx.transpose), None, None  # type: ignore[return-value]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _Product.apply(tangents[0], ctx.projector, ctx.transpose)  # type: ignore[return-value]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> tuple[Tensor, int]:
        x, projector, transpose = args
        x = x.movedim(in_dims[0], -1)  # (n, k, batch)
        y: Any = _Product.apply(x.reshape(len(x), -1), projector, transpose)
        return y.reshape(-1, *x.shape[1:]), x.dim() - 1


class Projector:
    """Sparse matrix from pixel values to bin averages of their line integrals, with its exact adjoint.

    Entry (ray, pixel) is the area of the pixel inside the strip of the ray's bin, divided by the bin's width.

    Args:
        geometry: Views and detector.
        grid: Pixels.
        dtype: Type of the matrix entries.
        device: Device of the matrix.

    Attributes:
        matrix: A, CSR, (views * bins, pixels).
        transposed: A^T, CSR, (pixels, views * bins).
    """

    def __init__(
        self, geometry: ParallelBeam, grid: PixelGrid, dtype: torch.dtype = torch.float64, device: Any = "cpu"
    ):
        self.geometry, self.grid = geometry, grid
        parts = [_strip_weights(geometry, grid, view) for view in range(len(geometry.angles))]
        ray, pixel, weight = (torch.cat(z) for z in zip(*parts, strict=True))
        shape = (math.prod(geometry.shape), grid.rows * grid.columns)
        self.matrix = _csr(ray, pixel, weight, shape).to(device=device, dtype=dtype)
        self.transposed = _csr(pixel, ray, weight, shape[::-1]).to(device=device, dtype=dtype)

    def __call__(self, image: Tensor) -> Tensor:
        """Project pixel values (pixels, k), row by row from the top, to (views * bins, k)."""
        return self._apply(image, transpose=False)

    def adjoint(self, sinogram: Tensor) -> Tensor:
        """Apply A^T to (views * bins, k), giving (pixels, k)."""
        return self._apply(sinogram, transpose=True)

    def _apply(self, x: Tensor, transpose: bool) -> Tensor:
        n = self.matrix.shape[0 if transpose else 1]
        if x.dim() != 2 or len(x) != n:
            raise InputError(f"values of shape {tuple(x.shape)}", f"({n}, k) was expected", "reshape them to a column")
        return _Product.apply(x, self, transpose)  # type: ignore[return-value]


def _strip_weights(geometry: ParallelBeam, grid: PixelGrid, view: int) -> tuple[Tensor, Tensor, Tensor]:
    t = geometry.angles[view]
    footprint = sorted((grid.pixel * abs(math.cos(t)), grid.pixel * abs(math.sin(t))))
    c, s = math.cos(t), math.sin(t)
    position = grid.centres() @ torch.tensor([c, s], dtype=torch.float64)  # of pixel centres on the detector axis
    left = geometry.centre - geometry.n_bins * geometry.spacing / 2
    half = sum(footprint) / 2
    first = torch.floor((position - half - left) / geometry.spacing).long()
    taps = math.ceil(2 * half / geometry.spacing) + 1
    bins = first[:, None] + torch.arange(taps)
    edges = left + (first[:, None] + torch.arange(taps + 1)) * geometry.spacing - position[:, None]
    weight = _area_below(edges, *footprint).diff(dim=1) * grid.pixel**2 / geometry.spacing
    keep = (bins >= 0) & (bins < geometry.n_bins) & (weight > 1e-9 * grid.pixel)
    pixel = torch.arange(len(position))[:, None].expand_as(bins)
    return view * geometry.n_bins + bins[keep], pixel[keep], weight[keep]


def _area_below(u: Tensor, narrow: float, wide: float) -> Tensor:
    """Fraction of a pixel whose offset along the detector lies below u: the integral of a trapezium."""
    narrow = max(narrow, 1e-7 * wide)  # a ramp this steep is a box to 1e-7, and 0 / 0 is avoided

    def ramp_integral(z: Tensor) -> Tensor:
        return torch.where(z < 1, 0.5 * z.clamp(min=0) ** 2, z - 0.5)

    above, below = ((u + sign * narrow / 2) / wide + 0.5 for sign in (1, -1))
    return (ramp_integral(above) - ramp_integral(below)) * wide / narrow


def _csr(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    order = torch.argsort(row * shape[1] + column)
    ends = torch.zeros(shape[0] + 1, dtype=torch.int64)
    ends[1:] = torch.bincount(row, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # 32-bit indices: the product is bound by memory traffic, and takes 0.6 of the time.
        return torch.sparse_csr_tensor(ends.int(), column[order].int(), value[order], shape, check_invariants=False)
