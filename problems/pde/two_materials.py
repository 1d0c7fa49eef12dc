"""Heat conduction in a plate with a round core of another material: k lap T = q, k = 10 in the core and 1 around it.

The domain is a union of two named parts, each with its own unknown: u in the core, v in the shell. At their interface
the temperature and the heat flux are continuous; the slope is not.

    nfsolve run two_materials
    nfsolve show problems/pde/two_materials.py
"""

from dataclasses import dataclass

import torch

from nfsolve import PDE, Disk, Rectangle, boundary, interface, interior, main

RADIUS = 0.5
CORE = Disk(x=0, y=0, radius=RADIUS).named("core")
SHELL = (Rectangle(x=(-1, 1), y=(-1, 1)) - CORE).named("shell")


@dataclass
class TwoMaterials(PDE):
    """Steady heat in two materials; the source is made from a temperature that is zero on the rim of the core."""

    k_core: float = 10.0
    """conductivity of the core"""
    k_shell: float = 1.0
    """conductivity of the shell"""

    domain = CORE | SHELL
    unknowns = {"core": "u", "shell": "v"}

    @interior
    def heat_in_core(self, lap_u, x, y):
        """K_core lap u = q, in the core, where u lives."""
        return self.k_core * lap_u - self.source(x, y)

    @interior
    def heat_in_shell(self, lap_v, x, y):
        """K_shell lap v = q, around it."""
        return self.k_shell * lap_v - self.source(x, y)

    @interface("core", "shell")
    def temperature(self, u, v):
        """The temperature goes on."""
        return u - v

    @interface("core", "shell")
    def flux(self, u_x, u_y, v_x, v_y, n_x, n_y):
        """The heat flux through the rim goes on."""
        return n_x * (self.k_core * u_x - self.k_shell * v_x) + n_y * (self.k_core * u_y - self.k_shell * v_y)

    @boundary
    def edge(self, v, x, y):
        """The temperature around the plate is known."""
        return v - self.exact(x, y)[1]

    def source(self, x, y):
        """The source q = lap[(r^2 - a^2) e^x]."""
        return torch.exp(x) * (4 + 4 * x + x**2 + y**2 - RADIUS**2)

    def exact(self, x, y):
        """Return u and v: (r^2 - a^2) e^x / k with the conductivity of each."""
        shape = (x**2 + y**2 - RADIUS**2) * torch.exp(x)
        return shape / self.k_core, shape / self.k_shell


if __name__ == "__main__":
    main(TwoMaterials)
