"""Phase retrieval: find an object from the sizes of its Fourier transform alone, as in diffraction imaging.

The object, three bodies that are not negative, has zeros around it, so that its transform is measured twice as finely
as it must be. Moved, or turned by 180 degrees, it has the same data: what is found is laid onto the truth before it is
scored. The operator is a function of torch that is not linear. The field is compared with the hybrid input-output
algorithm (J. Fienup, Appl. Opt. 21 (1982) 2758), which begins at random phases.

    nfsolve run phase_retrieval
    nfsolve run phase_retrieval --noise 0.02
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nfsolve import MLP, InputError, Measurement, Observed, Recipe, RunOptions, Sine, Stage, generator, main

FEEDBACK = 0.9  # of the algorithm


@dataclass
class PhaseRetrieval(Measurement):
    """An object from the sizes of its Fourier transform, compared with the hybrid input-output algorithm."""

    noise: float = 0.01
    """standard deviation of the noise of the sizes, relative to their root mean square"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    iterations: int = 1000
    """iterations of the classical algorithm"""

    shape = (32, 32)

    def __post_init__(self):
        if not 0 < self.noise < math.inf or self.iterations < 1:
            raise InputError(
                f"noise must be positive and iterations at least 1, got {self.noise:g} and {self.iterations}",
                do="choose noise 0.01, say",
            )

    def truth(self) -> Tensor:
        """Three bodies."""
        x, y = self.points().T
        bodies = [(0.3, 0.35, 0.1, 0.15, 1.0), (0.65, 0.6, 0.2, 0.12, 0.7), (0.7, 0.25, 0.08, 0.08, 0.5)]
        found = [h * torch.exp(-(((x - a) / r) ** 4 + ((y - b) / s) ** 4)) for a, b, r, s, h in bodies]
        return torch.stack(found).sum(0).reshape(self.shape)

    def observe(self):
        """Transform the object with zeros around it, and add noise to the sizes."""
        truth = self.truth()
        exact = sizes(truth)
        spread = self.noise * float(exact.square().mean().sqrt())
        noise = torch.randn(exact.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return Observed(sizes, exact + spread * noise, noise=spread, truth=truth)

    def on_grid(self, field, data):
        """Return the object where it fits the truth best, moved and turned."""
        return aligned(super().on_grid(field, data), data["truth"])

    def rivals(self, observed, measure):
        """The hybrid input-output algorithm."""

        def classical() -> Tensor:
            return aligned(torch.from_numpy(input_output(observed.data, self.shape, self.iterations)), observed.truth)

        return {"input_output": classical}

    def output_transform(self):
        """An object is not negative."""
        return lambda points, raw: torch.nn.functional.softplus(raw, beta=10.0)

    def recipe(self):
        """A sine network under Adam: it begins smooth, and finds the phases from the low frequencies on."""
        net = partial(MLP, width=64, depth=2, activation=Sine(10.0))
        adam = Stage(partial(torch.optim.Adam, lr=1e-3), steps=3000, schedule="cosine")
        return Recipe(net, (adam,), run=RunOptions(log_every=100))


def aligned(image: Tensor, truth: Tensor) -> Tensor:
    """Return an image ``(h, w)`` moved and turned by 180 degrees so that it correlates best with the truth."""
    height, width = image.shape
    found = []
    for turned in (image, image.flip(0, 1)):
        plane = torch.fft.fft2(turned, s=(2 * height, 2 * width))
        match = torch.fft.ifft2(plane.conj() * torch.fft.fft2(truth, s=(2 * height, 2 * width))).real
        down, right = divmod(int(match.argmax()), 2 * width)
        moved = torch.nn.functional.pad(turned, (0, width, 0, height)).roll((down, right), (0, 1))
        found.append((float(match.max()), moved[:height, :width]))
    return max(found, key=lambda pair: pair[0])[1]


def sizes(image: Tensor) -> Tensor:
    """Return the sizes of the Fourier transform of an image ``(h, w)`` with zeros around it, ``(2 h, 2 w)``."""
    plane = torch.fft.fft2(image, s=tuple(2 * n for n in image.shape), norm="ortho")
    return (plane.real.square() + plane.imag.square() + 1e-12).sqrt()


def input_output(data: Tensor, shape: tuple[int, ...], iterations: int) -> np.ndarray:
    """Find an object by the hybrid input-output algorithm, the last tenth of its steps by error reduction.

    Args:
        data: Measured sizes ``(2 h, 2 w)``.
        shape: (h, w), the window that holds the object.
        iterations: Number of steps.

    Returns:
        The object ``(h, w)``.
    """
    measured = data.clamp_min(0).numpy()
    phases = 2 * np.pi * np.random.default_rng(0).uniform(size=measured.shape)
    image = np.fft.ifft2(measured * np.exp(1j * phases), norm="ortho").real
    for step in range(iterations):
        plane = np.fft.fft2(image, norm="ortho")
        fitted = np.fft.ifft2(measured * np.exp(1j * np.angle(plane)), norm="ortho").real
        allowed = np.zeros(image.shape, bool)
        allowed[: shape[0], : shape[1]] = fitted[: shape[0], : shape[1]] >= 0
        image = np.where(allowed, fitted, image - FEEDBACK * fitted if step < 0.9 * iterations else 0)
    return image[: shape[0], : shape[1]].clip(0)


if __name__ == "__main__":
    main(PhaseRetrieval)
