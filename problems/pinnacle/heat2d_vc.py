"""Heat2d-VC of PINNacle: heat in a random material, u_t = div(a grad u) + f, on the unit square, t in [0, 5].

f = 200 sin(pi x) sin(5 pi y) sin(pi t), u = 0 on the sides and at t = 0 (Hao et al., arXiv 2306.08827). In the
benchmark's reference file, by finite elements at 983 points, a is 1 or 2, on the two sides of a level of a random
field. The benchmark's code has a laplace(u) instead, which is 2.0e-1 away from the file for this a. That is as much as
its best published error, 2.1e-1. As a jumps, the fluxes p = a u_x and q = a u_y are unknowns here too. The reference is
by spectral elements, one for each cell of the random field.

    NFSOLVE_DATA=FOLDER nfsolve run pinnacle_heat2d_vc
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._random import FIELD, bilinear, two_values


@dataclass
class Heat2dVC(Benchmark):
    """Heat in a material of two random parts, u_t = div(a grad u) + f, with its fluxes."""

    material: str = FIELD
    """file of the random field, a path or a name under $NFSOLVE_DATA"""

    domain = Box(t=(0, 5), x=(0, 1), y=(0, 1))
    unknowns = "u p q"
    needs = "pinnacle/coef_fields_seed20220722.npz of the benchmark at --material or under $NFSOLVE_DATA"
    reference = "references/heat2d_vc.npz"
    label = "Heat2d-VC"
    published = 2.1e-1
    in_file = "u"
    public_file = "pinnacle/heat_darcy.dat"
    repaired = "a laplace(u) in place of div(a grad u), 2.0e-1 away from its own reference; a is 1 or 2 there"

    @interior
    def balance(self, u_t, p_x, q_y, t, x, y):
        """u_t - p_x - q_y - 200 sin(pi x) sin(5 pi y) sin(pi t) = 0."""
        f = 200 * torch.sin(math.pi * x) * torch.sin(5 * math.pi * y) * torch.sin(math.pi * t)
        return u_t - p_x - q_y - f

    @interior
    def fluxes(self, u_x, u_y, p, q, x, y):
        """P = a u_x, q = a u_y."""
        a = bilinear(self._grid.to(x), x, y)
        return torch.cat([p - a * u_x, q - a * u_y], 1)

    @face(t=0)
    def initial(self, u):
        """u(0) = 0."""
        return u

    @face(x=(0, 1), y=(0, 1))
    def sides(self, u):
        """U = 0 on the sides."""
        return u

    @cached_property
    def _grid(self):
        """The coefficient on its grid."""
        return two_values(self.material, type(self), 1, 2)


if __name__ == "__main__":
    main(Heat2dVC)
