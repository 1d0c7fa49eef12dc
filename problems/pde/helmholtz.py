"""The Helmholtz equation, u_xx + u_yy + k^2 u = f, on [-1, 1]^2, u = 0 on its sides.

f follows from u = sin(a1 pi x) sin(a2 pi y), so the error is known exactly (Wang, Teng & Perdikaris, SIAM J. Sci.
Comput. 43 (2021) A3055).

    nfsolve run helmholtz
    nfsolve run helmholtz --a2 6
"""

import math
from dataclasses import dataclass
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Sine, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Helmholtz(PDE):
    """The Helmholtz equation with exact solution sin(a1 pi x) sin(a2 pi y)."""

    k: float = 1.0
    """wave number in the equation"""
    a1: int = 1
    """half waves of the solution per unit length along x"""
    a2: int = 4
    """half waves of the solution per unit length along y"""

    domain = Box(x=(-1, 1), y=(-1, 1))
    unknowns = "u"
    evaluation = (101, 101)

    @interior(points=1200)
    def balance(self, u, lap_u, x, y):
        """Laplace u + k^2 u - f = 0, f = (k^2 - (a1 pi)^2 - (a2 pi)^2) sin(a1 pi x) sin(a2 pi y)."""
        f = (self.k**2 - math.pi**2 * (self.a1**2 + self.a2**2)) * self.exact(x, y)
        return lap_u + self.k**2 * u - f

    @face(x=(-1, 1), y=(-1, 1), weight=100.0)
    def sides(self, u):
        """U = 0 on the four sides."""
        return u

    def exact(self, x, y):
        """sin(a1 pi x) sin(a2 pi y)."""
        return torch.sin(self.a1 * math.pi * x) * torch.sin(self.a2 * math.pi * y)

    @starting_point
    def recipe(self):
        """A small sine network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2, activation=Sine(2.0)),
            stages=(Stage(GaussNewton, steps=300),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(Helmholtz)
