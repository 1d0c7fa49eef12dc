"""The error of a solution without a reference: one Newton correction in a basis that the field was not trained in.

For residuals r(u) the error e of u_0 satisfies r'(u_0) e = -r(u_0) to first order. The equation is solved by least
squares on fresh points for e in a space of random features; the norm of e is the estimate (a hierarchical estimate of
the defect: Ainsworth & Oden, A Posteriori Error Estimation in Finite Element Analysis, 2000, ch. 5). What the features
cannot resolve shows in the residual that the correction leaves on other points; then the estimate is not trusted.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve._core.device import in_double
from nfsolve._core.random import generator
from nfsolve._core.threads import threads_for
from nfsolve.domains import Domain
from nfsolve.fields import RandomFeatures
from nfsolve.fields.corrected import Corrected
from nfsolve.linalg.qr import RIDGE, ScaledQR, least_squares
from nfsolve.problem import PDE, Objective, OperatorPDE, Problem, SamplerState
from nfsolve.problem.pde.evaluate import in_pieces
from nfsolve.problem.pde.sample import evaluation_points
from nfsolve.run.points import ROWS, points_for
from nfsolve.run.relative import RelativeResidual, balance
from nfsolve.run.solution import ErrorEstimate
from nfsolve.sampling import sobol

SCALES = (3.0, 8.0, 20.0)  # bandwidths that are tried, in radians per unit of a normalised coordinate
MANY = 4  # coordinates from which features of few of them are tried too, of one bandwidth
SCALE_OF_MANY = 2.0
WIDTHS = {1: 100, 2: 500, 3: 700, MANY: 800}  # features by dimension
RESOLVED = 0.5  # part of the residual that a correction may leave where its size is an estimate of the error
VANISHING = 1e-12  # part of the largest unknown below which another one counts as zero
ROUNDING = 1e-11  # residual, relative to that of the zero field, that is rounding and not to be corrected
AT_CORNERS = 1e-9  # the same where functions are singular at corners, whose second derivatives lose digits there
UNDETERMINED = 1e8  # times its share of the residuals of the zero field, that a change of the solution may be of it
PLACES, TURNS = 400, 12  # at which, and iterations in which, the largest of such changes is found
STEP = 1e-4  # of the difference that is the derivative along one, relative to the solution: most transforms are linear
NOTHING = 1e-6  # part of the largest unknown below which another one is compared with that
MANY_POINTS = 2**14  # of a grid, of which no more are needed to tell a distance
SHARE = 0.15  # of the time of a run that its estimate may take
RATE = 1.5e9  # floating-point operations a second, on the safe side, by which the cost is foretold


def can_estimate(problem: Problem) -> str:
    """Return why the error of a problem's solutions cannot be estimated, empty where it can."""
    if not isinstance(problem, PDE) or isinstance(problem, OperatorPDE):
        return "only solutions of a PDE have an estimate"
    if problem.unknown_scalars():
        return "unknown scalars have errors of their own"
    if not problem.pointwise or not problem.domain.solid:
        return "the domain has no volume to place points in"
    return ""


