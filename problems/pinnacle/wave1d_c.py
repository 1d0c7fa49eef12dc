"""Wave1d-C of PINNacle: two standing waves, u_tt = 4 u_xx, on t in [0, 1], x in [0, 1], u = 0 at the ends.

The string starts at rest in the shape sin(pi x) + sin(4 pi x) / 2 (Hao et al., arXiv 2306.08827). Best published error
9.8e-2. Nothing was repaired. The gallery's `wave` is the same problem with weights and a recipe of its own.

    nfsolve run pinnacle_wave1d_c
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark


@dataclass
class Wave1dC(Benchmark):
    """The wave equation u_tt = 4 u_xx with two standing waves."""

    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"
    evaluation = (101, 101)
    label = "Wave1d-C"
    published = 9.8e-2

    @interior
    def balance(self, u_tt, u_xx):
        """u_tt - 4 u_xx = 0."""
        return u_tt - 4 * u_xx

    @face(t=0)
    def start(self, u, u_t, t, x):
        """u(0, x) = sin(pi x) + sin(4 pi x) / 2, and u_t(0, x) = 0."""
        return torch.cat([u - self.exact(t, x), u_t], 1)

    @face(x=(0, 1))
    def ends(self, u):
        """u(t, 0) = u(t, 1) = 0."""
        return u

    def exact(self, t, x):
        """sin(pi x) cos(2 pi t) + sin(4 pi x) cos(8 pi t) / 2."""
        first = torch.sin(math.pi * x) * torch.cos(2 * math.pi * t)
        return first + 0.5 * torch.sin(4 * math.pi * x) * torch.cos(8 * math.pi * t)


if __name__ == "__main__":
    main(Wave1dC)
