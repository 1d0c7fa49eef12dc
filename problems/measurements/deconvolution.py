"""Deconvolution: find the picture that a lens has blurred and a sensor has made noisy.

The blur is a Gaussian with periodic borders, given as a linear operator of scipy; the picture is the portrait that
comes with matplotlib, in gray. The field is compared with a Wiener filter that finds its own weight (Orieux,
Giovannelli & Rodet, J. Opt. Soc. Am. A 27 (2010) 1593, in scikit-image), and with classical total variation.

    nfsolve run deconvolution
    nfsolve run deconvolution --blur 3 --noise 0.005
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import LinearOperator

from nfsolve import InputError, Measurement, Observed, generator, main, require_extra
from nfsolve.data.pictures import read, shrink
from nfsolve.forward.operators import real
from nfsolve.reconstruct import total_variation


@dataclass
class Deconvolution(Measurement):
    """A blurred and noisy picture, compared with Wiener's filter and total variation."""

    image: str = ""
    """picture, a path or a name under $NFSOLVE_DATA; default the portrait of matplotlib"""
    size: int = 128
    """longest side in pixels; larger pictures are shrunk"""
    blur: float = 2.0
    """standard deviation of the blur in pixels"""
    noise: float = 0.01
    """standard deviation of the noise; white is 1"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    tv: float = 0.5
    """weight of the total variation of the field"""
    classical_tv: float = 1e-3
    """weight of the classical total variation"""

    def __post_init__(self):
        if self.size < 16 or not 0 < self.blur < self.size / 8 or not 0 < self.noise < math.inf:
            raise InputError(
                f"size must be at least 16, blur between 0 and size / 8, and noise positive, got {self.size}, "
                f"{self.blur:g} and {self.noise:g}",
                do="choose others, such as size 128, blur 2 and noise 0.01",
            )
        self._picture = shrink(read(self.image, True, type(self)), self.size)[..., 0]

    @property
    def shape(self):
        """Pixels."""
        return tuple(self._picture.shape)

    def blurred(self, column):
        """Blur pixels ``(n,)``; a symmetric matrix."""
        return gaussian_filter(column.reshape(self.shape), self.blur, mode="wrap").ravel()

    def observe(self):
        """Blur the picture, and add noise."""
        truth = self._picture.double()
        exact = torch.from_numpy(self.blurred(truth.numpy())).reshape(self.shape)
        noise = torch.randn(self.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        n = truth.numel()
        operator: Any = LinearOperator(shape=(n, n), matvec=self.blurred, rmatvec=self.blurred, dtype=float)  # type: ignore[call-arg]
        return Observed(operator, exact + self.noise * noise, noise=self.noise, truth=truth)

    def rivals(self, observed, measure):
        """Wiener's filter with an estimated balance, and the classical total variation."""
        y = real(observed.data).float()
        return {
            "wiener": lambda: self.wiener(observed.data.numpy()),
            "tv": lambda: total_variation(measure, y, self.shape, self.classical_tv, iterations=300),
        }

    def wiener(self, data: np.ndarray) -> np.ndarray:
        """Deconvolve by scikit-image."""
        restoration = require_extra("skimage.restoration", extra="mesh", purpose="Wiener's filter")
        side = 2 * math.ceil(4 * self.blur) + 1
        spot = np.zeros((side, side))
        spot[side // 2, side // 2] = 1
        spot = gaussian_filter(spot, self.blur, mode="constant")
        return restoration.unsupervised_wiener(data, spot / spot.sum(), rng=0)[0].clip(0, 1)


if __name__ == "__main__":
    main(Deconvolution)
