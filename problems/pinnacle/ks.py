"""KS of PINNacle: u_t + (100/16) u u_x + (100/16^2) u_xx + (100/16^4) u_xxxx = 0, on t in [0, 1], x in [0, 2 pi].

u(0, x) = cos(x) (1 + sin(x)), period 2 pi (Hao et al., arXiv 2306.08827). The benchmark's code has no boundary
condition, so its solution is not unique; here it is periodic, as the initial value is. Small differences grow by up to
exp(25 t). The reference is by a Fourier method and ETDRK4, with an error of 2e-6. Best published error 9.6e-1.

    nfsolve run pinnacle_ks
"""

import math
from dataclasses import dataclass, field

import torch

from nfsolve import Box, face, interior, main, periodic
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._splines import by_splines

ALPHA, BETA, GAMMA = 100 / 16, 100 / 16**2, 100 / 16**4


@dataclass
class KS(Benchmark):
    """The Kuramoto-Sivashinsky equation in its chaotic regime, periodic."""

    n_points: int = field(default=7000, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=800, kw_only=True)
    """points of each condition on sides"""

    domain = Box(t=(0, 1), x=periodic(0, 2 * math.pi))
    unknowns = "u"
    reference = "references/ks.npz"
    label = "KS"
    published = 9.6e-1
    repaired = "a boundary condition was missing: the solution is periodic"

    @interior
    def balance(self, u, u_t, u_x, u_xx, u_xxxx):
        """u_t + alpha u u_x + beta u_xx + gamma u_xxxx = 0."""
        return u_t + ALPHA * u * u_x + BETA * u_xx + GAMMA * u_xxxx

    @face(t=0)
    def initial(self, u, x):
        """u(0, x) = cos(x) (1 + sin(x))."""
        return u - torch.cos(x) * (1 + torch.sin(x))

    def recipe(self):
        """Splines with 320 cells in 40 windows of time."""
        return by_splines((2, 320), degree=(6, 7), steps=8, windows=40)


if __name__ == "__main__":
    main(KS)
