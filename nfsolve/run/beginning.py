"""Where least squares on random features begins: at the initial values, at all times, or at the boundary values."""

import math
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.fields import RandomFeatures
from nfsolve.optim import LinearLeastSquares
from nfsolve.problem import PDE, Objective, SamplerState
from nfsolve.problem.rows import part_of
from nfsolve.sampling import sobol

ROWS = 3  # for each feature
RIDGE = 1e-8
SOME = 64  # rows of each residual that show whether a problem is linear
SAME = 1e-10
FEATURES = 200  # of a fit of the initial conditions
LOWEST, RUNG, RUNGS = 2.0, 1.4, 16  # bandwidths in space that are tried for it
FEW = 10  # points inside, which it does not need
RESOLVED = 1e-10  # residual, relative to that of zero, with which it is done
WORSE = 100.0  # times the best, at which larger bandwidths are not tried any more
POWER = 4  # of inverse distances
MATCHES = 10  # steps in which unknown numbers follow a field
MATCHED = 0.5  # part of the residuals of the equations that these must not leave
EXACT = 1e-3  # part of the loss of zero that initial values may leave


@torch.no_grad()
def start_at_rest(objective: Objective, seed: int) -> None:
    """Let random features begin with what the conditions at the start of time say, as if nothing moved.

    Newton's method from zero may end in a local minimum of a nonlinear problem, or where the equations are at rest
    whatever the initial values are; and it cannot begin where they are not finite, as with 1 / u. There, without
    initial conditions, the features begin with what all faces say. Other fields, linear problems, and those without
    initial conditions that are finite at zero, stay as they are.

    Args:
        objective: Problem, field and points.
        seed: Seed of the run.
    """
    problem: Any = objective.problem
    field = objective.system.field
    if not (isinstance(field, RandomFeatures) and isinstance(problem, PDE) and problem.pointwise):
        return
    start, names = initial_conditions(problem)
    at_rest = bool(names)
    if not at_rest and not is_finite(objective):
        names = [name for name, c in problem.conditions().items() if c.kind == "face"]
    if not names or is_linear(objective, seed):
        return
    before = objective.theta()
    with objective.restricted(names):
        zero = float(objective.loss().detach())
        LinearLeastSquares(objective.parameters, ridge=RIDGE).step(objective)
        left = float(objective.loss().detach())
    if not left <= EXACT * zero:
        objective.assign(before)
        return
    chance = generator(seed, "beginning")
    points = places(problem, field, chance).to(before)
    if at_rest:
        still = points.clone()
        still[:, problem.domain.index("t")] = start
        field.fit(points, field.raw(still))
    else:
        sides = torch.cat([objective.batch[name].points for name in names])
        values = field.raw(sides)
        field.fit(torch.cat([points, sides]), torch.cat([_between(problem.domain, points, sides, values), values]))


def places(problem: Any, field: Any, chance: torch.Generator) -> Tensor:
    """Return points ``(n, d)`` inside the domain, as many as determine random features."""
    return problem.domain.interior(ROWS * field.last.in_features, lambda n, d: sobol(n, d, chance))


@torch.no_grad()
def start_at_data(objective: Objective) -> None:
    """Let random features begin with measurements, and unknown numbers with what these suggest.

    From a poor guess of the numbers, Newton's method on equations and measurements at once may end in a local minimum
    far from the data. Here the features first follow measurements and sides; then the numbers alone lower the residuals
    of the equations on them (gradient matching: J. M. Varah, SIAM J. Sci. Stat. Comput. 3 (1982) 28). Where that does
    not lower them by much, all stays as it was, as do other fields and problems.

    Args:
        objective: Problem, field and points.
    """
    problem: Any = objective.problem
    features = isinstance(objective.system.field, RandomFeatures) and isinstance(problem, PDE) and problem.pointwise
    if not (features and problem.unknown_scalars()):
        return
    kinds = {name: c.kind for name, c in problem.conditions().items()}
    inner = [name for name, kind in kinds.items() if kind == "interior"]
    given = [name for name, kind in kinds.items() if kind in ("measured", "face", "boundary")]
    if not (inner and "measured" in kinds.values()):
        return
    before = objective.theta()
    with objective.restricted(given):
        LinearLeastSquares(objective.parameters, ridge=RIDGE).step(objective)
    with objective.restricted(inner):
        objective.choose("unknowns")
        zero = float(objective.loss().detach())
        _steps(objective, LinearLeastSquares(objective.parameters), MATCHES)
        left = float(objective.loss().detach())
        objective.choose("")
    if not left < MATCHED * zero:
        objective.assign(before)


