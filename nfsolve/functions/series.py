"""Finite series with independent, uniformly distributed coefficients."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nfsolve.functions.space import Bounds, FunctionSpace, require_interval, require_positive


@dataclass(frozen=True)
class ChebyshevSeries(FunctionSpace):
    """Polynomials, sum over j < terms of c_j T_j, c_j uniform in [-size, size].

    Attributes:
        terms: Number of Chebyshev polynomials, of degrees 0 to terms - 1.
        size: Largest coefficient.
        bounds: Where the arguments of T_j run from -1 to 1.

    Reference:
        L. Lu et al., Nature Machine Intelligence 3 (2021) 218, "Methods: function spaces".
    """

    terms: int = 20
    size: float = 1.0
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        require_positive(terms=self.terms, size=self.size)
        require_interval(*self.bounds)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample functions; as in `FunctionSpace`."""
        return self.size * _uniform(n, self.terms, generator)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate T_0 to T_(terms - 1) by their recursion; as in `FunctionSpace`."""
        low, high = self.bounds
        z = (2 * x - (low + high)) / (high - low)
        rows = [0 * z + 1, z]
        while len(rows) < self.terms:
            rows.append(2 * z * rows[-1] - rows[-2])
        return torch.cat(rows[: self.terms], -1)


@dataclass(frozen=True)
class FourierSeries(FunctionSpace):
    """Trigonometric polynomials, a_0 + sum over k <= modes of k^-decay (a_k cos + b_k sin), a_k, b_k uniform.

    Attributes:
        modes: Highest number of waves in a period.
        size: Largest |a_k| and |b_k|.
        decay: Power by which higher harmonics are smaller.
        bounds: One period.
    """

    modes: int = 8
    size: float = 1.0
    decay: float = 1.0
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        require_positive(modes=self.modes, size=self.size)
        require_interval(*self.bounds)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample functions; as in `FunctionSpace`."""
        k = torch.arange(1, self.modes + 1, dtype=torch.float64)
        sizes = torch.cat([torch.ones(1, dtype=torch.float64), k**-self.decay, k**-self.decay])
        return self.size * sizes * _uniform(n, len(sizes), generator)

    def basis(self, x: Tensor) -> Tensor:
        """Evaluate 1, the cosines and the sines; as in `FunctionSpace`."""
        low, high = self.bounds
        w = 2 * math.pi / (high - low) * torch.arange(self.modes + 1, device=x.device, dtype=x.dtype)
        phase = (x - low) * w
        return torch.cat([torch.cos(phase), torch.sin(phase[:, 1:])], -1)


def _uniform(n: int, k: int, generator: Generator) -> Tensor:
    return 2 * torch.rand(n, k, generator=generator, dtype=torch.float64) - 1
