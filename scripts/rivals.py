"""DeepXDE's documented settings for the problems of the race, from its examples (examples/pinn_forward, 1.15).

Where its example solves a variant of our problem, its points, network, initialisation and optimizers are kept and the
equation, the domain and the conditions are ours; `Rival.settings` says what was taken from where. DeepXDE's columns
are space first, then time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rival:
    """A problem as DeepXDE solves it.

    Attributes:
        build: ``(deepxde, our problem)`` -> a ``deepxde.Model`` that is not compiled yet.
        adam: Iterations of Adam at learning rate 1e-3.
        lbfgs: Whether L-BFGS follows, with DeepXDE's defaults (15000 iterations at most, history 100).
        columns: Columns of our points in DeepXDE's order.
        settings: In words, what was taken from which example.
    """

    build: Callable[[Any, Any], Any]
    adam: int
    lbfgs: bool
    columns: tuple[int, ...]
    settings: str


def strip(dde: Any) -> Any:
    """The geometry of the time-dependent problems: x in [-1, 1], t in [0, 1]."""
    return dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))


def everywhere(_: Any, on: bool) -> bool:
    return on


def small_net(dde: Any, inputs: int = 2) -> Any:
    return dde.nn.FNN([inputs, 20, 20, 20, 1], "tanh", "Glorot normal")


def burgers(dde: Any, problem: Any) -> Any:
    def pde(x: Tensor, u: Tensor) -> Tensor:
        u_x, u_t = (dde.grad.jacobian(u, x, i=0, j=j) for j in (0, 1))
        return u_t + u * u_x - problem.nu * dde.grad.hessian(u, x, i=0, j=0)

    both = strip(dde)
    walls = dde.icbc.DirichletBC(both, lambda x: 0, everywhere)
    start = dde.icbc.IC(both, lambda x: -np.sin(np.pi * x[:, 0:1]), everywhere)
    data = dde.data.TimePDE(both, pde, [walls, start], num_domain=2540, num_boundary=80, num_initial=160)
    return dde.Model(data, small_net(dde))


def poisson(dde: Any, problem: Any) -> Any:
    k = problem.waves * math.pi

    def pde(x: Tensor, u: Tensor) -> Tensor:
        laplacian = dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)
        return -laplacian - 2 * k**2 * torch.sin(k * x[:, 0:1]) * torch.sin(k * x[:, 1:2])

    square = dde.geometry.Rectangle([0, 0], [1, 1])
    sides = dde.icbc.DirichletBC(square, lambda x: 0, everywhere)
    data = dde.data.PDE(square, pde, sides, num_domain=1200, num_boundary=120, num_test=1500)
    return dde.Model(data, dde.nn.FNN([2, 50, 50, 50, 50, 1], "tanh", "Glorot uniform"))


def helmholtz(dde: Any, problem: Any) -> Any:
    k, a1, a2 = problem.k, problem.a1 * math.pi, problem.a2 * math.pi

    def pde(x: Tensor, u: Tensor) -> Tensor:
        laplacian = dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)
        f = (k**2 - a1**2 - a2**2) * torch.sin(a1 * x[:, 0:1]) * torch.sin(a2 * x[:, 1:2])
        return -laplacian - k**2 * u + f

    side = round(2 / (2 / max(problem.a1, problem.a2)) * 10)  # 10 points for each of the shortest wavelengths
    square = dde.geometry.Rectangle([-1, -1], [1, 1])
    data = dde.data.PDE(square, pde, [], num_domain=side**2, num_boundary=4 * side)
    net = dde.nn.FNN([2, 150, 150, 150, 1], "sin", "Glorot uniform")
    net.apply_output_transform(lambda x, u: (1 - x[:, 0:1] ** 2) * (1 - x[:, 1:2] ** 2) * u)
    return dde.Model(data, net)


def kdv(dde: Any, problem: Any) -> Any:
    def pde(x: Tensor, u: Tensor) -> Tensor:
        u_x, u_t = (dde.grad.jacobian(u, x, i=0, j=j) for j in (0, 1))
        u_xxx = dde.grad.jacobian(dde.grad.hessian(u, x, i=0, j=0), x, i=0, j=0)
        return u_t + u * u_x + problem.dispersion**2 * u_xxx

    both = strip(dde)
    start = dde.icbc.IC(both, lambda x: np.cos(np.pi * x[:, 0:1]), everywhere)
    data = dde.data.TimePDE(both, pde, [start], num_domain=2540, num_boundary=80, num_initial=160)
    net = small_net(dde, 3)
    net.apply_feature_transform(
        lambda x: torch.cat([torch.cos(math.pi * x[:, 0:1]), torch.sin(math.pi * x[:, 0:1]), x[:, 1:2]], 1)
    )
    return dde.Model(data, net)


def allen_cahn(dde: Any, problem: Any) -> Any:
    def pde(x: Tensor, u: Tensor) -> Tensor:
        u_t = dde.grad.jacobian(u, x, i=0, j=1)
        return u_t - problem.nu * dde.grad.hessian(u, x, i=0, j=0) - 5 * (u - u**3)

    both = strip(dde)
    ends = [dde.icbc.PeriodicBC(both, 0, everywhere, derivative_order=m) for m in (0, 1)]
    data = dde.data.TimePDE(both, pde, ends, num_domain=8000, num_boundary=400, num_initial=800)
    net = small_net(dde)
    net.apply_output_transform(lambda x, u: x[:, 0:1] ** 2 * torch.cos(math.pi * x[:, 0:1]) + x[:, 1:2] * u)
    return dde.Model(data, net)


CASES = {
    "burgers": Rival(
        burgers, 15000, True, (1, 0),
        "its Burgers example (2540 domain, 80 boundary and 160 initial points, 3 layers of 20, tanh, Glorot normal, "
        "15000 iterations of Adam at 1e-3, then L-BFGS) with t up to 1 instead of 0.99, in float64",
    ),
    "poisson": Rival(
        poisson, 50000, True, (0, 1),
        "no example on a square; its Poisson example on the L shape (1200 domain and 120 boundary points, 4 layers of "
        "50, tanh, Glorot uniform, 50000 iterations of Adam at 1e-3, then L-BFGS) on our square, in float64",
    ),
    "helmholtz": Rival(
        helmholtz, 5000, False, (0, 1),
        "its Helmholtz example (10 points per wavelength, here 40 x 40, and 160 on the sides, 3 layers of 150, sin, "
        "Glorot uniform, zero sides by an output transform, 5000 iterations of Adam at 1e-3, no L-BFGS) on our "
        "equation, in float64",
    ),
    "kdv": Rival(
        kdv, 15000, True, (1, 0),
        "no KdV example; the closest that fits a CPU is its Burgers example (settings as for burgers), made periodic "
        "by a feature transform (cos, sin), because its periodic condition stops at first derivatives; its periodic "
        "Schroedinger example (10000 points, 4 layers of 100, third derivatives) is too large for one core, in float64",
    ),
    "allen_cahn": Rival(
        allen_cahn, 40000, True, (1, 0),
        "its Allen-Cahn example (8000 domain, 400 boundary and 800 initial points, 3 layers of 20, tanh, Glorot "
        "normal, initial condition by an output transform, 40000 iterations of Adam at 1e-3, then L-BFGS), which has "
        "diffusivity 1e-3 and fixed ends, on our equation with 1e-4; the periodic ends are DeepXDE's own condition of "
        "orders 0 and 1 instead of the part of the transform that fixes them, in float64",
    ),
}  # fmt: skip
