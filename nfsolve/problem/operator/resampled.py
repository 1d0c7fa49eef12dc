"""Input functions that are known at other places than an operator's sensors, brought to these."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.domains import Domain
from nfsolve.fields.interpolation import Interpolation

NODES = 6  # of the polynomial along each coordinate
SAME = 1e-6  # of the extent of the sensors: places that are nearer count as the same


def resampled(name: str, values: Tensor, at: Tensor, sensors: Tensor, along: tuple[str, ...], domain: Domain) -> Tensor:
    """Interpolate functions from the grid on which they are known to the sensors of an operator.

    Along periodic coordinates they are sums of waves, along others polynomials through six points, so that values at
    places that are sensors stay as they are.

    Args:
        name: The input function, for messages.
        values: Values ``(n, m)``.
        at: Their places ``(m, d)``, a grid of which the last coordinate runs first; its axes may have any spacing.
        sensors: The sensors ``(s, d)``.
        along: Names of the d coordinates.
        domain: The domain, for periods.

    Returns:
        Values ``(n, s)``; the same ones where the places are the sensors.

    Raises:
        InputError: The places do not form a grid, or sensors lie outside of them.
    """
    at, sensors = at.double(), sensors.double()
    if same_places(at, sensors):
        return values
    axes = axes_of_grid(at)
    if not axes or min(map(len, axes)) < 2 or len(axes) != sensors.shape[1]:
        raise InputError(
            f"'{name}' is given at {len(at)} places that are neither the {len(sensors)} sensors of the training nor a "
            "grid, from which it could be interpolated to them",
            do=f"interpolate it to sensor_points('{name}'), or give the function itself as a callable",
        )
    table, bounds, waves = values.unflatten(-1, tuple(map(len, axes))), [], []
    for i, (axis, coordinate) in enumerate(zip(axes, along, strict=True)):
        low, high = float(axis[0]), float(axis[-1])
        period = _period(domain, coordinate)
        if period and abs(high - low - period) < SAME * period:  # the upper end repeats the lower one
            axis, table = axis[:-1], table.narrow(i + 1, 0, len(axis) - 1)
        steps = axis.diff()
        whole = bool(period) and bool((steps - period / len(axis)).abs().max() < 1e-3 * steps.mean())
        beyond = max(low - float(sensors[:, i].min()), float(sensors[:, i].max()) - high)
        if not whole and beyond > float(steps.max()) * (1 + SAME):
            raise InputError(
                f"'{name}' is given for {low:g} <= {coordinate} <= {high:g}, but the sensors of the training reach "
                f"{beyond:.3g} beyond",
                do="give it there too",
            )
        axes[i] = axis
        bounds.append((low, low + period if whole else high))
        waves.append(whole)
    between = Interpolation(_Grid(along, tuple(bounds), tuple(waves)), axes, NODES, waves=True)  # type: ignore[arg-type]
    index, weights = between.weigh(sensors)
    return (table.flatten(1).double()[:, index] * weights).sum(-1).to(values.dtype)


def same_places(at: Tensor, sensors: Tensor) -> bool:
    """Say whether functions are given at the sensors, ``(m, d)`` each."""
    if at.shape != sensors.shape:
        return False
    span = sensors.amax(0) - sensors.amin(0)
    return bool(((at - sensors).abs().amax(0) <= SAME * span).all())


def axes_of_grid(points: Tensor) -> list[Tensor]:
    """Return the axes of a grid of points ``(n, d)``, the last one running first; none if they do not form a grid."""
    axes = [column.unique() for column in points.unbind(1)]
    if not axes or math.prod(map(len, axes)) != len(points):
        return []
    return axes if torch.equal(torch.cartesian_prod(*axes).reshape(-1, len(axes)), points) else []


def _period(domain: Any, coordinate: str) -> float:
    """Return the period of a coordinate, 0 where it has none."""
    if coordinate not in domain.names:
        return 0.0
    i = domain.names.index(coordinate)
    low, high = domain.bounds[i]
    return high - low if domain.periodic[i] else 0.0


@dataclass(frozen=True)
class _Grid:
    """What an interpolation asks of a domain."""

    names: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    periodic: tuple[bool, ...]
