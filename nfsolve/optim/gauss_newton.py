"""Gauss-Newton with adaptive damping: Levenberg-Marquardt with geodesic acceleration, for loss = |r(theta)|^2.

The step d solves (J^T J + mu D) d = -J^T r, with D the running maximum of diag(J^T J) (Marquardt, SIAM J. Appl. Math.
11 (1963); More, 1978), and is bent along the geodesic: d + a / 2 with (J^T J + mu D) a = -J^T r_dd, r_dd the second
derivative of r along d (Transtrum & Sethna, arXiv 1201.5885, section 3). mu
follows the gain ratio (Nielsen, IMM-REP-1999-05).
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg import SingularMatrix, cholesky_solve, damped_cholesky, gram

FLOOR = 1e-8  # smallest entry of D, relative to its largest: directions that the residual does not see
DIFFERENCE = 0.1  # step of the finite difference along d, as Transtrum & Sethna recommend
SHARED = "shared"  # key of the state that belongs to no single parameter
TRIALS = 12  # dampings that one step tries before it gives up


class GaussNewton(torch.optim.Optimizer):
    """Levenberg-Marquardt on an objective's residuals, for one group of up to a few thousand parameters.

    Points must stay fixed within a step. The Gram matrix and its factorization are float64 whatever the parameters are.

    Args:
        params: The parameters, in the order of the objective.
        damping: mu at the start; it adapts and is part of the state.
        acceleration: Largest accepted ratio 2 abs(a) / abs(d) of the geodesic correction; 0 switches it off.
        max_bytes: Largest Jacobian, in bytes, that is formed.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Transtrum & Sethna, arXiv 1201.5885; Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        damping: float = 1e-3,
        acceleration: float = 0.75,
        max_bytes: float = 4e9,
    ):
        if not (damping > 0 and acceleration >= 0 and max_bytes > 0):
            raise InputError(
                f"GaussNewton with {damping=}, {acceleration=}, {max_bytes=}",
                "damping and max_bytes > 0, acceleration >= 0",
            )
        defaults = {"damping": damping, "growth": 2.0, "acceleration": acceleration, "max_bytes": max_bytes}
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise InputError(f"GaussNewton with {len(self.param_groups)} parameter groups", "one group")
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where no damping lowers the loss, the parameters stay and `stop_reason` says so.

        Args:
            objective: Offers ``theta()``, ``assign``, ``stacked``, ``jacobian`` (see `LeastSquares`).

        Returns:
            The loss before the step.

        Raises:
            TypeError: A plain closure.
            InputError: The Jacobian would be larger than ``max_bytes``.
        """
        if not hasattr(objective, "jacobian"):
            raise TypeError(
                f"GaussNewton got a {type(objective).__name__} without residuals: it needs an objective with "
                "stacked(theta) and jacobian(theta). Pass LeastSquares(residual_function, parameters), or use nf.solve"
            )
        self.stop_reason = ""
        theta = objective.theta()
        self._check_size(objective, theta)
        residual, jacobian = objective.jacobian(theta)
        residual, jacobian = residual.double(), jacobian.double()
        loss = residual @ residual
        if not torch.isfinite(loss):
            self.stop_reason = "non-finite residual: parameters unchanged"
            return loss
        gradient = jacobian.T @ residual
        if not gradient.any():
            self.stop_reason = "converged: the gradient is zero"
            return loss
        model = _Model(residual, jacobian, gradient, self._scaling(jacobian))
        self._search(objective, theta, model, float(loss))
        return loss

    def _search(self, objective: Any, theta: Tensor, model: "_Model", loss: float) -> None:
        """Try dampings until one lowers the loss, then adapt it by the gain ratio."""
        group = self.param_groups[0]
        for _ in range(TRIALS):
            trial = model.step(objective, theta, group["damping"], group["acceleration"])
            if trial is not None:
                moved = objective.stacked(theta + trial.step).double()
                gain = (loss - float(moved @ moved)) / trial.predicted
                if math.isfinite(gain) and gain > 1e-4:
                    objective.assign(theta + trial.step)
                    group["damping"] *= max(1 / 3, 1 - (2 * min(gain, 1.5) - 1) ** 3)
                    group["damping"] = max(group["damping"], 1e-17)
                    group["growth"] = 2.0
                    return
            group["damping"] *= group["growth"]
            group["growth"] *= 2
        group["damping"] = min(group["damping"], 1e6)
        group["growth"] = 2.0
        self.stop_reason = f"line search failed: no damping up to {group['damping']:.1e} lowers the loss {loss:.3e}"

    def _scaling(self, jacobian: Tensor) -> Tensor:
        """Running maximum of diag(J^T J)."""
        now = jacobian.square().sum(0)
        shared = self._shared()
        scaling = torch.maximum(now, shared["scaling"].to(now.device)) if "scaling" in shared else now
        shared["scaling"] = scaling
        return scaling.clamp_min(FLOOR * float(scaling.max()))

    def _shared(self) -> dict[str, Any]:
        # under a name of its own: torch casts state that belongs to a parameter to its type when it loads
        return self.state.setdefault(SHARED, {})  # type: ignore[call-overload]

    def _check_size(self, objective: Any, theta: Tensor) -> None:
        limit = self.param_groups[0]["max_bytes"]
        shared = self._shared()
        if "rows" not in shared:
            shared["rows"] = objective.stacked(theta).numel()
        size = shared["rows"] * theta.numel() * 8
        if size > limit:
            raise InputError(
                f"a Jacobian of {shared['rows']} residuals by {theta.numel()} parameters, {size / 1e9:.1f} GB",
                f"at most {limit / 1e9:.1f} GB",
                "use fewer points or a smaller field, raise max_bytes, or use a first-order optimizer",
            )


class _Trial:
    def __init__(self, step: Tensor, predicted: float):
        self.step, self.predicted = step, predicted


class _Model:
    """The linearized problem at one point: it gives the step for each damping, in the smaller of two forms."""

    def __init__(self, residual: Tensor, jacobian: Tensor, gradient: Tensor, scaling: Tensor):
        self.residual, self.jacobian, self.gradient, self.scaling = residual, jacobian, gradient, scaling
        n, p = jacobian.shape
        self.wide = n < p
        if self.wide:  # Woodbury: an n x n system instead of p x p
            self.weighted = jacobian / scaling
            self.gram = self.weighted @ jacobian.T
        else:
            self.gram = gram(jacobian)

    def step(self, objective: Any, theta: Tensor, damping: float, acceleration: float) -> _Trial | None:
        """Give the step for a damping, or None where the factorization or the acceleration fails."""
        try:
            factor, damping = damped_cholesky(self.gram, damping, None if self.wide else self.scaling)
        except SingularMatrix:
            return None
        d = -self._solve(factor, self.residual)
        predicted = float(-(self.gradient @ d) + damping * (self.scaling * d * d).sum())
        if not (math.isfinite(predicted) and predicted > 0):
            return None
        if not acceleration:
            return _Trial(d.to(theta.dtype), predicted)
        ahead = objective.stacked(theta + (DIFFERENCE * d).to(theta.dtype)).double()
        curvature = 2 / DIFFERENCE * ((ahead - self.residual) / DIFFERENCE - self.jacobian @ d)
        a = -self._solve(factor, curvature)
        if not 2 * self._norm(a) <= acceleration * self._norm(d):
            return None
        return _Trial((d + 0.5 * a).to(theta.dtype), predicted)

    def _solve(self, factor: Tensor, right: Tensor) -> Tensor:
        """(J^T J + damping D)^-1 J^T right."""
        if self.wide:
            return self.weighted.T @ cholesky_solve(factor, right)
        return cholesky_solve(factor, self.jacobian.T @ right)

    def _norm(self, step: Tensor) -> float:
        return float((self.scaling * step * step).sum().sqrt())
