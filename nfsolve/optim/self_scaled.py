"""SSBroyden and SSBFGS: quasi-Newton steps with a dense inverse Hessian that is rescaled at every update.

H <- (H - Hy (Hy)^T / y.Hy + phi y.Hy v v^T) / tau + s s^T / y.s, v = s / y.s - Hy / y.Hy, with tau and phi of the
self-scaled Broyden family (Al-Baali, Comput. Optim. Appl. 9 (1998) 191) as in Urban, Stefanou & Pons, J. Comput. Phys.
523 (2025), arXiv 2405.04230, equations 7 to 23.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import flatten, unflatten
from nfsolve.optim.line_search import Point, strong_wolfe
from nfsolve.optim.one_group import SHARED, OneGroup

SMALLEST_CURVATURE = 1e-14  # of y.s relative to |y| |s|; below it, y is rounding


class _SelfScaled(OneGroup):
    """What both methods share: the line search, the update of H, refusals and the state."""

    def __init__(
        self,
        params: Iterable[Tensor],
        c1: float = 1e-4,
        c2: float = 0.9,
        tolerance: float = 0.0,
        scaling: bool = True,
        initial_scaling: bool = True,
        max_evaluations: int = 25,
        max_bytes: float = 3e8,
    ):
        if not (0 < c1 < c2 < 1 and tolerance >= 0 and max_evaluations >= 1 and max_bytes > 0):
            raise InputError(
                f"{type(self).__name__} needs 0 < c1 < c2 < 1, tolerance >= 0, max_evaluations >= 1 and max_bytes "
                "> 0, got "
                f"{c1=}, {c2=}, {tolerance=}, {max_evaluations=}, {max_bytes=}",
                do="choose values in these ranges",
            )
        defaults = {"c1": c1, "c2": c2, "tolerance": tolerance, "scaling": scaling, "initial_scaling": initial_scaling}
        super().__init__(params, defaults | {"max_evaluations": max_evaluations, "max_bytes": max_bytes})
        self._check_parameters()
        self.stop_reason = ""

    def needed_bytes(self, n: int, p: int, count: int = 1) -> int:
        """Return the memory of H and of its update for p parameters, beside that of the gradient."""
        return 2 * 8 * p**2

    @abstractmethod
    def _factors(self, b: float, h: float, n: int) -> tuple[float, float, float]:
        """Return tau, phi and the tau of the first update."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Tensor:  # type: ignore[override]
        """Do one quasi-Newton iteration; where none lowers the loss, the parameters stay and `stop_reason` says so.

        The loss may be another one than at the last step, as when points are resampled: H is kept then.

        Args:
            closure: When called, it returns the loss and leaves gradients; with a ``loss()`` that gives the loss alone,
                an iteration that follows another on the same points costs one gradient less.

        Returns:
            The loss before the step.

        Raises:
            TypeError: No closure.
            InputError: Thawed parameters that the method cannot take, as at the start.
        """
        if closure is None:
            raise TypeError(
                f"{type(self).__name__} got no closure: pass an nfsolve objective, or a closure as torch's LBFGS takes"
            )
        self.stop_reason = ""
        shared = self._shared()
        if self._thawed_or_frozen(shared):
            self._check_parameters()
            for key in ("loss", "gradient", "direction", "inverse"):  # of another number of parameters
                shared.pop(key, None)
        theta = flatten(self._trained)
        self._refresh(closure, shared, theta)
        loss, steepest = shared["loss"], float(shared["gradient"].abs().max())
        if not math.isfinite(loss) or not math.isfinite(steepest):
            shared.pop("loss")
            self.stop_reason = "non-finite loss or gradient: parameters unchanged"
        elif steepest <= self.param_groups[0]["tolerance"]:
            size = "zero" if steepest == 0 else f"{steepest:.1e} in its largest entry"
            self.stop_reason = f"converged: the gradient is {size}"
        else:
            self._iterate(closure, shared, theta)
        return theta.new_tensor(loss)

    def _iterate(self, closure: Any, shared: dict[str, Any], theta: Tensor) -> None:
        found = self._search(closure, shared, theta)
        if found is None and shared["updates"]:
            self._restart(shared)
            found = self._search(closure, shared, theta)
        if found is None:
            self._assign(theta)
            self.stop_reason = (
                f"line search failed: no step along the gradient lowers the loss {shared['loss']:.3e}; "
                "float64 resolves nothing below it on these points"
            )
            return
        self._assign(theta + found.length * shared["direction"])
        self._update(shared, found)
        shared["loss"], shared["gradient"] = found.value, found.gradient

    def _refresh(self, closure: Any, shared: dict[str, Any], theta: Tensor) -> None:
        """Evaluate loss and gradient anew where the stored ones are not those of this closure at theta."""
        if "loss" in shared and hasattr(closure, "loss"):
            with torch.enable_grad():  # the same code path as the closure's, so that the same points give the same bits
                now = float(closure.loss().detach())
            if now == shared["loss"]:
                return
        shared["loss"] = _evaluate(closure)
        shared["gradient"] = self._gradient()
        if "inverse" not in shared:
            self._restart(shared)
        else:
            shared["direction"] = -(shared["inverse"] @ shared["gradient"])

    def _search(self, closure: Any, shared: dict[str, Any], theta: Tensor) -> Point | None:
        group, direction = self.param_groups[0], shared["direction"]
        slope = float(shared["gradient"] @ direction)
        if not slope < 0:
            return None

        def at(length: float) -> Point:
            self._assign(theta + length * direction)
            value = _evaluate(closure)
            gradient = self._gradient()
            return Point(length, value, float(gradient @ direction), gradient)

        start = Point(0.0, shared["loss"], slope, shared["gradient"])
        # the first direction is the gradient: its length says nothing about that of the step
        first = 1.0 if shared["updates"] else min(1.0, 1.0 / float(direction.norm()))
        return strong_wolfe(at, start, first, group["c1"], group["c2"], group["max_evaluations"])

    def _update(self, shared: dict[str, Any], found: Point) -> None:
        """Update H in place, in one pass, and give the next direction from the product H_old g_new."""
        inverse, direction, gradient = shared["inverse"], shared["direction"], found.gradient
        s, y = found.length * direction, gradient - shared["gradient"]
        ahead = inverse @ gradient
        ys = float(y @ s)
        hy = ahead + direction  # H y = H g_new - H g_old saves a pass over H
        yhy = float(y @ hy)
        if not (ys > SMALLEST_CURVATURE * float(y.norm() * s.norm()) and yhy > 0):
            shared["direction"] = -ahead
            return
        b, h = -found.length * float(s @ shared["gradient"]) / ys, yhy / ys
        tau, phi, first = self._factors(b, h, len(s))
        group = self.param_groups[0]
        if not group["scaling"]:
            tau = 1.0
        if group["initial_scaling"] and not shared["updates"]:
            tau = first
        factors, signs = rank_two(s, hy, ys, yhy, tau, phi)
        inverse.addmm_(factors * signs, factors.T, beta=1 / tau)
        shared["direction"] = -(ahead / tau + factors @ (signs * (factors.T @ gradient)))
        shared["updates"] += 1

    def _restart(self, shared: dict[str, Any]) -> None:
        gradient = shared["gradient"]
        shared["inverse"] = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
        shared["direction"], shared["updates"] = -gradient, 0

    def _gradient(self) -> Tensor:
        return flatten([torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained])

    def _assign(self, theta: Tensor) -> None:
        for parameter, value in zip(self._trained, unflatten(theta, self._trained), strict=True):
            parameter.copy_(value)

    def _shared(self) -> dict[str, Any]:
        # under a name of its own: torch casts state that belongs to a parameter to its type when it loads
        shared = self.state.setdefault(SHARED, {})  # type: ignore[call-overload]
        device = self._trained[0].device
        for key in ("inverse", "gradient", "direction"):
            if key in shared:
                shared[key] = shared[key].to(device)
        return shared

    def _check_parameters(self) -> None:
        parameters = self._trained
        if not parameters:
            raise InputError(
                f"{type(self).__name__} needs a parameter that requires gradients, got none",
                do="thaw one with requires_grad_()",
            )
        narrow = next((p.dtype for p in parameters if p.dtype not in (torch.float64, torch.complex128)), None)
        if narrow is not None:
            raise InputError(
                f"{type(self).__name__} needs float64, as differences of gradients lose all digits in lower "
                "precision, got "
                f"{str(narrow).removeprefix('torch.')} parameters",
                do="build the field with dtype float64, or use Adam, SOAP or ESGD",
            )
        n = sum(p.numel() * (2 if p.is_complex() else 1) for p in parameters)
        limit = self.param_groups[0]["max_bytes"]
        if 8 * n * n > limit:
            raise InputError(
                f"{type(self).__name__} keeps an inverse Hessian in at most {limit:,.0f} bytes, and {n} parameters "
                "need "
                f"{8 * n * n:,}",
                do="use a smaller field, raise max_bytes, or use LBFGS",
            )


