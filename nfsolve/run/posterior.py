"""How well the data determine what was found: standard errors, intervals and bands from the last Jacobian.

Residuals of two kinds make a loss: equations, which hold exactly at the truth, and measurements, whose noise moves the
solution. Linearised there, the solution moves by -H^-1 J_n^T e with the noise e of the measured rows, H = J^T J of all
rows as they are weighed, and this gives the covariance (see `nfsolve.linalg.propagation`). Where the equations are
enforced it is that of classical nonlinear least squares for the map from parameters to observations (Seber & Wild,
Nonlinear Regression, 1989, section 2.1); where they are weighed lightly it is wider, as the estimate then is. Weights
of the field have a prior about where they are, so that what the data do not see stays finite, as in the Laplace
approximation of D. MacKay, Neural Computation 4 (1992) 448; its width follows from their size and from how many
directions the data determine (`noisy.prior_factor`). Unknown scalars have none. Residuals that are a
prior, as the slopes of a smooth field, are drawn as well: without that, bands have no part for the bias that smoothing
brings (G. Wahba, J. R. Stat. Soc. B 45 (1983) 133).
"""

import copy
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from nfsolve._core.device import in_double
from nfsolve._core.errors import InputError, shortened, unknown
from nfsolve._core.random import generator
from nfsolve.domains import Domain
from nfsolve.fields.corrected import transformed_ends, without_output_transform
from nfsolve.linalg.propagation import Propagation, correlations
from nfsolve.problem import PDE, Measurement, Objective, Problem, Unknown
from nfsolve.problem.pde.sample import evaluation_points
from nfsolve.run.design import NextMeasurement, remaining_share
from nfsolve.run.noisy import (
    Noise,
    NoisyRows,
    contradicted,
    lightly_weighed,
    not_converged,
    not_identified,
    prior_deviations,
    prior_factor,
    scalars,
    violated,
    without_effect,
)
from nfsolve.run.saturated import over_their_width
from nfsolve.run.solution import Solution, columns_of
from nfsolve.weighting import Constant, Weights

PLACES = 2500  # points of stored bands
COARSE = 250  # points of averages over a domain
PIECE = 1024  # points of a band whose Jacobian is held at once


class Estimate(NamedTuple):
    """Values with their uncertainty.

    Attributes:
        value: The values at the solution.
        standard_error: Their standard deviations.
        low: Lower ends of the intervals.
        high: Upper ends.
    """

    value: Any
    standard_error: Any
    low: Any
    high: Any


