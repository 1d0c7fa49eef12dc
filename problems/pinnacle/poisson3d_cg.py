"""Poisson3d-CG of PINNacle: -laplace(u) + k^2 u = f in the unit cube with four round holes, no flux through any side.

k = 8 where z < 1/2 and 10 above; f = 20 exp(sin(pi x) + sin(10 pi y) + sin(5 pi z)) (r^2 - 1) / (r^2 + 1) + 100 sin(pi
x) sin(10 pi y) sin(5 pi z), r^2 = x^2 + y^2 + z^2 (Hao et al., arXiv 2306.08827). At z = 1/2 u and its slope are
continuous. Best published error 9.5e-2. Nothing was repaired. The reference is by finite volumes, extrapolated.

    nfsolve run pinnacle_poisson3d_cg
"""

import math
from dataclasses import dataclass, field

import torch

from nfsolve import Box, Sphere, boundary, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._holes import without
from problems.pinnacle._splines import by_splines

HOLES = [
    Sphere(x=0.4, y=0.3, z=0.6, radius=0.2),
    Sphere(x=0.6, y=0.7, z=0.6, radius=0.2),
    Sphere(x=0.2, y=0.8, z=0.7, radius=0.1),
    Sphere(x=0.6, y=0.2, z=0.3, radius=0.1),
]


@dataclass
class Poisson3dCG(Benchmark):
    """The screened Poisson equation in a cube with four round holes."""

    n_points: int = field(default=45000, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=15000, kw_only=True)
    """points of each condition on sides"""

    domain = without(Box(x=(0, 1), y=(0, 1), z=(0, 1)), HOLES, "hole")
    unknowns = "u"
    reference = "references/poisson3d_cg.npz"
    label = "Poisson3d-CG"
    published = 9.5e-2

    @interior
    def balance(self, u, lap_u, x, y, z):
        """-laplace(u) + k^2 u - f = 0."""
        return -lap_u + torch.where(z < 0.5, 64.0, 100.0) * u - source(x, y, z)

    @boundary
    def flux(self, u_x, u_y, u_z, n_x, n_y, n_z):
        """du/dn = 0."""
        return n_x * u_x + n_y * u_y + n_z * u_z

    def recipe(self):
        """Splines with cells for the waves of f, whose second derivative may jump at z = 1/2."""
        half = tuple(i / 16 for i in range(9))
        return by_splines((9, 32, (*half, 0.5, 0.5, *(0.5 + z for z in half[1:]))))


def source(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return f at coordinates ``(n, 1)``."""
    first, second, third = (torch.sin(m * math.pi * a) for m, a in ((1, x), (10, y), (5, z)))
    r2 = x**2 + y**2 + z**2
    return 20 * torch.exp(first + second + third) * (r2 - 1) / (r2 + 1) + 100 * first * second * third


if __name__ == "__main__":
    main(Poisson3dCG)
