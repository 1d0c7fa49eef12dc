"""Heat2d-VC of PINNacle: heat with a random coefficient, u_t = a(x, y) laplace(u) + f, on the unit square.

t in [0, 5], f = 200 sin(pi x) sin(5 pi y) sin(pi t), u = 0 on the sides and at t = 0; a is exp of a Gaussian field on a
grid of 256 x 256 points (Hao et al., arXiv 2306.08827). The benchmark takes a from the nearest point of the
grid, so it jumps; here it is interpolated linearly. The reference is the benchmark's file, by finite elements at 983
points, of which every third time is used; its error is unknown, and taken for 1e-2. Best published error 2.1e-1.

    NFSOLVE_DATA=FOLDER nfsolve run pinnacle_heat2d_vc
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from nfsolve import Box, face, interior, main
from nfsolve.data.tables import find_file, read_arrays
from problems.pinnacle._benchmark import Tabulated


@dataclass
class Heat2dVC(Tabulated):
    """Heat with a random coefficient, u_t = a laplace(u) + f."""

    data: str = "pinnacle/heat_darcy.dat"
    """file of the reference, looked for at this path and under $NFSOLVE_DATA; empty for none"""
    coefficient: str = "pinnacle/coef_fields_seed20220722.npz"
    """file with x, y and the values `heat` of a on their grid, looked for in the same way"""

    domain = Box(t=(0, 5), x=(0, 1), y=(0, 1))
    unknowns = "u"
    needs = "pinnacle/coef_fields_seed20220722.npz at --coefficient, heat_darcy.dat at --data, or under $NFSOLVE_DATA"
    label = "Heat2d-VC"
    published = 2.1e-1
    repaired = "the coefficient jumped from one grid point to the next; it is interpolated linearly"
    file_error = 1e-2
    every = 3

    @interior
    def balance(self, u_t, lap_u, t, x, y):
        """u_t - a laplace(u) - 200 sin(pi x) sin(5 pi y) sin(pi t) = 0."""
        f = 200 * torch.sin(math.pi * x) * torch.sin(5 * math.pi * y) * torch.sin(math.pi * t)
        return u_t - bilinear(self._grid.to(x), x, y) * lap_u - f

    @face(t=0)
    def initial(self, u):
        """u(0) = 0."""
        return u

    @face(x=(0, 1), y=(0, 1))
    def sides(self, u):
        """U = 0 on the sides."""
        return u

    @cached_property
    def _grid(self):
        """The coefficient on its grid, rows along y."""
        return torch.from_numpy(read_arrays(find_file(self.coefficient, type(self)))["heat"])


def bilinear(values: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Interpolate values on a regular grid of the unit square.

    Args:
        values: Values ``(m, n)``, y along rows and x along columns.
        x: Coordinates ``(k, 1)``.
        y: Coordinates ``(k, 1)``.

    Returns:
        Values ``(k, 1)``.
    """
    (m, n), rows, columns = values.shape, y * (values.shape[0] - 1), x * (values.shape[1] - 1)
    i, j = rows.detach().long().clamp(0, m - 2), columns.detach().long().clamp(0, n - 2)
    down, right = rows - i, columns - j
    upper = values[i, j] * (1 - right) + values[i, j + 1] * right
    lower = values[i + 1, j] * (1 - right) + values[i + 1, j + 1] * right
    return upper * (1 - down) + lower * down


if __name__ == "__main__":
    main(Heat2dVC)
