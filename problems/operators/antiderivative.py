"""The antiderivative as an operator, f -> s, ds/dx = f(x), s(0) = 0, on x in [0, 1].

f is a Gaussian random field (Lu et al., "Learning nonlinear operators via DeepONet", Nature Machine Intelligence 3
(2021), 1-D dynamic systems). The operator is linear, so the branch is one matrix, ``--field.branch`` aside.

    nfsolve run deeponet_antiderivative
    nfsolve run deeponet_antiderivative --solved 500 --steps 2  # the equations of 500 functions solved first
    nfsolve run deeponet_antiderivative --no-physics --data --length 0.1
"""

import dataclasses
import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.polynomial import chebyshev

from nfsolve import Box, DeepONet, InputError, OperatorPDE, Recipe, RunOptions, Stage, interior, main
from nfsolve.fields import GELU, Linear
from nfsolve.functions import GaussianField
from nfsolve.optim import SOAP, LastLayer

LABEL_ERROR = 1e-13  # largest difference of the labels from 120-point Gauss-Legendre quadrature, relative


@dataclass
class Antiderivative(OperatorPDE):
    """The operator f -> s of ds/dx = f, s(0) = 0."""

    length: float = 0.2
    """correlation length of f"""
    ood_length: float = 0.1
    """correlation length of further test functions, of another kind than those of the training"""
    n_functions: int = field(default=2000, kw_only=True)
    """training functions; 0 draws new ones for each mini-batch"""
    n_tests: int = field(default=500, kw_only=True)
    """test functions"""
    n_points: int = field(default=100, kw_only=True)
    """points in a mini-batch, which its functions share"""

    domain = Box(x=(0, 1))
    unknowns = "s"
    evaluation = (201,)

    def __post_init__(self):
        super().__post_init__()
        for name in ("length", "ood_length"):
            if not 0.01 <= getattr(self, name) <= 10:
                raise InputError(
                    f"{name} must be a correlation length from 0.01 to 10, got {getattr(self, name):g}",
                    do="choose 0.2, say",
                )

    @interior
    def slope(self, s_x, f):
        """s_x - f = 0."""
        return s_x - f

    def ansatz(self, s, x):
        """s(0) = 0."""
        return x * s

    def spaces(self):
        """Gaussian random fields of covariance exp(-(x - x')^2 / (2 l^2))."""
        return {"f": GaussianField(self.length)}

    def shifted(self):
        """The same with another correlation length."""
        return dataclasses.replace(self, length=self.ood_length)

    def labels(self, f):
        """Integrate the Chebyshev series of f, which is exact up to rounding."""
        k = 24 + math.ceil(4.8 / self.length)
        nodes = chebyshev.chebpts1(k)
        series = np.linalg.solve(chebyshev.chebvander(nodes, k - 1), f((nodes + 1) / 2).T)
        integral = chebyshev.chebint(series, lbnd=-1, scl=0.5)
        return chebyshev.chebval(np.linspace(-1, 1, 201), integral), LABEL_ERROR

    def recipe(self):
        """A linear branch and a trunk of three layers under SOAP, then the branch by least squares."""
        return Recipe(
            field=partial(
                DeepONet,
                width=64,
                depth=3,
                latent=64,
                activation=GELU(),
                branch=Linear(),
                bias=False,
            ),
            stages=(
                Stage(partial(SOAP, lr=3e-3), steps=2000, schedule="cosine"),
                Stage(partial(LastLayer, damping=1e-12), steps=2, only="branches"),
            ),
            run=RunOptions(dtype="float64", log_every=200),
        )


if __name__ == "__main__":
    main(Antiderivative)
