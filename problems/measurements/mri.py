"""Magnetic resonance imaging from a quarter of the frequencies: an image whose Fourier transform was measured there.

Whole lines of the Fourier plane are measured, the lowest and others at random with a density that falls from the
centre, with complex noise (Lustig, Donoho & Pauly, Magn. Reson. Med. 58 (2007) 1182). The image is the Shepp-Logan
head, averaged over each pixel. The field is compared with the inverse transform that has zeros for what was not
measured, and with classical total variation. It is not negative, as in the classical method, and the weight of its
total variation is found while it is trained: the misfit is to be a little below the noise, since a picture with many
degrees of freedom takes up some of it.

    nfsolve run mri
    nfsolve run mri --acceleration 8
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nfsolve import InputError, Measurement, Observed, generator, main
from nfsolve.forward.operators import real
from nfsolve.forward.phantoms import SHEPP_LOGAN, phantom_image
from nfsolve.forward.radon import PixelGrid
from nfsolve.reconstruct import total_variation
from nfsolve.weighting import Discrepancy

TARGET = 0.87  # misfit in units of the noise: that of the classical method with its best weight


@dataclass
class MRI(Measurement):
    """A head from a quarter of its Fourier transform, compared with zero-filling and total variation."""

    size: int = 128
    """pixels along each side"""
    acceleration: float = 4.0
    """one in this many lines of the Fourier plane is measured"""
    noise: float = 0.01
    """standard deviation of the noise of the transform (orthonormal), in units of the brightest pixel"""
    noise_seed: int = 0
    """seed of lines and noise; the data do not depend on the seed of the run"""
    tv: float = 60.0
    """weight of the total variation of the field at the start; then `--weighting` finds it"""
    tv_power: float = 0.75
    """exponent of the lengths in it; below 1 edges are sharper than with the total variation itself"""
    classical_tv: float = 3e-3
    """weight of the classical total variation, in units of the image"""

    @property
    def shape(self):
        """Pixels."""
        return (self.size, self.size)

    def __post_init__(self):
        if self.size < 16 or not 1 <= self.acceleration <= self.size / 8 or not 0 < self.noise < math.inf:
            raise InputError(
                f"size must be at least 16, acceleration between 1 and size / 8, and noise positive, got {self.size}, "
                f"{self.acceleration:g} and {self.noise:g}",
                do="choose others, such as size 128, acceleration 4 and noise 0.01",
            )

    def observe(self):
        """Transform the head, add noise, and keep some lines."""
        truth = phantom_image(SHEPP_LOGAN, PixelGrid(self.size, self.size, 2 / self.size)).double()
        truth = truth / truth.max()
        chance = generator(self.noise_seed, "measurements")
        lines = lowest_and_random(self.size, round(self.size / self.acceleration), chance)
        exact = Lines(lines, self.size).A(truth)
        noise = torch.randn(2, *exact.shape, generator=chance, dtype=torch.float64)
        data = exact + self.noise * torch.complex(*noise)
        return Observed(Lines(lines, self.size), data, noise=self.noise, truth=truth)

    def rivals(self, observed, measure):
        """Zeros for what was not measured, and the classical total variation."""
        y = real(observed.data).float()
        return {
            "zero_filled": lambda: measure.adjoint(y),
            "tv": lambda: total_variation(measure, y, self.shape, self.classical_tv, iterations=500),
        }

    def output_transform(self):
        """A picture of magnitudes is not negative."""
        return lambda points, raw: softplus(raw, beta=20.0)

    def recipe(self):
        """The default for grids, with the weight of the total variation by the noise."""
        return replace(super().recipe(), weighting=Discrepancy(target=TARGET))


class Lines:
    """Some columns of the orthonormal Fourier transform of images, with its adjoint.

    Args:
        lines: Indices of the columns, with the lowest frequency in the middle.
        size: Pixels along each side.
    """

    def __init__(self, lines: Tensor, size: int):
        self.lines, self.size = lines, size

    def A(self, image: Tensor) -> Tensor:
        """Transform (..., size, size) and keep the columns."""
        return torch.fft.fftshift(torch.fft.fft2(image, norm="ortho"), dim=(-2, -1))[..., self.lines]

    def A_adjoint(self, data: Tensor) -> Tensor:
        """Put the columns where they belong, zeros elsewhere, and transform back."""
        plane = data.new_zeros(*data.shape[:-1], self.size)
        plane[..., self.lines] = data
        return torch.fft.ifft2(torch.fft.ifftshift(plane, dim=(-2, -1)), norm="ortho").real


def lowest_and_random(n: int, kept: int, chance: torch.Generator) -> Tensor:
    """Choose columns: the lowest third of them, and others with a density that falls from the centre, ``(kept,)``."""
    distance = (torch.arange(n, dtype=torch.float64) - n // 2).abs() / (n / 2)
    density = torch.where(distance <= kept / 3 / n, 1e3, (1 - distance).clamp_min(0) ** 3 + 1e-6)
    return torch.multinomial(density, kept, generator=chance).sort().values


if __name__ == "__main__":
    main(MRI)
