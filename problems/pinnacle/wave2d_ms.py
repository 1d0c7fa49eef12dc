"""Wave2d-MS of PINNacle: a membrane, u_tt = u_xx + 2 u_yy, on the unit square, t in [0, 100], u known on the sides.

At t = 0 u is known and u_t = 0. The solution is of the form sin(m1 pi x) sinh(n1 pi y) cos(pi t) + sinh(m2 pi x)
sin(n2 pi y) cos(pi t) (Hao et al., arXiv 2306.08827), which satisfies the equation if 2 n1^2 - m1^2 = -1 and
m2^2 - 2 n2^2 = -1. The benchmark's (m1, n1) = (1, 1) and (m2, n2) = (3, 2) leave a residual -2 pi^2 u. They are in the
wrong order: (3, 2) and (1, 1) are a solution with the same numbers and the frequency 1 that the benchmark has. Its code
also lacks u_t = 0 at t = 0, without which the solution is not unique. Best published error 9.8e-1.

    nfsolve run pinnacle_wave2d_ms
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark


@dataclass
class Wave2dMS(Benchmark):
    """The wave equation u_tt = u_xx + 2 u_yy over a long time."""

    domain = Box(t=(0, 100), x=(0, 1), y=(0, 1))
    unknowns = "u"
    evaluation = (101, 15, 15)
    label = "Wave2d-MS"
    published = 9.8e-1
    repaired = "wave numbers of both terms were exchanged, so the solution left a residual; u_t at t = 0 was missing"

    @interior
    def balance(self, u_tt, u_xx, u_yy):
        """u_tt - u_xx - 2 u_yy = 0."""
        return u_tt - u_xx - 2 * u_yy

    @face(t=0)
    def start(self, u, u_t, t, x, y):
        """U is known, and u_t = 0."""
        return torch.cat([u - self.exact(t, x, y), u_t], 1)

    @face(x=(0, 1), y=(0, 1))
    def sides(self, u, t, x, y):
        """U is known."""
        return u - self.exact(t, x, y)

    def exact(self, t, x, y):
        """(sin(3 pi x) sinh(2 pi y) + sinh(pi x) sin(pi y)) cos(pi t)."""
        first = torch.sin(3 * math.pi * x) * torch.sinh(2 * math.pi * y)
        second = torch.sinh(math.pi * x) * torch.sin(math.pi * y)
        return (first + second) * torch.cos(math.pi * t)


if __name__ == "__main__":
    main(Wave2dMS)
