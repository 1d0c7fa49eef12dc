"""Inverse problem: find the diffusivity k(x, y) > 0 in -(k u_x)_x - (k u_y)_y = f from noisy measurements of u.

One u says nothing about k where its gradient vanishes, so two experiments with different loads f and g are measured,
u and w. k, u and w are chosen first and the loads follow from them, so all three are known exactly.

    nfsolve run inverse_diffusivity
    nfsolve run inverse_diffusivity --noise 0.05
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, InputError, Recipe, RunOptions, Stage, generator, interior, main, measured
from nfsolve.optim import GaussNewton


@dataclass
class InverseDiffusivity(PDE):
    """The diffusivity field k(x, y) from noisy measurements of two experiments."""

    noise: float = 0.01
    """standard deviation of the noise, relative to the rms of each measured quantity"""
    sensors: int = 40
    """sensors along each side of the square"""
    data_weight: float = 3.0
    """weight of the measurements in the loss; much larger ones fit the noise"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    n_points: int = field(default=1000, kw_only=True)
    """points inside the domain"""

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u w k"
    evaluation = (51, 51)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < math.inf or self.sensors < 2:
            raise InputError(
                f"noise must not be negative and sensors must be at least 2, got {self.noise:g} and {self.sensors}",
                do="choose others, such as noise 0.01 and 40 sensors along a side",
            )

    @interior
    def first(self, u_x, u_y, u_xx, u_yy, k, k_x, k_y, x, y):
        """(k u_x)_x + (k u_y)_y + f = 0."""
        return k * (u_xx + u_yy) + k_x * u_x + k_y * u_y + self.loads(x, y)[0]

    @interior
    def second(self, w_x, w_y, w_xx, w_yy, k, k_x, k_y, x, y):
        """(k w_x)_x + (k w_y)_y + g = 0."""
        return k * (w_xx + w_yy) + k_x * w_x + k_y * w_y + self.loads(x, y)[1]

    def observe(self):
        """Measure u and w on a grid of sensors, with noise."""
        points = self.domain.grid(self.sensors, self.sensors)
        columns = {"x": points[:, :1], "y": points[:, 1:]}
        source = generator(self.noise_seed, "noise")
        for name, value in zip(("u", "w"), self.exact(*columns.values()), strict=False):
            scale = self.noise * value.square().mean().sqrt()
            columns[name] = value + scale * torch.randn(value.shape, generator=source, dtype=value.dtype)
        return columns

    @measured(observe)
    def measurements(self, u, w, u_data, w_data):
        """U and w at the sensors are as measured."""
        return torch.cat([u - u_data, w - w_data], -1)

    def ansatz(self, k):
        """The network gives log k."""
        return torch.exp(k)

    def exact(self, x, y):
        """u = sin(pi x) sin(pi y), w = x + sin(pi y) / 2, log k = sin(2 pi x) cos(pi y) / 2."""
        u = torch.sin(math.pi * x) * torch.sin(math.pi * y)
        w = x + 0.5 * torch.sin(math.pi * y)
        return u, w, torch.exp(0.5 * torch.sin(2 * math.pi * x) * torch.cos(math.pi * y))

    def loads(self, x, y):
        """f and g for the exact k, u and w: minus k (laplace(u) + grad(log k) . grad(u))."""
        u, _, k = self.exact(x, y)
        sx, cx, sy, cy = (wave(math.pi * a) for a in (x, y) for wave in (torch.sin, torch.cos))
        slope_x = math.pi * torch.cos(2 * math.pi * x) * cy
        slope_y = -0.5 * math.pi * torch.sin(2 * math.pi * x) * sy
        f = -k * (-2 * math.pi**2 * u + math.pi * (slope_x * cx * sy + slope_y * sx * cy))
        g = -k * (-0.5 * math.pi**2 * sy + slope_x + 0.5 * math.pi * slope_y * cy)
        return f, g

    def weights(self):
        """Weigh equations and measurements."""
        return super().weights() | {"measurements": self.data_weight}

    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=12, depth=2),
            stages=(Stage(GaussNewton, steps=100),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(InverseDiffusivity)
