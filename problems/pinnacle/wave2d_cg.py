"""Wave2d-CG of PINNacle: waves in a random material, u_tt = div(c grad u), on [-1, 1]^2, t in [0, 5].

u = exp(-((x + 0.5)^2 + y^2) / 0.18) and u_t = 0 at t = 0; no flux through the sides (Hao et al., arXiv 2306.08827). c
is 1 or 12, on the two sides of a level of a random field. The benchmark's code has c laplace(u), the model of its
reference div(c grad u), as here: where c jumps these are different problems. The fluxes p = c u_x and q = c u_y are
unknowns too. The reference is by spectral elements, one for each cell of the random field; those of degree 2 and 3
differ by 5e-3. Best published error 7.9e-1.

    NFSOLVE_DATA=FOLDER nfsolve run pinnacle_wave2d_cg
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._random import FIELD, bilinear, two_values


@dataclass
class Wave2dCG(Benchmark):
    """Waves in a material of two random parts, u_tt = div(c grad u), with its fluxes."""

    material: str = FIELD
    """file of the random field, a path or a name under $NFSOLVE_DATA"""

    domain = Box(t=(0, 5), x=(-1, 1), y=(-1, 1))
    unknowns = "u p q"
    needs = "pinnacle/coef_fields_seed20220722.npz of the benchmark at --material or under $NFSOLVE_DATA"
    reference = "references/wave2d_cg.npz"
    label = "Wave2d-CG"
    published = 7.9e-1
    repaired = "c laplace(u) in place of div(c grad u), which the model of its reference has"

    @interior
    def balance(self, u_tt, p_x, q_y):
        """u_tt - p_x - q_y = 0."""
        return u_tt - p_x - q_y

    @interior
    def fluxes(self, u_x, u_y, p, q, x, y):
        """P = c u_x, q = c u_y."""
        c = bilinear(self._grid.to(x), (x + 1) / 2, (y + 1) / 2)
        return torch.cat([p - c * u_x, q - c * u_y], 1)

    @face(t=0)
    def start(self, u, u_t, x, y):
        """A pulse at rest."""
        return torch.cat([u - torch.exp(-((x + 0.5) ** 2 + y**2) / 0.18), u_t], 1)

    @face(x=(-1, 1))
    def left_and_right(self, p):
        """Nothing passes the sides x = -1 and x = 1."""
        return p

    @face(y=(-1, 1))
    def below_and_above(self, q):
        """Nothing passes the sides y = -1 and y = 1."""
        return q

    @cached_property
    def _grid(self):
        """The coefficient on its grid."""
        return two_values(self.material, type(self), 1, 12)


if __name__ == "__main__":
    main(Wave2dCG)
