"""Convection, u_t + beta u_x = 0, on t in [0, 1], x periodic on [0, 2 pi], u(0, x) = sin x.

The exact solution is sin(x - beta t). At beta = 30 plain PINNs fail (Krishnapriyan et al., NeurIPS 2021).

    nfsolve run convection
    nfsolve run convection --beta 80
"""

import math
from dataclasses import dataclass
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Sine, Stage, face, interior, main, periodic, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Convection(PDE):
    """Convection of a sine wave at speed beta, u_t + beta u_x = 0."""

    beta: float = 30.0
    """speed"""

    domain = Box(t=(0, 1), x=periodic(0, 2 * math.pi))
    unknowns = "u"
    evaluation = (101, 201)

    @interior
    def transport(self, u_t, u_x):
        """u_t + beta u_x = 0."""
        return u_t + self.beta * u_x

    @face(t=0, weight=100.0)
    def initial(self, u, x):
        """u(0, x) = sin x."""
        return u - torch.sin(x)

    def exact(self, t, x):
        """sin(x - beta t)."""
        return torch.sin(x - self.beta * t)

    @starting_point
    def recipe(self):
        """A small sine network under Gauss-Newton in float64; fast waves in windows."""
        return Recipe(
            field=partial(MLP, width=20, depth=3, activation=Sine(1.0)),
            stages=(Stage(GaussNewton, steps=250),),
            run=RunOptions(dtype="float64", log_every=5, windows=max(1, round(self.beta / 30))),
        )


if __name__ == "__main__":
    main(Convection)
