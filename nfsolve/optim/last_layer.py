"""Gauss-Newton for the last layer of a branch over many mini-batches: an operator is affine in it.

With the trunk and the hidden layers fixed, s = sum_l (W h(f))_l t_l(x) is linear in W. Where the residual is linear
too, one step solves the least-squares problem; where it is not, steps are those of Gauss-Newton (variable projection:
Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413). The normal equations sum_b G_b D h_b h_b^T + mu D = -gradient,
G_b = J_b^T J_b, are solved by conjugate gradients with the preconditioner (mean of G_b) (x) (sum of h_b h_b^T), which
is their matrix where all functions share J_b, as for a linear equation with fixed coefficients at common points.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.curvature import AffineLayer, last_affine
from nfsolve.linalg.dense import pcg
from nfsolve.optim.one_group import OneGroup

TRIALS = 8  # dampings that one step tries before it gives up, each a hundred times the one before
FLOOR = 1e-4  # smallest unit of a column, relative to the largest: a sensor at which all functions vanish keeps still


class LastLayer(OneGroup):
    """Solves for the last linear layer that reads input functions, damped, over the functions of several mini-batches.

    Args:
        params: Parameters, among them the weight of the layer; the others stay as they are.
        batches: Mini-batches drawn for one step; from an objective without ``resample`` there is one.
        damping: mu, relative to a diagonal of ones in the normal equations; what functions show little of is kept from
            growing. A step starts from it and takes more only where the loss would not fall.
        cg_tolerance: Relative residual at which conjugate gradients stop.
        cg_steps: Largest number of products in one solve.
        max_bytes: Largest memory for the matrices G_b.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A setting is out of range, or several parameter groups.

    Reference:
        Golub & Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
        separate, SIAM J. Numer. Anal. 10 (1973) 413.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        batches: int = 32,
        damping: float = 1e-9,
        cg_tolerance: float = 1e-6,
        cg_steps: int = 100,
        max_bytes: float = 4e9,
    ):
        if not (batches >= 1 and damping > 0 and 0 < cg_tolerance < 1 and cg_steps >= 1 and max_bytes > 0):
            raise InputError(
                "LastLayer needs batches and cg_steps of at least 1, damping and max_bytes > 0, and cg_tolerance "
                "in (0, 1), got "
                f"{batches=}, {damping=}, {cg_tolerance=}, {cg_steps=}, {max_bytes=}",
                do="choose values in these ranges",
            )
        defaults = {"batches": batches, "damping": damping, "cg_tolerance": cg_tolerance, "cg_steps": cg_steps}
        super().__init__(params, defaults | {"max_bytes": max_bytes})
        self.stop_reason = ""

    @torch.no_grad()
    def step(self, objective: Any = None) -> Tensor:  # type: ignore[override]
        """Do one step; without a suitable layer, or a damping that lowers the last mini-batch's loss, parameters stay.

        Args:
            objective: Offers ``parts()``, and ``resample()`` where there are mini-batches.

        Returns:
            The mean loss of the mini-batches before the step.

        Raises:
            TypeError: A plain closure.
            InputError: The matrices do not fit.
        """
        self._need(objective, "parts()")
        self.stop_reason = ""
        group = self.param_groups[0]
        sums = _Sums()
        batches = group["batches"] if hasattr(objective, "resample") else 1
        for i in range(batches):
            if i:
                objective.resample()
            try:
                layer = last_affine(objective.parts, self._trained)
            except InputError as error:  # another field than the recipe's, a factorized one, say: it stays as it is
                self.stop_reason = f"no last layer to solve for: {error}"
                return torch.stack([r.square().sum() for r in objective.parts()]).sum()
            if i == 0:
                self._refuse_too_large(layer, batches)
            objective.evaluations += 2
            sums.add(layer)
        ranks = getattr(objective, "ranks", ALONE)
        sums.join(ranks)
        loss = torch.as_tensor(sums.loss / batches)
        if not math.isfinite(loss):
            self.stop_reason = "non-finite residual: parameters unchanged"
            return loss
        self._search(objective, layer, sums.normal())
        return loss

    def _refuse_too_large(self, layer: AffineLayer, batches: int) -> None:
        limit, outputs, columns = self.param_groups[0]["max_bytes"], len(layer.weight), layer.inputs.shape[1]
        count = batches * len(layer.inputs)
        matrices, rest = 8 * count * outputs**2, 8 * (3 * columns**2 + count * columns)
        if matrices + rest > limit:
            fits = int((limit - rest) / matrices * batches)
            raise InputError(
                f"LastLayer may take {limit / 1e9:.1f} GB, and a layer of {outputs} outputs and {columns} inputs, "
                f"{outputs * columns} parameters, needs {(matrices + rest) / 1e9:.1f} GB for {count} functions",
                do=(f"take batches={fits}, " if fits >= 1 else "")
                + "build the field with a smaller latent=, or raise max_bytes",
            )

    def _search(self, objective: Any, layer: AffineLayer, normal: "_Normal") -> None:
        """Take the first damping with which the loss of the last mini-batch falls."""
        group = self.param_groups[0]
        trained = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        ranks = getattr(objective, "ranks", ALONE)
        before = float(ranks.total(layer.residual.square().sum()))
        starts, damping = [p.clone() for p in trained], group["damping"]
        for _ in range(TRIALS):
            step = normal.solve(damping, group["cg_tolerance"], group["cg_steps"])
            columns = layer.weight.shape[1]
            for p, start, move in zip(trained, starts, (step[:, :columns], step[:, -1]), strict=False):
                p.copy_(start.double() + move)
            objective.evaluations += 1
            if float(ranks.total(torch.as_tensor(sum(float(r.square().sum()) for r in objective.parts())))) < before:
                return
            damping *= 100
        for p, start in zip(trained, starts, strict=True):
            p.copy_(start)
        self.stop_reason = f"line search failed: no damping up to {damping / 100:.1e} lowers the loss {before:.3e}"


