"""Find a heat source from thermometers: f in -laplace(u) = f on a plate with cold rims, from u at a few places.

The operator is a matrix: finite differences give u for each f, and the rows of the thermometers are kept. Such a
smoothing map has no stable inverse. The field is therefore trained until its misfit equals the noise. It is compared
with Tikhonov's method, with the weight that leaves the same misfit (Morozov's principle: Engl, Hanke & Neubauer,
Regularization of Inverse Problems, 1996, section 4.3).

    nfsolve run heat_source
    nfsolve run heat_source --sensors 12 --noise 0.002 --uncertainty
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import splu
from torch.nn.functional import softplus

from nfsolve import MLP, InputError, Measurement, Observed, Recipe, RunOptions, Stage, generator, main
from nfsolve.optim import GaussNewton


@dataclass
class HeatSource(Measurement):
    """A heat source from a few thermometers, compared with Tikhonov's method."""

    sensors: int = 8
    """number of thermometers along each side, equally spaced inside the plate"""
    noise: float = 0.01
    """standard deviation of the noise, relative to the largest temperature"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    shape = (32, 32)
    unknowns = "f"

    def __post_init__(self):
        if not 2 <= self.sensors <= 16 or not 0 < self.noise < math.inf:
            raise InputError(
                f"sensors must be between 2 and 16 and noise positive, got {self.sensors} and {self.noise:g}",
                do="choose others, such as 8 thermometers along a side and noise 0.01",
            )

    def truth(self):
        """Two warm spots."""
        x, y = self.points().numpy().T
        spots = [(0.3, 0.35, 0.1, 1.0), (0.7, 0.6, 0.15, 0.7)]
        return np.sum([h * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s, h in spots], 0)

    def matrix(self):
        """The temperature at the thermometers for each source, ``(m, n)``."""
        side = self.shape[0]
        tridiagonal: Any = diags_array
        second = tridiagonal([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side)) * side**2
        laplace: Any = kron(second, eye_array(side)) + kron(eye_array(side), second)
        places = np.linspace(0, side - 1, self.sensors + 2)[1:-1].round().astype(int)
        rows = (places[:, None] * side + places).ravel()
        return splu(laplace.tocsc()).solve(np.eye(side**2)[:, rows]).T  # laplace is symmetric

    def observe(self):
        """Heat the plate, and read the thermometers."""
        A, truth = self.matrix(), self.truth()
        exact = A @ truth
        spread = self.noise * exact.max()
        noise = torch.randn(len(exact), generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        data = exact + spread * noise.numpy()
        return Observed(A, data, noise=spread, truth=truth.reshape(self.shape))

    def rivals(self, observed, measure):
        """Tikhonov's method."""
        return {"tikhonov": lambda: tikhonov(observed.operator, observed.data, observed.noise)}

    def output_transform(self):
        """A source is not negative."""
        return lambda points, raw: softplus(raw)

    def recipe(self):
        """A small tanh network under Gauss-Newton in float64; what the data do not tell stays smooth."""
        return Recipe(
            partial(MLP, width=12, depth=2),
            (Stage(GaussNewton, steps=150),),
            run=RunOptions(dtype="float64", log_every=5, tolerance=1.0),
        )


def tikhonov(A: np.ndarray, data: np.ndarray, noise: float) -> np.ndarray:
    """Minimize |A f - data|^2 + weight |f|^2, with the weight whose misfit is that of the noise.

    Args:
        A: Matrix ``(m, n)``.
        data: Measurements ``(m,)``.
        noise: Their standard deviation.

    Returns:
        f ``(n,)``.
    """
    left, sizes, right = np.linalg.svd(A, full_matrices=False)
    seen = left.T @ data
    outside = data @ data - seen @ seen

    def excess(log_weight: float) -> float:
        kept = np.exp(log_weight) / (sizes**2 + np.exp(log_weight))
        return float(((kept * seen) ** 2).sum() + outside - len(data) * noise**2)

    low, high = np.log(sizes[-1] ** 2) - 20, np.log(sizes[0] ** 2) + 20
    root: Any = brentq(excess, low, high) if excess(low) < 0 < excess(high) else low
    weight = math.exp(root)
    return right.T @ (sizes / (sizes**2 + weight) * seen)


if __name__ == "__main__":
    main(HeatSource)
