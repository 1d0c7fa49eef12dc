"""Optimizers that divide a momentum by an estimated diagonal of curvature: one step, composed with an `Estimator`.

`ESGD`, `ESGDMax` and `AdaHessian` divide by the row norms of the Hessian, `Jacobi` by its diagonal, `DiagGN` by that
of 2 J^T J. With D(k) the corrected curvature of k refreshes (see `Estimator`), m the momentum and t the steps,
theta <- theta - lr m / (1 - momentum^t) / (D + damping), with a relative damping times the mean of D over the tensor.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.curvature import Estimator
from nfsolve.curvature.estimator import Average, Correction, Method, Probes, Quantity
from nfsolve.linalg.dense import real
from nfsolve.optim.light import Light
from nfsolve.optim.one_group import SHARED

foreach: Any = torch  # its list operations are not in the typed interface; torch.optim is built on them
ESTIMATE = ("quantity", "method", "probes", "average", "refresh_every", "warmup", "bias_correction")
DAMPING = {"relative": 0.1, "absolute": 1e-4}
DampingMode = Literal["relative", "absolute"]
DEFAULTS: dict[str, Any] = {
    "nesterov": False,
    "rate_warmup": 0.0,
    "refresh_every": 1,
    "warmup": 0,
    "bias_correction": "refreshes",
    "average": "ema",
    "method": "autograd",
}
OF_GROUPS = ("lr", "momentum", "beta2", "damping", "damping_mode", "weight_decay", "probes", *DEFAULTS)


class Diagonal(Light):
    """Momentum divided by a damped diagonal; a base of optimizers, not one to choose.

    A tensor without curvature rests under relative damping, as there is nothing to divide by. A tensor that the loss
    does not depend on rests altogether.

    Args:
        params: Parameters or groups; ``lr``, ``momentum``, ``damping``, ``weight_decay`` and ``beta2`` may differ
            between groups, what and when to estimate is that of the first.
        quantity: What the `Estimator` estimates.
        settings: Arguments by name, as of `ESGD` and `ESGDMax`; others that this holds are left aside.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is unknown or out of range.
    """

    twice = True  # the gradient is differentiated again

    def __init__(self, params: Iterable[Any], quantity: Quantity, settings: dict[str, Any]):
        given = DEFAULTS | {name: settings[name] for name in OF_GROUPS if name in settings} | {"quantity": quantity}
        if given["damping_mode"] not in DAMPING:
            raise unknown("damping_mode", given["damping_mode"], DAMPING)
        if given["damping"] is None:
            given["damping"] = DAMPING[given["damping_mode"]]
        super().__init__(params, given)
        estimator = _estimator(self.param_groups[0])
        # under a name of its own: torch casts state that belongs to a parameter to its type when it loads
        self.state[SHARED] = estimator.start(settings["seed"]) | {"guard": settings.get("guard", False)}  # type: ignore[index]
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
            closure: An objective: when called, it returns the loss and leaves gradients; for products it offers what
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
        """Return whether a parameter that was thawed or added waits for its first curvature."""
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


class ESGD(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by the row norms of the Hessian.

    With D the moving average of (H v)^2 over refreshes, k the refreshes so far, m the momentum and
    R = sqrt(D / (1 - beta2^k)), theta <- theta - lr m / (1 - momentum^t) / (R + damping * mean(R)).

    Two things differ from the released code unless ``paper=True``: the bias of the average is corrected by the number
    of refreshes, not of steps, and the damping is relative to the mean curvature.

    A refresh counts as 3 evaluations of an objective that counts them: one for the loss and its gradient, which every
    step has, and two for the product (by double backward, by 2 J^T J v, or by two more gradients). The first one
    also compares the product with finite differences where the graph holds operations that are not torch's own.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a Newton-like scale, independent of that of the loss. The paper uses 0.15.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged squared products, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up.
        warmup: First steps, each with a product.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the optimizer's own generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        bias_correction: By the number of ``refreshes``, or of ``steps``: the latter divides by 1 - beta2^t where D
            has seen k < t updates, which multiplies the learning rate by sqrt((1 - beta2^t) / (1 - beta2^k)): with
            the default schedule 1 until step 50, 1.4 at 100, 3.6 at 2000, and 1.1 at 200 000.
        probes: ``rademacher`` or ``gaussian``.
        average: Over refreshes: ``ema``, ``mean`` (as Dauphin et al.) or ``max``.
        method: The product: ``autograd``, ``gauss_newton`` (2 J^T J v, for losses |r|^2) or ``finite_difference``
            (no second derivative, any deterministic closure).
        guard: Compare the first product with finite differences.
        paper: The released algorithm exactly: ``bias_correction="steps"``, ``damping_mode="absolute"`` and a moving
            average of Hessian products with signs, whatever else is said of these. Set ``lr=0.15`` (image and
            occupancy; 0.1 for ReLU) as well.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Dauphin, de Vries & Bengio, NeurIPS 2015, arXiv 1502.04390; Chng, Saratchandran & Lucey, arXiv 2402.08784.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        bias_correction: Correction = "refreshes",
        probes: Probes = "rademacher",
        average: Average = "ema",
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
    ):
        if paper:
            damping_mode, bias_correction, average = "absolute", "steps", "ema"
            probes, method = "rademacher", "autograd"
        super().__init__(params, "row_norm", locals())


class ESGDMax(Diagonal):
    """ESGD with the larger of the decayed old and the new squared product, and a momentum that looks ahead.

    D <- max(beta2 D, (H v)^2) at a refresh, without bias correction; the step is
    lr (1 - rate_warmup^k) (momentum m + (1 - momentum) g) / (1 - momentum^(t+1)) / (sqrt(D) + damping) with k the
    refreshes so far. A maximum lies above the row norm, so the rate is larger than that of `ESGD`. A refresh counts as
    3 evaluations, and what is not listed is as for `ESGD`.

    Args:
        lr: Learning rate.
        beta2: Decay of the maximum, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up; the released default is 10.
        warmup: First steps, each with a product; the released default is 20.
        rate_warmup: The rate grows with the refreshes k as 1 - rate_warmup^k; 0 has no such warm-up.
        nesterov: Look ahead: average the gradient into the momentum once more for the step.
        paper: The released algorithm exactly: ``damping_mode="absolute"``, ``rate_warmup=0.99``, ``nesterov`` and
            Hessian products with signs, whatever else is said of these.

    Reference:
        Chng, Saratchandran & Lucey, arXiv 2402.08784, released code, after the ESGD-M of K. Crowson,
        github.com/crowsonkb/esgd.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.5,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        rate_warmup: float = 0.99,
        nesterov: bool = True,
        probes: Probes = "rademacher",
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
    ):
        if paper:
            damping_mode, rate_warmup, nesterov, probes, method = "absolute", 0.99, True, "rademacher", "autograd"
        super().__init__(params, "row_norm", locals() | {"average": "max"})


