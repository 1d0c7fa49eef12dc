"""Poisson's equation with a known answer, -(u_xx + u_yy) = f, on the unit square, u = 0 on its sides.

f follows from u = sin(k pi x) sin(k pi y), so the error is known exactly.

    nfsolve run poisson
    nfsolve run poisson --waves 2
"""

import math
from dataclasses import dataclass
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Poisson(PDE):
    """Poisson's equation on the unit square with exact solution sin(k pi x) sin(k pi y)."""

    waves: int = 1
    """half waves k along each side"""

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"
    evaluation = (101, 101)

    @interior(points=800)
    def balance(self, lap_u, x, y):
        """Laplace u + f = 0, f = 2 (k pi)^2 sin(k pi x) sin(k pi y)."""
        k = self.waves * math.pi
        return lap_u + 2 * k**2 * torch.sin(k * x) * torch.sin(k * y)

    @face(x=(0, 1), y=(0, 1), weight=100.0)
    def sides(self, u):
        """U = 0 on the four sides."""
        return u

    def exact(self, x, y):
        """sin(k pi x) sin(k pi y)."""
        k = self.waves * math.pi
        return torch.sin(k * x) * torch.sin(k * y)

    @starting_point
    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2),
            stages=(Stage(GaussNewton, steps=200),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(Poisson)
