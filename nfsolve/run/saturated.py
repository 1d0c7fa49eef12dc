"""Error bars of fields that a transform saturates, as a softplus near 0: linearised over their width, not at a point.

Where a positive field is nearly 0, its slope with respect to what is trained vanishes, so that no measurement is seen
to bound what is trained. The slope that counts is the mean one over the distribution, the secant over one standard
deviation to both sides (statistical linearisation: A. Gelb, Applied Optimal Estimation, 1974, section 6.2). It depends
on that deviation, and the deviation on it, so both are found by bisection. What is measured on a grid depends on the
field through its values there alone, so residuals are differentiated once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.curvature import LeastSquares
from nfsolve.fields.corrected import transformed_ends, without_output_transform
from nfsolve.problem import Measurement, Objective
from nfsolve.run.noisy import JacobianAt, by_values

ROUNDS = 9  # bisections of the logarithm of the deviations, which are found to 1.4 %
SHARPEST = 1e-3  # smallest deviation of what is trained that is tried, in units of that at the solution
SATURATED = 3.0  # ratio of secant and tangent from which on a point is saturated
STEP = 1e-3  # of the tangent, in units of what is trained


def over_their_width(
    objective: Objective,
    root: Tensor,
    jacobian: Tensor,
    jacobian_at: JacobianAt,
    root_of: Callable[[Tensor], Tensor],
) -> tuple[Tensor, bool]:
    """Return the root of the covariance ``(P, P)`` with slopes over the width of the distribution.

    Args:
        objective: The objective at the solution.
        root: The root with the slopes at the solution.
        jacobian: Jacobian of all residuals as they are weighed, there ``(N, P)``; its columns of unknown scalars stay.
        jacobian_at: Function of a field, points and field -> its Jacobian at points ``(n k, P)``.
        root_of: Jacobian of all residuals as they are weighed ``(N, P)`` -> the root.

    Returns:
        The root, and whether it is another one.
    """
    net: Any = objective.system.field
    raw, transform = without_output_transform(net)
    if not isinstance(objective.problem, Measurement) or transform is None or isinstance(transform, nn.Module):
        return root, False
    points = objective.data["points"]
    with torch.no_grad():
        before = raw(points)
    rows = jacobian_at(lambda net, part: net(part), points, raw)

    def slope(width: Tensor) -> Tensor:
        with torch.no_grad():
            return (transform(points, before + width) - transform(points, before - width)) / (2 * width)

    def width_of(root: Tensor) -> Tensor:
        return (rows @ root[: rows.shape[1]]).norm(dim=1).reshape(before.shape).clamp_min(STEP)

    high = width_of(root)
    saturated = slope(high).abs() > SATURATED * slope(torch.full_like(before, STEP)).abs()
    if transformed_ends(transform, points, before, high) is None or not bool(saturated.any()):
        return root, False
    by_value, others = _by_values(objective, net(points).detach()), jacobian[:, rows.shape[1] :]
    low = SHARPEST * high
    for _ in range(ROUNDS):
        width = (low * high).sqrt()
        of_field = by_value @ (slope(width).reshape(-1, 1) * rows)
        root = root_of(torch.cat([of_field, others], 1))
        wider = width_of(root) > width
        low, high = low.where(~wider, width), high.where(wider, width)
    return root, True


def _by_values(objective: Objective, values: Tensor) -> Tensor:
    """Return the Jacobian of all residuals as they are weighed, by the values of the field on the grid ``(N, n k)``."""
    if values.shape[1] == 1:
        found = by_values(objective, torch.eye(len(values), dtype=values.dtype, device=values.device))
        if found is not None:
            return found
    with torch.no_grad():
        problem = objective.bound()

    def residuals(params: dict[str, Tensor]) -> Tensor:
        table, start = params["values"], 0

        def of_table(points: Tensor) -> Tensor:  # which is asked for piece by piece, in order
            nonlocal start
            start += len(points)
            return table[start - len(points) : start]

        found = problem.residuals(of_table, objective.batch)
        return torch.cat([(objective.weights.scale(name, r) * r).reshape(-1) for name, r in found.items()])

    least_squares = LeastSquares(residuals, {"values": nn.Parameter(values)})
    return least_squares.jacobian(least_squares.theta())[1]