def default_width(problem: Any) -> int:
    """Return the number of features of a correction, by the numbers of coordinates and of unknowns."""
    d = len(problem.domain.names)
    return max(60, WIDTHS[min(d, MANY)] // len(problem.outputs))


def default_bases(problem: Any) -> list[dict[str, Any]]:
    """Return the sets of features in which a correction is sought, as options of `RandomFeatures`."""
    width = default_width(problem)
    if len(problem.domain.names) < MANY:
        return [{"width": width, "scale": scale} for scale in SCALES]
    return [{"width": width, "scale": SCALE_OF_MANY, "interactions": some} for some in (1, 2, 0)]


def foretold(problem: Any) -> float:
    """Return about how many seconds an estimate takes."""
    p = default_width(problem) * len(problem.outputs)
    return len(SCALES) * (2 * ROWS * p**3 + 4 * p**3) / RATE


def error_estimate(
    problem: Any, field: nn.Module, data: Any, seed: int = 0, bases: Sequence[dict[str, Any]] = ()
) -> ErrorEstimate:
    """Estimate the error of a trained field.

    Args:
        problem: The problem.
        field: The trained field.
        data: What ``problem.load`` gave.
        seed: Seed of the run; points and features have streams of their own.
        bases: Sets of features to try, as options of `RandomFeatures`; the one that leaves least of the held-out
            residual is taken. None are chosen by the number of coordinates.

    Returns:
        The estimate; where it is not to be trusted, ``reason`` says why.
    """
    why = can_estimate(problem)
    if why:
        return ErrorEstimate({}, False, f"not available: {why}", math.nan)
    data = in_double(data)
    measure = RelativeResidual(problem, data, seed, "estimate")
    best: tuple[float, nn.Module] | None = None
    before, largest = math.nan, {}
    for basis in bases or default_bases(problem):
        both = correctable(problem, field, data, seed, basis)
        if math.isnan(before):
            before = measure.size(both)
        changes = correct(problem, both, data, seed, measure)
        after = measure.size(both)
        if math.isfinite(after) and (best is None or after < best[0]):
            best, largest = (after, both), changes()
    if best is None or not math.isfinite(before):
        return ErrorEstimate({}, False, "not to be trusted: the correction is not finite", math.nan)
    after, both = best
    found = distance(problem, field, both, data)
    worst = max(largest, key=lambda name: largest[name])
    if largest[worst] > UNDETERMINED:
        part = f"{1 / largest[worst]:.0e} of those of the zero field"
        reason = (
            f"not to be trusted: equations and conditions hardly determine {worst}: a change as large as itself "
            f"changes their residuals by {part}. A condition is missing, or the problem is ill-posed"
        )
        return ErrorEstimate(found, False, reason, after / before if before > 0 else 0.0, both)
    return judged(found, before, after, measure.zero, both)


def judged(
    found: dict[str, float], before: float, after: float, zero: float, both: nn.Module, where: str = ""
) -> ErrorEstimate:
    """Decide whether a correction tells the error: it must take most of the held-out residual away.

    Args:
        found: Size of the correction for each unknown.
        before: Held-out residual without it.
        after: Held-out residual with it.
        zero: That of the zero field.
        both: The corrected field.
        where: Where there was a correction of its own, in words, such as ``" in each window"``.

    Returns:
        The estimate.
    """
    left = after / before if before > 0 else 0.0
    rounding = AT_CORNERS if _is_singular(both) else ROUNDING
    if before <= rounding * zero or left <= RESOLVED:
        return ErrorEstimate(found, True, f"from a linearised correction{where} on fresh points", left, both)
    reason = (
        f"not to be trusted: a correction{where} leaves {left:.2g} of the held-out residual {before:.1e}, "
        "so that the error is not resolved"
    )
    return ErrorEstimate(found, False, reason, left, both)


def _is_singular(both: nn.Module) -> bool:
    """Return whether a correction has features that are singular at corners."""
    return getattr(getattr(both, "correction", None), "corners", None) is not None


def correctable(problem: Any, field: nn.Module, data: Any, seed: int, basis: dict[str, Any]) -> Corrected:
    """Return a field with a correction, still zero, in a basis that it was not trained in; arguments as above."""
    correction = RandomFeatures(problem.domain, problem.unknowns, seed=seed + 1, dtype=torch.float64, **basis)
    return Corrected(field, correction.to(data["like"].device))


def correct(
    problem: Any, both: Corrected, data: Any, seed: int, measure: RelativeResidual, factors: ScaledQR | None = None
) -> Callable[[], dict[str, float]]:
    """Solve for the correction by one linearised least-squares problem on points of its own.

    Returns:
        What gives the largest change of each unknown, relative to it, that changes the residuals as much as zero does:
        a large one shows that equations and conditions do not determine the unknown, or hardly.
    """
    points = generator(seed, "correction")
    objective = Objective(problem, both, data, points, weighting=balance(problem), coupled=measure.coupled)
    width = sum(p.numel() for p in objective.parameters) // len(problem.outputs)
    inside, sides = points_for(problem, width, measure.entries, _is_singular(both))
    objective.sample_as(SamplerState(points=inside, faces=sides))
    objective.resample()
    objective.reweigh(0)
    theta = objective.theta()
    with torch.no_grad(), threads_for(theta.numel()):
        residual, jacobian = objective.jacobian(theta)
        factors = factors or ScaledQR()
        objective.assign(theta + least_squares(jacobian, -residual, factors=factors))
        rows, unit = factors.of(jacobian.double())
    weights = objective.weights.means(list(measure.weights))
    ratios = [weights[name] / measure.weights[name] for name in weights if measure.weights.get(name)]
    zero = measure.zero * math.exp(sum(map(math.log, ratios)) / (2 * max(len(ratios), 1)))
    chance = generator(seed, "places")
    places = problem.domain.interior(PLACES, lambda n, d: sobol(n, d, chance)).to(data["like"])
    living = problem.living(places)
    return partial(_largest_changes, both, places, living, rows.damped(RIDGE**2).triangle, unit, zero)


@torch.no_grad()
def _largest_changes(
    both: Corrected, points: Tensor, living: Tensor | None, triangle: Tensor, unit: Tensor, zero: float
) -> dict[str, float]:
    """Return the largest norm of the change of each unknown among those of one norm of the residuals.

    With the linearised residuals J = Q R D and the values A of an unknown that is the largest singular value of
    A D^-1 R^-1, by power iteration (Golub & Van Loan, Matrix Computations, 8.2). It is told relative to the unknown,
    for residuals of the size ``zero``.
    """
    theta = {name: torch.zeros_like(p) for name, p in both.correction.named_parameters() if p.requires_grad}
    names, shapes, base = list(theta), [p.shape for p in theta.values()], both.base(points)

    def shown(raw: Tensor) -> Tensor:
        found = raw if both.output_transform is None else both.output_transform(points, raw)
        return found if living is None else found.where(living, 0.0)

    def values(*parts: Tensor) -> Tensor:
        chosen = dict(zip(names, parts, strict=True))
        return shown(base + torch.func.functional_call(both.correction, chosen, (points,)))

    def along(parts: dict[str, Tensor]) -> Tensor:
        """Return the derivative along some parameters; forward mode would import the compiler of PyTorch."""
        raw = torch.func.functional_call(both.correction, parts, (points,))
        if both.output_transform is None:
            return shown(raw)
        step = STEP * max(float(base.abs().max()), STEP) / max(float(raw.abs().max()), 1e-300)
        return (shown(base + step * raw) - shown(base)) / step

    now, back = torch.func.vjp(values, *theta.values())[:2]
    size = now.norm(dim=0)
    size = size.where(size > NOTHING * size.max(), size.max())
    found = {}
    for i, name in enumerate(both.outputs):
        chance = generator(0, "changes")
        v, largest = torch.randn(len(unit), generator=chance, dtype=torch.float64).to(unit), 0.0
        for _ in range(TURNS):
            v = torch.linalg.solve_triangular(triangle, (v / v.norm())[:, None], upper=True)[:, 0] / unit
            pieces = v.split([shape.numel() for shape in shapes])
            parts = tuple(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True))
            change = along(dict(zip(names, parts, strict=True)))[:, i]
            largest = float(change.norm())
            cotangent = torch.zeros_like(now)
            cotangent[:, i] = change
            v = torch.cat([g.reshape(-1) for g in back(cotangent)])
            v = torch.linalg.solve_triangular(triangle.T, (v / unit)[:, None], upper=False)[:, 0]
            if not bool(v.norm() > 0):
                break
        found[name] = largest * zero / float(size[i]) if float(size[i]) > 0 else 0.0
    return found


