"""Filtered back-projection of a parallel-beam sinogram, the classical reconstruction to compare with.

f(x) = pi / views * sum over views of q_t(x . n), where q_t is the sinogram's row t convolved with the ramp.
Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, section 3.3.
"""

import math

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.radon import ParallelBeam, PixelGrid

WINDOWS = ("ram-lak", "hann")


def filtered_back_projection(
    sinogram: Tensor, geometry: ParallelBeam, grid: PixelGrid, window: str = "ram-lak"
) -> Tensor:
    """Reconstruct an image from views spread evenly over a half turn or full turns.

    Args:
        sinogram: Line integrals (views, bins).
        geometry: Views and detector.
        grid: Pixels of the image.
        window: ``"ram-lak"`` (the bare ramp), or ``"hann"`` (less noise and streaks, less sharp).

    Returns:
        Image (rows, columns), per unit of length.

    Raises:
        InputError: The sinogram does not fit the geometry, holds values that are not finite, or the window
            is unknown.
    """
    if sinogram.shape != geometry.shape:
        raise InputError(
            f"a sinogram of shape {tuple(sinogram.shape)}",
            f"{geometry.shape} = (views, bins) was expected from its geometry",
            "transpose it or correct the angles and bins",
        )
    if not torch.isfinite(sinogram).all():
        raise InputError("a sinogram with values that are not finite", "finite line integrals", "mask these bins")
    filtered = ramp_filter(sinogram, geometry.spacing, window)
    points = grid.centres(sinogram.dtype, sinogram.device)
    axes = torch.tensor([(math.cos(t), math.sin(t)) for t in geometry.angles]).to(points)
    first = geometry.centre - (geometry.n_bins - 1) / 2 * geometry.spacing
    image = torch.zeros_like(points[:, 0])
    for row, axis in zip(filtered, axes, strict=True):
        image += _interpolate(row, (points @ axis - first) / geometry.spacing)
    return (math.pi / len(axes) * image).reshape(grid.rows, grid.columns)


def ramp_filter(sinogram: Tensor, spacing: float, window: str = "ram-lak", power: float = 1.0) -> Tensor:
    """Convolve each view with the ramp filter abs(frequency), or a power of it.

    With power 1/2 the squared norm of the result, times spacing * pi / views, is that of the image (Parseval
    and the projection-slice theorem): a misfit filtered so is that of the image, at all frequencies alike.

    Args:
        sinogram: Line integrals (views, bins).
        spacing: Width of a bin, in units of length.
        window: Factor on the ramp, ``"ram-lak"`` (one) or ``"hann"``.
        power: Exponent on ramp times window.

    Returns:
        Filtered sinogram (views, bins).

    Raises:
        InputError: The window is unknown.
    """
    if window not in WINDOWS:
        raise unknown("filter window", window, WINDOWS)
    n = sinogram.shape[1]
    size = 2 ** math.ceil(math.log2(2 * n))  # zero padding: a linear convolution, not a circular one
    k = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    # The ramp is sampled in space: sampled in frequency it would lose the mean of the image.
    kernel = torch.where(k % 2 == 1, -1 / (math.pi * k) ** 2, torch.zeros_like(k))
    kernel[0] = 0.25
    response = torch.fft.rfft(kernel).real / spacing
    if window == "hann":
        taper = torch.linspace(0, math.pi, len(response), dtype=torch.float64)
        response = response * 0.5 * (1 + torch.cos(taper))
    response = (response**power).to(sinogram)
    return torch.fft.irfft(torch.fft.rfft(sinogram, size) * response, size)[:, :n]


def _interpolate(row: Tensor, position: Tensor) -> Tensor:
    """Linear interpolation at fractional bin numbers; zero outside the detector."""
    below = position.floor().clamp(0, len(row) - 2).long() if len(row) > 1 else torch.zeros_like(position).long()
    part = position - below
    value = row[below] * (1 - part) + row[(below + 1).clamp(max=len(row) - 1)] * part
    return torch.where((position >= 0) & (position <= len(row) - 1), value, 0.0)
