"""The wave equation, u_tt = c^2 u_xx with c = 2, on t in [0, 1], x in [0, 1], u = 0 at the ends.

The string starts at rest in the shape sin(pi x) + sin(beta pi x) / 2 (Wang, Yu & Perdikaris, J. Comput. Phys. 449
(2022) with beta = 4; Rathore et al., ICML 2024, with beta = 5). The exact solution consists of two standing waves.

    nfsolve run wave
    nfsolve run wave --beta 5
"""

import math
from dataclasses import dataclass
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Sine, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Wave(PDE):
    """The wave equation u_tt = c^2 u_xx with two standing waves."""

    c: float = 2.0
    """speed"""
    beta: int = 4
    """half waves of the second mode"""

    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"
    evaluation = (101, 101)

    @interior
    def balance(self, u_tt, u_xx):
        """u_tt - c^2 u_xx = 0."""
        return u_tt - self.c**2 * u_xx

    @face(t=0, weight=1000.0)
    def shape(self, u, x):
        """u(0, x) = sin(pi x) + sin(beta pi x) / 2."""
        return u - torch.sin(math.pi * x) - 0.5 * torch.sin(self.beta * math.pi * x)

    @face(t=0, weight=100.0)
    def rest(self, u_t):
        """u_t(0, x) = 0."""
        return u_t

    @face(x=(0, 1), weight=1000.0)
    def ends(self, u):
        """u(t, 0) = u(t, 1) = 0."""
        return u

    def exact(self, t, x):
        """Two standing waves of frequencies c/2 and beta c/2."""
        first = torch.sin(math.pi * x) * torch.cos(self.c * math.pi * t)
        second = torch.sin(self.beta * math.pi * x) * torch.cos(self.beta * self.c * math.pi * t)
        return first + 0.5 * second

    @starting_point
    def recipe(self):
        """A small sine network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2, activation=Sine(2.0)),
            stages=(Stage(GaussNewton, steps=400),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(Wave)
