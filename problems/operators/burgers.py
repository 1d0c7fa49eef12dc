"""Burgers' equation as an operator, u -> s, s_t + s s_x = nu s_xx, s(0, x) = u(x), t in [0, 1], x periodic on [0, 1].

u is a periodic Gaussian random field; the published errors are 1.4e-2 at nu = 0.01 (Wang, Wang & Perdikaris, Science
Advances 7 (2021) eabi8605) and 3.5e-2 at nu = 0.001 (Wang, Wang & Perdikaris, J. Sci. Comput. 92 (2022) 35). Each u has
its fronts elsewhere: hence a field with a decoder. Functions are drawn for each mini-batch.

    nfsolve run deeponet_burgers --solved 500 --steps 2  # the equations of 500 functions solved first: 20 times better
    nfsolve run deeponet_burgers --compile
    nfsolve run deeponet_burgers --nu 0.001 --field.features 32 --compile
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from nfsolve import Box, InputError, OperatorPDE, Recipe, RunOptions, Stage, interior, main, periodic
from nfsolve.fields import GELU, NonlinearDeepONet
from nfsolve.functions import PeriodicField
from nfsolve.optim import SOAP
from problems.operators._solvers import burgers, with_error


@dataclass
class BurgersOperator(OperatorPDE):
    """The operator from the initial value u to the solution s of Burgers' equation."""

    nu: float = 0.01
    """viscosity"""
    tau: float = 5.0
    """inverse length of u, whose covariance is 625^2 (-d^2/dx^2 + tau^2)^-4"""
    ood_tau: float = 3.0
    """inverse length of further test functions, of another kind than those of the training"""
    n_functions: int = field(default=0, kw_only=True)
    """training functions; 0 draws new ones for each mini-batch, which needs no labels"""
    n_points: int = field(default=128, kw_only=True)
    """points in a mini-batch, which its functions share"""

    domain = Box(t=(0, 1), x=periodic(0, 1))
    unknowns = "s"
    inputs: ClassVar[dict[str, str]] = {"u": "x"}
    evaluation = (101, 101)

    def __post_init__(self):
        super().__post_init__()
        if not self.nu > 0:
            raise InputError(f"nu must be a positive viscosity, got {self.nu:g}", do="choose 0.01, say")

    @interior
    def momentum(self, s, s_t, s_x, s_xx):
        """s_t + s s_x - nu s_xx = 0, over 1 + |s_x|, or the few points in a front would have all of the loss."""
        return (s_t + s * s_x - self.nu * s_xx) / (1 + s_x.detach().abs())

    def ansatz(self, s, u, t):
        """s(0, x) = u(x)."""
        return u + t * s

    def spaces(self):
        """Periodic Gaussian random fields."""
        return {"u": PeriodicField(tau=self.tau)}

    def shifted(self):
        """The same with larger and longer waves."""
        return dataclasses.replace(self, tau=self.ood_tau)

    def labels(self, u):
        """The Cole-Hopf formula."""
        return with_error(burgers, u, nu=self.nu)

    def recipe(self):
        """A modified trunk on harmonics, a plain branch and a decoder under SOAP."""
        return Recipe(
            field=partial(
                NonlinearDeepONet,
                width=64,
                depth=4,
                features=16,
                latent=16,
                decoder=3,
                harmonics=4,
                activation=GELU(),
                trunk="modified",
            ),
            stages=(Stage(partial(SOAP, lr=6e-3), steps=7000, schedule="cosine"),),
            run=RunOptions(log_every=200),
        )


if __name__ == "__main__":
    main(BurgersOperator)
