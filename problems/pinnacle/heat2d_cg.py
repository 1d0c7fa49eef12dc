"""Heat2d-CG of PINNacle: u_t = laplace(u) on [-8, 8] x [-12, 12] with 17 round holes, t in [0, 3], u = 0 at t = 0.

Heat passes all sides: du/dn = 5 - u on the eleven large holes, 1 - u on the six small ones and 0.1 - u on the sides of
the plate, with the normal n out of the plate (Hao et al., arXiv 2306.08827). Best published error 2.4e-2. Nothing was
repaired. The reference is found by its Laplace transform, a sum of particular solutions.

    nfsolve run pinnacle_heat2d_cg
"""

from dataclasses import dataclass

from nfsolve import Box, Disk, boundary, face, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._holes import without

CENTRES = [(x, y) for x in (-4, 4) for y in (-9, -3, 3, 9)] + [(0, y) for y in (-6, 0, 6)]
LARGE = [Disk(x=x, y=y, radius=1) for x, y in CENTRES]
SMALL = [Disk(x=x, y=y, radius=0.4) for x in (-3.2, 3.2) for y in (-6, 0, 6)]


@dataclass
class Heat2dCG(Benchmark):
    """Heat in a plate with seventeen round holes."""

    domain = Box(t=(0, 3)) * without(without(Box(x=(-8, 8), y=(-12, 12)), LARGE, "large hole"), SMALL, "small hole")
    unknowns = "u"
    reference = "references/heat2d_cg.npz"
    label = "Heat2d-CG"
    published = 2.4e-2

    @interior
    def balance(self, u_t, lap_u):
        """u_t - laplace(u) = 0."""
        return u_t - lap_u

    @face(t=0)
    def initial(self, u):
        """u(0) = 0."""
        return u

    @boundary(part="large hole")
    def large(self, u, u_x, u_y, n_x, n_y):
        """du/dn = 5 - u on large holes."""
        return n_x * u_x + n_y * u_y - 5 + u

    @boundary(part="small hole")
    def small(self, u, u_x, u_y, n_x, n_y):
        """du/dn = 1 - u on small holes."""
        return n_x * u_x + n_y * u_y - 1 + u

    @boundary(part=("x=-8", "x=8", "y=-12", "y=12"))
    def sides(self, u, u_x, u_y, n_x, n_y):
        """du/dn = 0.1 - u on the sides."""
        return n_x * u_x + n_y * u_y - 0.1 + u


if __name__ == "__main__":
    main(Heat2dCG)
