"""Heat2d-CG of PINNacle: u_t = laplace(u) on [-8, 8] x [-12, 12] with 17 round holes, t in [0, 3], u = 0 at t = 0.

Heat passes all sides: du/dn = 5 - u on the eleven large holes, 1 - u on the six small ones and 0.1 - u on the sides of
the plate, with the normal n out of the plate (Hao et al., arXiv 2306.08827). Best published error 2.4e-2. Nothing was
repaired. The reference is found by its Laplace transform, a sum of particular solutions.

    nfsolve run pinnacle_heat2d_cg
"""

from dataclasses import dataclass, field

from nfsolve import Box, Disk, boundary, face, interior, main
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._holes import without
from problems.pinnacle._splines import by_splines, evenly

CENTRES = [(x, y) for x in (-4, 4) for y in (-9, -3, 3, 9)] + [(0, y) for y in (-6, 0, 6)]
LARGE = [Disk(x=x, y=y, radius=1) for x, y in CENTRES]
SMALL = [Disk(x=x, y=y, radius=0.4) for x in (-3.2, 3.2) for y in (-6, 0, 6)]

TIMES = (0.0, 0.02, 0.1, 0.3, 0.8, 1.6, 3.0)  # ends of cells: at first heat is near the holes only


@dataclass
class Heat2dCG(Benchmark):
    """Heat in a plate with seventeen round holes."""

    n_points: int = field(default=75000, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=30000, kw_only=True)
    """points of each condition on sides"""

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

    def place(self, unit):
        """Put as many points into each cell of time."""
        return evenly(self.domain, unit, t=TIMES)

    def recipe(self):
        """Splines of degree 4 over the plate, on 36 x 54 cells of which the holes cut some."""
        return by_splines((TIMES, 36, 54), degree=4)


if __name__ == "__main__":
    main(Heat2dCG)
