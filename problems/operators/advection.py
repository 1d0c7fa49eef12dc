"""Advection with variable speed as an operator, u -> s, s_t + u(x) s_x = 0, on t in [0, 1], x in [0, 1].

s(0, x) = sin(pi x) and s(t, 0) = sin(pi t / 2), which the network satisfies exactly; u = v - min v + 1 with a Gaussian
random field v (Wang, Wang & Perdikaris, Science Advances 7 (2021) eabi8605; 2.4e-2 there, 9.5e-3 with the modified
DeepONet of the same authors, J. Sci. Comput. 92 (2022) 35). s has a kink on the characteristic through the corner,
which lies elsewhere for each u: hence a field with a decoder. Functions are drawn for each mini-batch.

    nfsolve run deeponet_advection
    nfsolve run deeponet_advection --compile  # in two thirds of the time
    nfsolve run deeponet_advection --solved 6000 --data --no-physics --n-points 256 --steps 14000  # three times better
"""

import dataclasses
import math
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch

from nfsolve import Box, OperatorPDE, Recipe, RunOptions, Stage, interior, main
from nfsolve.fields import GELU, NonlinearDeepONet
from nfsolve.functions import GaussianField
from nfsolve.optim import SOAP
from problems.operators._solvers import advection, with_error


@dataclass(frozen=True)
class Speeds(GaussianField):
    """Gaussian random fields, each raised by a constant so that its minimum is 1."""

    def sample(self, n, generator):
        """Draw fields and raise them: the first function of the basis is 1."""
        coefficients = super().sample(n, generator)
        x = torch.linspace(*self.box[0], 1001, dtype=torch.float64)[:, None]
        coefficients[:, 0] += 1 - self.evaluate(coefficients, x).amin(1)
        return coefficients


@dataclass
class Advection(OperatorPDE):
    """The operator u -> s of s_t + u(x) s_x = 0."""

    length: float = 0.2
    """correlation length of v"""
    ood_length: float = 0.1
    """correlation length of further test functions, of another kind than those of the training"""
    n_functions: int = field(default=0, kw_only=True)
    """training functions; 0 draws new ones for each mini-batch, which needs no labels"""
    n_points: int = field(default=128, kw_only=True)
    """points in a mini-batch, which its functions share"""

    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "s"
    inputs: ClassVar[dict[str, str]] = {"u": "x"}
    evaluation = (101, 101)

    @interior
    def transport(self, s_t, s_x, u):
        """s_t / u + s_x = 0: along a characteristic the error is the integral of this over x."""
        return s_t / u + s_x

    def ansatz(self, s, t, x):
        """s(0, x) = sin(pi x), s(t, 0) = sin(pi t / 2); what the network adds grows like t or x from the corner."""
        return torch.sin(math.pi * x) + torch.sin(0.5 * math.pi * t) + t * x / (t + x + 0.01) * s

    def spaces(self):
        """Gaussian random fields, raised to a minimum of 1."""
        return {"u": Speeds(self.length)}

    def shifted(self):
        """The same with another correlation length."""
        return dataclasses.replace(self, length=self.ood_length)

    def labels(self, u):
        """Characteristics."""
        return with_error(advection, u)

    def recipe(self):
        """A modified trunk, a plain branch and a decoder under SOAP."""
        return Recipe(
            field=partial(
                NonlinearDeepONet,
                width=64,
                depth=4,
                features=16,
                latent=16,
                decoder=3,
                activation=GELU(),
                trunk="modified",
            ),
            stages=(Stage(partial(SOAP, lr=6e-3), steps=7000, schedule="cosine"),),
            run=RunOptions(log_every=200),
        )


if __name__ == "__main__":
    main(Advection)
