"""Find a heat source from thermometers: s(x, y) in u_t - laplace(u) = s on a plate with cold rims, cold at first.

The temperature is read at a few places and times, with noise. Data come from a fine grid, and the operator from a
coarse one: each is a sine series, exact in time. Such a smoothing map has no stable inverse. The weight of the field's
squared slopes is therefore found while it is trained, as the evidence says (`nfsolve.weighting.Evidence`). The rivals
are four forms of Tikhonov's method. One has the squared slopes and the same rule for their weight. The others have the
square of the source, the slopes of a source of any sign, or those of a source that is not negative, as the field is;
their weight leaves nearly the misfit of the noise (Morozov's principle: Engl, Hanke & Neubauer, Regularization of
Inverse Problems, 1996, section 4.3).

    nfsolve run heat_source
    nfsolve run heat_source --sensors 4 --noise 0.05 --uncertainty
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import brentq, nnls
from torch.nn.functional import softplus

from nfsolve import InputError, Measurement, Observed, RandomFeatures, Recipe, RunOptions, Stage, generator, main
from nfsolve.optim import GaussNewton
from nfsolve.weighting import Evidence
from problems.measurements._grid import differences

FINE = 3  # times as many cells along each side where the data are made
TARGET = 0.93  # misfit in units of the noise, of the rivals that have it: a fit takes up some of the noise


@dataclass
class HeatSource(Measurement):
    """A heat source from a few thermometers, compared with Tikhonov's method."""

    sensors: int = 6
    """number of thermometers along each side, equally spaced inside the plate"""
    times: int = 8
    """number of readings of each thermometer, equally spaced up to the duration"""
    duration: float = 0.1
    """time of the last reading; the plate has settled after about 0.2"""
    noise: float = 0.02
    """standard deviation of the noise, relative to the largest temperature"""
    slopes: float | None = 0.01
    """weight of the squared slopes of the source at the start; then the evidence finds it"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    shape = (20, 20)
    unknowns = "s"

    def __post_init__(self):
        if not 2 <= self.sensors <= 16 or not 0 < self.noise < math.inf or self.times < 1 or not self.duration > 0:
            raise InputError(
                f"sensors must be between 2 and 16, times at least 1, and noise and duration positive, got "
                f"{self.sensors}, {self.times}, {self.noise:g} and {self.duration:g}",
                do="choose others, such as 6 thermometers along a side, 8 times, noise 0.02 and duration 0.1",
            )

    def truth(self, side):
        """Two warm spots, on the cells of a grid."""
        x, y = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side], indexing="ij")
        spots = [(0.3, 0.35, 0.1, 1.0), (0.7, 0.6, 0.15, 0.7)]
        return np.sum([h * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s, h in spots], 0)

    def matrix(self, side):
        """The readings for each source on a grid, ``(times * sensors^2, side^2)``: all sine modes that the grid has."""
        waves = math.pi * np.arange(1, side + 1)
        places, cells = np.linspace(0, 1, self.sensors + 2)[1:-1], (np.arange(side) + 0.5) / side
        there, here = np.sin(np.outer(places, waves)), np.sin(np.outer(cells, waves)) * 2 / side
        rates = waves[:, None] ** 2 + waves**2
        parts = []
        for t in np.linspace(0, self.duration, self.times + 1)[1:]:
            grown = (1 - np.exp(-rates * t)) / rates
            parts.append(np.einsum("am,bn,mn,im,jn->abij", there, there, grown, here, here, optimize=True))
        return np.stack(parts).reshape(-1, side**2)

    def observe(self):
        """Heat the plate, and read the thermometers."""
        side = self.shape[0]
        exact = self.matrix(FINE * side) @ self.truth(FINE * side).ravel()
        spread = self.noise * exact.max()
        noise = torch.randn(len(exact), generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return Observed(self.matrix(side), exact + spread * noise.numpy(), noise=spread, truth=self.truth(side))

    def rivals(self, observed, measure):
        """Tikhonov's method with the source, and with its slopes, of any sign, not negative, and by the evidence."""
        A, data, misfit = observed.operator, observed.data, TARGET * observed.noise
        return {
            "tikhonov": lambda: tikhonov(A, data, misfit, np.eye(A.shape[1])),
            "smooth_tikhonov": lambda: tikhonov(A, data, misfit, differences(self.shape[0])),
            "nonnegative_tikhonov": lambda: tikhonov(A, data, misfit, differences(self.shape[0]), True),
            "tikhonov_by_evidence": lambda: by_evidence(A, data, observed.noise, differences(self.shape[0])),
        }

    def output_transform(self):
        """A source is not negative."""
        return lambda points, raw: softplus(raw, beta=10.0)

    def recipe(self):
        """Random features under Gauss-Newton in float64, with the weight of the slopes by the evidence."""
        return Recipe(
            partial(RandomFeatures, width=150, scale=12.0),
            (Stage(GaussNewton, steps=80),),
            weighting=Evidence(),
            run=RunOptions(dtype="float64", log_every=5),
        )


def tikhonov(A: np.ndarray, data: np.ndarray, misfit: float, L: np.ndarray, nonnegative: bool = False) -> np.ndarray:
    """Minimize |A s - data|^2 + weight |L s|^2, with the weight that leaves the misfit.

    Args:
        A: Matrix ``(m, n)``.
        data: Measurements ``(m,)``.
        misfit: Root mean square of A s - data that is wanted.
        L: What is to be small ``(l, n)``.
        nonnegative: Whether s must not be negative.

    Returns:
        s ``(n,)``.
    """
    normal, right, bend = A.T @ A, A.T @ data, L.T @ L
    size = np.trace(normal) / np.trace(bend)

    def minimum(log_weight: float) -> np.ndarray:
        H = normal + size * math.exp(log_weight) * bend
        if not nonnegative:
            return np.linalg.solve(H + 1e-14 * np.trace(H) / len(H) * np.eye(len(H)), right)
        R = np.linalg.cholesky(H + 1e-14 * np.trace(H) / len(H) * np.eye(len(H))).T
        return nnls(R, np.linalg.solve(R.T, right), maxiter=50 * len(H))[0]

    def excess(log_weight: float) -> float:
        return float(((A @ minimum(log_weight) - data) ** 2).sum()) - len(data) * misfit**2

    low, high = -25.0, 10.0
    root: Any = brentq(excess, low, high, xtol=0.05) if excess(low) < 0 < excess(high) else low
    return minimum(root)


def by_evidence(A: np.ndarray, data: np.ndarray, noise: float, L: np.ndarray, rounds: int = 100) -> np.ndarray:
    """Minimize |A s - data|^2 / noise^2 + weight |L s|^2, with the weight of the largest evidence.

    Args:
        A: Matrix ``(m, n)``.
        data: Measurements ``(m,)``.
        noise: Their standard deviation.
        L: What is small ``(l, n)``.
        rounds: Steps of MacKay's fixed-point iteration (Neural Computation 4 (1992) 415, equation 4.8).

    Returns:
        s ``(n,)``.
    """
    bend = L.T @ L
    near = bend + 1e-9 * np.trace(bend) / len(bend) * np.eye(len(bend))  # of full rank
    sizes, vectors = eigh(A.T @ A / noise**2, near)
    seen, weight = vectors.T @ (A.T @ data) / noise**2, 1.0
    for _ in range(rounds):
        found = vectors @ (seen / (sizes + weight))
        weight = (sizes / (sizes + weight)).sum() / ((L @ found) ** 2).sum()
    return found


if __name__ == "__main__":
    main(HeatSource)
