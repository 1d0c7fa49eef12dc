"""Least squares for parameters in which residuals are linear, such as a last layer; Newton's method where they are not.

One step minimizes |r + J d|^2 + ridge^2 |D^1/2 d|^2 by orthogonal triangularization of J with its columns scaled to
length one (D = diag(J^T J)). That solves a linear problem. For a nonlinear one it is a Gauss-Newton step; where it
lowers the loss by little, larger ridges are tried with the same triangle, as Levenberg-Marquardt does, and the best
is taken.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.threads import threads_for
from nfsolve.linalg.qr import ScaledQR
from nfsolve.optim.linearized import memory
from nfsolve.optim.one_group import SHARED, OneGroup

RIDGES = (
    1.0,
    1e4,
    1e7,
    1e9,
    1e11,
    1e12,
    1e13,
    1e14,
    3e14,
    1e15,
    3e15,
    1e16,
    1e17,
)  # from Newton's step to a cautious one
GOOD = 0.25  # a step that leaves less than this of the loss is taken at once; else the best ridge is
ENOUGH = 0.9  # part of the loss that the linear model must not leave for a step to be worth its while
LINEAR = 1.01  # factor within which a step leaves what the linear model foretold: the problem is linear
ORTHOGONAL = 0.5  # part of its residual in the space of the columns, above which it is rounding that is left
ROUNDING = 1e-20  # part of the first loss below which slow progress is that of rounding, and steps only refine
STALLED = 0.5  # part of the loss above which a step may be held up by the rounding of large parameters
SMALLER = 0.1  # factor by which these must shrink
COARSER = 10.0  # factor by which the loss may grow with that, for once
LEAST = 0.99  # and that a step must not leave for another to follow


class _Trial(NamedTuple):
    """The loss at the end of a step, its end, and the step."""

    left: float
    end: Tensor
    direction: Tensor


class LinearLeastSquares(OneGroup):
    """Solves for parameters in which the residuals are linear, or nearly so, in few steps.

    Made for `nfsolve.RandomFeatures` and for the last layer of other fields (``Stage(..., only="last")``). Points must
    stay fixed within a step. Works in float64 whatever the type of the parameters is.

    Args:
        params: The parameters, in the order of the objective.
        ridge: Weight of the step, relative to columns of length one: what the residuals do not determine stays small.
        max_bytes: Largest memory for the Jacobian and its triangular factor.
        factors: Those of earlier Jacobians, one of which may be the same; None begins with none.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Golub & Van Loan, Matrix Computations, 4th ed., 5.3.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        ridge: float = 1e-15,
        max_bytes: float = 4e9,
        factors: ScaledQR | None = None,
    ):
        if not (0 < ridge < 1 and max_bytes > 0):
            raise InputError(
                f"LinearLeastSquares needs 0 < ridge < 1 and max_bytes > 0, got {ridge=:g}, {max_bytes=:g}",
                do="choose a ridge such as 1e-15",
            )
        super().__init__(params, {"ridge": ridge, "max_bytes": max_bytes})
        self.stop_reason = ""
        self._shared, self._own = factors, ScaledQR()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which factors for itself."""
        super().__setstate__(state)
        self._shared, self._own = None, ScaledQR()

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where none lowers the loss, the parameters stay and `stop_reason` says so.

        Args:
            objective: Offers ``theta()``, ``assign``, ``stacked``, ``jacobian`` (see `LeastSquares`).

        Returns:
            The loss before the step.

        Raises:
            TypeError: A plain closure.
            InputError: The objective has other parameters, or the Jacobian needs more than ``max_bytes``.
        """
        self._need(objective, "stacked(theta) and jacobian(theta)")
        self._check_objective(objective)
        self.stop_reason = ""
        theta = objective.theta()
        factors = self._shared or self._own
        with threads_for(theta.numel()):
            loss = self._solve(objective, theta, factors)
        if self.stop_reason:
            self._own.forget()
        return loss

    def _solve(self, objective: Any, theta: Tensor, factors: ScaledQR) -> Tensor:
        self._check_memory(objective, theta)
        residual, jacobian = (value.double() for value in objective.jacobian(theta))
        loss = residual @ residual
        if not (torch.isfinite(loss) and torch.isfinite(jacobian).all()):
            self.stop_reason = "non-finite residual or Jacobian: parameters unchanged"
            return loss
        rows, unit = factors.of(jacobian)
        first = self.state[SHARED].setdefault("loss", float(loss))  # type: ignore[index]

        def trial(i: int, of: Tensor | None = None) -> _Trial:
            """Evaluate a step, with the ridge on the step or, where parameters are given, on those at its end."""
            right = rows.project(residual if of is None else residual - jacobian @ of)
            direction = -rows.damped((RIDGES[i] * self.param_groups[0]["ridge"]) ** 2).solve(right) / unit
            direction = direction if of is None else direction - of
            end = (theta + direction).to(theta.dtype)
            moved = objective.stacked(end).double()
            left = moved @ moved
            return _Trial(float(left) if torch.isfinite(left) else math.inf, end, direction)

        far = float(loss) > ROUNDING * first  # parts that the residuals do not determine would add up over large steps
        newton = trial(0, theta.double() if far else None)
        rest = residual + jacobian @ newton.direction
        predicted = float(rest @ rest)
        # what the linear model leaves with the smallest ridge, no other ridge can lower, nor another step
        over = not predicted <= ENOUGH * float(loss)
        linear = predicted / LINEAR <= newton.left <= LINEAR * predicted
        if linear:  # rounding of an ill-conditioned solution can be taken away by another step
            linear = float(rows.project(rest).square().sum()) <= ORTHOGONAL * predicted
        if not linear and factors is self._shared:  # of a matrix with another rounding
            factors.forget()
        enough = over or linear or newton.left < GOOD * float(loss)
        best = newton if enough else min(newton, self._cautious(trial, float(loss)), key=lambda t: t.left)
        if not (far or best.left < STALLED * float(loss)):
            smaller = trial(0, theta.double())
            if smaller.left < COARSER * float(loss) and smaller.end.norm() < SMALLER * theta.norm():
                objective.assign(smaller.end)  # the rounding of large parameters was what no step could lower
                return loss
        if not best.left < float(loss):
            self.stop_reason = f"converged: no least-squares step lowers the loss {float(loss):.3e}"
            return loss
        objective.assign(best.end)
        rounding = best is newton and best.left > 0.5 * float(loss) and best.left < ROUNDING * first
        if over or linear or rounding or best.left > LEAST * float(loss):
            only = "" if linear else " only"
            self.stop_reason = f"converged: a least-squares step lowered the loss to {best.left:.3e}{only}"
        return loss

    def _cautious(self, trial: Callable[[int], "_Trial"], loss: float) -> "_Trial":
        """Find the ridge that lowers the loss most, by steps from the one of the step before."""
        shared = self.state[SHARED]  # type: ignore[index]
        at = shared.get("ridge", len(RIDGES) // 2)
        tried = {at: trial(at)}
        while not tried[at].left < loss and at + 1 < len(RIDGES):  # far from linear: short steps lower the loss
            at += 1
            tried[at] = trial(at)
        for way in (1, -1):
            while 0 < at + way < len(RIDGES):
                if at + way not in tried:
                    tried[at + way] = trial(at + way)
                if not tried[at + way].left < tried[at].left:
                    break
                at += way
        shared["ridge"] = at
        return tried[at]

    def _check_memory(self, objective: Any, theta: Tensor) -> None:
        n, p, limit = self._row_count(objective), theta.numel(), self.param_groups[0]["max_bytes"]
        size = memory("qr", n, p)
        if size > limit:
            raise InputError(
                f"LinearLeastSquares for {n} residuals and {p} parameters needs {size / 1e9:.1f} GB, but max_bytes is "
                f"{limit / 1e9:.1f} GB",
                do="use fewer points or features, or raise max_bytes",
            )
