"""Poisson's equation on an L-shape, -(u_xx + u_yy) = 1 on [-1, 1]^2 minus (0, 1]^2, u = 0 on its sides.

At the re-entrant corner u behaves as r^(2/3) sin(2 phi / 3), which no smooth field does. Here the field is
multiplied by a function with that behaviour that vanishes on all sides, so no boundary condition is left to learn.

    nfsolve run lshape
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, interior, main
from nfsolve.optim import GaussNewton


@dataclass
class LShape(PDE):
    """Poisson's equation with a re-entrant corner, -(u_xx + u_yy) = 1 on an L-shape."""

    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain"""

    domain = Box(x=(-1, 1), y=(-1, 1)) - Box(x=(0, 2), y=(0, 2))
    unknowns = "u"
    reference = "references/lshape.npz"

    @interior
    def balance(self, u_xx, u_yy):
        """u_xx + u_yy + 1 = 0."""
        return u_xx + u_yy + 1

    def ansatz(self, u, x, y):
        """U times r^(2/3) sin(2 phi / 3) (1 - x^2) (1 - y^2)."""
        return u * corner(x, y) * (1 - x**2) * (1 - y**2)

    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=2),
            stages=(Stage(GaussNewton, steps=250),),
            run=RunOptions(dtype="float64", log_every=5),
        )


def corner(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Evaluate r^(2/3) sin(2 phi / 3), harmonic, and zero on the two sides at the origin.

    Args:
        x: Coordinates ``(n, 1)``.
        y: Coordinates ``(n, 1)``.

    Returns:
        Values ``(n, 1)``; phi runs from 0 on the positive y axis to 3 pi / 2 on the positive x axis.
    """
    # phi - 3 pi / 4 is the angle from the diagonal x = y < 0, with its cut outside the domain
    angle = torch.log(torch.complex(-(x + y), x - y) / math.sqrt(2)).imag
    return (x**2 + y**2) ** (1 / 3) * torch.cos(2 / 3 * angle)


if __name__ == "__main__":
    main(LShape)
