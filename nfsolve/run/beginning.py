"""Where least squares on random features begins: at the initial values, at all times."""

import math
from typing import Any

import torch

from nfsolve._core.random import generator
from nfsolve.fields import RandomFeatures
from nfsolve.optim import LinearLeastSquares
from nfsolve.problem import PDE, Objective
from nfsolve.sampling import sobol

ROWS = 3  # for each feature
RIDGE = 1e-8
EXACT = 1e-3  # part of the loss of zero that initial values may leave


@torch.no_grad()
def start_at_rest(objective: Objective, seed: int) -> None:
    """Let random features begin with what the conditions at the start of time say, as if nothing moved.

    Newton's method from zero may end in a local minimum of a nonlinear problem, or where the equations are at rest
    whatever the initial values are. Other fields, and problems without initial conditions, stay as they are.

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
    if not names:
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


def _single(value: Any) -> float:
    """Return the one value of a side, nan where there is none or a pair."""
    return float(value) if isinstance(value, int | float) else math.nan
