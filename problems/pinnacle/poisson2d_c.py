"""Poisson2d-C of PINNacle: Laplace's equation on a square with four round holes, u = 1 on its sides, 0 on the holes.

The square is [-0.5, 0.5]^2, the holes have radius 0.1 and centres (+-0.3, +-0.3) (Hao et al., arXiv 2306.08827). The
reference is a sum of harmonic functions fitted on the boundary, with an error of at most 1e-9. Best published error
1.2e-2. Nothing was repaired.

    nfsolve run pinnacle_poisson2d_c
"""

from dataclasses import dataclass

from nfsolve import Box, Disk, boundary, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._holes import without

HOLES = [Disk(x=x, y=y, radius=0.1) for x in (-0.3, 0.3) for y in (-0.3, 0.3)]


@dataclass
class Poisson2dC(Benchmark):
    """Laplace's equation around four round holes."""

    domain = without(Box(x=(-0.5, 0.5), y=(-0.5, 0.5)), HOLES, "hole")
    unknowns = "u"
    reference = "references/poisson2d_c.npz"
    label = "Poisson2d-C"
    published = 1.2e-2
    public_file = "pinnacle/poisson1_cg_data.dat"

    @interior
    def balance(self, lap_u):
        """Laplace u = 0."""
        return lap_u

    @boundary(part=("x=-0.5", "x=0.5", "y=-0.5", "y=0.5"))
    def sides(self, u):
        """U = 1 on the sides."""
        return u - 1

    @boundary(part="hole")
    def holes(self, u):
        """U = 0 on the holes."""
        return u


if __name__ == "__main__":
    main(Poisson2dC)
