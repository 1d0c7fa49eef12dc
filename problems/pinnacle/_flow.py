"""What the flows of PINNacle share: the steady equations of Navier and Stokes at viscosity 0.01."""

from dataclasses import dataclass

from nfsolve import interior
from problems.pinnacle._benchmark import Benchmark

NU = 0.01


@dataclass
class SteadyFlow(Benchmark):
    """Steady incompressible flow of viscosity 0.01, with velocity u, v and pressure p."""

    unknowns = "u v p"

    @interior
    def along(self, u, v, u_x, u_y, lap_u, p_x):
        """U u_x + v u_y + p_x - 0.01 laplace(u) = 0."""
        return u * u_x + v * u_y + p_x - NU * lap_u

    @interior
    def across(self, u, v, v_x, v_y, lap_v, p_y):
        """U v_x + v v_y + p_y - 0.01 laplace(v) = 0."""
        return u * v_x + v * v_y + p_y - NU * lap_v

    @interior
    def incompressible(self, u_x, v_y):
        """u_x + v_y = 0."""
        return u_x + v_y
