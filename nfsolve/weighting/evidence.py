"""Weights by the evidence: measurements and priors weigh as much as their own residuals say that they can be trusted.

Rows of three kinds make a least-squares problem: equations, measurements and a prior, each with an unknown variance. At
the largest evidence of the linearised problem the variance of a group is |r_k|^2 / (n_k - g_k), where g_k is the trace
of H^-1 J_k^T J_k, H = J^T J: what its residuals have left, divided by the degrees of freedom that the fit leaves them.
It is the fixed point of D. MacKay, Neural Computation 4 (1992) 415 (equations 4.8 and 4.9), and the estimate of
variance components of F. Helmert (W. Foerstner, Allg. Vermessungs-Nachr. 86 (1979) 446).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.weighting.scheme import State, Terms, Weighting

MOST = 1.5  # largest change of the logarithm of a factor in one update
STILL = 0.9  # part of the loss before, above which it has settled
RANK = 1e-8  # singular values of a prior below this share of the largest count as zero
LEAST_FREEDOM = 1.0  # degrees of freedom below which a residual says nothing of its own variance
EXACT = (
    0.01  # share of their degrees of freedom that measurements lose by one more step down, where equations are exact
)
SHARP = 1e-13  # smallest eigenvalue of H that counts, relative to unit columns


@dataclass(frozen=True)
class Evidence(Weighting):
    """Factors on measured residuals and on those of a prior that follow from their variances.

    The equations keep the weights that the problem states; where there are none, the first measurements do.
    Measurements weigh no less than is needed for equations that can hold exactly to do so. An update takes one Jacobian
    of all residuals, about what a Gauss-Newton step takes.

    Attributes:
        noise: Standard deviation of the measured residuals where it is known, in their units. None takes what the
            problem was given, as a `Measurement` in its `Observed`, or else estimates it.
        every: Optimizer steps between updates.
        after: Updates at the start that change nothing: the residuals of an untrained field say nothing of noise.
        settled: Whether updates change nothing either until the loss falls by less than a tenth between them.
    """

    noise: float | None = None
    every: int = 3
    after: int = 5
    settled: bool = False

    def __post_init__(self) -> None:
        if not ((self.noise is None or 0 < self.noise < math.inf) and self.every >= 1 and self.after >= 0):
            raise InputError(
                f"Evidence needs a positive noise or None, every >= 1 and after >= 0, got noise={self.noise}, "
                f"every={self.every} and after={self.after}"
            )

    def check(self, terms: Terms) -> None:
        """Refuse a problem without measurements, or with nothing to weigh them against.

        Raises:
            InputError: Nothing was measured, or there is one residual of measurements alone.
        """
        measured = set(terms.problem.noisy_residuals()) & set(terms.sizes)
        if not measured:
            raise InputError(
                f"Evidence weighs measurements, and no residual of {type(terms.problem).__name__} holds any",
                do="mark a residual @measured, or take another weighting",
            )
        if len(terms.sizes) == 1:
            raise InputError(
                f"Evidence weighs '{next(iter(measured))}' against equations or a prior, and there are none",
                do="leave the weighting out, or add a prior, such as slopes=1 of a Measurement",
            )

    def update(self, state: State, terms: Terms) -> State:
        """Move the factors to the variances that the residuals show now."""
        if (seen := state.get("seen", 0)) < self.after:
            return {"seen": seen + 1}
        if self.settled and "logarithms" not in state:
            rows = terms.stacked(terms.theta()).detach().double()
            loss = float(rows @ rows)
            if not loss > STILL * state.get("loss", math.inf):
                return {"seen": seen, "loss": loss}
        before = state.get("logarithms", {})
        variances, exact = self._variances(terms, before)
        reference, moved = variances.pop(""), dict(before)
        for name, variance in variances.items():
            change = (reference / variance).log()
            if name in exact and change < 0:
                continue
            if torch.isfinite(change):
                moved[name] = before.get(name, 0.0) + change.clamp(-MOST, MOST)
        return {"seen": seen, "logarithms": moved}

    def factors(self, state: State, terms: Terms) -> dict[str, Tensor]:
        """Return the factors on measurements and on a prior."""
        return {name: value.exp() for name, value in state.get("logarithms", {}).items()}

    def _variances(self, terms: Terms, logarithms: dict[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
        """Return the variance of the rows as they are weighed, by residual; that of the reference as ''.

        Beside it stand the measured residuals that weigh so little that equations are as good as exact.
        """
        terms.evaluations += 1
        residual, J = (part.detach().double() for part in terms.jacobian(terms.theta()))
        J = J / J.norm(dim=0).clamp_min(torch.finfo(J.dtype).tiny)
        basis = _basis(J)
        influence = basis.square().sum(1)  # of each row on itself
        lengths = list(terms.sizes.values())
        rows = {
            name: parts
            for name, *parts in zip(
                terms.sizes, residual.split(lengths), J.split(lengths), influence.split(lengths), strict=True
            )
        }
        problem, known = terms.problem, terms.problem.weights()
        noise = problem.known_noise(terms.batch) if self.noise is None else dict.fromkeys(rows, self.noise)
        measured, prior = (set(names) for names in (problem.noisy_residuals(), problem.prior_residuals()))
        equations = [name for name in rows if name not in measured | prior]
        reference = equations or [name for name in rows if name in measured][:1]
        found = {}
        for name in ("", *(name for name in rows if name not in reference)):
            group = [rows[part] for part in (reference if not name else [name])]
            squares = torch.cat([r for r, _, _ in group]).square().sum()
            size = sum(len(r) for r, _, _ in group)
            taken = torch.cat([influence for _, _, influence in group]).sum()
            if name in prior:
                size = int(torch.linalg.matrix_rank(group[0][1], rtol=RANK))
            found[name] = squares / (size - taken).clamp_min(LEAST_FREEDOM)
            own = name or reference[0]
            if own in noise and own in measured:
                factor = torch.as_tensor(logarithms.get(own, 0.0), dtype=torch.float64).exp().to(residual)
                found[name] = noise[own] ** 2 * known.get(own, 1.0) * factor / size
        parts = dict(zip(rows, basis.split(lengths), strict=True))
        light = {name for name in measured & found.keys() if equations and _is_light(parts[name])}
        return found, light


def _basis(rows: Tensor) -> Tensor:
    """Return an orthonormal basis ``(n, k)`` of what rows ``(n, p)`` can fit."""
    wide = len(rows) < rows.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = eigenvalues > SHARP * float(eigenvalues[-1])
    return vectors[:, kept] if wide else rows @ (vectors[:, kept] / eigenvalues[kept].sqrt())


def _is_light(part: Tensor) -> bool:
    """Return whether some rows of a basis ``(m, k)`` would keep their degrees of freedom if they weighed less.

    With an influence K on themselves and a factor f on their squares it becomes f K (I - (1 - f) K)^-1.
    """
    shares = torch.linalg.eigvalsh(part @ part.T if len(part) < part.shape[1] else part.T @ part).clamp(0, 1)
    factor = math.exp(-MOST)
    lighter = factor * shares / (1 - (1 - factor) * shares)
    return bool((shares - lighter).sum() < EXACT * lighter.sum())