def distance(problem: Any, base: nn.Module, both: nn.Module, data: Any) -> dict[str, float]:
    """Return the relative L2 distance of a field from a better one, for each unknown.

    Args:
        problem: The problem.
        base: The field.
        both: The better field.
        data: What ``problem.load`` gave.

    Returns:
        Name of the unknown -> distance, absolute where the better field is zero.
    """
    grid = data["reference"].points if "reference" in data else _grid(problem.domain, data)
    if len(grid) > MANY_POINTS:
        grid = grid[torch.randperm(len(grid), generator=generator(0, "distance"))[:MANY_POINTS].to(grid.device)]
    with torch.no_grad():
        now, better = in_pieces(base, grid.to(next(base.parameters()).dtype)).double(), in_pieces(both, grid)
    living = problem.living(grid)
    if living is not None:  # elsewhere an unknown may be anything
        now, better = (values.where(living, 0.0) for values in (now, better))
    gap, whole = (now - better).norm(dim=0), better.norm(dim=0)
    whole = whole.where(whole > VANISHING * whole.max(), 1.0)  # of what is zero but for rounding there is no share
    return {name: float(gap[i] / whole[i]) for i, name in enumerate(problem.outputs)}


def _grid(domain: Domain, data: Any) -> Tensor:
    return evaluation_points(domain, None).points.to(data["like"])


def affordable_estimate(problem: Any, field: nn.Module, data: Any, seed: int, seconds: float) -> ErrorEstimate | None:
    """Estimate the error of a run where that takes a small part of its time.

    Args:
        problem: The problem.
        field: The trained field.
        data: What ``problem.load`` gave.
        seed: Seed of the run.
        seconds: What the training took.

    Returns:
        The estimate; None where there is none, or none in so little time.
    """
    if can_estimate(problem) or foretold(problem) > SHARE * seconds:
        return None
    return error_estimate(problem, field, data, seed)
