"""PNd of PINNacle: Poisson's equation in five dimensions, laplace(u) = -(pi^2 / 4) sum sin(pi x_i / 2).

On [0, 1]^5; u = sum sin(pi x_i / 2) is given on the boundary and is the exact solution (Hao et al., arXiv 2306.08827).
Best published error 4.7e-4. Nothing was repaired.

    nfsolve run pinnacle_pnd
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark


@dataclass
class PNd(Benchmark):
    """Poisson's equation on [0, 1]^5, laplace(u) = -(pi^2 / 4) sum sin(pi x_i / 2)."""

    domain = Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1))
    unknowns = "u"
    evaluation = (7, 7, 7, 7, 7)
    label = "PNd"
    published = 4.7e-4

    @interior
    def balance(self, lap_u, a, b, c, d, e):
        """Laplace u + (pi^2 / 4) sum sin(pi x_i / 2) = 0."""
        return lap_u + math.pi**2 / 4 * self.exact(a, b, c, d, e)

    @face(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1))
    def sides(self, u, a, b, c, d, e):
        """U = sum sin(pi x_i / 2) on the ten sides."""
        return u - self.exact(a, b, c, d, e)

    def exact(self, a, b, c, d, e):
        """sum sin(pi x_i / 2)."""
        return sum(torch.sin(math.pi / 2 * x) for x in (a, b, c, d, e))


if __name__ == "__main__":
    main(PNd)
