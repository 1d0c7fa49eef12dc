"""How many points determine how many random features."""

import math
from collections.abc import Mapping
from typing import Any

ROWS = 2.5  # inside the domain for each column
ROWS_IN_SPACE = 1.5  # the same from three coordinates on, where the sides have as many
ROWS_ON_SIDES = 1.5  # for each function that is independent on a side
ROWS_ON_ALL_SIDES = 2.5  # for each feature at most
ROWS_AT_CORNERS = 3.0  # times these, where features are singular at corners


def points_for(
    problem: Any, width: int, entries: Mapping[str, int], corners: bool = False
) -> tuple[float, float | None]:
    """Return the factors on the points that determine a number of features, inside the domain and on each side of it.

    Polynomials of degree n in d variables, (n + d)! / (n! d!) in number, have d / (n + d) times as many on a side;
    features of a bandwidth need about the same.

    Args:
        problem: The problem.
        width: Number of features of each unknown.
        entries: Residual name -> its number of entries at each point.
        corners: Whether features are singular at corners, where sides need more points.

    Returns:
        Factor on the points inside, and on those of each side (`nfsolve.Stage`).
    """
    d = len(problem.domain.names)
    inner = {name: c for name, c in problem.conditions().items() if c.kind == "interior"}
    if not inner:
        return 1.0, None
    rows = sum(entries.get(name, 1) * (c.points or problem.n_points) for name, c in inner.items())
    inside = ROWS if d < 3 else ROWS_IN_SPACE
    points = max(inside * width * len(problem.outputs), 50) / rows
    if d < 2:
        return points, None
    degree = 0
    while math.comb(degree + d, d) < width:
        degree += 1
    side = ROWS_ON_SIDES * width * d / (degree + d)
    more = ROWS_AT_CORNERS if corners else 1.0
    return points, more * min(side, ROWS_ON_ALL_SIDES * width / (2 * d)) / problem.n_face
