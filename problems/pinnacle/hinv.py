"""HInv of PINNacle: find a(x, y) in u_t - (a u_x)_x - (a u_y)_y = f from 2500 noisy samples of u.

On [-1, 1]^2, t in [0, 1]. u is measured at random points and times with noise of standard deviation 0.1, and a is known
on the sides; u = exp(-t) sin(pi x) sin(pi y), a = 2 + sin(pi x) sin(pi y), f follows from them (Hao et al., arXiv
2306.08827). Best published error 5.1e-2, of u and a together. Nothing was repaired; but a is told to depend on x and y
only, and points and noise have a seed.

    nfsolve run pinnacle_hinv
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, Box, Recipe, RunOptions, Stage, face, generator, interior, main
from nfsolve.optim import GaussNewton
from problems.pinnacle._noisy import Noisy


@dataclass
class HInv(Noisy):
    """The heat equation with an unknown coefficient, from noisy samples."""

    equation_weight: float = 0.1
    """weight of the equation and of a on the sides, beside the samples; with much more Newton's method gets lost"""
    n_points: int = field(default=1200, kw_only=True)
    """points inside the domain"""

    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))
    unknowns = "u a(x, y)"
    evaluation = (11, 41, 41)
    label = "HInv"
    published = 5.1e-2

    @interior
    def balance(self, u_t, u_x, u_y, lap_u, a, a_x, a_y, t, x, y):
        """u_t - (a u_x)_x - (a u_y)_y - f = 0."""
        return u_t - a * lap_u - a_x * u_x - a_y * u_y - self.source(t, x, y)

    @face(x=(-1, 1), y=(-1, 1))
    def sides(self, a, t, x, y):
        """A is known on the sides."""
        return a - self.exact(t, x, y)[1]

    def sensors(self):
        """Return 2500 random points."""
        source = generator(self.noise_seed, "points")
        return self.domain.scale(torch.rand(2500, 3, generator=source, dtype=torch.float64))

    def source(self, t, x, y):
        """Return f = exp(-t) ((4 pi^2 - 1) s + pi^2 (4 s^2 - sin^2(pi x) - sin^2(pi y))), s = sin(pi x) sin(pi y)."""
        sx, sy = torch.sin(math.pi * x), torch.sin(math.pi * y)
        s = sx * sy
        return torch.exp(-t) * ((4 * math.pi**2 - 1) * s + math.pi**2 * (4 * s**2 - sx**2 - sy**2))

    def exact(self, t, x, y):
        """u = exp(-t) sin(pi x) sin(pi y), a = 2 + sin(pi x) sin(pi y)."""
        s = torch.sin(math.pi * x) * torch.sin(math.pi * y)
        return torch.exp(-t) * s, 2 + s

    def ansatz(self, u, a):
        """A begins with its value on the sides."""
        return u, 2 + a

    def weights(self):
        """Weigh equation, sides and samples."""
        return super().weights() | dict.fromkeys(("balance", "sides"), self.equation_weight)

    def recipe(self):
        """A small tanh network under Gauss-Newton."""
        return Recipe(
            field=partial(MLP, width=12, depth=2),
            stages=(Stage(GaussNewton, 70, resample=0),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(HInv)