class SSBroyden(_SelfScaled):
    """Self-scaled Broyden method with a strong Wolfe line search, for one group of up to about 6000 float64 parameters.

    Args:
        params: Parameters, in float64.
        c1: Smallest decrease of the line search, relative to what the slope promises.
        c2: Largest slope that the line search accepts, relative to the one it starts from.
        tolerance: Largest entry of the gradient at which the method has converged.
        scaling: False fixes tau = 1.
        initial_scaling: Let the first update also shrink H, from the identity to the size of the curvature.
        max_evaluations: Most evaluations of a line search.
        max_bytes: Largest inverse Hessian, in bytes.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, several groups, parameters that are not float64, or too many of them.

    Reference:
        Urban, Stefanou & Pons, J. Comput. Phys. 523 (2025), arXiv 2405.04230; Kiyani et al., arXiv 2501.16371.
    """

    def _factors(self, b: float, h: float, n: int) -> tuple[float, float, float]:
        return broyden_factors(b, h, n)


class SSBFGS(_SelfScaled):
    """Self-scaled BFGS with a strong Wolfe line search; with both scalings off, BFGS.

    Arguments, attributes and errors as for `SSBroyden`; tau = min(1, y.s / s.Bs) and phi = 1.

    Reference:
        Urban, Stefanou & Pons, J. Comput. Phys. 523 (2025), arXiv 2405.04230, equations 12 and 13.
    """

    def _factors(self, b: float, h: float, n: int) -> tuple[float, float, float]:
        return min(1.0, 1.0 / b), 1.0, h


