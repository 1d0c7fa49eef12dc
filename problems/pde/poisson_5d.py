"""Poisson's equation in five dimensions, -laplace(u) = pi^2 sum cos(pi x_i), on the unit cube.

u = sum cos(pi x_i) is given on the boundary and is the exact solution (Mueller & Zeinhofer, ICML 2023).

    nfsolve run poisson_5d
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Poisson5D(PDE):
    """Poisson's equation on [0, 1]^5 with exact solution sum cos(pi x_i)."""

    n_points: int = field(default=1500, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=500, kw_only=True)
    """points on the ten sides"""

    domain = Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1))
    unknowns = "u"
    evaluation = (7, 7, 7, 7, 7)

    @interior
    def balance(self, lap_u, a, b, c, d, e):
        """Laplace u + pi^2 sum cos(pi x_i) = 0."""
        return lap_u + math.pi**2 * self.exact(a, b, c, d, e)

    @face(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1), weight=100.0)
    def sides(self, u, a, b, c, d, e):
        """U = sum cos(pi x_i) on the ten sides."""
        return u - self.exact(a, b, c, d, e)

    def exact(self, a, b, c, d, e):
        """sum cos(pi x_i)."""
        return sum(torch.cos(math.pi * x) for x in (a, b, c, d, e))

    @starting_point
    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2),
            stages=(Stage(GaussNewton, steps=250),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(Poisson5D)
