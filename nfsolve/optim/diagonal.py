"""The base of optimizers that divide a momentum by an estimated diagonal of curvature; they differ in the estimate.

With D(k) the corrected curvature of k refreshes (see `Estimator`), m the momentum and t the steps,
theta <- theta - lr m / (1 - momentum^t) / (D + damping), with a relative damping times the mean of D over the tensor.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.curvature import Estimator
from nfsolve.linalg.dense import real

foreach: Any = torch  # its list operations are not in the typed interface; torch.optim is built on them
SHARED = "shared"  # key of the state that belongs to no single parameter
ESTIMATE = ("quantity", "method", "probes", "average", "refresh_every", "warmup", "bias_correction")
DAMPING = {"relative": 0.1, "absolute": 1e-4}
DampingMode = Literal["relative", "absolute"]


class Diagonal(torch.optim.Optimizer):
    """Momentum divided by a damped diagonal; a base of optimizers, not one to choose.

    A tensor without curvature rests under relative damping, as there is nothing to divide by. A tensor that the loss
    does not depend on rests altogether.

    Args:
        params: Parameters or groups; ``lr``, ``momentum``, ``damping``, ``weight_decay`` and ``beta2`` may differ
            between groups, what and when to estimate is that of the first.
        seed: Seed of the private generator of the probes.
        guard: Compare the first product with finite differences.
        settings: ``lr``, ``momentum``, ``beta2``, ``damping`` (None takes 0.1, or 1e-4 where it is absolute),
            ``damping_mode``, ``weight_decay`` and the settings of the `Estimator`; ``nesterov`` and
            ``rate_warmup`` as `ESGDMax` has them.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.
    """

    def __init__(self, params: Iterable[Any], seed: int, guard: bool, **settings: Any):
        mode = settings["damping_mode"]
        if mode not in DAMPING:
            raise unknown("damping_mode", mode, DAMPING)
        if settings["damping"] is None:
            settings["damping"] = DAMPING[mode]
        super().__init__(params, {"nesterov": False, "rate_warmup": 0.0} | settings)
        estimator = _estimator(self.param_groups[0])
        # under a name of its own: torch casts state that belongs to a parameter to its type when it loads
        self.state[SHARED] = estimator.start(seed) | {"guard": guard}  # type: ignore[index]
        self.stop_reason = ""
        self._divisors = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what torch keeps of an optimizer; the divisors follow from it."""
        super().__setstate__(state)
        self.stop_reason = ""
        self._divisors: dict[Tensor, tuple[tuple[Any, ...], Tensor]] = {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; the next step estimates their curvature and moves them."""
        super().add_param_group(param_group)
        try:
            self._check(self.param_groups[-1])
        except InputError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Tensor:  # type: ignore[override]
        """Do one step; where the curvature is not finite, the parameters stay and `stop_reason` says so.

        Args:
            closure: An objective: called it gives the loss and leaves gradients; for products it offers what
                `sample_products` asks for. It must use the same batch throughout a step.

        Returns:
            The loss before the step.

        Raises:
            TypeError: The closure lacks what the products need.
            InputError: The loss depends on no parameter, or its second derivatives are missing or wrong.
        """
        estimator = _estimator(self.param_groups[0])
        self._check_closure(closure, estimator)
        self.stop_reason = ""
        shared: dict[str, Any] = self.state[SHARED]  # type: ignore[index]
        if estimator.due(shared) or self._has_newcomers():
            loss = self._refresh(closure, estimator, shared)
            if self.stop_reason:
                return loss
        else:
            with torch.enable_grad():
                loss = closure()  # type: ignore[misc]
        estimator.advance(shared)
        for group in self.param_groups:
            self._move(group, shared)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        super().load_state_dict(copy.deepcopy(state_dict))

    def _refresh(self, closure: Any, estimator: Estimator, shared: dict[str, Any]) -> Tensor:
        """Average one more probe; the gradient comes with it."""
        pairs = [(p, group) for group in self.param_groups for p in group["params"] if p.requires_grad]
        parameters = [p for p, _ in pairs]
        sample = estimator.sample(closure, parameters, shared, shared["guard"])
        if not sample.finite():
            what = "Gauss-Newton rows" if estimator.quantity == "gauss_newton" else "Hessian product"
            self.stop_reason = f"non-finite {what} at step {shared['steps'] + 1}: parameters unchanged"
            return sample.loss
        shared["guard"] = False
        estimator.accept(shared, sample)
        for (p, group), gradient, value in zip(pairs, sample.gradient, sample.values, strict=True):
            p.grad = gradient
            state = self.state[p]
            state["curvature"] = _estimator(group).blend(state.get("curvature"), value, shared)
        return sample.loss

    def _has_newcomers(self) -> bool:
        """Whether a parameter that was thawed or added waits for its first curvature."""
        parameters = (p for group in self.param_groups for p in group["params"])
        return any(p.requires_grad and "curvature" not in self.state.get(p, {}) for p in parameters)

    def _move(self, group: dict[str, Any], shared: dict[str, Any]) -> None:
        """Move the parameters of a group, all tensors at once."""
        moved = [p for p in group["params"] if p.requires_grad and p.grad is not None and "curvature" in self.state[p]]
        if not moved:
            return
        steps, momentum, estimator = shared["steps"], group["momentum"], _estimator(group)
        gradients = [real(p.grad) for p in moved]  # type: ignore[arg-type]
        states = [self.state[p] for p in moved]
        for s, g in zip(states, gradients, strict=True):
            if "momentum" not in s:  # one that joins late starts as if all gradients before had been this one
                s["momentum"] = g * (1 - momentum ** (steps - 1))
        averaged = [s["momentum"] for s in states]
        foreach._foreach_lerp_(averaged, gradients, 1 - momentum)
        weight = 1 - momentum**steps
        if group["nesterov"]:
            averaged, weight = foreach._foreach_lerp(averaged, gradients, 1 - momentum), 1 - momentum ** (steps + 1)
        correction = estimator.correction(shared)
        divisors = [self._divisor(p, group, estimator, shared["refreshes"]) for p in moved]
        if _is_absolute(group):
            divisors = foreach._foreach_add(divisors, group["damping"] * correction)
        values = [real(p.detach()) for p in moved]
        if group["weight_decay"]:
            foreach._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
        rate = group["lr"] * (1 - group["rate_warmup"] ** shared["refreshes"])
        foreach._foreach_addcdiv_(values, averaged, divisors, value=-rate * correction / weight)

    def _divisor(self, p: Tensor, group: dict[str, Any], estimator: Estimator, refreshes: int) -> Tensor:
        """Return the uncorrected divisor, which changes at refreshes only; absolute damping is still to be added."""
        key = (refreshes, _is_absolute(group), group["damping"])
        kept = self._divisors.get(p)
        if kept is not None and kept[0] == key:
            return kept[1]
        divisor = estimator.curvature(self.state[p]["curvature"])
        if not _is_absolute(group):
            divisor = divisor + group["damping"] * divisor.mean()
            divisor.masked_fill_(divisor == 0, float("inf"))  # nothing to divide by: the parameter rests
        self._divisors[p] = (key, divisor)
        return divisor

    def _check(self, group: dict[str, Any]) -> None:
        lr, momentum, damping, weight_decay = (group[k] for k in ("lr", "momentum", "damping", "weight_decay"))
        if not (lr >= 0 and 0 <= momentum < 1 and damping >= 0 and weight_decay >= 0 and 0 <= group["rate_warmup"] < 1):
            raise InputError(
                f"{type(self).__name__} needs lr >= 0, momentum and rate_warmup in [0, 1), and damping and "
                "weight_decay >= 0, got "
                f"{lr=}, {momentum=}, {damping=}, {weight_decay=}, rate_warmup={group['rate_warmup']}",
                do="choose values in these ranges",
            )
        _estimator(group)

    def _check_closure(self, closure: Any, estimator: Estimator) -> None:
        rows = estimator.quantity == "gauss_newton" or estimator.method == "gauss_newton"
        if estimator.method == "finite_difference" and not rows:
            needs, why = "__call__", "the loss and its gradient"
        else:
            needs, why = ("stacked", "the residuals") if rows else ("loss", "the loss with its graph")
        if not hasattr(closure, needs):
            raise TypeError(
                f"{type(self).__name__} got a closure without {needs}(): it needs {why} for "
                f"{'products with the Jacobian' if rows else 'Hessian-vector products'}. "
                "Pass an nfsolve objective, e.g. LeastSquares(residual_function, parameters)"
            )


def _estimator(group: dict[str, Any]) -> Estimator:
    return Estimator(decay=group["beta2"], **{name: group[name] for name in ESTIMATE})


def _is_absolute(group: dict[str, Any]) -> bool:
    return group["damping_mode"] == "absolute" and group["damping"] > 0
