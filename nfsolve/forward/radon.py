"""Parallel-beam tomography: p(t, s) = integral of f along the line x . n = s, with n = (cos t, sin t).

Angles t are radians from the x axis, image row 0 lies at the largest y. Two ways to the same numbers: rays
sampled through any field, and a sparse matrix of exact strip areas on a pixel grid.
Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, chapter 3.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

Bounds = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class PixelGrid:
    """Square pixels of an image centred at the origin.

    Attributes:
        rows: Number of rows; row 0 lies at the largest y.
        columns: Number of columns; column 0 lies at the smallest x.
        pixel: Side of a pixel, in units of length.
    """

    rows: int
    columns: int
    pixel: float

    def __post_init__(self):
        if min(self.rows, self.columns) < 1 or not 0 < self.pixel < math.inf:
            raise InputError(
                f"{self.rows} x {self.columns} pixels of side {self.pixel}", "positive numbers were expected"
            )

    def centres(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List pixel centres (x, y), row by row, (rows * columns, 2), in units of length."""
        x = (torch.arange(self.columns, dtype=dtype, device=device) - (self.columns - 1) / 2) * self.pixel
        y = ((self.rows - 1) / 2 - torch.arange(self.rows, dtype=dtype, device=device)) * self.pixel
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        return torch.stack([xx, yy], -1).reshape(-1, 2)

    def refined(self, factor: int) -> "PixelGrid":
        """Split each pixel into factor x factor smaller ones."""
        return PixelGrid(self.rows * factor, self.columns * factor, self.pixel / factor)


@dataclass(frozen=True)
class ParallelBeam:
    """Parallel rays onto a flat detector of equal bins, from many directions.

    Attributes:
        angles: Angle t of the detector axis n = (cos t, sin t) for each view, in radians.
        n_bins: Number of detector bins; their positions s rise along n.
        spacing: Width of a bin, in units of length.
        centre: Position s of the middle of the detector (the shift of the rotation axis, negated).
    """

    angles: tuple[float, ...]
    n_bins: int
    spacing: float
    centre: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "angles", tuple(float(t) for t in self.angles))
        if not self.angles or not all(map(math.isfinite, self.angles)):
            raise InputError(f"{len(self.angles)} angles", "at least one, all finite, was expected")
        largest = max(map(abs, self.angles))
        if largest > 4 * math.pi:
            raise InputError(f"an angle of {largest:g}", "radians were expected", "convert degrees by math.radians")
        if self.n_bins < 1 or not 0 < self.spacing < math.inf or not math.isfinite(self.centre):
            raise InputError(
                f"a detector of {self.n_bins} bins of width {self.spacing} at {self.centre}",
                "at least one bin, a positive width and a finite centre were expected",
            )

    @staticmethod
    def half_turn(n_views: int, n_bins: int, width: float = 2.0) -> "ParallelBeam":
        """Spread views evenly over [0, pi), on a centred detector of the given width."""
        if n_views < 1 or n_bins < 1:
            raise InputError(f"{n_views} views on {n_bins} bins", "at least one of each was expected")
        return ParallelBeam(tuple(i * math.pi / n_views for i in range(n_views)), n_bins, width / n_bins)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a sinogram, (views, bins)."""
        return len(self.angles), self.n_bins

    def offsets(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List the positions s of the bin centres, (n_bins,), in units of length."""
        bins = torch.arange(self.n_bins, dtype=dtype, device=device)
        return self.centre + (bins - (self.n_bins - 1) / 2) * self.spacing

    def refined(self, factor: int) -> "ParallelBeam":
        """Split each bin into `factor` narrower ones."""
        return replace(self, n_bins=self.n_bins * factor, spacing=self.spacing / factor)

    def rays(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """Give the foot point s n and unit direction (-sin t, cos t) of each ray, both (views * bins, 2)."""
        t = torch.tensor(self.angles, dtype=torch.float64)[:, None]
        s = self.offsets()[None, :]
        feet = torch.stack([s * t.cos(), s * t.sin()], -1)
        directions = torch.stack([-t.sin(), t.cos()], -1).expand_as(feet)
        return tuple(z.reshape(-1, 2).to(device, dtype) for z in (feet, directions))  # type: ignore[return-value]


def line_integrals(
    field: Callable[[Tensor], Tensor],
    rays: tuple[Tensor, Tensor],
    n_samples: int,
    bounds: Bounds = ((-1.0, 1.0), (-1.0, 1.0)),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Integrate a field along rays by the midpoint rule inside a box, or by one random sample per cell.

    Args:
        field: Points (n, d) -> values (n, 1).
        rays: Foot points and unit directions, both (m, d); see `ParallelBeam.rays`; rows make a mini-batch.
        n_samples: Samples per ray, spread evenly over the part of the ray inside the box.
        bounds: Bounds (low, high) per coordinate; the field counts as zero outside.
        generator: Draws one uniform sample per cell (stratified) instead of the midpoint; on the CPU.

    Returns:
        Line integrals, (m, 1); zero for rays that miss the box.

    Raises:
        InputError: The field's values are not (n, 1), or `n_samples` is below 1.
    """
    feet, directions = rays
    if n_samples < 1:
        raise InputError(f"n_samples={n_samples}", "at least one sample per ray was expected")
    low, high = feet.new_tensor(bounds).T
    safe = torch.where(directions.abs() < 1e-12, torch.full_like(directions, 1e-12), directions)
    walls = torch.stack([(low - feet) / safe, (high - feet) / safe])  # (2, m, d)
    near, far = walls.amin(0).amax(-1, keepdim=True), walls.amax(0).amin(-1, keepdim=True)
    hit = near < far
    near, length = torch.where(hit, near, 0.0), torch.where(hit, far - near, 0.0)  # (m, 1)
    m = len(feet)
    if generator is None:
        inside = feet.new_full((m, n_samples), 0.5)
    else:
        inside = torch.rand(m, n_samples, generator=generator, dtype=feet.dtype).to(feet.device)
    along = near + length * (torch.arange(n_samples, device=feet.device) + inside) / n_samples
    points = feet[:, None, :] + along[..., None] * directions[:, None, :]
    values = field(points.reshape(m * n_samples, -1))
    if values.shape != (m * n_samples, 1):
        raise InputError(f"field values of shape {tuple(values.shape)}", f"({m * n_samples}, 1) was expected")
    return values.reshape(m, n_samples).mean(-1, keepdim=True) * length


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
