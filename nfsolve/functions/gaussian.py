"""Gaussian random functions as series of cosines with independent coefficients: no matrix is decomposed.

A stationary covariance C on a box of lengths L_i is that of a random function of periods P_i, P_i - L_i so large that
C has died away: f(x) = sum over the lattice of 2 pi j_i / P_i of a cos(w.x) + b sin(w.x), with a and b independent and
of variance 2 S(w) / (P_1 ... P_d), S the spectral density (Poisson's summation formula; C. R. Dietrich, G. N. Newsam,
SIAM J. Sci. Comput. 18 (1997) 1088, is the same idea on a grid). Densities: C. E. Rasmussen, C. K. I. Williams,
"Gaussian Processes for Machine Learning", 2006, equations 4.11 and 4.15.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.functions.space import Bounds, FunctionSpace, require_interval, require_positive

Kernel = Literal["rbf", "matern12", "matern32", "matern52"]

SMOOTHNESS = {"rbf": math.inf, "matern12": 0.5, "matern32": 1.5, "matern52": 2.5}
# Distances in correlation lengths at which the kernels are below 1e-13 (rbf) and 1e-10.
REACH = {"rbf": 8.0, "matern12": 23.0, "matern32": 16.0, "matern52": 13.0}


class Harmonics(FunctionSpace):
    """Functions a_0 + sum of a_j cos(w_j.x) + b_j sin(w_j.x) with independent Gaussian coefficients."""

    @abstractmethod
    def frequencies(self) -> Tensor:
        """Return w ``(h, d)``, float64, one of each pair w and -w; the first is zero."""

    @abstractmethod
    def variances(self, w: Tensor) -> Tensor:
        """Return the variances ``(h,)`` of a_j, which are those of b_j too."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample functions; as in `FunctionSpace`."""
        deviations = self.variances(self.frequencies()).sqrt()
        deviations = torch.cat([deviations, deviations[1:]])
        return deviations * torch.randn(n, len(deviations), generator=generator, dtype=torch.float64)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate cosines, then sines without that of w = 0; as in `FunctionSpace`."""
        w = self.frequencies().to(x.device, x.dtype)
        phase = torch.nn.functional.linear(x, w)
        return torch.cat([torch.cos(phase), torch.sin(phase[:, 1:])], -1)


@dataclass(frozen=True)
class GaussianField(Harmonics):
    """Stationary Gaussian random functions on a box, mean 0, variance 1.

    Attributes:
        length: Correlation length l: the kernels are functions of r = |x - x'| / l, exp(-r^2 / 2) for ``rbf``,
            exp(-r) for ``matern12``, (1 + sqrt(3) r) exp(-sqrt(3) r) for ``matern32``, and
            (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r) for ``matern52``.
        kernel: One of them.
        bounds: ``(low, high)``, or one such pair for each coordinate.
        modes: Harmonics along each coordinate; 0 takes what the covariance needs to be exact to 1e-13 for ``rbf``,
            and 400 for the others, whose functions are rough: see `cut`.

    Raises:
        InputError: An unknown kernel, a length that is not positive, reversed bounds, or too many harmonics.
    """

    length: float = 0.2
    kernel: Kernel = "rbf"
    bounds: Bounds | tuple[Bounds, ...] = (0.0, 1.0)
    modes: int = 0

    def __post_init__(self) -> None:
        require_positive(length=self.length)
        if self.kernel not in SMOOTHNESS:
            raise unknown("kernel", self.kernel, SMOOTHNESS)
        for low, high in self.box:
            require_interval(low, high)
        total = math.prod(2 * j + 1 for j in self._counts()) // 2 + 1
        if total > 20000:
            raise InputError(
                f"a random function may have at most 20000 harmonics, but length = {self.length:g} on {self.bounds} "
                f"takes {total}",
                do="choose a larger length, or fewer harmonics by modes=",
            )

    @property
    def box(self) -> tuple[Bounds, ...]:
        """One pair of bounds for each coordinate."""
        return self.bounds if isinstance(self.bounds[0], tuple) else (self.bounds,)  # type: ignore[return-value]

    @property
    def cut(self) -> float:
        """Share of the standard deviation that lies in the harmonics that are left out."""
        w = self.frequencies()
        variances = self.variances(w)
        return math.sqrt(max(0.0, 1 - float(variances.sum())))

    def _periods(self) -> list[float]:
        return [high - low + REACH[self.kernel] * self.length for low, high in self.box]

    def _counts(self) -> list[int]:
        if self.modes or self.kernel != "rbf":
            return [self.modes or 400] * len(self.box)
        return [math.ceil(REACH["rbf"] * period / (2 * math.pi * self.length)) for period in self._periods()]

    def frequencies(self) -> Tensor:
        """Return the lattice of frequencies; as in `Harmonics`."""
        ranges = [torch.arange(-j, j + 1, dtype=torch.float64) for j in self._counts()]
        lattice = torch.cartesian_prod(*ranges).reshape(-1, len(ranges))
        # the lattice is symmetric and in order: its second half has one of each pair, from zero on
        half = lattice[len(lattice) // 2 :]
        return half * torch.tensor([2 * math.pi / period for period in self._periods()], dtype=torch.float64)

    def variances(self, w: Tensor) -> Tensor:
        """Return the spectral density times the density of the lattice; as in `Harmonics`."""
        d, nu, l2 = len(self.box), SMOOTHNESS[self.kernel], self.length**2
        squared = w.square().sum(1)
        if self.kernel == "rbf":
            density = (2 * math.pi * l2) ** (d / 2) * torch.exp(-l2 * squared / 2)
        else:
            factor = (4 * math.pi) ** (d / 2) * math.gamma(nu + d / 2) / math.gamma(nu) * (2 * nu / l2) ** nu
            density = factor * (2 * nu / l2 + squared) ** (-nu - d / 2)
        pairs = torch.where(squared > 0, 2.0, 1.0).double()
        return pairs * density / math.prod(self._periods())


@dataclass(frozen=True)
class PeriodicField(Harmonics):
    """Periodic Gaussian random functions of covariance operator sigma^2 (-d^2/dx^2 + tau^2)^-alpha, mean over x zero.

    In L2 of one period of length 1 the operator has eigenvalues sigma^2 (4 pi^2 k^2 + tau^2)^-alpha. The defaults are
    the initial values for Burgers' equation of S. Wang, H. Wang, P. Perdikaris, Science Advances 7 (2021) eabi8605, as
    the program that made them has it: sigma = 25^2. (The paper prints 25^2 for sigma^2, which would make |u| < 0.03.)

    Attributes:
        sigma: Square root of the factor.
        tau: Inverse length.
        alpha: Power.
        bounds: One period; k counts the waves in it, whatever its length.
        modes: Harmonics; what they leave out has a share of the standard deviation of about modes^(1/2 - alpha).
    """

    sigma: float = 625.0
    tau: float = 5.0
    alpha: float = 4.0
    bounds: Bounds = (0.0, 1.0)
    modes: int = 64

    def __post_init__(self) -> None:
        require_positive(sigma=self.sigma, alpha=self.alpha - 0.5, modes=self.modes)
        require_interval(*self.bounds)

    def frequencies(self) -> Tensor:
        """Return 2 pi k / period; as in `Harmonics`."""
        k = torch.arange(self.modes + 1, dtype=torch.float64)[:, None]
        return 2 * math.pi / (self.bounds[1] - self.bounds[0]) * k

    def variances(self, w: Tensor) -> Tensor:
        """Return twice the eigenvalues, because cos and sin have mean square 1/2; as in `Harmonics`."""
        k = torch.arange(1, self.modes + 1, dtype=torch.float64)
        eigenvalues = self.sigma**2 * (4 * math.pi**2 * k**2 + self.tau**2) ** -self.alpha
        return torch.cat([torch.zeros(1, dtype=torch.float64), 2 * eigenvalues])
