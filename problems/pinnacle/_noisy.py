"""What the inverse problems of PINNacle share: an unknown coefficient a, known on the sides, and noisy samples of u."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve import InputError, generator, measured
from problems.pinnacle._benchmark import Benchmark


@dataclass
class Noisy(Benchmark):
    """A coefficient from noisy samples of a solution."""

    noise: float = 0.1
    """standard deviation of the noise; u is of size 1"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < math.inf:
            raise InputError(f"noise must not be negative, got {self.noise:g}", do="choose one such as 0.1")

    @abstractmethod
    def sensors(self) -> Tensor:
        """Return the points ``(2500, d)`` at which u is measured."""

    @abstractmethod
    def exact(self, *x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and a, each ``(n, 1)``, at coordinates ``(n, 1)``."""

    def observe(self):
        """Measure u, with noise."""
        points = self.sensors()
        u = self.exact(*points.split(1, 1))[0]
        noise = torch.randn(u.shape, generator=generator(self.noise_seed, "noise"), dtype=u.dtype)
        return dict(zip(self.domain.names, points.T, strict=True)) | {"u": u + self.noise * noise}

    @measured(observe)
    def samples(self, u, u_data):
        """U is as measured."""
        return u - u_data