class AdaHessian(Diagonal):
    """Adam with squared Hessian products as the second moment, one product a step.

    The paper speaks of the diagonal of H, but |v_i (H v)_i| = |(H v)_i| for signs v, and the published code averages
    the squares of these: the second moment tends to the squared row norms of H, not to its diagonal. So this is `ESGD`
    with a product in every step; `Jacobi` has the diagonal. Every step counts as 3 evaluations of an objective that
    counts them. What is not listed is as for `ESGD`.

    Args:
        lr: Learning rate; Chng et al. use 0.15 for fields.
        beta2: Decay of the averaged squared products.
        weight_decay: Decoupled decay, times ``lr``; zero in all published runs with fields.
        paper: "AdaHessian(E)" of Chng et al. exactly: absolute damping and Hessian products with signs, whatever else
            is said of these. There is no spatial averaging, as for their linear layers.
        paper_j: "AdaHessian(J)" of their released code exactly: as ``paper``, but divided by sqrt(mean |H v|). Meant as
            the Jacobi preconditioner, it estimates no diagonal and has the dimension of sqrt(curvature); it is here to
            reproduce their runs.

    Reference:
        Yao, Gholami, Shen, Mustafa, Keutzer & Mahoney, AAAI 2021, arXiv 2006.00719; Chng, Saratchandran & Lucey,
        arXiv 2402.08784, released code.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
        momentum: float = 0.9,
        beta2: float = 0.999,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        probes: Probes = "rademacher",
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
        paper_j: bool = False,
    ):
        if paper or paper_j:
            damping_mode, probes, method = "absolute", "rademacher", "autograd"
        super().__init__(params, "root_magnitude" if paper_j else "row_norm", locals())


class Jacobi(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by |diag H|.

    With D the moving average of v * (H v) over refreshes and k the refreshes so far, the divisor is
    |D| / (1 - beta2^k) plus damping. The signs are averaged before the magnitude is taken, as the noise of
    off-diagonal entries cancels only then. A refresh counts as 3 evaluations, and what is not listed is as for `ESGD`.

    Args:
        lr: Learning rate; a Newton-like scale. Smaller than for `ESGD`, as |H_ii| is at most the norm of row i.
        beta2: Decay of the averaged products, for each refresh.
        average: Over refreshes: ``ema`` or ``mean``.

    Reference:
        Bekas, Kokiopoulou & Saad, Appl. Numer. Math. 57 (2007) 1214; Dauphin, de Vries & Bengio, NeurIPS 2015, arXiv
        1502.04390, which compares it with equilibration.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.03,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        bias_correction: Correction = "refreshes",
        probes: Probes = "rademacher",
        average: Literal["ema", "mean"] = "ema",
        method: Method = "autograd",
        guard: bool = True,
    ):
        super().__init__(params, "diagonal", locals())


class DiagGN(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by diag(2 J^T J), for losses |r|^2.

    E[(J^T w)^2] = diag(J^T J) for random signs w on the residuals. Unlike the squared gradient of Adam, (J^T r)^2, it
    is the diagonal of a curvature whatever the residuals and the batch. A refresh is one more backward pass: it counts
    as 2 evaluations of an objective, the gradient included. There is nothing to guard, as all derivatives are first
    ones. What is not listed is as for `ESGD`.

    Args:
        lr: Learning rate; a Newton-like scale, independent of that of the loss.
        beta2: Decay of the averaged squares, for each refresh.
        probes: ``rademacher`` or ``gaussian``, for each residual.
        average: Over refreshes: ``ema``, ``mean`` or ``max``.

    Reference:
        Martens, Sutskever & Swersky, Estimating the Hessian by back-propagating curvature, arXiv 1206.6464.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.03,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        bias_correction: Correction = "refreshes",
        probes: Probes = "rademacher",
        average: Average = "ema",
    ):
        super().__init__(params, "gauss_newton", locals())
