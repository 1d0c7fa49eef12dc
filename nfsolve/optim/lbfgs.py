"""LBFGS: torch's limited-memory BFGS, one iteration a step, with clean curvature pairs and a reason for stopping.

The method is that of `torch.optim.LBFGS` (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.5); its
history goes on from step to step. torch drops curvature pairs with y.s < 1e-10, which ends the progress on a loss of
about that size; here it sees the loss times 2^30, as the directions do not depend on its unit.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import flatten, unflatten
from nfsolve.optim.one_group import SHARED, OneGroup

SCALE = 2.0**30  # a power of two: exact
TRIALS = 25  # evaluations of one line search
PATIENCE = 10  # steps without a new lowest loss on the same points after which the method has stopped


class _Trial(NamedTuple):
    theta: Tensor
    loss: float
    gradient: Tensor


class LBFGS(OneGroup, torch.optim.LBFGS):
    """L-BFGS whose steps are few inner iterations, so that a run sees, saves and stops between any two.

    On an objective with ``loss()``, a step on unchanged points takes the last gradient instead of evaluating it
    again, and where the points were resampled, the pair (s, y) that spans the resample is made of gradients on the
    older points alone.

    Args:
        params: Parameters.
        lr: Length of the first trial of each line search.
        max_iter: Iterations of a step; the limit is exact.
        max_eval: Evaluations after which a step begins no other iteration; None is 1 + 25 ``max_iter``, as some
            versions of torch also end the line search there.
        tolerance_grad: Largest entry of the gradient at which the method has converged.
        tolerance_change: Change of the parameters at which a step begins no other iteration.
        history_size: Curvature pairs that are kept.
        line_search_fn: ``"strong_wolfe"`` or None.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Reference:
        Liu & Nocedal, Math. Program. 45 (1989) 503.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1.0,
        max_iter: int = 1,
        max_eval: int | None = None,
        tolerance_grad: float = 0.0,
        tolerance_change: float = 0.0,
        history_size: int = 50,
        line_search_fn: str | None = "strong_wolfe",
    ):
        if max_iter < 1 or not lr >= 0:
            raise InputError(
                f"LBFGS needs lr at least 0 and max_iter at least 1, but got {lr=} and {max_iter=}",
                do="choose a learning rate near 1 and at least one iteration a step",
            )
        max_eval = 1 + TRIALS * max_iter if max_eval is None else max_eval
        # torch's tolerances of 1e-7 and 1e-9 end a fit at a loss of about 1e-9; here only rounding does
        super().__init__(params, lr, max_iter, max_eval, tolerance_grad, tolerance_change, history_size, line_search_fn)
        self.stop_reason = ""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what torch keeps of an optimizer; its LBFGS needs two attributes more, which it leaves out."""
        super().__setstate__(state)
        self._params, self._numel_cache = self.param_groups[0]["params"], None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Tensor:  # type: ignore[override]
        """Do up to ``max_iter`` iterations.

        Args:
            closure: When called, it returns the loss and leaves gradients.

        Returns:
            The loss before the step.
        """
        self.stop_reason = ""
        shared: dict[str, Any] = self.state.setdefault(SHARED, {})  # type: ignore[call-overload]
        if self._thawed_or_frozen(shared):  # what is stored is of another space
            self.state.pop(self._params[0], None)
            for key in ("loss", "gradient", "lowest"):
                shared.pop(key, None)
        first = self._known(closure, shared) or self._evaluate(closure)
        if not math.isfinite(first.loss):
            self.stop_reason = "non-finite loss: parameters unchanged"
            return torch.tensor(first.loss)
        if self.param_groups[0]["lr"] == 0:  # a line search of length 0 has no curvature to learn from
            shared.pop("loss", None)
            return first.gradient.new_tensor(first.loss)
        seen = deque([first], maxlen=TRIALS + 1)
        fresh = True

        def evaluate() -> Tensor:
            nonlocal fresh
            if not fresh:
                seen.append(self._evaluate(closure))
            fresh = False
            self._write(SCALE * seen[-1].gradient)
            return seen[-1].gradient.new_tensor(SCALE * seen[-1].loss)

        group = self.param_groups[0]
        group["tolerance_grad"] *= SCALE
        try:
            super().step(evaluate)
        finally:
            group["tolerance_grad"] /= SCALE
        self._remember(shared, seen)
        self._explain(shared, first, torch.equal(self._theta(), first.theta), hasattr(closure, "loss"))
        return first.gradient.new_tensor(first.loss)

    def _known(self, closure: Any, shared: dict[str, Any]) -> "_Trial | None":
        """Return loss and gradient where they are known; where the points are others, make the stored pair ready."""
        if "loss" not in shared or not hasattr(closure, "loss"):
            return None
        older = shared["gradient"].to(self._params[0].device)
        with torch.enable_grad():  # the same code path as the closure's, so that the same points give the same bits
            loss = float(closure.loss().detach())
        if loss == shared["loss"]:
            return _Trial(self._theta(), loss, older)
        now = self._evaluate(closure)
        shared.pop("lowest", None)
        state = self.state[self._params[0]]
        if state.get("prev_flat_grad") is not None:
            # torch's next y is now - previous; on the older points it would have been older - previous
            state["prev_flat_grad"] = state["prev_flat_grad"] + SCALE * (now.gradient - older)
        return now

    def _evaluate(self, closure: Any) -> "_Trial":
        with torch.enable_grad():
            loss = closure()
        gradients = [p.grad if p.requires_grad and p.grad is not None else torch.zeros_like(p) for p in self._params]
        return _Trial(
            self._theta(), float(loss.detach() if isinstance(loss, Tensor) else loss), flatten(gradients).clone()
        )

    def _remember(self, shared: dict[str, Any], seen: "deque[_Trial]") -> None:
        """Keep loss and gradient where the step ended: a line search may end at any of its trials."""
        reached = self._theta()
        last = next((trial for trial in reversed(seen) if torch.equal(trial.theta, reached)), None)
        if last is None:
            shared.pop("loss", None)
            return
        shared["loss"], shared["gradient"] = last.loss, last.gradient
        self._write(last.gradient)

    def _explain(self, shared: dict[str, Any], first: "_Trial", stayed: bool, comparable: bool) -> None:
        """State the reason to stop, where there is one."""
        steepest = float(first.gradient.abs().max())
        if steepest <= self.param_groups[0]["tolerance_grad"]:
            size = "zero" if steepest == 0 else f"{steepest:.1e} in its largest entry"
            self.stop_reason = f"converged: the gradient is {size}"
            return
        if not comparable or first.loss < shared.get("lowest", math.inf):
            shared["lowest"], shared["waited"] = first.loss, 0
        else:
            shared["waited"] += 1
        if not stayed and shared["waited"] < PATIENCE:
            return
        dtype = self._params[0].real.dtype
        if dtype == torch.float64:
            why = "the line search finds no lower loss; resample the points, or go on with SSBroyden or GaussNewton"
        else:
            why = f"the step is below what {str(dtype).removeprefix('torch.')} resolves; try dtype float64"
        self.stop_reason = f"stopped after {self.state[self._params[0]]['n_iter']} iterations: {why}"

    def _theta(self) -> Tensor:
        return flatten([p.detach() for p in self._params])

    def _write(self, gradient: Tensor) -> None:
        for p, value in zip(self._params, unflatten(gradient, self._params), strict=True):
            p.grad = value.clone()
