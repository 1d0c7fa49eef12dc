"""Inverse problem: the heat flux q(x) into the hot side of a plate from thermometers on the other side.

laplace(T) = 0 for 0 < y < 0.3. The side y = 0 is cooled by convection, T_y = T, and its temperature is measured with
noise; the ends are insulated; T_y = q(x) at y = 0.3 is not known. The faster q varies the less of it arrives, so its
band widens where the network could follow faster variations (J. V. Beck, B. Blackwell & C. St. Clair, Inverse Heat
Conduction, 1985).

    nfsolve run unknown_flux --uncertainty
    nfsolve run unknown_flux --noise 0.01
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, InputError, Recipe, RunOptions, Stage, face, generator, interior, main, measured
from nfsolve.optim import GaussNewton

HEIGHT = 0.3
FLUX = (1.0, 0.6, 0.4)  # of cos(n pi x)


@dataclass
class UnknownFlux(PDE):
    """A heat flux that no sensor sees, with its error bars."""

    noise: float = 0.005
    """standard deviation of the noise; temperatures are of order 1"""
    sensors: int = 41
    """thermometers along the cold side"""
    data_weight: float = 1.0
    """weight of the measurements in the loss"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    n_points: int = field(default=300, kw_only=True)
    """points inside the plate"""

    domain = Box(x=(0, 1), y=(0, HEIGHT))
    unknowns = "T q(x)"
    evaluation = (41, 21)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < math.inf or self.sensors < 2:
            raise InputError(
                f"noise must not be negative and sensors must be at least 2, got {self.noise:g} and {self.sensors}",
                do="choose others, such as noise 0.005 and 41 thermometers",
            )

    @interior
    def conduction(self, lap_T):
        """Laplace's equation."""
        return lap_T

    @face(y=HEIGHT)
    def heated(self, T_y, q):
        """T_y = q."""
        return T_y - q

    @face(y=0)
    def cooled(self, T_y, T):
        """T_y = T."""
        return T_y - T

    @face(x=(0, 1))
    def insulated(self, T_x):
        """T_x = 0."""
        return T_x

    def observe(self):
        """Measure T on the cold side, with noise."""
        x = torch.linspace(0, 1, self.sensors, dtype=torch.float64)[:, None]
        values, _ = self.exact(x, torch.zeros_like(x))
        noise = torch.randn(values.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return {"x": x, "y": torch.zeros_like(x), "T": values + self.noise * noise}

    @measured(observe)
    def thermometers(self, T, T_data):
        """T is as measured."""
        return T - T_data

    def exact(self, x, y):
        """A series in cos(n pi x), each with the height at which it solves the equation."""
        T, q = FLUX[0] * (1 + y) + 0 * x, FLUX[0] + 0 * x
        for n, size in enumerate(FLUX[1:], 1):
            k = n * math.pi
            arrives = k * math.sinh(k * HEIGHT) + math.cosh(k * HEIGHT)
            T = T + size / arrives * torch.cos(k * x) * (torch.cosh(k * y) + torch.sinh(k * y) / k)
            q = q + size * torch.cos(k * x)
        return T, q

    def weights(self):
        """Weigh equations and measurements."""
        return super().weights() | {"thermometers": self.data_weight}

    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=10, depth=2),
            stages=(Stage(GaussNewton, steps=60),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(UnknownFlux)
