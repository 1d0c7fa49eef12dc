"""Solutions of ordinary differential equations, which SciPy certifies."""

import math
from functools import cache

import torch
from scipy.integrate import solve_ivp

RIGHT = {
    "van_der_pol": lambda _, y: [y[1], 2 * (1 - y[0] ** 2) * y[1] - y[0]],
    "predators": lambda _, y: [y[0] * (1 - y[1]), y[1] * (y[0] - 1)],
    "lorenz": lambda _, y: [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]],
    "pendulum": lambda _, y: [y[1], -math.sin(y[0])],
    "duffing": lambda t, y: [y[1], -0.3 * y[1] + y[0] - y[0] ** 3 + 0.5 * math.cos(1.2 * t)],
    "epidemic": lambda _, y: [-0.4 * y[0] * y[1], 0.4 * y[0] * y[1] - 0.1 * y[1], 0.1 * y[1]],
    "neuron": lambda _, y: [y[0] - y[0] ** 3 / 3 - y[1] + 0.5, 0.08 * (y[0] + 0.7 - 0.8 * y[1])],
}


@cache
def _trajectory(name, end, start):
    return solve_ivp(RIGHT[name], (0, end), start, "DOP853", dense_output=True, rtol=1e-13, atol=1e-13).sol


def at(name, end, start, t, count):
    """Return the first ``count`` components at times ``t``, ``(n, count)``."""
    values = _trajectory(name, end, start)(t[:, 0].detach().cpu().numpy())[:count]
    return torch.as_tensor(values.T).to(t)
