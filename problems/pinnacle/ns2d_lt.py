"""NS2d-LT of PINNacle: flow in a channel whose inlet pulses, u_t + (u . grad) u = -grad p + laplace(u) / 100 + f.

div u = 0, on [0, 2] x [0, 1], t in [0, 5], at rest at t = 0. f = (0, -sin(pi x) sin(pi y) sin(pi t)); at the inlet x =
0 u = sin(pi y) (sin(pi t) + sin(3 pi t) + sin(5 pi t)), v = 0; u = v = 0 on y = 0 and y = 1 (Hao et al., arXiv
2306.08827). The benchmark's code has p = 0 at the outlet x = 2 and p = 0 at t = 0: the first alone does not determine
the flow, the second cannot be asked for, as the flow determines its pressure. In the model of its reference no force
acts on the outlet, p = 2 u_x / 100 and u_y + v_x = 0, as here, but for a term that hinders fluid from flowing back.
The reference is by spectral elements and BDF3, with an error of 1e-2 in v. Best published error 9.7e-1.

    nfsolve run pinnacle_ns2d_lt
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import Box, face, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._flow import NU


@dataclass
class NS2dLT(Benchmark):
    """Flow in a channel whose inlet pulses."""

    domain = Box(t=(0, 5), x=(0, 2), y=(0, 1))
    unknowns = "u v p"
    reference = "references/ns2d_lt.npz"
    label = "NS2d-LT"
    published = 9.7e-1
    repaired = "no force on the outlet, in place of p = 0 there alone; no condition on p at t = 0"

    @interior
    def along(self, u, v, u_t, u_x, u_y, lap_u, p_x):
        """u_t + u u_x + v u_y + p_x - 0.01 laplace(u) = 0."""
        return u_t + u * u_x + v * u_y + p_x - NU * lap_u

    @interior
    def across(self, u, v, v_t, v_x, v_y, lap_v, p_y, t, x, y):
        """v_t + u v_x + v v_y + p_y - 0.01 laplace(v) + sin(pi x) sin(pi y) sin(pi t) = 0."""
        force = torch.sin(math.pi * x) * torch.sin(math.pi * y) * torch.sin(math.pi * t)
        return v_t + u * v_x + v * v_y + p_y - NU * lap_v + force

    @interior
    def incompressible(self, u_x, v_y):
        """u_x + v_y = 0."""
        return u_x + v_y

    @face(t=0)
    def rest(self, u, v):
        """The fluid is at rest."""
        return torch.cat([u, v], 1)

    @face(x=0)
    def inlet(self, u, v, t, y):
        """u = sin(pi y) (sin(pi t) + sin(3 pi t) + sin(5 pi t)), v = 0."""
        pulse = sum(torch.sin(k * math.pi * t) for k in (1, 3, 5))
        return torch.cat([u - torch.sin(math.pi * y) * pulse, v], 1)

    @face(x=2)
    def outlet(self, p, u_x, u_y, v_x):
        """No force acts: p = 0.02 u_x, u_y + v_x = 0."""
        return torch.cat([p - 2 * NU * u_x, NU * (u_y + v_x)], 1)

    @face(y=(0, 1))
    def walls(self, u, v):
        """The fluid sticks to the walls."""
        return torch.cat([u, v], 1)


if __name__ == "__main__":
    main(NS2dLT)
