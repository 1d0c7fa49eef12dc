"""The quantum harmonic oscillator, -u''/2 + x^2 u / 2 = E u, with the integral of u^2 equal to 1: its smallest E.

The eigenvalue is an unknown scalar, and the normalisation is an integral condition. The equation holds for every
eigenvalue, but only the eigenfunction of the smallest one has no zero: u starts as a lobe without zeros, and the
network learns the rest. The solution is E = 1/2, u = pi^(-1/4) exp(-x^2 / 2).

    nfsolve run oscillator_eigen
"""

import math
from dataclasses import dataclass
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, Unknown, face, integral, interior, main
from nfsolve.optim import GaussNewton


@dataclass
class OscillatorEigen(PDE):
    """The smallest eigenvalue of the harmonic oscillator, with its eigenfunction."""

    E: Unknown = Unknown(0.0)  # noqa: RUF009  # frozen
    """energy, in units of the quantum"""

    domain = Box(x=(-7, 7))
    unknowns = "u"

    @interior(points=200)
    def schroedinger(self, u, u_xx, x):
        """-u'' / 2 + x^2 u / 2 = E u."""
        return -0.5 * u_xx + 0.5 * x**2 * u - self.E * u

    @face(x=(-7, 7))
    def decay(self, u):
        """Nothing is left far away, but exp(-49 / 2)."""
        return u

    @integral(equals=1)
    def norm(self, u):
        """The particle is somewhere."""
        return u**2

    def ansatz(self, u, x):
        """Begin with a lobe that is too wide."""
        return torch.exp(-(x**2) / 4) / 2 + u

    def exact(self, x):
        """Return the Gaussian of the ground state."""
        return math.pi**-0.25 * torch.exp(-(x**2) / 2)

    def recipe(self):
        """Return a small network under Gauss-Newton."""
        return Recipe(
            field=partial(MLP, width=16, depth=2),
            stages=(Stage(GaussNewton, steps=200, resample=0),),
            run=RunOptions(dtype="float64", log_every=10),
        )


if __name__ == "__main__":
    main(OscillatorEigen)