@dataclass
class Posterior:
    """The linearised distribution of everything that was trained.

    Attributes:
        values: Unknown scalars as they were found.
        standard_errors: Their standard errors.
        correlations: Their correlation matrix ``(s, s)``, in the same order.
        noise: Standard deviation of the noise by measured residual, one for each of its columns.
        freedom: Degrees of freedom from which it was estimated; infinite if it was given.
        level: Default probability of the intervals.
        prior: Prior standard deviation of the field's weights, relative to the root mean square of their tensor.
        warnings: Sentences about doubts, such as a direction that the data do not determine.
        root: C ``(P, P)``, with the covariance C C^T of all parameters.
    """

    values: dict[str, float]
    standard_errors: dict[str, float]
    correlations: Tensor
    noise: dict[str, tuple[float, ...]]
    freedom: float
    level: float
    prior: float
    warnings: list[str]
    root: Tensor = field(repr=False)
    _objective: Objective = field(repr=False)
    _bent: bool = field(repr=False, default=False)

    def interval(self, name: str, level: float | None = None) -> tuple[float, float]:
        """Return the interval of an unknown scalar.

        A positive scalar is the softplus of a trained number. Its interval is symmetric in that number, so it is
        positive.

        Args:
            name: Its name.
            level: Probability; default 0.95.

        Returns:
            Lower and upper end, in the unit of the scalar.

        Raises:
            InputError: There is no such scalar, or the level is not between 0 and 1.
        """
        if name not in self.values:
            raise unknown("scalar", name, self.values)
        width = self._quantile(level) * self.standard_errors[name]
        return self._objective.system.unknowns.interval(name, width)

    def band(self, points: Any, of: str = "", level: float | None = None) -> Estimate:
        """Return the field with its pointwise band.

        If the field passes an unknown through a transform, for example to keep it positive, the interval is symmetric
        before the transform, and the standard error is half the width of the interval of one standard deviation.

        Args:
            points: Points ``(n, d)``, an array or a tensor.
            of: An unknown or a derivative, as in the signature of a residual (``k``, ``u_x``); empty takes all.
            level: Probability that an interval holds the truth; default 0.95.

        Returns:
            Columns ``(n, k)``, arrays for an array and tensors for a tensor.

        Raises:
            InputError: The name is not known, or the points have other columns.
        """
        net = self._objective.system.field
        table = self._points(points)
        names = tuple(getattr(net, "outputs", None) or ())
        chosen = slice(names.index(of), names.index(of) + 1) if of in names else slice(None)
        evaluate = columns_of(self._objective.problem, net, of) if of and of not in names else None
        parts = [self._band_at(part, chosen, evaluate, level) for part in table.split(PIECE)]
        found = Estimate(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        return found if isinstance(points, Tensor) else Estimate(*(part.cpu().numpy() for part in found))

    @cached_property
    def _uncoupled(self) -> frozenset[str] | None:
        """That the field does not couple its points, where residuals point by point have shown it; None to look."""
        objective = self._objective
        return frozenset() if objective.problem.pointwise and not objective.coupled else None

    @cached_property
    def _before_transform(self) -> tuple[nn.Module, Any]:
        """A copy of the field that gives raw outputs, and its output transform."""
        return without_output_transform(self._objective.system.field)

    def _band_at(self, points: Tensor, chosen: slice, evaluate: Any, level: float | None) -> Estimate:
        """Return the band of some outputs of the field, or of a function of it, at points."""
        net = self._objective.system.field
        raw, transform = self._before_transform if evaluate is None else (net, None)
        if transform is None or isinstance(transform, nn.Module):  # which may have parameters of its own
            value, error = self._propagated(net, evaluate or (lambda net, part: net(part)[:, chosen]), points)
            return self._estimate(value, error, level)
        before, spread = self._propagated(raw, lambda net, part: net(part), points)
        with torch.no_grad():
            value = net(points)
        one = transformed_ends(transform, points, before, spread)
        wide = transformed_ends(transform, points, before, self._quantile(level) * spread)
        if one is None or wide is None:
            value, error = self._propagated(net, lambda net, part: net(part)[:, chosen], points)
            return self._estimate(value, error, level)
        error, (low, high) = (one[1] - one[0]) / 2, wide
        if self._bent:  # by a normal distribution of the values, in the range of the transform
            width = self._quantile(level) * error
            low, high = torch.maximum(low, value - width), torch.minimum(high, value + width)
        return Estimate(*(part[:, chosen] for part in (value, error, low, high)))

    def table(self, points: Tensor) -> dict[str, np.ndarray]:
        """Return coordinates, values, standard errors and intervals of every unknown at points, by name, ``(n,)`` each.

        Args:
            points: Points ``(n, d)``.

        Returns:
            Columns such as ``x``, ``k``, ``k_standard_error``, ``k_low``, ``k_high``.
        """
        net, band = self._objective.system.field, self.band(points)
        inputs = getattr(net, "inputs", None) or [f"x{i}" for i in range(points.shape[1])]
        outputs = getattr(net, "outputs", None) or [f"u{i}" for i in range(band.value.shape[1])]
        found = dict(zip(inputs, points.T, strict=True))
        for end, columns in zip(("", "_standard_error", "_low", "_high"), band, strict=True):
            found |= {f"{name}{end}": column for name, column in zip(outputs, columns.T, strict=True)}
        return {name: column.cpu().numpy() for name, column in found.items()}

    def derived(self, function: Callable[[nn.Module, Problem], Tensor], level: float | None = None) -> Estimate:
        """Return a quantity that follows from the solution, by the delta method.

        Args:
            function: Field and problem, whose unknown scalars are tensors, -> a tensor of any shape: a flux, a drag.
            level: Probability of the intervals; default 0.95.

        Returns:
            Tensors of that shape.
        """
        objective = self._objective
        try:
            inspect.signature(function).bind(objective.system.field, objective.problem)
        except ValueError:  # a function that is not of Python
            pass
        except TypeError as error:
            raise InputError(
                f"derived() takes a function of two arguments, field and problem, got {shortened(repr(function))}",
                do="write def flux(field, problem): return field(points).mean()",
            ) from error

        def evaluate(params: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            def inner(net: nn.Module, values: dict[str, Tensor]) -> Tensor:
                return torch.as_tensor(
                    function(net, objective.problem.with_(**values) if values else objective.problem)
                )

            found = functional_call(objective.system, params, (inner,))
            return found, found.detach()

        params = objective.unflatten(objective.theta())
        columns, value = jacrev(evaluate, has_aux=True)(params)
        rows = torch.cat([columns[key].reshape(value.numel(), -1) for key in params], 1)
        return self._estimate(value, (rows @ self.root).norm(dim=1).reshape(value.shape), level)

    def next_measurement(
        self, candidates: Any, of: str = "", target: str = "", *, at: Any = None, noise: Any = None
    ) -> NextMeasurement:
        """Return how much one more measurement at each candidate would reduce a variance.

        Args:
            candidates: Points ``(n, d)`` at which one more value could be measured.
            of: What would be measured, an unknown or a derivative (``u``, ``u_x``); may be left out for a field with
                one unknown.
            target: What is to be known better: an unknown scalar, or an unknown or a derivative, on average over
                ``at``; default what is measured.
            at: Points ``(m, d)`` of that average; default a grid of about 250 points of the domain.
            noise: Standard deviation of the new measurement; default that of the measured residual, where there is one.

        Returns:
            The share of the variance of the target that each candidate would leave; printed, it names the best one.

        Raises:
            InputError: A name is not known, the noise is not positive or not known, or nothing is uncertain.
        """
        net, problem = self._objective.system.field, self._objective.problem
        outputs: list[str] = list(getattr(net, "outputs", None) or getattr(problem, "outputs", ()))
        if not of and len(outputs) != 1:
            raise InputError("say what would be measured", do=f'give of="{(*outputs, "u")[0]}"')
        of = of or outputs[0]
        target = target or of
        if noise is None:
            sizes = [value for columns in self.noise.values() for value in columns]
            if len(sizes) != 1:
                raise InputError(
                    f"the measured residuals have {len(sizes)} different noises, and one is needed",
                    do="give noise=, the standard deviation of the new measurement",
                )
            noise = sizes[0]
        points = self._points(candidates)
        if target in self.values:
            made = scalars(self._objective, self.root)[list(self.values).index(target)][None]
        else:
            grid = at if at is not None else _coarse(problem, self._objective.data)
            if grid is None:
                raise InputError(f"the average of {target} needs points, and the domain has no grid", do="give at=")
            made = self._rows(columns_of(problem, net, target), self._points(grid))
        shares = remaining_share(self._rows(columns_of(problem, net, of), points), made, noise)
        names = tuple(getattr(net, "inputs", None) or [f"x{i}" for i in range(points.shape[1])])
        return NextMeasurement(points.cpu(), shares.cpu(), of, target, names)

    def not_determined(self, of: str, at: Any = None) -> str:
        """Say where the data do not determine an unknown: where its standard error is above its own size.

        Args:
            of: An unknown or a derivative.
            at: Points ``(n, d)``; default a grid of about 250 points of the domain.

        Returns:
            A sentence, or nothing where all of it is determined.

        Raises:
            InputError: A name is not known, or the domain has no grid and no points are given.
        """
        grid = at if at is not None else _coarse(self._objective.problem, self._objective.data)
        if grid is None:
            raise InputError(f"to look at {of} needs points, and the domain has no grid", do="give at=")
        points = self._points(grid)
        return self._weak_part(of, points, self.band(points, of))

    def weak_parts(self) -> list[str]:
        """Say where the data do not determine the unknowns, for each of them that has such a part."""
        problem = self._objective.problem
        grid = _coarse(problem, self._objective.data) if isinstance(problem, PDE | Measurement) else None
        if grid is None:
            return []
        points = self._points(grid)
        band = self.band(points)
        outputs = getattr(problem, "outputs", None) or problem.unknowns.split()
        parts = [(name, Estimate(*(part[:, i : i + 1] for part in band))) for i, name in enumerate(outputs)]
        return [text for name, part in parts if (text := self._weak_part(name, points, part))]

    def _weak_part(self, of: str, points: Tensor, band: Estimate) -> str:
        """Say where the standard error in a band is above the size of its values; nothing where it is not."""
        weak = (band.standard_error > band.value.square().mean().sqrt()).any(1)
        if not bool(weak.any()):
            return ""
        if bool(weak.all()) and self._known_but_for_a_constant(of, points):
            return (
                f"'{of}' is determined only up to a constant: its differences are known, its level is not; say what it "
                "is at one point, or look at differences alone"
            )
        net = self._objective.system.field
        names = getattr(net, "inputs", None) or [f"x{i}" for i in range(points.shape[1])]
        smooth = isinstance(self._objective.problem, Measurement)
        remedy = "say that it is smooth or made of bodies, by slopes= or tv=" if smooth else "say what it is"
        ends = zip(names, points[weak].amin(0).tolist(), points[weak].amax(0).tolist(), strict=True)
        where = ", ".join(f"{name} from {low:.3g} to {high:.3g}" for name, low, high in ends)
        return (
            f"'{of}' is not identifiable at {float(weak.double().mean()):.0%} of the points, which lie in {where}: "
            f"there its standard error is above its own size; measure more there, or {remedy}"
        )

    def _known_but_for_a_constant(self, of: str, points: Tensor) -> bool:
        """Return whether the standard errors of an unknown minus its mean are below the size of that."""
        net = self._objective.system.field
        evaluate = columns_of(self._objective.problem, net, of)
        rows = self._rows(evaluate, points)
        with torch.no_grad():
            value = evaluate(net, points)
        spread = (rows - rows.mean(0)).norm(dim=1)
        return bool((spread < (value - value.mean()).square().mean().sqrt()).all())

    def _points(self, points: Any) -> Tensor:
        """Return points as the field takes them ``(n, d)``."""
        net = self._objective.system.field
        try:
            table = torch.as_tensor(np.asarray(points) if not isinstance(points, Tensor) else points)
        except (TypeError, ValueError) as error:
            raise InputError(f"points must be a table of numbers, got {shortened(repr(points))}") from error
        width = len(getattr(net, "inputs", None) or ()) or (table.shape[-1] if table.dim() else 1)
        if table.dim() != 2 or table.shape[1] != width or not len(table):
            raise InputError(
                f"points must be a table (n, {width}) with a column for each coordinate, got {tuple(table.shape)}",
                do="give every point a row, as in x[:, None] for one coordinate",
            )
        if not bool(torch.isfinite(table).all()):
            raise InputError("points must be finite, got NaN or infinite ones", do="leave them out")
        return table.to(next(net.parameters()).device, torch.float64)

    def samples(self, n: int, seed: int = 0) -> Tensor:
        """Draw parameters of the field, then of the scalars, from the linearised distribution.

        Args:
            n: Number of draws.
            seed: Seed of the draws.

        Returns:
            Parameters ``(n, P)``.

        Raises:
            InputError: A number of draws that is none.
        """
        if not isinstance(n, int) or n < 0:
            raise InputError(f"n must be a number of samples, got {n!r}", do="give 100, say")
        chance = torch.randn(n, self.root.shape[1], generator=generator(seed, "posterior"), dtype=torch.float64)
        return self._objective.theta() + chance.to(self.root) @ self.root.T

    def metrics(self) -> dict[str, Any]:
        """Return the entries of ``metrics.json``."""
        found: dict[str, Any] = {}
        for name, error in self.standard_errors.items():
            low, high = self.interval(name)
            found |= {f"standard_error/{name}": error, f"interval_low/{name}": low, f"interval_high/{name}": high}
        names = list(self.values)
        for i, first in enumerate(names):
            for j in range(i):
                found[f"correlation/{names[j]}/{first}"] = float(self.correlations[i, j])
        for name, columns in self.noise.items():
            many = len(columns) > 1
            found |= {f"noise/{name}{f'/{i}' if many else ''}": value for i, value in enumerate(columns)}
        return found

    def __str__(self) -> str:
        """Say each scalar with its interval, the noise, and what a user should know."""
        lines = []
        for name, value in self.values.items():
            low, high = self.interval(name)
            lines.append(
                f"{name} = {value:.6g} +- {self.standard_errors[name]:.2g}, "
                f"{self.level:.0%} interval {low:.6g} to {high:.6g}"
            )
        known = "given" if math.isinf(self.freedom) else f"estimated, {self.freedom:.0f} degrees of freedom"
        units = self._objective.problem.noise_units(self._objective.batch)
        for name, columns in self.noise.items():
            said = ", ".join(f"{value:.3g}" for value in columns)
            if len(units.get(name, ())) == len(columns):
                own = (f"{value * unit:.3g}" for value, unit in zip(columns, units[name], strict=True))
                said += f", which is {', '.join(own)} in the units of the data"
            lines.append(f"noise of {name}: {said} ({known})")
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def _quantile(self, level: float | None) -> float:
        from scipy import special  # of which a start of the command line needs nothing

        level = self.level if level is None else check_level(level)
        tail = 0.5 + level / 2
        return float(special.ndtri(tail) if math.isinf(self.freedom) else special.stdtrit(self.freedom, tail))

    def _estimate(self, value: Tensor, error: Tensor, level: float | None) -> Estimate:
        width = self._quantile(level) * error
        return Estimate(value, error, value - width, value + width)

    def _propagated(
        self, net: nn.Module, evaluate: Callable[[Any, Tensor], Tensor], points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the values of a function of a field at points, and their standard deviations, ``(n, k)``."""
        with torch.no_grad():
            value = evaluate(net, points)
        return value, self._rows(evaluate, points, net).norm(dim=1).reshape(value.shape)

    def _rows(self, evaluate: Callable[[Any, Tensor], Tensor], points: Tensor, net: nn.Module | None = None) -> Tensor:
        """Return the Jacobian of a function of a field at points, times the root of the covariance ``(n k, P)``.

        Args:
            evaluate: The function.
            points: Points ``(n, d)``.
            net: The field, default the trained one; another has parameters in the same order.
        """
        net = self._objective.system.field if net is None else net
        rows = jacobian_at(evaluate, points, net, self._uncoupled)
        return rows @ self.root[: rows.shape[1]]


def posterior(
    solution: Solution,
    noise: Noise = None,
    *,
    data: str | tuple[str, ...] = (),
    prior: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Posterior:
    """Return how well the data determine a solution.

    Args:
        solution: What `solve` returned. The run should have converged; a warning says if it has not.
        noise: Standard deviation of the measurements in the units of their residual: a number, an array with one for
            each entry, or a dictionary of these by residual. None takes that which the problem was given, as a
            `Measurement` in its `Observed`, or else estimates it from the residuals of the fit.
        data: Names of the residuals that hold noisy measurements; default those marked `measured`, or named by
            `Problem.noisy_residuals`. All others are taken as equations that hold exactly.
        prior: Prior standard deviation of the field's weights about their present values, relative to the root mean
            square of their tensor. It bounds the uncertainty of directions that the data do not determine. None finds
            it from how many directions the data determine (see `nfsolve.run.noisy.prior_factor`).
        level: Probability of the intervals.
        seed: Seed of the points of the equations.

    Returns:
        Standard errors, intervals, correlations and bands; doubts about them are in its ``warnings``.

    Raises:
        InputError: Nothing was measured, the noise is not positive, or there are too many parameters for a matrix.
    """
    if solution.failed:
        raise InputError(f"a failed solution has no posterior ({solution.stopped})", do="solve the problem again")
    problem = _at_values(solution.problem, solution.metrics)
    if getattr(problem, "batch", 0):  # all that was measured counts, not a mini-batch
        problem = problem.with_(batch=0)
    net = copy.deepcopy(solution.field).double()
    objective = Objective(problem, net, in_double(solution.data), generator(seed, "posterior"))
    last = solution.history[-1] if solution.history else {}
    weights = {key.removeprefix("weight/"): value for key, value in last.items() if key.startswith("weight/")}
    objective.weights = Weights(Constant(), problem.weights() | weights)
    return posterior_of(objective, noise, data=data, prior=prior, level=level)


def posterior_of(
    objective: Objective,
    noise: Noise = None,
    *,
    data: str | tuple[str, ...] = (),
    prior: float | None = None,
    level: float = 0.95,
) -> Posterior:
    """Return the same for an objective at its current parameters and points; the arguments are those of `posterior`."""
    check_level(level)
    if prior is not None and not (isinstance(prior, int | float) and prior > 0):
        raise InputError(f"prior must be a positive factor, got {prior}", do="give 1, or a larger one to trust it less")
    rows = NoisyRows.of(objective, data, jacobian_at)
    if noise is None:
        stated = objective.problem.known_noise(objective.batch)
        noise = {name: stated[name] for name in rows.names} if stated.keys() >= set(rows.names) else None
    known = rows.deviations(noise) if noise is not None else None
    sizes = rows.residual[rows.noisy] if known is None else known
    typical = float(sizes.square().mean().sqrt())  # of the scaled rows
    if not typical > 0:
        raise InputError(
            f"the measured residuals ({', '.join(rows.names)}) are exactly 0 or have weight 0, so their noise "
            "cannot be estimated",
            do="give them a positive weight, and noise=, its standard deviation, if they are exact",
        )
    reduced = rows.reduced()
    if prior is None:
        prior = prior_factor(reduced, prior_deviations(objective, 1.0), typical, len(objective.unknown_values()))
    pull = typical / prior_deviations(objective, prior)
    solved = Propagation(reduced, pull)
    freedom, doubts = math.inf, []
    if known is None:
        known, freedom = rows.estimated(solved)
    else:
        doubts = contradicted(rows, solved, known)
    widths = rows.widths(known, float(known.square().mean().sqrt()))
    tangent = solved.root(widths, typical)

    def of_jacobian(jacobian: Tensor) -> Tensor:
        return Propagation(replace(rows, jacobian=jacobian).reduced(), pull).root(widths, typical)

    root, bent = over_their_width(objective, tangent, rows.jacobian, jacobian_at, of_jacobian)
    made = scalars(objective, root)
    spread, names = made.norm(dim=1), list(objective.unknown_values())
    found = Posterior(
        values=objective.unknown_values(),
        standard_errors=dict(zip(names, spread.tolist(), strict=True)),
        correlations=correlations(made),
        noise=rows.noise_of(known),
        freedom=freedom,
        level=level,
        prior=prior,
        warnings=not_identified(objective, made, without_effect(objective, rows)),
        root=root,
        _objective=objective,
        _bent=bent,
    )
    if not found.warnings:
        found.warnings += not_converged(objective, solved, rows, tangent)
    if not found.warnings:
        found.warnings += violated(objective, solved, rows, tangent)
        found.warnings += lightly_weighed(objective, reduced, pull, widths, spread)
    found.warnings += doubts
    found.warnings += found.weak_parts()
    return found


def jacobian_at(
    evaluate: Callable[[Any, Tensor], Tensor], points: Tensor, net: nn.Module, coupled: frozenset[str] | None = None
) -> Tensor:
    """Return the Jacobian of a function of a field at points, by the parameters of the field ``(n k, p)``."""
    objective = Objective(_At(evaluate), net, {"values": {"points": points}}, generator(0, "band"), coupled=coupled)
    scaled, rows = objective.jacobian(objective.theta())
    return math.sqrt(len(scaled)) * rows


def check_uncertainty(problem: Problem, windows: int = 1) -> None:
    """Refuse to promise an uncertainty where there can be none.

    Raises:
        InputError: Nothing is measured, or the run has windows of time.
    """
    if not problem.noisy_residuals():
        raise InputError(
            f"uncertainty needs measurements with noise, and no residual of {type(problem).__name__} holds any",
            do="mark a residual @measured, or call nfsolve.posterior(solution, data=...) with its name",
        )
    if windows > 1:
        raise InputError(f"uncertainty needs one field for all times, got windows={windows}", do="leave windows out")


def places(problem: Problem, data: Mapping[str, Any], most: int = PLACES) -> Tensor | None:
    """Return about that many points: a grid of the domain, or that of a measurement; None where there is neither."""
    if isinstance(data.get("points"), Tensor):
        return data["points"][:: max(1, len(data["points"]) // most)]
    domain = getattr(problem, "domain", None)
    if not isinstance(domain, Domain) or not domain.solid:
        return None
    d = len(domain.names)
    return evaluation_points(domain, (max(2, round(most ** (1 / d))),) * d).points


def _coarse(problem: Problem, data: Any) -> Tensor | None:
    return places(problem, data, COARSE)


class _At(Problem):
    """Values of a field at points, as the residual whose Jacobian a band needs."""

    pointwise = True

    def __init__(self, evaluate: Callable[[Any, Tensor], Tensor]):
        self.evaluate = evaluate

    def residuals(self, field: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Evaluate the function."""
        return {"values": self.evaluate(field, batch["values"]["points"])}

    def recipe(self) -> Any:
        """Refuse: it is never trained."""
        raise NotImplementedError


def check_level(level: float) -> float:
    """Return the probability of an interval; refuse one that is none."""
    if not isinstance(level, int | float) or not 0 < level < 1:
        raise InputError(f"level must be a number between 0 and 1, got {level!r}", do="give 0.95, say")
    return level


def _at_values(problem: Problem, metrics: Mapping[str, Any]) -> Problem:
    """Return the problem whose unknown scalars start where a solution found them."""
    found = {}
    for name, old in problem.unknown_scalars().items():
        value = metrics[f"unknown/{name}"]
        found[name] = Unknown(max(value, sys.float_info.min) if old.positive else value, positive=old.positive)
    return problem.with_(**found) if found else problem
