"""What recipes of several rows of PINNacle share: splines under least squares, with cells that shrink."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from nfsolve import Recipe, RunOptions, Stage
from nfsolve.domains import Domain
from nfsolve.fields import Splines
from nfsolve.fields.splines import Cells
from nfsolve.optim import BandedLeastSquares
from nfsolve.weighting import NTK, Constant

BALANCE = NTK(every=10**9, decay=0.0, power=0.75)  # of the residuals, once at the start


def by_splines(
    cells: Cells | tuple[Cells, ...] | dict[str, Any],
    degree: int | tuple[int, ...] = 5,
    steps: int = 2,
    windows: int = 1,
    balanced: bool = True,
) -> Recipe:
    """Return the recipe of a spline under least squares.

    Args:
        cells: As for `nfsolve.fields.Splines`; those along the time are of each window.
        degree: Degree of the polynomials.
        steps: Newton steps, two for a linear equation.
        windows: Parts of the time interval.
        balanced: Whether residuals are made comparable at the start.
    """
    return Recipe(
        field=partial(Splines, cells=cells, degree=degree),
        stages=(Stage(BandedLeastSquares, steps, resample=0),),
        weighting=BALANCE if balanced else Constant(),
        run=RunOptions(dtype="float64", log_every=1, windows=windows),
    )


def shrinking(low: float, high: float, n: int, smallest: float, at: str = "both") -> tuple[float, ...]:
    """Return the ends of n cells that shrink by a constant factor towards ``low``, ``high`` or both ends.

    Args:
        low: Where the first cell begins.
        high: Where the last one ends.
        n: Number of cells, even for both ends.
        smallest: Width of the smallest.
        at: ``low``, ``high`` or ``both``.
    """
    if at == "both":
        middle = (low + high) / 2
        first = shrinking(low, middle, n // 2, smallest, "low")
        return (*first, *shrinking(middle, high, n // 2, smallest, "high")[1:])
    if at == "high":
        return tuple(low + high - end for end in reversed(shrinking(low, high, n, smallest, "low")))
    fewest, most = 1.0, 100.0
    for _ in range(100):  # bisection for the factor
        factor = (fewest + most) / 2
        length = smallest * sum(factor**i for i in range(n))
        fewest, most = (fewest, factor) if length > high - low else (factor, most)
    return (*(low + smallest * sum(factor**i for i in range(k)) for k in range(n)), high)


def evenly(domain: Domain, unit: Tensor, **ends: tuple[float, ...]) -> Tensor:
    """Map points of the unit cube ``(n, d)`` into a domain so that each cell along a coordinate has as many.

    Args:
        domain: The domain.
        unit: The points.
        **ends: Coordinate -> ends of its cells; the others are even.
    """
    points = domain.scale(unit)
    for name, along in ends.items():
        column = domain.index(name)
        edges = torch.tensor(sorted(set(along))).to(unit)
        place = unit[:, column] * (len(edges) - 1)
        cell = place.long().clamp(0, len(edges) - 2)
        points[:, column] = edges[cell] + (place - cell) * (edges[cell + 1] - edges[cell])
    return points
