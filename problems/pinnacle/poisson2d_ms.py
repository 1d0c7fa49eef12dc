"""Poisson2d-MS of PINNacle: div(a grad u) + f = 0 on [-10, 10]^2 in 5 x 5 cells, each with an a of its own.

a lies between 0.1 and 90; in each cell f = f0 + f1 sin(pi r) sin(pi s), where r and s run from 0 to 1 along x and y;
du/dn = -u on the sides (Hao et al., arXiv 2306.08827). The benchmark's code has a laplace(u), which is another problem
where a jumps; the paper has div(a grad u), as here. The fluxes p = a u_x and q = a u_y are unknowns too. The reference
is by spectral elements that shrink towards the corners of cells, where u is like r^0.38. Best published error 5.9e-1.

    NFSOLVE_DATA=FOLDER nfsolve run pinnacle_poisson2d_ms
"""

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from nfsolve import Box, InputError, face, interior, main
from nfsolve.data.tables import find_file
from problems.pinnacle._benchmark import Benchmark
from problems.pinnacle._splines import by_splines, evenly, shrinking

CELLS = 5
ENDS = [-10.0 + 20 / CELLS * i for i in range(CELLS + 1)]


@dataclass
class Poisson2dMS(Benchmark):
    """Poisson's equation in 25 materials, div(a grad u) + f = 0, with its fluxes."""

    materials: str = "pinnacle/poisson_a_coef.dat"
    """file of a in each cell, x along rows; a path or a name under $NFSOLVE_DATA"""
    loads: str = "pinnacle/poisson_f_coef.dat"
    """file of four amplitudes of f in each cell, of which the first and the last count"""

    n_points: int = field(default=12800, kw_only=True)
    """points inside the domain"""
    n_face: int = field(default=4000, kw_only=True)
    """points of each condition on sides"""

    domain = Box(x=(-10, 10), y=(-10, 10))
    unknowns = "u p q"
    needs = "pinnacle/poisson_a_coef.dat and poisson_f_coef.dat of the benchmark under $NFSOLVE_DATA"
    reference = "references/poisson2d_ms.npz"
    label = "Poisson2d-MS"
    published = 5.9e-1
    repaired = "a laplace(u) in place of div(a grad u), which the paper has"

    @interior
    def balance(self, p_x, q_y, x, y):
        """p_x + q_y + f = 0."""
        (i, r), (j, s) = cell(x), cell(y)
        f = self._amplitudes.to(x)[i, j]
        return p_x + q_y + f[..., 0] + f[..., 3] * torch.sin(math.pi * r) * torch.sin(math.pi * s)

    @interior
    def fluxes(self, u_x, u_y, p, q, x, y):
        """P / a = u_x, q / a = u_y."""
        a = self._coefficients.to(x)[cell(x)[0], cell(y)[0]]
        return torch.cat([p / a - u_x, q / a - u_y], 1)

    @face(x=(-10, 10), y=(-10, 10))
    def sides(self, u, u_x, u_y, n_x, n_y):
        """du/dn + u = 0."""
        return n_x * u_x + n_y * u_y + u

    def place(self, unit):
        """Put as many points into each cell of the splines."""
        return evenly(self.domain, unit, x=line(1), y=line(1))

    def weights(self):
        """Weigh the balance and the sides more than the fluxes, which are infinite in corners."""
        return super().weights() | {"balance": 10.0, "sides": 10.0}

    def recipe(self):
        """Cubic splines of which u has kinks, and each flux jumps, where the material does."""
        kinks, jumps = line(3), line(4)
        cells = {"u": (kinks, kinks), "p": (kinks, jumps), "q": (jumps, kinks)}
        return by_splines(cells, degree=3, balanced=False)

    @cached_property
    def _coefficients(self):
        """The coefficient of each cell, ``(5, 5)``."""
        return numbers(self.materials, type(self), (CELLS, CELLS))

    @cached_property
    def _amplitudes(self):
        """Amplitudes of f in each cell, ``(5, 5, 4)``."""
        return numbers(self.loads, type(self), (CELLS, CELLS, 4))


def line(repeats: int) -> tuple[float, ...]:
    """Return the ends of cells of splines, eight to each material, those between two of them repeated."""
    found = [ENDS[0]]
    for low, high in itertools.pairwise(ENDS):
        found += [*shrinking(low, high, 8, 0.08)[1:-1], *[high] * (1 if high == ENDS[-1] else repeats)]
    return tuple(found)


def cell(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return in which of the cells along an axis coordinates ``(n, 1)`` lie, and where in it, from 0 to 1."""
    place = (x + 10) / 20 * CELLS
    index = place.detach().long().clamp(0, CELLS - 1)
    return index, place - index


def numbers(name: str, owner: type, shape: tuple[int, ...]) -> torch.Tensor:
    """Read a file of so many numbers as float64 of this shape."""
    path = find_file(name, owner)
    try:
        return torch.from_numpy(np.loadtxt(path).reshape(shape))
    except ValueError as error:
        raise InputError(
            f"'{path}' must hold {math.prod(shape)} numbers ({error})", do="name the file of PINNacle"
        ) from error


if __name__ == "__main__":
    main(Poisson2dMS)
