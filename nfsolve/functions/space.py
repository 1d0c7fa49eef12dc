"""Spaces of functions that operators take as input: coefficients by chance, a basis at points.

A function is a row of coefficients, so that values, derivatives and integrals are exact at every point and no table
is interpolated.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor

from nfsolve._core.errors import InputError

Bounds = tuple[float, float]


@dataclass(frozen=True)
class FunctionSpace(ABC):
    """A distribution over functions f(x) = sum_j c_j phi_j(x), as a dataclass of Python numbers."""

    @abstractmethod
    def sample(self, n: int, generator: Generator) -> Tensor:
        """Sample functions.

        Args:
            n: How many.
            generator: CPU generator, the only source of randomness.

        Returns:
            Coefficients ``(n, k)``, float64 on the CPU.
        """

    @abstractmethod
    def basis(self, x: Tensor) -> Tensor:
        """Evaluate the basis, by operations that Taylor jets pass through.

        Args:
            x: Points ``(m, d)``.

        Returns:
            phi_j(x_i), ``(m, k)``, in the type of ``x``.
        """

    def evaluate(self, coefficients: Tensor, x: Tensor) -> Tensor:
        """Evaluate functions at common points.

        Args:
            coefficients: What `sample` gave ``(n, k)``.
            x: Points ``(m, d)``.

        Returns:
            Values ``(n, m)``, in the type of ``x``.
        """
        basis = self.basis(x)
        return coefficients.to(basis) @ basis.T


def require_positive(**named: float) -> None:
    """Check that parameters of a space are positive numbers."""
    for name, value in named.items():
        if not value > 0:
            raise InputError(f"{name} must be positive, got {value:g}", do="choose a positive number")


def require_interval(low: float, high: float) -> None:
    """Check that bounds are in order and apart."""
    if not low < high:
        raise InputError(f"bounds must be (low, high) with low < high, got ({low:g}, {high:g})", do="swap or move them")
