"""The Korteweg-de Vries equation, u_t + u u_x + d^2 u_xxx = 0, on t in [0, 1], x periodic on [-1, 1].

u(0, x) = cos(pi x), d = 0.022: the wave steepens and breaks into solitons (Zabusky & Kruskal, Phys. Rev. Lett. 15
(1965) 240).

    nfsolve run kdv
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, periodic, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class KdV(PDE):
    """The Korteweg-de Vries equation, u_t + u u_x + d^2 u_xxx = 0, periodic."""

    dispersion: float = 0.022
    """d, the square root of the coefficient of u_xxx; the reference is for 0.022"""
    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain"""

    domain = Box(t=(0, 1), x=periodic(-1, 1))
    unknowns = "u"

    @property
    def reference(self):
        """The spectral solution, where it has this dispersion."""
        return "references/kdv.npz" if self.dispersion == 0.022 else ""

    @interior
    def momentum(self, u, u_t, u_x, u_xxx):
        """u_t + u u_x + d^2 u_xxx = 0."""
        return u_t + u * u_x + self.dispersion**2 * u_xxx

    @face(t=0, weight=100.0)
    def initial(self, u, x):
        """u(0, x) = cos(pi x)."""
        return u - torch.cos(math.pi * x)

    @starting_point
    def recipe(self):
        """Four windows in time, each with a small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=16, depth=3, harmonics=2),
            stages=(
                Stage(GaussNewton, steps=60, points=0.5),
                Stage(partial(GaussNewton, damping=1e-6), steps=110),
            ),
            run=RunOptions(dtype="float64", log_every=5, windows=4),
        )


if __name__ == "__main__":
    main(KdV)
