"""The rows of a least-squares problem of which some are measured, and what they say of its unknown scalars."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve.linalg.propagation import Propagation, Rows, weak_directions
from nfsolve.problem import Measurement, Objective

MAX_BYTES = 4e9
FLAT = 1e6  # prior deviation of unknown scalars, in units of their start value: none
LIGHTER = 10.0  # times smaller weight of the measurements, to see what that would bring
GAIN = 1.25  # times narrower intervals, from which on a user is told
UNCONVERGED = 0.5  # standard errors that one more step may move a scalar, or the field where it was measured
BIASED = 1.0  # standard errors that more weight of the equations may move them
WEAK = 1.0  # relative standard deviation from which on a direction is not identifiable
ROUNDS = 30  # fixed-point iterations of the width of the prior
SETTLED = 0.01  # relative change of the width at which they end
CONTRADICTED = 1.5  # ratio of residuals and the noise that was given, or its inverse, from which on a user is told
SURELY = 4.0  # and standard errors of its logarithm
NAMED = 0.2  # component of a weak direction from which on its scalar is named

JacobianAt = Callable[[Any, Tensor, nn.Module], Tensor]
"""A function of a field, points ``(n, d)`` and a field -> its Jacobian by the field's parameters ``(n k, p)``."""

Noise = float | Tensor | Mapping[str, float | Tensor] | None


