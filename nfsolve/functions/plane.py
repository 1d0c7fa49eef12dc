"""Random functions on the unit square, and coefficients that take two values: where such a function is positive."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.functions.space import FunctionSpace, require_positive


@dataclass(frozen=True)
class NeumannField(FunctionSpace):
    """Gaussian random functions on the unit square of covariance (-Laplacian + tau^2)^-alpha, zero normal derivative.

    The eigenfunctions are c cos(i pi x) cos(j pi y); the constant is left out.

    Attributes:
        tau: Inverse length.
        alpha: Power.
        modes: Cosines along each coordinate, i and j from 0 to modes - 1.

    Reference:
        Z. Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations", ICLR 2021, appendix
        A.3.2 (Darcy flow): tau = 3, alpha = 2.
    """

    tau: float = 3.0
    alpha: float = 2.0
    modes: int = 64

    def __post_init__(self) -> None:
        require_positive(tau=self.tau, alpha=self.alpha, modes=self.modes - 1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample functions; as in `FunctionSpace`, the coefficient of (i, j) at i modes + j - 1."""
        squares = (math.pi * torch.arange(self.modes, dtype=torch.float64)) ** 2
        deviations = (squares[:, None] + squares + self.tau**2) ** (-self.alpha / 2)
        deviations[1:] *= math.sqrt(2)  # a cosine has mean square 1/2
        deviations[:, 1:] *= math.sqrt(2)
        deviations = deviations.flatten()[1:]
        return deviations * torch.randn(n, len(deviations), generator=generator, dtype=torch.float64)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate cos(i pi x) cos(j pi y); as in `FunctionSpace`."""
        w = math.pi * torch.arange(self.modes, device=x.device, dtype=x.dtype)
        first = torch.cos(x[:, :1] * w.repeat_interleave(self.modes)[1:])
        return first * torch.cos(x[:, 1:] * w.repeat(self.modes)[1:])

    def on_grid(self, coefficients: Tensor, axis: Tensor) -> Tensor:
        """Evaluate functions on a square grid, one coordinate after the other, without the basis as a matrix.

        Args:
            coefficients: What `sample` gave ``(n, k)``.
            axis: Positions ``(m,)`` along x, and along y.

        Returns:
            Values ``(n, m, m)``, x along the second axis.
        """
        waves = torch.cos(math.pi * axis[:, None] * torch.arange(self.modes).to(axis))
        zero = torch.zeros(len(coefficients), 1, dtype=axis.dtype, device=axis.device)
        table = torch.cat([zero, coefficients.to(axis)], 1).unflatten(1, (self.modes, self.modes))
        return waves @ table @ waves.T


@dataclass(frozen=True)
class Thresholded(FunctionSpace):
    """Functions of two values: one where a random function is negative, the other elsewhere.

    Attributes:
        space: The random functions; coefficients and basis are theirs.
        below: Value where they are negative.
        above: Value elsewhere. The defaults are the permeabilities 3 and 12 of the source of `NeumannField`.
    """

    space: NeumannField = NeumannField()
    below: float = 3.0
    above: float = 12.0

    def __post_init__(self) -> None:
        if self.below == self.above:
            raise InputError(
                f"below and above must be two values, but both are {self.below:g}", do="change one of them"
            )

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample the functions that are compared with zero; as in `FunctionSpace`."""
        return self.space.sample(n, generator)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate the basis of the functions that are compared with zero; as in `FunctionSpace`."""
        return self.space.basis(x)

    def evaluate(self, coefficients: Tensor, x: Tensor) -> Tensor:
        """Evaluate functions; as in `FunctionSpace`."""
        return self._two(self.space.evaluate(coefficients, x))

    def on_grid(self, coefficients: Tensor, axis: Tensor) -> Tensor:
        """Evaluate functions on a square grid; as in `NeumannField`."""
        return self._two(self.space.on_grid(coefficients, axis))

    def _two(self, values: Tensor) -> Tensor:
        return torch.where(values < 0, self.below, self.above).to(values.dtype)
