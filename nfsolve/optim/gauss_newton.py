"""Gauss-Newton with adaptive damping: Levenberg-Marquardt with geodesic acceleration, for loss = |r(theta)|^2.

The step d solves (J^T J + mu D) d = -J^T r, with D the running maximum of diag(J^T J) (Marquardt, SIAM J. Appl. Math.
11 (1963); More, 1978), and is bent along the geodesic: s = d + a / 2 with (J^T J + mu D) a = -J^T r_dd, r_dd the second
derivative of r along d (Transtrum & Sethna, arXiv 1201.5885, section 3). It is corrected further with the same J:
(J^T J + mu D) s' = -J^T (r(theta + s) - J s) (Fan, Math. Comp. 81 (2012) 447). mu follows the gain ratio (Nielsen,
IMM-REP-1999-05).
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, size_in_words, unknown
from nfsolve.linalg.dense import SingularMatrix
from nfsolve.optim.linearized import (
    Clock,
    Linearized,
    MatrixFreeForm,
    OrthogonalForm,
    ParameterForm,
    SampleForm,
    ShardedForm,
    at_once,
    memory,
)
from nfsolve.optim.one_group import SHARED, OneGroup

DIFFERENCE = 0.1  # step of the finite difference along d, as Transtrum & Sethna recommend
SMALLEST = 1e-17  # smallest mu: below, it is lost in rounding
SMALLEST_QR = 1e-32  # and of an orthogonal form, whose triangle holds its square root
ROUNDED = 1e-12  # mu below which rounding of J^T J may be what holds the loss up
SLOW, PATIENCE = 0.9, 5  # steps in a row that leave more than this of the loss, with so small a mu, before qr is tried
VANISHED = 1e-13  # largest cosine between residual and Jacobian columns that counts as zero
SHRINKS = 0.75  # largest ratio of a correction to the change before it
ENOUGH = 0.9  # a correction that leaves more than this of the loss is the last one
UNDAMPED = 1e-8  # factor on the damping of linear parameters
LEAST_GAIN = 1e-4  # part of the predicted decrease that an accepted step must bring
TRIALS = 12  # dampings that one step tries before it gives up
DENSE = {
    "parameters": ParameterForm,
    "blocks": ParameterForm,
    "qr": OrthogonalForm,
    "samples": SampleForm,
    "sharded": ShardedForm,
    "sharded_blocks": ShardedForm,
}
FORMS = ("auto", "parameters", "qr", "samples", "blocks", "sharded", "matrix_free")
AGAIN = {"parameters": "blocks", "sharded": "sharded_blocks"}  # the same step without a Jacobian that is held


class GaussNewton(OneGroup):
    """Levenberg-Marquardt on an objective's residuals, for one group of parameters.

    Points must stay fixed within a step. Matrices and their factorizations are float64 whatever the parameters are.

    Args:
        params: The parameters, in the order of the objective.
        damping: mu at the start; it adapts and is part of the state.
        acceleration: Largest accepted ratio 2 abs(a) / abs(d) of the geodesic correction; 0 switches it off.
        corrections: Largest number of further corrections with the same Jacobian, one residual evaluation each.
        momentum: Fraction of the previous step around which the damping pulls (SPRING), in [0, 1); 0 is plain
            Levenberg-Marquardt.
        form: ``parameters`` (the P x P matrix J^T J), ``qr`` (triangularization of J, twice as many digits at two to
            four times the cost of a step), ``samples`` (N x N), ``blocks`` (J^T J from some rows of J at a time, which
            are made again for each product), ``sharded`` (the smaller matrix and its Cholesky factor, of which each
            process has some columns; the rows of J as in ``parameters`` or, where they do not fit, as in ``blocks``),
            ``matrix_free`` (conjugate gradients), or ``auto``: the smaller matrix, qr once J^T J makes no more
            progress, blocks where J does not fit, sharded where the matrix of several processes does not, and
            matrix_free where nothing else fits.
        cg_tolerance: Relative residual of conjugate gradients in the matrix-free form.
        cg_steps: Largest number of products for one solve in the matrix-free form.
        max_bytes: Largest memory for the Jacobian and its Gram matrix.
        seed: Seed of the private generator (random signs of the matrix-free form).
        linear: First part of the names of parameters in which the residuals are linear or nearly so, such as ``body.3``
            of an MLP of three hidden layers. They are hardly damped, so that a step takes them to their best values
            for wherever it takes the others: variable projection as simplified by Kaufman. Empty damps all alike.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.
        clock: Seconds by part of the steps: jacobian, gram, solve, trials.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Transtrum & Sethna, arXiv 1201.5885; Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05; Golub &
        Pereyra, SIAM J. Numer. Anal. 10 (1973) 413; Kaufman, BIT 15 (1975) 49.
    """

    by_rows = True  # a step needs no gradient of all rows at once

    def __init__(
        self,
        params: Iterable[Tensor],
        damping: float = 1e-3,
        acceleration: float = 0.75,
        corrections: int = 4,
        momentum: float = 0.0,
        form: str = "auto",
        cg_tolerance: float = 1e-3,
        cg_steps: int = 200,
        max_bytes: float = 4e9,
        seed: int = 0,
        linear: str = "",
    ):
        if not (damping > 0 and acceleration >= 0 and corrections >= 0 and max_bytes > 0 and 0 <= momentum < 1):
            raise InputError(
                "GaussNewton needs damping and max_bytes > 0, acceleration and corrections >= 0 and 0 <= momentum < 1, "
                f"got {damping=}, {acceleration=}, {corrections=}, {momentum=}, {max_bytes=}"
            )
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        if not (0 < cg_tolerance < 1 and cg_steps >= 1):
            raise InputError(
                "GaussNewton needs a cg_tolerance between 0 and 1 and cg_steps of at least 1, "
                f"got {cg_tolerance=}, {cg_steps=}"
            )
        defaults = {"damping": damping, "acceleration": acceleration, "corrections": corrections}
        defaults |= {"momentum": momentum, "form": form, "cg_tolerance": cg_tolerance, "cg_steps": cg_steps}
        super().__init__(params, defaults | {"max_bytes": max_bytes, "linear": linear})
        self.state[SHARED] = {"generator": Generator().manual_seed(seed).get_state()}  # type: ignore[index]
        self.stop_reason = ""
        self.clock = Clock()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what torch keeps of an optimizer; a copy starts a clock of its own."""
        super().__setstate__(state)
        self.__dict__.setdefault("clock", Clock())

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; where no damping lowers the loss, the parameters stay and `stop_reason` says so.

        Args:
            objective: Offers ``theta()``, ``assign``, ``stacked``, ``jacobian`` (see `LeastSquares`).

        Returns:
            The loss before the step.

        Raises:
            TypeError: A plain closure.
            InputError: The objective has other parameters, or the form asked for needs more than ``max_bytes``.
        """
        self._need(objective, "stacked(theta) and jacobian(theta)")
        self.stop_reason = ""
        self.clock.start()
        theta = objective.theta()
        model, loss = self._linearize(objective, theta)
        if model is None:
            return loss
        if model.cosine() <= VANISHED:
            norm = 2 * float(torch.linalg.vector_norm(model.gradient))
            self.stop_reason = f"converged: gradient norm {norm:.1e}, the residual is orthogonal to the Jacobian"
            return loss
        left = self._search(objective, theta, model, float(loss))
        if isinstance(model, ParameterForm) and self._stalls(left, float(loss)) and self._may_change(model):
            self._shared()["form"] = "qr"  # J^T J has lost the digits in which this loss could still fall
            if left is None:
                orthogonal, _ = self._linearize(objective, theta)
                if orthogonal is not None:
                    self._search(objective, theta, orthogonal, float(loss))
        return loss

    def _stalls(self, left: float | None, loss: float) -> bool:
        """Return whether no step was found, or several with little damping brought little."""
        shared = self._shared()
        slow = left is not None and left > SLOW * loss and self.param_groups[0]["damping"] < ROUNDED
        shared["slow"] = shared.get("slow", 0) + 1 if slow else 0
        return left is None or shared["slow"] >= PATIENCE

    def _may_change(self, model: ParameterForm) -> bool:
        """Return whether an automatic form may go on with the triangularization of J."""
        n, p, group = model.residual.numel(), model.columns.numel(), self.param_groups[0]
        fits = memory("qr", n, p, model.jacobian.ranks.count) <= group["max_bytes"]
        return group["form"] == "auto" and fits

    def _linearize(self, objective: Any, theta: Tensor) -> tuple[Linearized | None, Tensor]:
        """Linearize in the form that fits; None where something is not finite, with the loss."""
        group, shared = self.param_groups[0], self._shared()
        if self._thawed_or_frozen(shared):
            shared.pop("scaling", None)
            shared.pop("step", None)
        form, before = self._form(objective, theta), shared.get("scaling")
        part = self._damped_part(objective, theta)
        if form == "matrix_free":
            generator = Generator()
            generator.set_state(shared["generator"].cpu())
            limits = group["cg_tolerance"], group["cg_steps"]
            model: Linearized = MatrixFreeForm(objective, theta, generator, *limits, before, part)
            shared["generator"] = generator.get_state()
            self.clock.count("jacobian")
        else:
            rows = {"at_once": at_once(theta.numel())} if form in AGAIN.values() else {}
            residual, jacobian = objective.jacobian_rows(theta, **rows)
            self.clock.count("jacobian")
            model = DENSE[form](residual.double(), jacobian, before, part)
        shared["rows"] = model.residual.numel()
        loss = model.residual @ model.residual
        for name, squares in (("residual", loss), ("Jacobian", model.columns)):
            if not torch.isfinite(squares).all():
                self.stop_reason = f"non-finite {name}: parameters unchanged"
                return None, loss
        shared["scaling"] = model.largest
        if group["momentum"] and "step" in shared:
            model.shift = group["momentum"] * shared["step"].to(model.columns.device)
        self.clock.count("gram")
        return model, loss

    def _damped_part(self, objective: Any, theta: Tensor) -> Tensor | None:
        """Return factors on the damping ``(P,)``, almost zero for linear parameters; None for all alike."""
        linear = self.param_groups[0].get("linear", "")  # which older states lack
        if not linear:
            return None
        places = objective.unflatten(torch.arange(theta.numel(), dtype=torch.float64, device=theta.device))
        names = {name.removeprefix("field."): entries for name, entries in places.items()}
        chosen = [entries.reshape(-1) for name, entries in names.items() if f"{name}.".startswith(f"{linear}.")]
        if not chosen:
            raise unknown("part of the parameters", linear, sorted({name.rpartition(".")[0] or name for name in names}))
        part = torch.ones(theta.numel(), dtype=torch.float64, device=theta.device)
        part[torch.cat(chosen).long()] = UNDAMPED
        return part

    def _search(self, objective: Any, theta: Tensor, model: Linearized, loss: float) -> float | None:
        """Try dampings until one lowers the loss, then adapt it by the gain ratio; return that loss, or None."""
        group = self.param_groups[0]
        smallest = SMALLEST_QR if isinstance(model, OrthogonalForm) else SMALLEST
        self.stop_reason = ""
        damping, growth = group["damping"], 2.0
        for _ in range(TRIALS):
            trial = self._try(objective, theta, model, damping)
            gain = (loss - trial.loss) / trial.predicted if trial is not None else -math.inf
            if trial is not None and math.isfinite(gain) and gain > LEAST_GAIN:
                objective.assign(trial.theta)
                # Nielsen, eq. 2.4; the corrections may bring more than the linear model predicted
                factor = max(1 / 3, 1 - (2 * min(gain, 1.5) - 1) ** 3)
                group["damping"] = max(trial.damping * factor, smallest)
                if group["momentum"]:
                    self._shared()["step"] = (trial.theta - theta).double()
                return trial.loss
            damping, growth = damping * growth, 2 * growth
            model.shift = None  # a bad direction of the past must not spoil every trial
        self.stop_reason = (
            f"line search failed: no damping from {group['damping']:.1e} to {damping:.1e} lowers the loss {loss:.3e}"
            + ("; float32 may be the limit, try dtype float64" if theta.dtype == torch.float32 else "")
        )
        return None

    def _try(self, objective: Any, theta: Tensor, model: Linearized, damping: float) -> "_Trial | None":
        """Return the step for a damping, or None where it is not finite or the acceleration too large."""
        group = self.param_groups[0]
        try:
            damping = model.factor(damping)
            d = model.solve(model.residual)
            self.clock.count("solve")
            along = model.forward(d)
            predicted = float(-2 * (model.residual @ along) - along @ along)
            if not (math.isfinite(predicted) and predicted > 0):
                return None
            step = d
            if group["acceleration"]:
                ahead = _evaluate(objective, theta, DIFFERENCE * d)[1]
                curvature = 2 / DIFFERENCE * ((ahead - model.residual) / DIFFERENCE - along)
                a = -model.invert(curvature)
                if not 2 * model.norm(a) <= group["acceleration"] * model.norm(d):
                    return None
                step = d + 0.5 * a
            end, moved, loss = _evaluate(objective, theta, step)
            if math.isfinite(loss) and group["corrections"]:
                end, loss = self._correct(objective, theta, model, step, (end, moved, loss))
        except SingularMatrix:
            return None
        finally:
            self.clock.count("trials")
        return _Trial(end, loss, predicted, damping)

    def _correct(
        self, objective: Any, theta: Tensor, model: Linearized, step: Tensor, start: tuple[Tensor, Tensor, float]
    ) -> tuple[Tensor, float]:
        """Correct a step with the same Jacobian while that contracts and lowers the loss: its end, and the loss."""
        end, moved, loss = start
        length = model.norm(step)
        for _ in range(self.param_groups[0]["corrections"]):
            bent = model.solve(moved - model.forward(step))
            change = model.norm(bent - step)
            if not change <= SHRINKS * length:
                break
            step, length = bent, change
            there, moved, now = _evaluate(objective, theta, step)
            if not now < loss:
                break
            end, loss, before = there, now, loss
            if loss > ENOUGH * before:
                break
        return end, loss

    def _shared(self) -> dict[str, Any]:
        # under a name of its own: torch casts state that belongs to a parameter to its type when it loads
        return self.state[SHARED]  # type: ignore[index]

    def _form(self, objective: Any, theta: Tensor) -> str:
        """Choose the form, after a check that the objective is about these parameters and that matrices fit."""
        group, shared = self.param_groups[0], self._shared()
        self._check_objective(objective)
        n, p, limit = self._row_count(objective), theta.numel(), group["max_bytes"]
        count = objective.ranks.count if hasattr(objective, "ranks") else 1
        form, smaller = self._chosen(n, p, count, shared.get("form", "parameters"))
        if form is None:
            raise InputError(
                f"form '{group['form']}' for {n} residuals and {p} parameters takes "
                f"{size_in_words(memory(group['form'], n, p, count))}, but max_bytes allows {size_in_words(limit)}",
                do=f"use form '{smaller.removesuffix('_blocks')}', which fits, fewer points or a smaller field, or "
                "raise max_bytes",
            )
        return form

    def _chosen(self, n: int, p: int, count: int, dense: str = "parameters") -> tuple[str | None, str]:
        """Return the form for n residuals and p parameters, None where that asked for does not fit, and what does."""
        group = self.param_groups[0]

        def fits(form: str) -> bool:
            return memory(form, n, p, count) <= group["max_bytes"]

        shared = ("sharded", "sharded_blocks") if p <= n else ("sharded",)
        forms = ((dense, "blocks") if p <= n else ("samples",)) + (shared if count > 1 else ())
        smaller = next((form for form in forms if fits(form)), "matrix_free")
        asked = group["form"]
        if asked == "auto":
            return smaller, smaller
        again = AGAIN.get(asked, asked) if p <= n or asked == "parameters" else asked
        return next((form for form in (asked, again) if fits(form)), None), smaller

    def needed_bytes(self, n: int, p: int, count: int = 1) -> int:
        """Return the memory of a step for n residuals and p parameters, of each of ``count`` processes."""
        form, smaller = self._chosen(n, p, count)
        return memory(form or smaller, n, p, count)

    def choice(self, n: int, p: int, count: int = 1) -> str:
        """Say which form is taken because another one does not fit, for n residuals, p parameters, some processes.

        Returns:
            A sentence; empty where the form asked for fits, or the first one that ``auto`` tries.
        """
        asked = self.param_groups[0]["form"]
        first = asked if asked != "auto" else "parameters" if p <= n else "samples"
        form, q = self._chosen(n, p, count)[0], min(n, p)
        if form in (None, first):
            return ""
        matrix = f"the {q} x {q} matrix"
        does = {
            "blocks": f"makes the Jacobian again for each product, {at_once(p)} rows at a time",
            "sharded": f"keeps {matrix} in columns that {count} processes share",
            "sharded_blocks": f"keeps {matrix} in columns that {count} processes share, and makes the Jacobian again "
            f"for each product, {at_once(p)} rows at a time",
            "matrix_free": "forms no matrix, but solves by conjugate gradients",
        }
        whole, limit = memory(first, n, p, count), self.param_groups[0]["max_bytes"]
        return (
            f"Gauss-Newton {does[str(form)]}: form '{first}' would take {size_in_words(whole)}, but max_bytes allows "
            f"{size_in_words(limit)}"
        )


class _Trial(NamedTuple):
    """Where a step ends, the loss there, the decrease that the linear model predicted, and the damping used."""

    theta: Tensor
    loss: float
    predicted: float
    damping: float


def _evaluate(objective: Any, theta: Tensor, step: Tensor) -> tuple[Tensor, Tensor, float]:
    """End of a step in the type of the parameters, the residual there in float64, and its squared norm."""
    end = (theta + step).to(theta.dtype)
    residual = objective.stacked(end).double()
    return end, residual, float(residual @ residual)