def _evaluate(closure: Callable[[], Any]) -> float:
    with torch.enable_grad():
        loss = closure()
    return float(loss.detach()) if isinstance(loss, Tensor) else float(loss)


def broyden_factors(b: float, h: float, n: int) -> tuple[float, float, float]:
    """Choose tau and phi of the self-scaled Broyden update.

    Args:
        b: s.Bs / y.s, with B the inverse of H.
        h: y.Hy / y.s.
        n: Number of parameters.

    Returns:
        tau, phi, and the tau of a first update, which may exceed 1.

    Reference:
        Urban, Stefanou & Pons, arXiv 2405.04230, equations 14 to 23.
    """
    a = max(b * h - 1, 1e-300)  # not negative but for rounding, by Cauchy and Schwarz
    c = math.sqrt(a / (1 + a))
    low = min(1.0, 1 / (b * (1 + c)))  # h (1 - c), without its cancellation
    theta = max((low - 1) / a, min(1 / low, (1 - b) / b))
    sigma = 1 + a * theta
    scale = min(1.0, 1 / b)
    spread = sigma ** (-1 / (n - 1)) if n > 1 else 1.0
    tau = scale * min(spread, 1 / theta) if theta > 0 else min(scale * spread, sigma)
    return tau, (1 - theta) / sigma, h / sigma


def rank_two(s: Tensor, hy: Tensor, ys: float, yhy: float, tau: float, phi: float) -> tuple[Tensor, Tensor]:
    """Write the update of H as H / tau + F diag(signs) F^T, which one product does in place.

    Args:
        s: Step ``(P,)``.
        hy: H y ``(P,)``.
        ys: y.s.
        yhy: y.Hy.
        tau: Divisor of H.
        phi: Member of the Broyden family; 1 is BFGS, 0 is DFP.

    Returns:
        F ``(P, 2)`` and signs ``(2,)``.
    """
    cross = -phi / (tau * ys)
    core = torch.tensor(
        [[phi * yhy / (tau * ys * ys) + 1 / ys, cross], [cross, (phi - 1) / (tau * yhy)]], dtype=torch.float64
    )
    # s and Hy differ by orders of magnitude: without units of their own the eigenvectors would round the smaller away
    units = torch.stack([s.norm(), hy.norm()]).cpu()
    values, vectors = torch.linalg.eigh(core * units * units[:, None])
    factors = torch.stack([s, hy], 1) @ (vectors * values.abs().sqrt() / units[:, None]).to(s.device)
    return factors, values.sign().to(s.device)
