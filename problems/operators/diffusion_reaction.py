"""Diffusion with reaction as an operator, f -> s, s_t = D s_xx + k s^2 + f(x), on t in [0, 1], x in [0, 1].

s = 0 at t = 0 and at both ends, which the network satisfies exactly; f is a Gaussian random field (Wang, Wang &
Perdikaris, Science Advances 7 (2021) eabi8605, where 5,000 functions give a mean relative error of 5.3e-3 from the
residual and 9.7e-3 from labels).

    nfsolve run deeponet_diffusion_reaction
    nfsolve run deeponet_diffusion_reaction --solved 300 --steps 2  # the equations of 300 functions solved first
    nfsolve run deeponet_diffusion_reaction --no-physics --data
"""

import dataclasses
from dataclasses import dataclass, field

from nfsolve import Box, OperatorPDE, interior, main
from nfsolve.functions import GaussianField
from problems.operators._solvers import diffusion_reaction, with_error


@dataclass
class DiffusionReaction(OperatorPDE):
    """The operator f -> s of s_t = D s_xx + k s^2 + f(x)."""

    diffusion: float = 0.01
    """diffusivity D"""
    reaction: float = 0.01
    """rate k of the reaction"""
    length: float = 0.2
    """correlation length of f"""
    ood_length: float = 0.1
    """correlation length of further test functions, of another kind than those of the training"""
    n_functions: int = field(default=5000, kw_only=True)
    """training functions; 0 draws new ones for each mini-batch"""

    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "s"
    evaluation = (101, 101)

    @interior
    def balance(self, s, s_t, s_xx, f):
        """s_t - D s_xx - k s^2 - f = 0."""
        return s_t - self.diffusion * s_xx - self.reaction * s**2 - f

    def ansatz(self, s, t, x):
        """s = 0 at t = 0, x = 0 and x = 1."""
        return t * x * (1 - x) * s

    def spaces(self):
        """Gaussian random fields of covariance exp(-(x - x')^2 / (2 l^2))."""
        return {"f": GaussianField(self.length)}

    def shifted(self):
        """The same with another correlation length."""
        return dataclasses.replace(self, length=self.ood_length)

    def labels(self, f):
        """Chebyshev collocation and exponential time differencing."""
        return with_error(diffusion_reaction, f, diffusion=self.diffusion, reaction=self.reaction)


if __name__ == "__main__":
    main(DiffusionReaction)
