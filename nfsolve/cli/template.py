"""Cooling of a rod, u_t = D u_xx, whose ends are kept at zero.

nfsolve show FILE     draws the domain, the points and the conditions
nfsolve run FILE      solves it, estimates the error, and leaves a folder in runs/
nfsolve run FILE --diffusivity 0.02 --accuracy 1e-6 --time-limit 30
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, face, interior, main


@dataclass
class MyProblem(PDE):
    # Parameters are annotated. Each is an option of the command line.
    diffusivity: float = 0.1  # D

    # Facts are not annotated. x=periodic(0, 1) joins the ends; Disk, Polygon, Solid("part.stl") and others are domains
    # as well, and Box(t=(0, 1)) * Disk(...) is one with time.
    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"  # several are separated by spaces: "u v p"

    # Each method returns what must be zero. Its arguments name what it needs: unknowns, their derivatives (u_t, u_xx,
    # u_tx, lap_u for the Laplacian in space) and coordinates. All are tensors of shape (number of points, 1).
    @interior
    def equation(self, u_t, u_xx):
        return u_t - self.diffusivity * u_xx  # add your terms here, such as + u**3

    @face(t=0)
    def initial(self, u, x):
        return u - torch.sin(math.pi * x)

    @face(x=(0, 1))
    def ends(self, u):  # insulated ends: def ends(self, u_x): return u_x
        return u

    # The exact solution, if you know one, is compared with the result. Delete this method if you do not: the error is
    # then estimated from the equation.
    def exact(self, t, x):
        return torch.exp(-self.diffusivity * math.pi**2 * t) * torch.sin(math.pi * x)

    # Further steps, with examples in README and docs/contract.md:
    # - an unknown number:   rate: Unknown = Unknown(1.0, positive=True)
    # - measured data:       @measured({"t": t, "x": x, "u": u}) above def data(self, u, u_data): return u - u_data
    # - a hard constraint:   def ansatz(self, u, x): return x * (1 - x) * u


if __name__ == "__main__":
    main(MyProblem)