class _Sums:
    """Collects mini-batches: inputs (B, h), gradients by outputs (B, out), matrices G_b (B, out, out), float64."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.inputs: list[Tensor] = []
        self.gradients: list[Tensor] = []
        self.grams: list[Tensor] = []

    def add(self, layer: AffineLayer) -> None:
        residual, jacobian = layer.residual.double(), layer.jacobian.double()
        self.loss += float(residual.square().sum())
        self.inputs.append(layer.inputs.double())
        self.gradients.append((residual[:, None] @ jacobian)[:, 0])
        self.grams.append(jacobian.mT @ jacobian)

    def join(self, ranks: Ranks) -> None:
        """Take the functions of all processes that share the mini-batches."""
        if not ranks:
            return
        self.loss = float(ranks.total(torch.tensor(self.loss, dtype=torch.float64)))
        for parts in (self.inputs, self.gradients, self.grams):
            parts[:] = [ranks.stack(torch.cat(parts))]

    def normal(self) -> "_Normal":
        inputs, grams = torch.cat(self.inputs), torch.cat(self.grams)
        rows, columns = grams.mean(0).diagonal().sqrt(), inputs.square().sum(0).sqrt()
        rows, columns = (v.clamp_min(max(FLOOR * float(v.max()), 1e-100)) for v in (rows, columns))
        inputs, gradients = inputs / columns, torch.cat(self.gradients) / rows
        grams = grams / rows[:, None] / rows
        return _Normal(grams, inputs, gradients.T @ inputs, rows[:, None] * columns)


class _Normal(NamedTuple):
    """Normal equations with unit columns."""

    grams: Tensor
    inputs: Tensor
    gradient: Tensor
    scale: Tensor

    def solve(self, damping: float, tolerance: float, most: int) -> Tensor:
        """Return the damped step, (out, h)."""
        shape = self.gradient.shape
        left, u = torch.linalg.eigh(self.grams.mean(0))
        right, v = torch.linalg.eigh(self.inputs.T @ self.inputs)
        spectrum = left.clamp_min(0)[:, None] * right.clamp_min(0) + damping

        def apply(flat: Tensor) -> Tensor:
            step = flat.view(shape)
            moved = (self.grams @ (self.inputs @ step.T)[..., None])[..., 0]
            return (moved.T @ self.inputs + damping * step).reshape(-1)

        def precondition(flat: Tensor) -> Tensor:
            return (u @ ((u.T @ flat.view(shape) @ v) / spectrum) @ v.T).reshape(-1)

        found = pcg(apply, -self.gradient.reshape(-1), precondition, tolerance=tolerance, max_steps=most)
        return found.x.view(shape) / self.scale
