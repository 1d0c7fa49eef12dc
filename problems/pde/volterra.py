"""An integro-differential equation of Volterra, y' + y = int_0^x exp(s - x) y(s) ds, y(0) = 1 on x in [0, 5].

The upper limit of the integral is the point itself, so the integral is written inside the equation. The exact solution
is exp(-x) cosh(x) (the equation is the example 'IDE' of Lu et al., DeepXDE, SIAM Review 63 (2021) 208).

    nfsolve run volterra
"""

from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, face, interior, main


@dataclass
class Volterra(PDE):
    """A Volterra integro-differential equation, whose memory decays exponentially."""

    domain = Box(x=(0, 5))
    unknowns = "y"

    @interior(points=100)
    def balance(self, y, y_x, x, integral):
        """Y' + y = the memory of y."""
        return y_x + y - integral(lambda s, y: torch.exp(s - x) * y, x=(0, x))

    @face(x=0)
    def start(self, y):
        """Y = 1."""
        return y - 1

    def exact(self, x):
        """exp(-x) cosh(x)."""
        return torch.exp(-x) * torch.cosh(x)


if __name__ == "__main__":
    main(Volterra)
