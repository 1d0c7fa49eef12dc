"""Viscous Burgers' equation, u_t + u u_x = nu u_xx, on t in [0, 1], x in [-1, 1].

u(0, x) = -sin(pi x), u(t, -1) = u(t, 1) = 0; at nu = 0.01/pi a shock of width nu forms at x = 0.
The exact solution is the Cole-Hopf formula (Basdevant et al., Comput. Fluids 14 (1986), eq. 2.4).

    nfsolve run burgers
    nfsolve run burgers --nu 0.02
"""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from nfsolve import MLP, PDE, Box, Recipe, RunOptions, Stage, face, interior, main, starting_point
from nfsolve.optim import GaussNewton


@dataclass
class Burgers(PDE):
    """Viscous Burgers' equation, u_t + u u_x = nu u_xx."""

    nu: float = 0.01 / math.pi
    """viscosity"""
    n_points: int = field(default=5000, kw_only=True)
    """points inside the domain"""
    adaptive: str = field(default="rad", kw_only=True)
    """whether new points concentrate where the residual is large: none, rad, rar_d or r3"""

    domain = Box(t=(0, 1), x=(-1, 1))
    unknowns = "u"
    evaluation = (101, 201)
    exact_error = 1e-15  # 400 nodes against 2,500: 3e-16

    @interior
    def momentum(self, u, u_t, u_x, u_xx):
        """u_t + u u_x - nu u_xx = 0."""
        return u_t + u * u_x - self.nu * u_xx

    @face(t=0)
    def initial(self, u, x):
        """u(0, x) = -sin(pi x)."""
        return u + torch.sin(math.pi * x)

    @face(x=(-1, 1))
    def walls(self, u):
        """u(t, -1) = u(t, 1) = 0."""
        return u

    def exact(self, t, x):
        """Cole-Hopf formula, by the trapezoidal rule (spectrally accurate on these integrands)."""
        return cole_hopf(t, x, self.nu)

    @starting_point
    def recipe(self):
        """A small tanh network under Gauss-Newton in float64: few points find the shock, many refine it."""
        return Recipe(
            field=partial(MLP, width=20, depth=3),
            stages=(
                Stage(GaussNewton, steps=80, points=0.3),
                Stage(partial(GaussNewton, damping=1e-6, corrections=8), steps=420),
            ),
            run=RunOptions(dtype="float64", log_every=5),
        )


def cole_hopf(t: torch.Tensor, x: torch.Tensor, nu: float, nodes: int = 400) -> torch.Tensor:
    """Evaluate u = -int sin(pi y) f(y) G dy / int f(y) G dy, f(y) = exp(-cos(pi y) / (2 pi nu)).

    G is the heat kernel of variance 2 nu t around x; with y = x - z sqrt(4 nu t) it becomes exp(-z^2).

    Args:
        t: Times ``(n, 1)``.
        x: Positions ``(n, 1)``.
        nu: Viscosity.
        nodes: Nodes of the trapezoidal rule on abs(z) <= sqrt(36 + 1 / (pi nu)).

    Returns:
        Velocities ``(n, 1)``, float64 arithmetic.

    Reference:
        Basdevant et al., Comput. Fluids 14 (1986) 23-41, eq. 2.4.
    """
    times, places = (np.asarray(a.detach().cpu(), np.float64) for a in (t, x))
    # f varies as exp(+-1 / (2 pi nu)), so the peak of f G may lie far out in the tail of G
    reach = math.sqrt(36.0 + 1.0 / (math.pi * nu))
    z = np.linspace(-reach, reach, nodes)
    result = np.empty_like(places)
    for start in range(0, len(places), 2000):  # about 60 MB at a time
        rows = slice(start, start + 2000)
        y = places[rows] - z * np.sqrt(4 * nu * times[rows])
        exponent = -np.cos(np.pi * y) / (2 * np.pi * nu) - z**2
        weight = np.exp(exponent - exponent.max(1, keepdims=True))
        result[rows] = -(np.sin(np.pi * y) * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)
    return torch.from_numpy(result).to(t)


if __name__ == "__main__":
    main(Burgers)
