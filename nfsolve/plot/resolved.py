"""How much of a coordinate a picture shows: all of it, or its middle where waves are too short for the points."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nfsolve._core.random import generator
from nfsolve.domains import Domain

LINES = (0.3, 0.5, 0.8)  # where lines along a coordinate lie, as shares of the bounds of the others
LOST = 0.015  # typical error of a straight line between two points, as a share of half the range: 11 points a wave
HALVINGS = 12


def resolved_bounds(
    domain: Domain, functions: Sequence[Callable[[Tensor], Tensor]], counts: Mapping[int, int]
) -> dict[int, tuple[float, float]]:
    """Choose the part of each coordinate that evenly spaced points can show.

    A picture of more waves than that would show beats that the solution has not (aliasing). A narrow front or peak
    changes nothing: the typical error of an interpolation decides, not the largest.

    Args:
        domain: Where the functions are defined.
        functions: What is drawn: points ``(n, d)``, float64, to values ``(n, k)``.
        counts: Column of a coordinate -> number of points along it.

    Returns:
        Column -> bounds: those of the domain, or half of them about their middle, a quarter, and so on.
    """
    found = {}
    for column, n in counts.items():
        low, high = domain.bounds[column]
        for _ in range(HALVINGS):
            lines = _lines(domain, column, (low, high), n)
            if not any(
                _lost([function(points) for points, _ in lines], [at for _, at in lines]) for function in functions
            ):
                break
            low, high = low + (high - low) / 4, high - (high - low) / 4
        else:
            low, high = domain.bounds[column]  # no waves: it has no scale at all
        found[column] = (low, high)
    return found


def axis_label(domain: Domain, column: int, ends: tuple[float, float]) -> str:
    """Return the name of a coordinate, and of what it is a part where it is not shown as a whole."""
    low, high = domain.bounds[column]
    return (
        domain.names[column]
        if (low, high) == tuple(ends)
        else f"{domain.names[column]}, part of {low:.4g} to {high:.4g}"
    )


def _lines(domain: Domain, column: int, ends: tuple[float, float], n: int) -> list[tuple[Tensor, Tensor]]:
    """Return for each line along a coordinate its points in the domain, and where they lie between neighbours.

    The points ``(3 m, d)`` come in threes: two neighbours on the grid, and one at a random place between them, which
    the second tensor ``(m,)`` gives as a share of their distance.
    """
    share = torch.rand(n - 1, generator=generator(0, "between"), dtype=torch.float64)
    grid = torch.linspace(*ends, n, dtype=torch.float64)
    along = torch.stack([grid[:-1], torch.lerp(grid[:-1], grid[1:], share), grid[1:]], 1)
    found = []
    for place in LINES:
        points = torch.tensor([low + place * (high - low) for low, high in domain.bounds], dtype=torch.float64)
        points = points.repeat(n - 1, 3, 1)
        points[..., column] = along
        inside = domain.contains(points.flatten(0, 1)).reshape(n - 1, 3).all(1)
        if inside.any():
            found.append((points[inside].flatten(0, 1), share[inside]))
    return found


def _lost(lines: list[Tensor], shares: list[Tensor]) -> bool:
    """Return whether values at threes of points are typically far from a straight line through the outer two."""
    tables = [values.detach().double().cpu().reshape(len(at), 3, -1) for values, at in zip(lines, shares, strict=True)]
    if not tables:
        return False
    every = torch.cat(tables).nan_to_num(0.0)
    size = (every.amax((0, 1)) - every.amin((0, 1))) / 2
    for table, share in zip(tables, shares, strict=True):
        left, between, right = table.unbind(1)
        error = (torch.lerp(left, right, share[:, None]) - between).abs()
        if (error.nanmedian(0).values > LOST * size).any():
            return True
    return False
