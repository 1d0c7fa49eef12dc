"""One weight for each entry of each residual, which grows where the residual stays large.

The weights belong to the points: where points are resampled, they restart. So let points stay for a while
(``resample=0``, or a large number of steps). Measured data are never resampled, and keep theirs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.weighting.scheme import State, Terms, Weighting


@dataclass(frozen=True)
class _Pointwise(Weighting):
    """State: residual name -> lambda, of the shape of the residual."""

    def resampled(self, state: State, kept: set[str]) -> State:
        """Keep what belongs to points that are still there."""
        return {name: value for name, value in state.items() if name in kept}


@dataclass(frozen=True)
class SelfAdaptive(_Pointwise):
    """Masks m(lambda) = lambda**power on the squared residuals; lambda ascends the loss while the field descends it.

    Loss of a residual: mean(lambda**power * r**2). Ascent: lambda <- lambda + rate * power / 2 * lambda**(power - 1) *
    r**2, which is the gradient step on half the sum over the points. It is exponential where r stays large, hence the
    limit, which is not in the paper; the authors' code has Adam do the ascent.

    Attributes:
        rate: Learning rate of lambda.
        power: Exponent of the mask.
        limit: Largest lambda.
        every: Optimizer steps between updates, each of one residual evaluation.

    Reference:
        McClenny & Braga-Neto, J. Comput. Phys. 474 (2023) 111722, section 3.
    """

    rate: float = 0.01
    power: float = 2.0
    limit: float = 100.0
    every: int = 1

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.power >= 1 and 1 <= self.limit < math.inf and self.every >= 1):
            raise InputError(
                "SelfAdaptive needs rate > 0, power >= 1, a finite limit >= 1 and every >= 1, "
                f"got rate={self.rate:g}, power={self.power:g}, limit={self.limit:g} and every={self.every}"
            )

    def update(self, state: State, terms: Terms) -> State:
        """Ascend by one step."""
        terms.evaluations += 1
        new = {}
        for name, r in terms.residuals().items():
            old = state.get(name, torch.ones_like(r))
            slope = 0.5 * self.power * old ** (self.power - 1) * r.square()
            new[name] = (old + self.rate * slope).clamp_max(self.limit)
        return new

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return the masks."""
        return {name: value**self.power for name, value in state.items()}


@dataclass(frozen=True)
class RBA(_Pointwise):
    """Residual-based attention: the loss mean((lambda r)**2), where lambda follows the relative size of r.

    lambda <- decay * lambda + rate * abs(r) / max(abs(r)), with the maximum over the points of the same residual.
    lambda starts at 1 and stays below max(1, rate / (1 - decay)), 10 with the paper's numbers.

    Attributes:
        decay: The paper's gamma.
        rate: The paper's eta.
        every: Optimizer steps between updates, each of one residual evaluation.

    Reference:
        Anagnostopoulos, Toscano, Stergiopulos & Karniadakis, Comput. Methods Appl. Mech. Eng. 421 (2024) 116805.
    """

    decay: float = 0.999
    rate: float = 0.01
    every: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.decay < 1 and self.rate > 0 and self.every >= 1):
            raise InputError(
                f"RBA needs 0 < decay < 1, rate > 0 and every >= 1, got decay={self.decay:g}, rate={self.rate:g} and "
                f"every={self.every}"
            )

    def update(self, state: State, terms: Terms) -> State:
        """Move each lambda toward the relative size of its residual."""
        terms.evaluations += 1
        new = {}
        for name, r in terms.residuals().items():
            size = r.abs()
            relative = size / size.max().clamp_min(torch.finfo(r.dtype).tiny)
            new[name] = self.decay * state.get(name, torch.ones_like(r)) + self.rate * relative
        return new

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return lambda**2."""
        return {name: value.square() for name, value in state.items()}
