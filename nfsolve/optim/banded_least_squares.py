"""Gauss-Newton steps by normal equations with a band, for fields of which few parameters act at a point.

One step minimizes |r + J d|^2 + ridge^2 |D^1/2 d|^2 (D = diag(J^T J)) by the Cholesky factor of J^T J, which has a band
where parameters are ordered along the longest side of the domain: n parameters with a band of w cost n w^2. The square
of the condition number costs digits; conjugate gradients with this factor bring most of them back.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.curvature.local import NormalEquations
from nfsolve.linalg.dense import pcg
from nfsolve.optim.one_group import OneGroup

SHORTER = (1.0, 0.5, 0.2, 0.05)  # parts of a step that are tried, until one lowers the loss
TOLERANCE = 1e-12  # of conjugate gradients, relative to the gradient
ENOUGH = 0.999  # part of the loss that a step leaves, above which another would not help


class BandedLeastSquares(OneGroup):
    """Solves for the coefficients of `nfsolve.fields.Splines`: linear problems in two steps, others by Newton's method.

    Points must stay fixed within a step. Works in float64 whatever the type of the parameters is.

    Args:
        params: The parameters, in the order of the objective.
        ridge: What is added to the diagonal of J^T J, relative to it: what the residuals do not determine stays small.
        refine: Most steps of conjugate gradients with that factor, which bring back digits that the squares lose.
        max_bytes: Largest memory for the matrix.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Golub & Van Loan, Matrix Computations, 4th ed., 4.3.
    """

    def __init__(self, params: Iterable[Tensor], ridge: float = 1e-13, refine: int = 20, max_bytes: float = 4e9):
        if not (0 <= ridge < 1 and refine >= 1 and max_bytes > 0):
            raise InputError(
                f"BandedLeastSquares needs 0 <= ridge < 1, refine >= 1 and max_bytes > 0, got {ridge=:g}, {refine=}, "
                f"{max_bytes=:g}",
                do="choose a ridge such as 1e-13",
            )
        super().__init__(params, {"ridge": ridge, "refine": refine, "max_bytes": max_bytes})
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where none lowers the loss, the parameters stay and `stop_reason` says so.

        Args:
            objective: Offers ``theta()``, ``assign``, ``stacked`` (see `LeastSquares`), ``local_rows`` and ``order``.

        Returns:
            The loss before the step.

        Raises:
            TypeError: An objective without these.
            InputError: The objective has other parameters, the field is not local, or the matrix needs more than
                ``max_bytes``.
        """
        self._need(objective, "stacked(theta) and local_rows(theta) and order()")
        self._check_objective(objective)
        self.stop_reason = ""
        theta, group, order = objective.theta(), self.param_groups[0], objective.order()
        rows = list(objective.local_rows(theta))
        loss = torch.stack([part.residual.double().square().sum() for part in rows]).sum()
        if not torch.isfinite(loss):
            self.stop_reason = "non-finite residual: parameters unchanged"
            return loss
        equations = NormalEquations(rows, order, group["max_bytes"])
        factor = equations.matrix.factor(group["ridge"])
        found = pcg(equations.product, equations.right, factor.solve, TOLERANCE, group["refine"])
        direction = -found.x[order.cpu()].to(theta.device)
        for part in SHORTER:
            end = (theta + part * direction).to(theta.dtype)
            moved = objective.stacked(end).double()
            left = moved @ moved
            if left < loss:
                objective.assign(end)
                if left > ENOUGH * loss:
                    self.stop_reason = f"converged: a step lowered the loss to {float(left):.3e} only"
                return loss
        self.stop_reason = f"converged: no step lowers the loss {float(loss):.3e}"
        return loss
