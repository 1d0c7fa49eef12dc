"""Numbers as functions of no coordinate."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.functions.space import FunctionSpace


@dataclass(frozen=True)
class Numbers(FunctionSpace):
    """Numbers, which are functions of no coordinate.

    Attributes:
        low: Smallest one.
        high: Largest one.
        log: Whether their logarithms are uniformly distributed, instead of the numbers themselves.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high) or (
            self.log and self.low <= 0
        ):
            raise InputError(
                f"the bounds of numbers must be finite{' and positive' if self.log else ''}, the lower one first, "
                f"got low={self.low:g}, high={self.high:g}",
                do="exchange them" if self.low > self.high else "",
            )

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draw numbers; as in `FunctionSpace`."""
        unit = torch.rand(n, 1, generator=generator, dtype=torch.float64)
        if self.log:
            return self.low * torch.exp(unit * math.log(self.high / self.low))
        return self.low + (self.high - self.low) * unit

    def basis(self, x: Tensor) -> Tensor:
        """Return ones; as in `FunctionSpace`."""
        return torch.ones(len(x), 1, dtype=x.dtype, device=x.device)

    def scaled(self, values: Tensor) -> Tensor:
        """Map numbers to [-1, 1], for a network to read."""
        if self.log:
            return 2 * torch.log(values / self.low) / math.log(self.high / self.low) - 1
        return 2 * (values - self.low) / (self.high - self.low) - 1
