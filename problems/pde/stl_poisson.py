"""Poisson's equation inside a surface mesh, lap u = f, with u known on the surface: any closed STL, PLY or OBJ.

The file beside this one is a bent capsule of 200 triangles; --mesh takes another. Needs nfsolve[mesh].

    nfsolve run stl_poisson
    nfsolve run stl_poisson --mesh part.stl
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from nfsolve import PDE, Solid, boundary, interior, main

BENT = Path(__file__).parent / "references" / "bent.stl"


@dataclass
class StlPoisson(PDE):
    """Poisson's equation in a solid; f is made from u = sin(x) cos(y) exp(z / 2)."""

    mesh: str = ""
    """file of a closed surface; empty takes the bent capsule"""

    unknowns = "u"
    evaluation = (15, 15, 15)
    needs = "nfsolve[mesh]"

    @cached_property
    def domain(self):
        """The inside of the surface."""
        return Solid(self.mesh or BENT)

    @interior
    def balance(self, lap_u, x, y, z):
        """Lap u = f."""
        return lap_u + 1.75 * self.exact(x, y, z)

    @boundary
    def surface(self, u, x, y, z):
        """The solution is known on the surface."""
        return u - self.exact(x, y, z)

    def exact(self, x, y, z):
        """sin(x) cos(y) exp(z / 2)."""
        return torch.sin(x) * torch.cos(y) * torch.exp(z / 2)


if __name__ == "__main__":
    main(StlPoisson)
