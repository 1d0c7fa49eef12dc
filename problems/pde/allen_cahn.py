"""The Allen-Cahn equation, u_t = nu u_xx + 5 u - 5 u^3, on t in [0, 1], x periodic on [-1, 1].

u(0, x) = x^2 cos(pi x) (Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378 (2019)). Its periodic
continuation has a kink at x = 1, so the field must not be forced to start from it: the initial condition is soft.

    nfsolve run allen_cahn
"""

import math
from dataclasses import dataclass, field
from functools import partial

import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, periodic, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class AllenCahn(PDE):
    """The Allen-Cahn equation, u_t = nu u_xx + 5 u - 5 u^3, periodic."""

    nu: float = 1e-4
    """diffusivity; the reference is for 1e-4"""
    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain"""

    domain = Box(t=(0, 1), x=periodic(-1, 1))
    unknowns = "u"

    @property
    def reference(self):
        """The spectral solution, where it has this diffusivity."""
        return "references/allen_cahn.npz" if self.nu == 1e-4 else ""

    @interior
    def reaction_diffusion(self, u, u_t, u_xx):
        """u_t - nu u_xx - 5 u + 5 u^3 = 0."""
        return u_t - self.nu * u_xx - 5 * u + 5 * u**3

    @face(t=0, weight=100.0)
    def initial(self, u, x):
        """u(0, x) = x^2 cos(pi x)."""
        return u - x**2 * torch.cos(math.pi * x)

    def ansatz(self, u, t, x):
        """Add what diffusion makes of the kink at x = 1, in closed form; the network learns the smooth rest."""
        return u + torch.exp(-10 * t) * torch.sin(0.5 * math.pi * x) ** 8 * kink(t, 1 - torch.abs(x), self.nu)

    @starting_point
    def recipe(self):
        """Four windows in time, each with a small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=16, depth=3, harmonics=2),
            stages=(
                Stage(GaussNewton, steps=60, points=0.5),
                Stage(partial(GaussNewton, damping=1e-6), steps=50),
            ),
            run=RunOptions(dtype="float64", log_every=5, windows=4),
        )


def kink(t: torch.Tensor, s: torch.Tensor, nu: float) -> torch.Tensor:
    """Evaluate the solution of the heat equation that starts as 2 abs(s).

    Args:
        t: Times ``(n, 1)``.
        s: Distances from the kink ``(n, 1)``.
        nu: Diffusivity.

    Returns:
        Values ``(n, 1)``: twice the mean of abs(s + sqrt(2 nu t) Z), Z standard normal.
    """
    width = torch.sqrt(4 * nu * (t + 1e-9))  # the start is smooth too, within 1e-6 of the kink
    z = s / width
    return 2 * (s * torch.erf(z) + width / math.sqrt(math.pi) * torch.exp(-z * z))


if __name__ == "__main__":
    main(AllenCahn)
