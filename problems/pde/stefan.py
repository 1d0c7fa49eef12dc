"""The one-phase Stefan problem: ice melts at a front x = s(t), which is found with the temperature of the water.

In Landau's coordinate z = x / s(t) the water fills 0 <= z <= 1, and s^2 u_t - z s s' u_z = u_zz. The front s(t) is an
unknown that depends on t only. The solution, from t = 0.1 on, is u = 1 - erf(l z) / erf(l) and s = 2 l sqrt(t), where
sqrt(pi) l exp(l^2) erf(l) = 1 (Carslaw & Jaeger, Conduction of Heat in Solids, 2nd ed., 11.2).

    nfsolve run stefan
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, face, interior, main

GROWTH = 0.6200626333135956  # l, a root of sqrt(pi) l exp(l^2) erf(l) = 1


@dataclass
class Stefan(PDE):
    """The one-phase Stefan problem: the temperature of melt water and the front of the ice."""

    domain = Box(t=(0.1, 1), z=(0, 1))
    unknowns = "u s(t)"

    @interior
    def heat(self, u_t, u_z, u_zz, s, s_t, z):
        """Heat is conducted, seen from coordinates that move with the front."""
        return s**2 * u_t - z * s * s_t * u_z - u_zz

    @face(z=0)
    def hot(self, u):
        """The wall is hot."""
        return u - 1

    @face(z=1)
    def melting(self, u):
        """Ice melts at u = 0."""
        return u

    @face(z=1)
    def front(self, u_z, s, s_t):
        """The heat that arrives at the front melts it: s s' = -u_z."""
        return s * s_t + u_z

    @face(t=0.1)
    def start(self, u, s, t, z):
        """The solution at t = 0.1."""
        known = self.exact(t, z)
        return torch.cat([u - known[0], s - known[1]], -1)

    def exact(self, t, z):
        """Return the similarity solution of Neumann."""
        return 1 - torch.erf(GROWTH * z) / math.erf(GROWTH), 2 * GROWTH * torch.sqrt(t)


if __name__ == "__main__":
    main(Stefan)
