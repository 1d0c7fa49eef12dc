"""Inverse problem: a conductivity k(x) with a jump, and the place of the jump, from noisy temperatures.

(k u')' = -1 in a wall, u(0) = 0, and the flux k u' at x = 0 is known to be 1: without it only ratios of k would be
determined. k is 1 up to x = 0.4 and 3 beyond. The equation is written with its flux, p = k u' and p' = -1, as neither
k' nor u'' exists at the jump. The flux is 1 - x and vanishes at x = 1, where the data say nothing about k; the band
shows it.

    nfsolve run layers --uncertainty
    nfsolve run layers --noise 0.01
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, InputError, Recipe, RunOptions, Stage, face, generator, interior, main, measured
from nfsolve.optim import GaussNewton

JUMP, LEFT, RIGHT = 0.4, 1.0, 3.0


@dataclass
class Layers(PDE):
    """The conductivity of a wall of two layers."""

    noise: float = 0.001
    """standard deviation of the noise; the temperature rises to 0.38"""
    sensors: int = 101
    """thermometers across the wall"""
    data_weight: float = 10.0
    """weight of the measurements in the loss"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    n_points: int = field(default=300, kw_only=True)
    """points inside the wall"""

    domain = Box(x=(0, 1))
    unknowns = "u p k"
    evaluation = (201,)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < math.inf or self.sensors < 2:
            raise InputError(
                f"noise must not be negative and sensors must be at least 2, got {self.noise:g} and {self.sensors}",
                do="choose others, such as noise 0.001 and 101 thermometers",
            )

    @interior
    def conduction(self, p, k, u_x):
        """The flux p is k u'."""
        return p - k * u_x

    @interior
    def balance(self, p_x):
        """What is produced flows off."""
        return p_x + 1

    @face(x=0, weight=10)
    def start(self, u, p):
        """Temperature and flux on the left."""
        return torch.cat([u, p - 1], 1)

    def observe(self):
        """Measure u, with noise."""
        x = torch.linspace(0, 1, self.sensors, dtype=torch.float64)[:, None]
        values = self.exact(x)[0]
        noise = torch.randn(values.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return {"x": x, "u": values + self.noise * noise}

    @measured(observe)
    def thermometers(self, u, u_data):
        """The temperature is as measured."""
        return u - u_data

    def ansatz(self, k):
        """The network gives log k."""
        return torch.exp(k)

    def exact(self, x):
        """Integrate (1 - x) / k."""
        before, after = x.clamp(max=JUMP), (x - JUMP).clamp(min=0)
        u = (before - before**2 / 2) / LEFT + ((1 - JUMP) * after - after**2 / 2) / RIGHT
        return u, 1 - x, torch.where(x < JUMP, LEFT, RIGHT)

    def weights(self):
        """Weigh equations and measurements."""
        return super().weights() | {"thermometers": self.data_weight}

    def recipe(self):
        """A tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=12, depth=2),
            stages=(Stage(GaussNewton, steps=200),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(Layers)
