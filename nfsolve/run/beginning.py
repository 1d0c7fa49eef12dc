"""Where least squares on random features begins: at the initial values, at all times."""

import math
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.fields import RandomFeatures
from nfsolve.optim import LinearLeastSquares
from nfsolve.problem import PDE, Objective
from nfsolve.problem.rows import part_of
from nfsolve.sampling import sobol

ROWS = 3  # for each feature
RIDGE = 1e-8
SOME = 64  # rows of each residual that show whether a problem is linear
SAME = 1e-10
EXACT = 1e-3  # part of the loss of zero that initial values may leave


@torch.no_grad()
def start_at_rest(objective: Objective, seed: int) -> None:
    """Let random features begin with what the conditions at the start of time say, as if nothing moved.

    Newton's method from zero may end in a local minimum of a nonlinear problem, or where the equations are at rest
    whatever the initial values are. Other fields, linear problems, and those without initial conditions, stay as they
    are.

    Args:
        objective: Problem, field and points.
        seed: Seed of the run.
    """
    problem: Any = objective.problem
    field = objective.system.field
    if not (isinstance(field, RandomFeatures) and isinstance(problem, PDE) and problem.pointwise):
        return
    if "t" not in problem.domain.names:
        return
    start = problem.domain.bounds[problem.domain.index("t")][0]
    faces = {name: c for name, c in problem.conditions().items() if c.kind == "face"}
    names = [name for name, c in faces.items() if math.isclose(_single(c.sides.get("t")), start, abs_tol=1e-12)]
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
    points = problem.domain.interior(ROWS * field.last.in_features, lambda n, d: sobol(n, d, chance))
    points = points.to(before)
    still = points.clone()
    still[:, problem.domain.index("t")] = start
    field.fit(points, field.raw(still))


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
    return bool((gap.abs() <= SAME * size.max()).all())


def _single(value: Any) -> float:
    """Return the one value of a side, nan where there is none or a pair."""
    return float(value) if isinstance(value, int | float) else math.nan
