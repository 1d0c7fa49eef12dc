"""Poisson's equation on an L-shape, -(u_xx + u_yy) = 1 on [-1, 1]^2 minus (0, 1]^2, u = 0 on its sides.

At the re-entrant corner u behaves as r^(2/3) sin(2 phi / 3), which no smooth field does. nfsolve finds the corner and
takes functions that are singular there; a network does without.

    nfsolve run lshape
"""

from dataclasses import dataclass, field
from functools import partial

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, boundary, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class LShape(PDE):
    """Poisson's equation with a re-entrant corner, -(u_xx + u_yy) = 1 on an L-shape."""

    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain, for networks"""

    domain = Box(x=(-1, 1), y=(-1, 1)) - Box(x=(0, 2), y=(0, 2))
    unknowns = "u"
    reference = "references/lshape.npz"

    @interior
    def balance(self, u_xx, u_yy):
        """u_xx + u_yy + 1 = 0."""
        return u_xx + u_yy + 1

    @boundary(weight=100.0)
    def sides(self, u):
        """U = 0 on all sides."""
        return u

    @starting_point
    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2),
            stages=(Stage(GaussNewton, steps=250),),
            run=RunOptions(dtype="float64", log_every=5),
        )


if __name__ == "__main__":
    main(LShape)
