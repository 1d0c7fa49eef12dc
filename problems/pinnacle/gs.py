"""GS of PINNacle: the Gray-Scott reaction, u_t = 1e-5 laplace(u) + 0.04 (1 - u) - u v^2, with v beside it.

v_t = 5e-6 laplace(v) - 0.1 v + u v^2 on [-1, 1]^2, t in [0, 200]; at t = 0 u = 1 - exp(-80 ((x + 0.05)^2 + (y +
0.02)^2)) and v = exp(-80 ((x - 0.05)^2 + (y - 0.02)^2)) (Hao et al., arXiv 2306.08827). The benchmark's code has no
boundary condition, so its solution is not unique; here it is periodic. The reference is by a Fourier method and
ETDRK4. Best published error 8.0e-2.

    nfsolve run pinnacle_gs
"""

from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main, periodic
from problems.pinnacle._benchmark import Benchmark


@dataclass
class GS(Benchmark):
    """The Gray-Scott reaction of two substances that diffuse."""

    domain = Box(t=(0, 200), x=periodic(-1, 1), y=periodic(-1, 1))
    unknowns = "u v"
    reference = "references/gs.npz"
    label = "GS"
    published = 8.0e-2
    repaired = "a boundary condition was missing: the solution is periodic"

    @interior
    def feed(self, u, v, u_t, lap_u):
        """u_t - 1e-5 laplace(u) - 0.04 (1 - u) + u v^2 = 0."""
        return u_t - 1e-5 * lap_u - 0.04 * (1 - u) + u * v**2

    @interior
    def decay(self, u, v, v_t, lap_v):
        """v_t - 5e-6 laplace(v) + 0.1 v - u v^2 = 0."""
        return v_t - 5e-6 * lap_v + 0.1 * v - u * v**2

    @face(t=0)
    def initial(self, u, v, x, y):
        """Both substances begin as a spot near the middle."""
        first = 1 - torch.exp(-80 * ((x + 0.05) ** 2 + (y + 0.02) ** 2))
        return torch.cat([u - first, v - torch.exp(-80 * ((x - 0.05) ** 2 + (y - 0.02) ** 2))], 1)


if __name__ == "__main__":
    main(GS)
