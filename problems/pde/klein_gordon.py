"""The nonlinear Klein-Gordon equation, u_tt - u_xx + u^2 = f, on t in [0, 2], x in [0, 1].

f follows from u = sin(pi x) cos(2 t), so the error is known exactly. There is no recipe here: nfsolve finds one.

    nfsolve run klein_gordon
    nfsolve run klein_gordon --accuracy 1e-6
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, face, interior, main


@dataclass
class KleinGordon(PDE):
    """The nonlinear Klein-Gordon equation with exact solution sin(pi x) cos(omega t)."""

    omega: float = 2.0
    """frequency of the solution, in radians per unit of time"""

    domain = Box(t=(0, 2), x=(0, 1))
    unknowns = "u"

    @interior
    def motion(self, u, u_tt, u_xx, t, x):
        """u_tt - u_xx + u^2 = f."""
        known = self.exact(t, x)
        return u_tt - u_xx + u**2 - (math.pi**2 - self.omega**2) * known - known**2

    @face(t=0)
    def initial(self, u, u_t, x):
        """The solution and its velocity at the start."""
        return torch.cat([u - torch.sin(math.pi * x), u_t], -1)

    @face(x=(0, 1))
    def ends(self, u):
        """U = 0 at both ends."""
        return u

    def exact(self, t, x):
        """sin(pi x) cos(omega t)."""
        return torch.sin(math.pi * x) * torch.cos(self.omega * t)


if __name__ == "__main__":
    main(KleinGordon)
