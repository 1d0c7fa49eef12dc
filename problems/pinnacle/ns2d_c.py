"""NS2d-C of PINNacle: steady flow in a square under a sliding lid, (u . grad) u = -grad p + laplace(u) / 100.

div u = 0. On the lid y = 1 u = 4 x (1 - x), v = 0; on the other walls u = v = 0; p(0, 0) = 0 (Hao et al., arXiv
2306.08827). The reference is by spectral elements that shrink towards the corners; where the lid ends, the pressure is
infinite and not scored. Best published error 3.6e-2. Nothing was repaired.

    nfsolve run pinnacle_ns2d_c
"""

from dataclasses import dataclass, field

import torch

from nfsolve import Box, face, main
from problems.pinnacle._flow import SteadyFlow
from problems.pinnacle._splines import by_splines, evenly, shrinking

CELLS = shrinking(0, 1, 28, 0.004)


@dataclass
class NS2dC(SteadyFlow):
    """Steady flow in a square under a lid that slides fastest in its middle."""

    n_points: int = field(default=4000, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=2000, kw_only=True)
    """points of each condition on sides"""

    domain = Box(x=(0, 1), y=(0, 1))
    reference = "references/ns2d_c.npz"
    label = "NS2d-C"
    published = 3.6e-2
    public_file = "pinnacle/lid_driven_a4.dat"

    @face(y=1)
    def lid(self, u, v, x):
        """u = 4 x (1 - x) and v = 0 on the lid."""
        return torch.cat([u - 4 * x * (1 - x), v], 1)

    @face(x=(0, 1))
    def sides(self, u, v):
        """The fluid sticks to the sides."""
        return torch.cat([u, v], 1)

    @face(y=0)
    def floor(self, u, v):
        """It sticks to the floor."""
        return torch.cat([u, v], 1)

    @face(x=0, y=0)
    def pin(self, p):
        """P = 0 in a corner."""
        return p

    def place(self, unit):
        """Put as many points into each cell."""
        return evenly(self.domain, unit, x=CELLS, y=CELLS)

    def recipe(self):
        """Splines with cells that shrink towards the corners, where the pressure is infinite."""
        return by_splines((CELLS, CELLS), steps=8)


if __name__ == "__main__":
    main(NS2dC)
