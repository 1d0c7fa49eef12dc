"""Poisson2d-CG of PINNacle: -laplace(u) + 64 u = f on [-1, 1]^2 with four round holes of different size.

f = 10 (17 + x^2 + y^2) sin(pi x) sin(4 pi y), u = 0.2 on the sides, u = 1 on the holes (Hao et al., arXiv 2306.08827;
the Poisson-Boltzmann equation, linearised). The reference is a sum of particular solutions fitted on the
boundary; the maximum principle bounds its error. Best published error 1.4e-2. Nothing was repaired.

    nfsolve run pinnacle_poisson2d_cg
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, Disk, boundary, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._holes import without

HOLES = [
    Disk(x=0.5, y=0.5, radius=0.2),
    Disk(x=0.4, y=-0.4, radius=0.4),
    Disk(x=-0.2, y=-0.7, radius=0.1),
    Disk(x=-0.6, y=0.5, radius=0.3),
]


@dataclass
class Poisson2dCG(Benchmark):
    """The linearised Poisson-Boltzmann equation, -laplace(u) + 64 u = f, around four holes."""

    domain = without(Box(x=(-1, 1), y=(-1, 1)), HOLES, "hole")
    unknowns = "u"
    reference = "references/poisson2d_cg.npz"
    label = "Poisson2d-CG"
    published = 1.4e-2
    public_file = "pinnacle/poisson_boltzmann2d.dat"

    @interior
    def balance(self, u, lap_u, x, y):
        """-laplace(u) + 64 u - 10 (17 + x^2 + y^2) sin(pi x) sin(4 pi y) = 0."""
        f = 10 * (17 + x**2 + y**2) * torch.sin(math.pi * x) * torch.sin(4 * math.pi * y)
        return -lap_u + 64 * u - f

    @boundary(part=("x=-1", "x=1", "y=-1", "y=1"))
    def sides(self, u):
        """U = 0.2 on the sides."""
        return u - 0.2

    @boundary(part="hole")
    def holes(self, u):
        """U = 1 on the holes."""
        return u - 1


if __name__ == "__main__":
    main(Poisson2dCG)