def _steps(objective: Objective, optimizer: Any, most: int) -> None:
    """Take some steps, fewer where none helps any more."""
    for _ in range(most):
        optimizer.step(objective)
        if optimizer.stop_reason:
            break


def initial_conditions(problem: PDE) -> tuple[float, list[str]]:
    """Return the start of time, nan where there is no time, and the names of the conditions on it."""
    if "t" not in problem.domain.names:
        return math.nan, []
    start = problem.domain.bounds[problem.domain.index("t")][0]
    faces = {name: c for name, c in problem.conditions().items() if c.kind == "face"}
    return start, [n for n, c in faces.items() if math.isclose(_single(c.sides.get("t")), start, abs_tol=1e-12)]


@torch.no_grad()
def initial_state(problem: Any, data: Any, seed: int, scales: tuple[float, ...]) -> RandomFeatures | None:
    """Fit the conditions at the start of time, and nothing else, to see what features they need.

    Args:
        problem: The problem, pointwise, with one coordinate besides t.
        data: What ``problem.load`` gave.
        seed: Seed of points and features.
        scales: Bandwidth for each coordinate; that of time is kept.

    Returns:
        Features of the bandwidth in space that leaves least on other points, or None where none of them leaves little:
        without initial conditions, or where these are not linear.
    """
    _, names = initial_conditions(problem)
    if not names:
        return None
    time = problem.domain.index("t")
    like, best, found = data["like"], math.inf, None
    faces = ROWS * FEATURES / problem.n_face
    for rung in range(RUNGS):
        scale = tuple(s if i == time else LOWEST * RUNG**rung for i, s in enumerate(scales))
        made = {"seed": seed, "dtype": like.dtype, "device": like.device}
        field = RandomFeatures.for_problem(problem, width=FEATURES, scale=scale, **made)
        objective = Objective(problem, field, data, generator(seed, "initial state"), coupled=frozenset())
        objective.sample_as(SamplerState(points=FEW / problem.n_points, faces=faces))
        objective.resample()
        with objective.restricted(names):
            zero = float(objective.loss())
            LinearLeastSquares(objective.parameters).step(objective)
        objective.resample()
        with objective.restricted(names):
            left = (float(objective.loss()) / max(zero, 1e-300)) ** 0.5
        if left < best:
            best, found = left, field
        if best <= RESOLVED or left > WORSE * best:
            break
    return found if best <= EXACT else None


def _between(domain: Any, points: Tensor, sides: Tensor, values: Tensor) -> Tensor:
    """Interpolate values at the sides to points inside by inverse distances, so that none leaves their range.

    Shepard, A two-dimensional interpolation function for irregularly-spaced data, Proc. ACM National Conf. (1968) 517.
    """
    low, high = torch.tensor(domain.bounds).to(points).T
    away = torch.cdist((points - low) / (high - low), (sides - low) / (high - low)).clamp(min=1e-9) ** -POWER
    return (away / away.sum(1, keepdim=True)) @ values


@torch.no_grad()
def is_finite(objective: Objective) -> bool:
    """Return whether all residuals of a field are finite at the points of the objective."""
    return all(bool(torch.isfinite(r).all()) for r in objective.residuals().values())


@torch.no_grad()
def is_linear(objective: Objective, seed: int) -> bool:
    """Return whether the residuals of a pointwise problem are those of a linear one: r(a + b) + r(0) = r(a) + r(b).

    Args:
        objective: Problem, points, and a field that is linear in its parameters, which stay as they are.
        seed: Seed of the parameters a and b.

    Returns:
        Whether that holds at some of the points, but for rounding.
    """
    problem, before = objective.bound(), objective.theta()
    some = {name: part_of(rows, 0, SOME) for name, rows in objective.batch.items()}
    chance = generator(seed, "linear")
    a, b = (torch.randn(len(before), generator=chance).to(before) / len(before) ** 0.5 for _ in range(2))

    def at(theta: Tensor) -> Tensor:
        objective.assign(theta)
        return torch.cat([r.reshape(-1) for r in problem.residuals(objective.system.field, some).values()])

    one, other, both, none = at(a), at(b), at(a + b), at(torch.zeros_like(a))
    objective.assign(before)
    gap, size = both + none - one - other, one.abs() + other.abs() + none.abs()
    return bool(torch.isfinite(size).all() and (gap.abs() <= SAME * size.max()).all())


def _single(value: Any) -> float:
    """Return the one value of a side, nan where there is none or a pair."""
    return float(value) if isinstance(value, int | float) else math.nan
