"""Where one more measurement would help most: what it would leave of a variance, before it is made.

A measurement with noise s at a candidate, whose row of the Jacobian is g, turns the covariance C into
C - C g g^T C / (s^2 + g^T C g) (the update of a linear Gaussian model; as a rule of design, D. MacKay, Neural
Computation 4 (1992) 590). Its value is not needed for that, so all candidates are compared at once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


@dataclass(frozen=True)
class NextMeasurement:
    """What one more measurement would bring, by the place where it is made.

    Attributes:
        points: Candidates ``(n, d)``, in the order in which they were given.
        remaining: Share of the variance that each would leave, ``(n,)``, in [0, 1]; of several quantities, of the sum
            of their variances.
        measured: What would be measured.
        target: What is to be known better.
        names: The coordinates.
    """

    points: Tensor
    remaining: Tensor
    measured: str
    target: str
    names: tuple[str, ...]

    @property
    def best(self) -> Tensor:
        """The candidate that leaves least, ``(d,)``."""
        return self.points[self.remaining.argmin()]

    def __str__(self) -> str:
        """Say where to measure, and what that brings."""
        place = ", ".join(f"{name}={value:.4g}" for name, value in zip(self.names, self.best.tolist(), strict=True))
        left = float(self.remaining.min().sqrt())
        return (
            f"measure {self.measured} at {place}: the standard error of {self.target} would fall to {left:.0%}; "
            f"the median candidate leaves {float(self.remaining.median().sqrt()):.0%}"
        )


def remaining_share(candidates: Tensor, targets: Tensor, noise: Any) -> Tensor:
    """Return the share of the variance of targets that one more measurement leaves.

    Args:
        candidates: Rows of the Jacobian of what may be measured, times the root of the covariance, ``(n, P)``.
        targets: The same of what is to be known, ``(t, P)``; their variances are added.
        noise: Standard deviation of the new measurement, a number or one for each candidate.

    Returns:
        Shares ``(n,)``, between 0 and 1.

    Raises:
        InputError: The noise is not positive, or nothing about the targets is uncertain.
    """
    spread = torch.as_tensor(noise).to(candidates)
    if (spread.dim() and spread.shape != candidates.shape[:1]) or not bool(
        (torch.isfinite(spread) & (spread > 0)).all()
    ):
        raise InputError(
            f"noise must be a positive number or one for each of {len(candidates)} candidates, got {noise!r}",
            do="give the standard deviation of the new measurement",
        )
    before = float(targets.square().sum())
    if not before > 0:
        raise InputError("nothing about the target is uncertain, so no measurement can help", do="name another target")
    gained = (candidates @ targets.T).square().sum(1) / (spread**2 + candidates.square().sum(1))
    return (1 - gained / before).clamp(0, 1)
