"""Inverse problem: sigma, rho, beta of x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z from noisy data.

E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130. All three components are measured with noise at equally spaced times in
[0, 3]; the initial values are known. The data come from a Runge-Kutta method of order 8, with sigma = 10, rho = 15,
beta = 8/3.

    nfsolve run lorenz_inverse --uncertainty
    nfsolve run lorenz_inverse --noise 1 --n-data 15
"""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy.integrate import solve_ivp

from nfsolve import (
    MLP,
    PDE,
    Box,
    InputError,
    Recipe,
    RunOptions,
    Stage,
    Unknown,
    face,
    generator,
    interior,
    main,
    measured,
)
from nfsolve.optim import GaussNewton

START = (-8.0, 7.0, 27.0)
TRUTH = {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}


@dataclass
class LorenzInverse(PDE):
    """Three coefficients of the Lorenz system from noisy measurements of its state."""

    sigma: Unknown = Unknown(8.0, positive=True)  # noqa: RUF009  # frozen
    """true value 10"""
    rho: Unknown = Unknown(12.0, positive=True)  # noqa: RUF009  # frozen
    """true value 15"""
    beta: Unknown = Unknown(2.0, positive=True)  # noqa: RUF009  # frozen
    """true value 8/3"""
    noise: float = 0.3
    """standard deviation of the noise; the state is of size 10"""
    n_data: int = 31
    """number of measurement times, from 0 to 3"""
    data_weight: float = 10.0
    """weight of the measurements in the loss; with a small one the fit ends in a wrong minimum, far from the data"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    n_points: int = field(default=300, kw_only=True)
    """points inside the interval"""

    domain = Box(t=(0, 3))
    unknowns = "x y z"
    exact_error = 1e-9

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.noise < math.inf or self.n_data < 2:
            raise InputError(
                f"noise must not be negative and n_data must be at least 2, got {self.noise:g} and {self.n_data}",
                do="choose others, such as noise 0.3 and 31 times",
            )

    @interior
    def first(self, x_t, x, y):
        """x' = sigma (y - x)."""
        return x_t - self.sigma * (y - x)

    @interior
    def second(self, y_t, x, y, z):
        """y' = x (rho - z) - y."""
        return y_t - x * (self.rho - z) + y

    @interior
    def third(self, z_t, x, y, z):
        """z' = x y - beta z."""
        return z_t - x * y + self.beta * z

    @face(t=0, weight=10)
    def start(self, x, y, z):
        """The state at time 0 is known."""
        return torch.cat([x - START[0], y - START[1], z - START[2]], 1)

    def observe(self):
        """Measure the state, with noise."""
        t = torch.linspace(0, 3, self.n_data, dtype=torch.float64)[:, None]
        state = torch.cat(self.exact(t), 1)
        noise = torch.randn(state.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return {"t": t} | dict(zip("xyz", (state + self.noise * noise).T, strict=True))

    @measured(observe)
    def probes(self, x, y, z, x_data, y_data, z_data):
        """The state is as measured."""
        return torch.cat([x - x_data, y - y_data, z - z_data], 1)

    def exact(self, t):
        """Integrate the system with the true coefficients."""
        times, order = np.unique(t.detach().cpu().numpy(), return_inverse=True)
        state = trajectory(times, *TRUTH.values())[:, order.reshape(-1)]
        return tuple(torch.as_tensor(column, dtype=t.dtype, device=t.device)[:, None] for column in state)

    def weights(self):
        """Weigh equations and measurements."""
        return super().weights() | {"probes": self.data_weight}

    def recipe(self):
        """A tanh network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=20, depth=2),
            stages=(Stage(GaussNewton, steps=400),),
            run=RunOptions(dtype="float64", log_every=5),
        )


def trajectory(times: np.ndarray, sigma: float, rho: float, beta: float) -> np.ndarray:
    """Return the state ``(3, n)`` at times ``(n,)`` in [0, 3], to an error of 1e-9."""

    def slope(_, s):
        return [sigma * (s[1] - s[0]), s[0] * (rho - s[2]) - s[1], s[0] * s[1] - beta * s[2]]

    return solve_ivp(slope, (0, 3), START, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12).y


if __name__ == "__main__":
    main(LorenzInverse)
