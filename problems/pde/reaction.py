"""Logistic reaction, u_t = rho u (1 - u), on t in [0, 1], x in [0, 2 pi].

u(0, x) = h(x) = exp(-(x - pi)^2 / (2 (pi/4)^2)) (Krishnapriyan et al., NeurIPS 2021; rho = 5 in Rathore et al., ICML
2024). This is an ordinary differential equation at each x, so the sides need no condition. u = 0 is also a solution, to
which plain PINNs collapse. x is not periodic: the periodic continuation of u has a kink whose slopes grow to +-0.24.

    nfsolve run reaction
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Reaction(PDE):
    """Logistic reaction, u_t = rho u (1 - u), from a Gaussian bump."""

    rho: float = 5.0
    """rate"""

    adaptive: str = field(default="rad", kw_only=True)
    """whether new points concentrate where the residual is large: none, rad, rar_d or r3"""

    domain = Box(t=(0, 1), x=(0, 2 * math.pi))
    unknowns = "u"
    evaluation = (101, 201)

    @interior
    def growth(self, u, u_t):
        """u_t - rho u (1 - u) = 0."""
        return u_t - self.rho * u * (1 - u)

    @face(t=0, weight=100.0)
    def initial(self, u, x):
        """u(0, x) = h(x)."""
        return u - bump(x)

    def exact(self, t, x):
        """H e^(rho t) / (h e^(rho t) + 1 - h)."""
        grown = bump(x) * torch.exp(self.rho * t)
        return grown / (grown + 1 - bump(x))

    @starting_point
    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=20, depth=3),
            stages=(Stage(GaussNewton, steps=300),),
            run=RunOptions(dtype="float64", log_every=5),
        )


def bump(x: torch.Tensor) -> torch.Tensor:
    """Evaluate h(x) = exp(-(x - pi)^2 / (2 (pi/4)^2))."""
    return torch.exp(-8 * (x / math.pi - 1) ** 2)


if __name__ == "__main__":
    main(Reaction)
