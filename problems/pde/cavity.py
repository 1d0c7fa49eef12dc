"""Steady flow in a square cavity under a sliding lid, (u . grad) u = -grad p + laplace(u) / Re, div u = 0.

u = (1, 0) on the lid y = 1, zero on the other walls. The unknowns are pressure and stream function, u = psi_y and
v = -psi_x, so the flow is exactly incompressible. Where the lid meets a wall the velocity jumps and the pressure is
infinite: Taylor's solution for a scraper (1962) is added there in closed form, and the residuals are multiplied by the
squared distance from these corners. All conditions on the walls hold exactly.

    nfsolve run cavity
    nfsolve run cavity --reynolds 400
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, interior, main
from nfsolve.data.tables import read_reference
from nfsolve.diff import partials
from nfsolve.metrics import max_error, relative_l2
from nfsolve.optim import GaussNewton
from nfsolve.plot import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Taylor's scraper: psi = B y + (C x + D y) phi, zero on both sides of the corner, velocity 1 along the lid
C = 4 / (math.pi**2 - 4)
B, D = -C * math.pi**2 / 4, C * math.pi / 2
TINY = 1e-37  # in squared distances from a corner, where a finite value stands for one that is not there


@dataclass
class Cavity(PDE):
    """Steady flow in a lid-driven cavity, in stream function and pressure."""

    reynolds: float = 100.0
    """Reynolds number; there are references for 100 and 400"""
    n_points: int = field(default=2000, kw_only=True)
    """points inside the domain"""

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "psi p"

    @interior
    def along(self, psi_x, psi_y, psi_xy, psi_yy, psi_xxy, psi_yyy, p_x, x, y):
        """(u . grad) u + p_x - laplace(u) / Re = 0, weighted."""
        return distance(x, y) * (psi_y * psi_xy - psi_x * psi_yy + p_x - (psi_xxy + psi_yyy) / self.reynolds)

    @interior
    def across(self, psi_x, psi_y, psi_xy, psi_xx, psi_xyy, psi_xxx, p_y, x, y):
        """(u . grad) v + p_y - laplace(v) / Re = 0, weighted."""
        return distance(x, y) * (psi_x * psi_xy - psi_y * psi_xx + p_y + (psi_xxx + psi_xyy) / self.reynolds)

    def ansatz(self, psi, p, x, y):
        """Corners and lid, and what the network adds."""
        depth, left, right = 1 - y, fade(x), fade(1 - x)
        corners = (scraper(x, depth) * left + scraper(1 - x, depth) * right) * fade(depth)
        lid = (left + right - 1) * depth * (1 - depth) ** 2
        inside = (x * (1 - x) * y * (1 - y)) ** 2 / (distance(x, y) + TINY)
        pressures = scraper_pressure(1 - x, depth) - scraper_pressure(x, depth)
        return corners + lid + inside * psi, pressures / self.reynolds + p

    def load(self, device, dtype):
        """Read the velocities of the reference, where there is one for this Reynolds number."""
        data = super().load(device, dtype)
        if self.reynolds in (100, 400):
            name = f"references/cavity_{self.reynolds:.0f}.npz"
            grid, values, _, floor = read_reference(name, type(self), self.domain.names, ("u", "v"))
            known = values.isfinite().all(1)  # not at the lid's corners
            data |= {"points": grid[known].to(device, dtype), "floor": floor}
            data["velocity"] = values[known].to(device, dtype)
        return data

    def metrics(self, field, data):
        """Return the errors of the velocities, away from the lid's corners."""
        if "velocity" not in data:
            return {}
        found = velocity(field, data["points"])
        scores: dict[str, Any] = {"relative_l2": math.nan}
        for i, name in enumerate("uv"):
            scores[f"relative_l2/{name}"] = relative_l2(found[:, i], data["velocity"][:, i])
            scores[f"max_error/{name}"] = max_error(found[:, i], data["velocity"][:, i])
            scores[f"reference_floor/{name}"] = data["floor"]
        scores["relative_l2"] = max(scores["relative_l2/u"], scores["relative_l2/v"])
        return scores

    def picture(self, field, data, history) -> "Figure":
        """Draw the velocities, the streamlines and the history."""
        figure = panels.new_figure(11.0, 2.9)
        axes = figure.subplots(1, 4)
        grid = self.domain.grid(101, 101).to(data["like"])
        with torch.no_grad():
            found = panels.array(velocity(field, grid).reshape(101, 101, 2))
        for i, name in enumerate("uv"):
            panels.image_panel(axes[i], found[..., i], self.domain.bounds, "xy", f"{name}(x, y)", symmetric=True)
        bounds = self.domain.bounds
        panels.streamlines_panel(axes[2], found[..., 0], found[..., 1], bounds, "xy", "streamlines")
        panels.history_panel(axes[3], history)
        return figure

    def recipe(self):
        """A small tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=20 if self.reynolds < 200 else 24, depth=3),
            stages=(
                Stage(GaussNewton, steps=60, points=0.6),
                Stage(partial(GaussNewton, damping=1e-6), steps=100),
            ),
            run=RunOptions(dtype="float64", log_every=5),
        )


def velocity(field: Any, points: Tensor) -> Tensor:
    """Return u = psi_y and v = -psi_x at points ``(n, 2)``, as ``(n, 2)``."""
    slopes = partials(field, points, {(0,), (1,)})
    return torch.cat([slopes[1,][:, :1], -slopes[0,][:, :1]], 1)


def scraper(x: Tensor, y: Tensor) -> Tensor:
    """Evaluate Taylor's stream function at the corner (0, 0), lid along x and wall along y."""
    return B * y + (C * x + D * y) * torch.log(torch.complex(x, y)).imag


def scraper_pressure(x: Tensor, y: Tensor) -> Tensor:
    """Evaluate its pressure times Re, up to the sign: the harmonic conjugate of its vorticity; 0 at the corner."""
    return 2 * (C * x + D * y) / (x**2 + y**2 + TINY)


def fade(s: Tensor) -> Tensor:
    """Fall from 1 at 0, where two derivatives vanish, to a double zero at 1."""
    return (1 - s) ** 2 * (1 + 2 * s + 3 * s**2)


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Multiply the squared distances from the two corners of the lid; 1 in the middle of the floor."""
    depth = (1 - y) ** 2
    return (x**2 + depth) * ((1 - x) ** 2 + depth) * 0.64


if __name__ == "__main__":
    main(Cavity)