@dataclass
class NoisyRows:
    """The scaled residual and its Jacobian, and which rows are measured.

    Attributes:
        residual: ``(N,)``.
        jacobian: ``(N, P)``.
        noisy: Mask of the measured rows ``(N,)``.
        prior: Mask of the rows of a prior ``(N,)``.
        scale: Factor by which the residual of each row was multiplied ``(N,)``.
        names: The measured residuals.
        shapes: Their shapes ``(n, k)``.
    """

    residual: Tensor
    jacobian: Tensor
    noisy: Tensor
    prior: Tensor
    scale: Tensor
    names: tuple[str, ...]
    shapes: dict[str, torch.Size]

    @classmethod
    def of(cls, objective: Objective, data: str | tuple[str, ...], jacobian_at: JacobianAt) -> "NoisyRows":
        """Evaluate the rows of an objective; ``data`` names the measured residuals, default what the problem says."""
        with torch.no_grad():
            residuals = objective.residuals()
        names = ((data,) if isinstance(data, str) else tuple(data)) or objective.problem.noisy_residuals()
        for name in names:
            if name not in residuals:
                raise unknown("residual", name, residuals)
        if not names:
            raise InputError(
                f"{type(objective.problem).__name__} does not say which of its residuals hold measurements "
                f"({', '.join(residuals)})",
                do=f'mark them @measured, or give data="{next(iter(residuals))}"',
            )
        n, p = sum(r.numel() for r in residuals.values()), sum(x.numel() for x in objective.parameters)
        if 8 * (2 * n * p + 5 * p**2) > MAX_BYTES:
            raise InputError(
                f"the Jacobian of {n} residuals by {p} parameters takes {8 * (2 * n * p + 5 * p**2) / 1e9:.1f} GB, and "
                f"{MAX_BYTES / 1e9:g} GB are allowed",
                do="use fewer points or a smaller field",
            )
        residual, jacobian = _through_values(objective, residuals, jacobian_at) or objective.jacobian(objective.theta())
        scales = [(objective.weights.scale(name, r) * torch.ones_like(r)).reshape(-1) for name, r in residuals.items()]
        guessed = set(objective.problem.prior_residuals()) - set(names)
        noisy, prior = (
            torch.cat([torch.full((r.numel(),), name in group, device=r.device) for name, r in residuals.items()])
            for group in (names, guessed)
        )
        kept = tuple(name for name in residuals if name in names)
        shapes = {name: residuals[name].shape for name in kept}
        return cls(residual.detach(), jacobian.detach(), noisy, prior, torch.cat(scales), kept, shapes)

    @property
    def exact(self) -> Tensor:
        """The rows of equations ``(m, P)``."""
        return self.jacobian[~(self.noisy | self.prior)]

    @property
    def uncertain(self) -> Tensor:
        """The measured rows, and after them those of a prior ``(n, P)``."""
        return torch.cat([self.jacobian[self.noisy], self.jacobian[self.prior]])

    def reduced(self) -> Rows:
        """Return the rows by their triangles; each measured column is a group, and so are the rows of a prior."""
        measured = int(self.noisy.sum())
        prior = [slice(measured, measured + int(self.prior.sum()))] if bool(self.prior.any()) else []
        return Rows(self.exact, self.uncertain, [*self.columns(), *prior])

    def columns(self) -> list[slice]:
        """Return the places of all measured columns among the noisy rows."""
        return [column for columns in self.groups().values() for column in columns]

    def widths(self, known: Tensor, typical: float) -> Tensor:
        """Return the deviations of the uncertain rows ``(n,)``: a prior's follow from its weight."""
        return torch.cat([known, known.new_full((int(self.prior.sum()),), typical)])

    def groups(self) -> dict[str, list[slice]]:
        """Return the places of each column of each measured residual among the noisy rows."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            n, k = shape
            found[name] = [slice(start + column, start + n * k, k) for column in range(k)]
            start += n * k
        return found

    def deviations(self, noise: Noise) -> Tensor:
        """Return the standard deviation of each scaled noisy row, from what a user gave."""
        if isinstance(noise, Mapping):
            for name in noise:
                if name not in self.shapes:
                    raise unknown("measured residual", str(name), self.shapes)
            if missing := [name for name in self.shapes if name not in noise]:
                raise InputError(
                    f"noise= has no entry for '{missing[0]}'", do=f"give noise={{'{missing[0]}': ...}} too"
                )
        parts = []
        for name, shape in self.shapes.items():
            given = noise[name] if isinstance(noise, Mapping) else noise
            try:
                value = torch.as_tensor(given)
            except (TypeError, ValueError, RuntimeError) as error:
                raise InputError(f"the noise of '{name}' must be a number or an array, got {given!r}") from error
            if value.is_complex():
                raise InputError(f"the noise of '{name}' must be real, got complex numbers")
            value = value.to(self.residual)
            if not bool((torch.isfinite(value) & (value > 0)).all()):
                raise InputError(
                    f"the noise of '{name}' must be positive, got {float(value.min()):g}",
                    do="give the standard deviation of the measurements, or leave it out to have it estimated",
                )
            try:
                parts.append(value.expand(shape).reshape(-1))
            except RuntimeError as error:
                raise InputError(
                    f"the noise of '{name}' must be a number or one for each entry {tuple(shape)}, "
                    f"got shape {tuple(value.shape)}"
                ) from error
        return torch.cat(parts) * self.scale[self.noisy]

    def estimated(self, solved: Propagation) -> tuple[Tensor, float]:
        """Estimate the noise of each measured column from what the fit leaves of it; and its degrees of freedom."""
        squares, left = (self.residual / self.scale)[self.noisy].square(), 0.0
        found = torch.empty_like(squares)
        for name, columns in self.groups().items():
            for column in columns:
                freedom = solved.freedom(column)
                if not freedom >= 1:
                    raise InputError(
                        f"{len(squares[column])} measurements of '{name}' leave {max(freedom, 0):.2g} degrees of "
                        "freedom, too few to estimate the noise",
                        do="give noise=, its standard deviation, or use a smaller field",
                    )
                found[column] = (squares[column].sum() / freedom).sqrt()
                left += freedom
        return found * self.scale[self.noisy], left

    def noise_of(self, deviations: Tensor) -> dict[str, tuple[float, ...]]:
        """Return the root mean square of the noise of each measured column, in its own units."""
        own = deviations / self.scale[self.noisy]
        return {
            name: tuple(float(own[column].square().mean().sqrt()) for column in columns)
            for name, columns in self.groups().items()
        }


def by_values(objective: Objective, changes: Tensor) -> Tensor | None:
    """Return how all residuals as they are weighed change with the values on a grid ``(N, p)``, where that is linear.

    Args:
        objective: The objective.
        changes: Changes of the values ``(n, p)``.
    """
    problem = objective.problem
    rows = problem.linear_part(objective.batch) if isinstance(problem, Measurement) else None
    if rows is None or objective.ranks or objective.unknown_values():
        return None
    return torch.cat([objective.weights.scale(name, part[:, :1]) * part for name, part in rows(changes).items()])


def _through_values(
    objective: Objective, residuals: dict[str, Tensor], jacobian_at: JacobianAt
) -> tuple[Tensor, Tensor] | None:
    """Return all residuals as they are weighed and their Jacobian, by one of the field alone, where that is enough.

    It takes the field point by point, and the operator once, while the objective has to differentiate through both.
    """
    net: Any = objective.system.field
    trained = sum(p.requires_grad for p in net.parameters())
    if not isinstance(objective.problem, Measurement) or trained != len(objective.parameters):
        return None
    changes = jacobian_at(lambda net, part: net(part), objective.batch["points"], net)
    jacobian = by_values(objective, changes)
    if jacobian is None:
        return None
    return torch.cat([(objective.weights.scale(name, r) * r).reshape(-1) for name, r in residuals.items()]), jacobian


def prior_deviations(objective: Objective, prior: float) -> Tensor:
    """Return the prior standard deviation of each parameter: the size of its tensor; of scalars, none to speak of."""
    parts = []
    for name, p in objective.system.named_parameters():
        if p.requires_grad:
            size = FLAT if name.startswith("unknowns.") else prior * (float(p.detach().square().mean().sqrt()) or 1.0)
            parts.append(torch.full((p.numel() * (1 + p.is_complex()),), size, dtype=torch.float64, device=p.device))
    return torch.cat(parts)


def prior_factor(rows: Rows, sizes: Tensor, noise: float, scalars: int) -> float:
    """Return the prior deviation of the field's weights, in units of their size, that the evidence asks for.

    With f directions that the equations leave free, of which the data determine g, the weights move by |w|^2 = f along
    the free ones, in units of their size, and the evidence is largest for a prior variance of |w|^2 / g: that of f / g
    (D. MacKay, Neural Computation 4 (1992) 415, equation 4.8, where the equations are given). The size of the weights
    itself would do only where the data determined every direction.

    Args:
        rows: All rows.
        sizes: Size of each parameter ``(P,)``.
        noise: Standard deviation of the noise of the scaled rows.
        scalars: Number of unknown scalars, which have no prior, and count as determined by the data.

    Returns:
        A factor, at least 1.
    """
    squares = [_squares(part * sizes) for part in (rows.exact, rows.all)]
    factor = 1.0
    for _ in range(ROUNDS):
        least = (noise / factor) ** 2
        by_equations, by_all = (float((s / (s + least)).sum()) for s in squares)
        free, found = len(sizes) - by_equations - scalars, by_all - by_equations - scalars
        before, factor = factor, math.sqrt(max(1.0, free / max(1.0, found)))
        if abs(factor - before) < SETTLED * before:
            break
    return factor


def _squares(rows: Tensor) -> Tensor:
    """Return the squared singular values of rows, but those that are 0 for want of rows."""
    few = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(few).clamp_min(0)


def scalars(objective: Objective, root: Tensor) -> Tensor:
    """Return the rows of the root that belong to the values of the unknown scalars ``(s, P)``."""
    unknowns = objective.system.unknowns
    places = {name: len(root) - len(unknowns.raw) + i for i, name in enumerate(unknowns.raw)}  # not in their own order
    with torch.enable_grad():
        slopes = {n: torch.autograd.grad(v, unknowns.raw[n])[0] for n, v in unknowns.values().items()}
    return torch.stack([slope * root[places[n]] for n, slope in slopes.items()]) if slopes else root[:0]


def without_effect(objective: Objective, rows: NoisyRows) -> list[str]:
    """Return the unknown scalars on which no residual depends."""
    raw = objective.system.unknowns.raw
    places = {name: rows.jacobian.shape[1] - len(raw) + i for i, name in enumerate(raw)}
    return [name for name, place in places.items() if not bool(rows.jacobian[:, place].any())]


def not_identified(objective: Objective, made: Tensor, idle: Sequence[str] = ()) -> list[str]:
    """Name the ``idle`` unknown scalars, and the directions of the others that are not determined."""
    values = objective.unknown_values()
    if not values:
        return []
    sizes = torch.tensor([abs(v) or 1.0 for v in values.values()]).to(made)
    said = [f"'{name}' changes no residual here, so it keeps its start value: use it, or leave it out" for name in idle]
    for deviation, direction in weak_directions(made, sizes, WEAK):
        direction = direction * direction[direction.abs().argmax()].sign()
        if list(values)[int(direction.abs().argmax())] in idle:
            continue
        terms = [(name, float(c)) for name, c in zip(values, direction, strict=True) if abs(c) > NAMED]
        along = " ".join(f"{c:+.2f} {name}/{abs(values[name]) or 1:.3g}" for name, c in terms).removeprefix("+")
        size = "not at all" if deviation > FLAT**0.5 else f"only to {deviation:.0%}"
        alone = f"'{terms[0][0]}' is" if len(terms) == 1 else f"{' and '.join(repr(n) for n, _ in terms)} together are"
        said.append(f"{alone} not identifiable: the data determine {along} {size}; measure more, or fix one of them")
    return said


def contradicted(rows: NoisyRows, solved: Propagation, known: Tensor) -> list[str]:
    """Say where residuals are much larger or smaller than the noise that was given.

    Args:
        rows: All rows.
        solved: The same, factored.
        known: Standard deviation of each scaled noisy row, as it was given.
    """
    units, said = rows.residual[rows.noisy] / known, []
    for name, columns in rows.groups().items():
        freedom = [solved.freedom(column) for column in columns]
        left = sum(freedom)
        if min(freedom) < 1:
            continue
        ratio = math.sqrt(sum(float(units[column].square().sum()) for column in columns) / left)
        if abs(math.log(max(ratio, 1e-300))) > max(math.log(CONTRADICTED), SURELY / math.sqrt(2 * left)):
            why = (
                "the noise is larger, or the problem does not describe the measurements"
                if ratio > 1
                else "the noise is smaller, or the field follows it"
            )
            said.append(
                f"the residuals of '{name}' are {ratio:.2g} times what the noise that was given would leave of them: "
                f"{why}; the intervals are those of that noise"
            )
    return said


def not_converged(objective: Objective, solved: Propagation, rows: NoisyRows, root: Tensor) -> list[str]:
    """Say how far one more Gauss-Newton step would move what was found, if that is not little."""
    step = solved.solve(rows.jacobian.T @ rows.residual)
    return [
        f"the run has not converged: one more step would move {what} by {share:.1f} standard errors, so train longer"
        for what, share in _moved(objective, rows, solved, root, step).items()
        if share > UNCONVERGED
    ]


def violated(objective: Objective, solved: Propagation, rows: NoisyRows, root: Tensor) -> list[str]:
    """Say where what is left of the equations is a bias: how far a larger weight of theirs would move what was found.

    With the logarithm of that weight the solution moves by -H^-1 J_e^T r_e.
    """
    exact = ~(rows.noisy | rows.prior)
    step = math.log(LIGHTER) * solved.solve(rows.jacobian[exact].T @ rows.residual[exact])
    return [
        f"the equations do not hold well enough: with {LIGHTER:g} times their weight {what} would move by about "
        f"{share:.1f} standard errors, a bias that the intervals do not include; give the field more parameters or "
        "steps, or the measurements less weight"
        for what, share in _moved(objective, rows, solved, root, step).items()
        if share > BIASED
    ]


def _moved(objective: Objective, rows: NoisyRows, solved: Propagation, root: Tensor, step: Tensor) -> dict[str, float]:
    """Return by how many standard errors a step moves the field where it was measured, and the scalars."""
    share = solved.rows.length(step[:, None], rows.columns()) / solved.rows.length(root, rows.columns())
    moved = {"the field where it was measured": share}
    shifts, spread = scalars(objective, step[:, None])[:, 0].abs(), scalars(objective, root).norm(dim=1)
    moved |= {f"'{name}'": s / e for name, s, e in zip(objective.unknown_values(), shifts, spread, strict=True)}
    return {what: float(share) for what, share in moved.items()}


def lightly_weighed(objective: Objective, rows: Rows, pull: Tensor, widths: Tensor, spread: Tensor) -> list[str]:
    """Say where equations weigh so little against the measurements that intervals are wider than they need be."""
    if not len(rows.exact) or not len(spread):
        return []
    lighter = Propagation(rows, pull, math.sqrt(LIGHTER))
    ratio = spread / scalars(objective, lighter.root(widths, 0.0)).norm(dim=1)
    worst = int(ratio.argmax())
    if not ratio[worst] > GAIN:
        return []
    return [
        "the equations weigh little against the measurements, so they give way to noise: if the measurements weighed "
        f"{LIGHTER:g} times less, the standard error of '{list(objective.unknown_values())[worst]}' would be "
        f"{float(ratio[worst]):.1f} times smaller"
    ]
