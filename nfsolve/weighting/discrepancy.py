"""The weight of a penalty by the discrepancy principle: as strong as the noise allows.

V. Morozov, Soviet Math. Dokl. 7 (1966) 414; Engl, Hanke & Neubauer, Regularization of Inverse Problems, 1996,
section 4.3.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.weighting.scheme import State, Terms, Weighting

MOST = 1.0  # largest change of the logarithm of a misfit that counts in one update


@dataclass(frozen=True)
class Discrepancy(Weighting):
    """A factor on a penalty that grows while the misfit is below its target, and shrinks while it is above.

    After each update the logarithm of the factor has moved by ``rate * (1 - (misfit / target)^2)``. A solution with
    many degrees of freedom takes up some of the noise, so that the best target is below the noise itself.

    Attributes:
        data: Residual whose root mean square is the misfit.
        penalty: Residual whose weight is chosen.
        target: The misfit wanted, in units of the residual.
        rate: How far an update moves the logarithm.
        every: Optimizer steps between updates, each of one residual evaluation.
        after: Updates at the start that change nothing: an untrained field misfits whatever the penalty.
    """

    data: str = "data"
    penalty: str = "variation"
    target: float = 1.0
    rate: float = 0.1
    every: int = 5
    after: int = 20

    def __post_init__(self) -> None:
        if not (0 < self.target < math.inf and 0 < self.rate < math.inf and self.every >= 1 and self.after >= 0):
            raise InputError(
                f"Discrepancy needs a positive target and rate, every >= 1 and after >= 0, got target={self.target:g}, "
                f"rate={self.rate:g}, every={self.every} and after={self.after}"
            )

    def check(self, terms: Terms) -> None:
        """Refuse a problem that has not both residuals.

        Raises:
            InputError: One of them is not there.
        """
        for name in (self.data, self.penalty):
            if name not in terms.sizes:
                raise unknown("residual", name, terms.sizes, do="name the misfit as data= and the penalty as penalty=")

    def update(self, state: State, terms: Terms) -> State:
        """Move the factor."""
        if (seen := state.get("seen", 0)) < self.after:
            return {"seen": seen + 1}
        terms.evaluations += 1
        excess = 1 - terms.residuals()[self.data].square().mean() / self.target**2
        if not torch.isfinite(excess):
            return state
        return {"seen": seen, "logarithm": state.get("logarithm", 0.0) + self.rate * excess.clamp(-MOST, MOST)}

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return the factor on the penalty."""
        return {self.penalty: state["logarithm"].exp()} if "logarithm" in state else {}
