"""Newton-CG preconditioned by a randomized Nystrom approximation of the curvature (NysNewton-CG).

Rathore, Lei, Frangella, Lu & Udell, ICML 2024, arXiv 2402.01868, algorithms 2 to 4. Here the curvature is by default
the Gauss-Newton matrix 2 J^T J, which is never indefinite, and the damping adapts by the gain ratio.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.curvature import hessian_product, linear_maps
from nfsolve.linalg.dense import flatten, pcg, unflatten
from nfsolve.linalg.nystrom import Nystrom, nystrom
from nfsolve.optim.one_group import SHARED, OneGroup

HALVINGS = 12  # of the step, for one damping
TRIALS = 5  # dampings that one step tries before it gives up
SMALLEST, LARGEST = 1e-17, 1e10  # damping


class NystromNewtonCG(OneGroup):
    """Damped Newton steps by preconditioned conjugate gradients, for more parameters than a matrix has room for.

    A step solves (C + damping I) d = -gradient, C the Gauss-Newton matrix or the Hessian, known by products only, and
    backtracks until the loss falls (Armijo).

    Args:
        params: Parameters, in the order of the objective.
        damping: At the start; it adapts and is part of the state.
        rank: Products of a sketch.
        refresh_every: Steps between sketches.
        cg_steps: Largest number of products in one solve.
        cg_tolerance: Relative residual at which a solve ends.
        curvature: ``gauss_newton``, or ``hessian``.
        armijo: Smallest decrease, relative to what the slope promises.
        seed: Seed of the optimizer's own generator of the sketches.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Rathore et al., ICML 2024, arXiv 2402.01868.
    """

    twice = True  # the gradient is differentiated again

    def __init__(
        self,
        params: Iterable[Tensor],
        damping: float = 1.0,
        rank: int = 50,
        refresh_every: int = 20,
        cg_steps: int = 30,
        cg_tolerance: float = 1e-2,
        curvature: str = "gauss_newton",
        armijo: float = 1e-4,
        seed: int = 0,
    ):
        if not (damping > 0 and 0 < cg_tolerance < 1 and 0 < armijo < 0.5):
            raise InputError(
                "NystromNewtonCG needs damping > 0, cg_tolerance in (0, 1) and armijo in (0, 0.5), got "
                f"{damping=}, {cg_tolerance=}, {armijo=}",
                do="choose values in these ranges",
            )
        if rank < 1 or refresh_every < 1 or cg_steps < 1:
            raise InputError(
                f"NystromNewtonCG needs rank, refresh_every and cg_steps of at least 1, got {rank=}, "
                f"{refresh_every=}, {cg_steps=}",
                do="choose values in these ranges",
            )
        if curvature not in ("gauss_newton", "hessian"):
            raise unknown("curvature", curvature, ("gauss_newton", "hessian"))
        defaults = {"damping": damping, "rank": rank, "refresh_every": refresh_every, "cg_steps": cg_steps}
        super().__init__(params, defaults | {"cg_tolerance": cg_tolerance, "curvature": curvature, "armijo": armijo})
        generator = Generator().manual_seed(seed)
        self.state[SHARED] = {"since": 0, "products": 0, "generator": generator.get_state()}  # type: ignore[index]
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where no damping lowers the loss, the parameters stay and `stop_reason` says so.

        Args:
            objective: Offers ``theta()``, ``assign``, ``stacked`` and ``loss`` (see `LeastSquares`).

        Returns:
            The loss before the step.

        Raises:
            TypeError: A plain closure.
            InputError: The objective has other parameters.
        """
        self._need(objective, "stacked(theta)")
        self._check_objective(objective)
        if self._thawed_or_frozen(self._shared()):
            self._shared().pop("vectors", None)
        self.stop_reason = ""
        theta = objective.theta().requires_grad_()
        with torch.enable_grad():
            residual = objective.stacked(theta)
            loss = residual.square().sum()
            (gradient,) = torch.autograd.grad(loss, theta, retain_graph=True)
        loss = loss.detach()
        if not torch.isfinite(loss) or not torch.isfinite(gradient).all():
            self.stop_reason = "non-finite residual or gradient: parameters unchanged"
        elif not gradient.any():
            self.stop_reason = "converged: the gradient is zero"
        else:
            self._descend(objective, theta.detach(), float(loss), gradient, self._curvature(objective, theta, residual))
        return loss

    def _curvature(self, objective: Any, theta: Tensor, residual: Tensor) -> Callable[[Tensor], Tensor]:
        """Return v -> C v at theta."""
        shared = self._shared()

        def hessian(v: Tensor) -> Tensor:
            parameters = objective.parameters
            return flatten(hessian_product(objective.eager_loss, parameters, unflatten(v, parameters)).product)

        exact = self.param_groups[0]["curvature"] == "hessian"
        product = hessian if exact else _gauss_newton(residual, theta)

        def counted(v: Tensor) -> Tensor:
            shared["products"] += 1
            if not exact:  # two sweeps backward; the Hessian's own evaluation counts itself
                objective.evaluations = getattr(objective, "evaluations", 0) + 1
            return product(v)

        return counted

    def _sketch(self, apply: Callable[[Tensor], Tensor], theta: Tensor) -> Nystrom:
        shared, group = self._shared(), self.param_groups[0]
        if "vectors" not in shared or shared["since"] >= group["refresh_every"]:
            generator = Generator()
            generator.set_state(shared["generator"].cpu())
            found = nystrom(apply, len(theta), group["rank"], generator, theta.dtype, theta.device)
            shared["vectors"], shared["values"] = found
            shared["generator"], shared["since"] = generator.get_state(), 0
        shared["since"] += 1
        return Nystrom(shared["vectors"].to(theta.device), shared["values"].to(theta.device))

    def _descend(
        self, objective: Any, theta: Tensor, loss: float, gradient: Tensor, apply: Callable[[Tensor], Tensor]
    ) -> None:
        """Solve and backtrack with dampings that grow until the loss falls."""
        group = self.param_groups[0]
        sketch = self._sketch(apply, theta)
        for _ in range(TRIALS):
            damping = group["damping"]
            precondition = sketch.preconditioner(damping)
            found = pcg(
                lambda v, damping=damping: apply(v) + damping * v,
                -gradient,
                precondition,
                tolerance=group["cg_tolerance"],
                max_steps=group["cg_steps"],
            ).x
            slope = float(gradient @ found)
            if not slope < 0:  # negative curvature at once
                found = -precondition(gradient)
                slope = float(gradient @ found)
            length, gain = self._backtrack(objective, theta, loss, found, slope)
            if length > 0:
                objective.assign(theta + length * found)
                self._adapt(length, gain, slope, damping * float(found @ found))
                return
            group["damping"] = min(10 * damping, LARGEST)
        self.stop_reason = f"line search failed: no damping up to {group['damping']:.1e} lowers the loss {loss:.3e}"

    def _backtrack(
        self, objective: Any, theta: Tensor, loss: float, direction: Tensor, slope: float
    ) -> tuple[float, float]:
        """Return the first length of 1, 1/2, 1/4, ... with enough decrease, and that decrease; zeros where none has."""
        length = 1.0
        for _ in range(HALVINGS):
            now = float(objective.stacked(theta + length * direction).detach().square().sum())
            if now <= loss + self.param_groups[0]["armijo"] * length * slope and now < loss:
                return length, loss - now
            length /= 2
        return 0.0, 0.0

    def _adapt(self, length: float, gain: float, slope: float, damped: float) -> None:
        """Change the damping by the ratio of the decrease to that of the quadratic model.

        With (C + damping I) d = -g the model falls by -length slope - length^2 (-slope - damping d.d) / 2.
        """
        group = self.param_groups[0]
        predicted = -length * slope - 0.5 * length**2 * max(-slope - damped, 0.0)
        ratio = gain / predicted if predicted > 0 else math.inf
        if length < 1 or ratio < 0.25:
            group["damping"] = min(2 * group["damping"], LARGEST)
        elif ratio > 0.75:
            group["damping"] = max(group["damping"] / 3, SMALLEST)

    def _shared(self) -> dict[str, Any]:
        return self.state[SHARED]  # type: ignore[index]


def _gauss_newton(residual: Tensor, theta: Tensor) -> Callable[[Tensor], Tensor]:
    """Return v -> 2 J^T J v, the Hessian of |r|^2 without its term that vanishes with r."""
    forward, backward = linear_maps(residual, theta)
    return lambda v: 2 * backward(forward(v))
