"""HNd of PINNacle: heat in a ball of five dimensions, u_t = laplace(u) / 5 - (r^2 / 5) exp(r^2 / 2 + t), t in [0, 1].

In the unit ball; u = exp(r^2 / 2 + t) is the exact solution, given at t = 0. On the surface its normal derivative is
given, which there equals u (Hao et al., arXiv 2306.08827). Best published error 1.2e-4. Nothing was repaired.

    nfsolve run pinnacle_hnd
"""

from dataclasses import dataclass

import torch

from nfsolve import Box, boundary, face, interior, main
from problems.pinnacle._ball import Ball5
from problems.pinnacle._benchmark import Benchmark


@dataclass
class HNd(Benchmark):
    """Heat in the unit ball of five dimensions, u_t = laplace(u) / 5 + f."""

    domain = Box(t=(0, 1)) * Ball5(a=0, b=0, c=0, d=0, e=0, radius=1)
    unknowns = "u"
    evaluation = (6, 7, 7, 7, 7, 7)
    label = "HNd"
    published = 1.2e-4

    @interior
    def balance(self, u_t, lap_u, t, a, b, c, d, e):
        """u_t - laplace(u) / 5 + (r^2 / 5) exp(r^2 / 2 + t) = 0."""
        return u_t - lap_u / 5 + squared(a, b, c, d, e) / 5 * self.exact(t, a, b, c, d, e)

    @face(t=0)
    def initial(self, u, t, a, b, c, d, e):
        """u(0) = exp(r^2 / 2)."""
        return u - self.exact(t, a, b, c, d, e)

    @boundary
    def flux(self, u_a, u_b, u_c, u_d, u_e, n_a, n_b, n_c, n_d, n_e, t, a, b, c, d, e):
        """The normal derivative is r exp(r^2 / 2 + t), at r = 1."""
        slope = u_a * n_a + u_b * n_b + u_c * n_c + u_d * n_d + u_e * n_e
        return slope - self.exact(t, a, b, c, d, e)

    def exact(self, t, a, b, c, d, e):
        """exp(r^2 / 2 + t)."""
        return torch.exp(squared(a, b, c, d, e) / 2 + t)


def squared(*x: torch.Tensor) -> torch.Tensor:
    """Return r^2, the sum of the squares of coordinates ``(n, 1)``."""
    return sum((value**2 for value in x[1:]), x[0] ** 2)


if __name__ == "__main__":
    main(HNd)
