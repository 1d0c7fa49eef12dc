"""Heat2d-LT of PINNacle: a source that depends on u and pulses, on the unit square, t in [0, 100].

u_t = 0.001 laplace(u) + 5 sin(u^2) (1 + 2 sin(pi t / 4)) sin(4 pi x) sin(2 pi y); u = 0 on the sides, and at t = 0
u = sin(4 pi x) sin(3 pi y) (Hao et al., arXiv 2306.08827). The benchmark's reference file is 3.5e-2 off. The reference
here is by sines and ETDRK4; those with 191 and 255 sines along each axis differ by 3e-5. Best published error 1.0.
Nothing was repaired but the reference.

    nfsolve run pinnacle_heat2d_lt
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark


@dataclass
class Heat2dLT(Benchmark):
    """Heat with a pulsing source that depends on u, over a long time."""

    domain = Box(t=(0, 100), x=(0, 1), y=(0, 1))
    unknowns = "u"
    reference = "references/heat2d_lt.npz"
    label = "Heat2d-LT"
    published = 1.0
    public_file = "pinnacle/heat_longtime.dat"
    repaired = "the reference file is 3.5e-2 off; one of our own"

    @interior
    def balance(self, u, u_t, lap_u, t, x, y):
        """u_t - 0.001 laplace(u) - 5 sin(u^2) (1 + 2 sin(pi t / 4)) sin(4 pi x) sin(2 pi y) = 0."""
        pulse = 1 + 2 * torch.sin(math.pi * t / 4)
        place = torch.sin(4 * math.pi * x) * torch.sin(2 * math.pi * y)
        return u_t - 0.001 * lap_u - 5 * torch.sin(u**2) * pulse * place

    @face(t=0)
    def initial(self, u, x, y):
        """u(0) = sin(4 pi x) sin(3 pi y)."""
        return u - torch.sin(4 * math.pi * x) * torch.sin(3 * math.pi * y)

    @face(x=(0, 1), y=(0, 1))
    def sides(self, u):
        """U = 0 on the sides."""
        return u


if __name__ == "__main__":
    main(Heat2dLT)
