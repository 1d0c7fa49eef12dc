"""The Kuramoto-Sivashinsky equation, u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx = 0, on t in [0, 0.5].

x is periodic on [-1, 1], u(0, x) = -sin(pi x). With these coefficients the motion is regular, not chaotic; still
the linear part amplifies an error by up to exp(12.5 t).

    nfsolve run kuramoto_sivashinsky
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, periodic, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class KuramotoSivashinsky(PDE):
    """The Kuramoto-Sivashinsky equation, u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx = 0, periodic."""

    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain"""

    domain = Box(t=(0, 0.5), x=periodic(-1, 1))
    unknowns = "u"
    reference = "references/kuramoto_sivashinsky.npz"

    @interior
    def balance(self, u, u_t, u_x, u_xx, u_xxxx):
        """u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx = 0."""
        return u_t + 5 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx

    @face(t=0, weight=1000.0)
    def initial(self, u, x):
        """u(0, x) = -sin(pi x)."""
        return u + torch.sin(math.pi * x)

    @starting_point
    def recipe(self):
        """Four windows in time, each with a small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=16, depth=3, harmonics=2),
            stages=(
                Stage(GaussNewton, steps=60, points=0.5),
                Stage(partial(GaussNewton, damping=1e-6), steps=60),
            ),
            run=RunOptions(dtype="float64", log_every=5, windows=4),
        )


if __name__ == "__main__":
    main(KuramotoSivashinsky)
