"""Coordinates stretched where a solution is steep, so that it is smooth in the new ones.

Along a coordinate z, normalised to [-1, 1], with a front of width w at c the new coordinate grows with the density

    rho(z) = 1 - beta + beta / (A w (1 + ((z - c) / w)^2)),    A such that the mean of rho is 1

(the map of A. Bayliss & E. Turkel, J. Comput. Phys. 101 (1992) 349, beside the identity), along a periodic one with
rho(z) = 1 - beta + beta (1 - r^2) / (1 - 2 r cos(pi (z - c)) + r^2), the Poisson kernel of r = 1 - pi w, which
repeats exactly. c may move in time; then the new coordinates move with the front. Each front has several such kernels,
from about its own width to a fifth of the domain, so that the density falls off as a power of the distance; the kernels
and the identity have equal shares.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

HALVINGS = 60  # of the interval in which the inverse is sought
NEAR = 1.2  # times the width of a front, that the narrowest of its kernels is wide
WIDER = 4.0  # factor between the widths of its kernels
WIDEST = 0.2  # width of a kernel, above which there is none but the narrowest


@dataclass(frozen=True)
class Front:
    """Where a solution is steep along one coordinate, in coordinates normalised to [-1, 1].

    Attributes:
        column: Column of the coordinate.
        centre: Where the front is, at the start of time where it moves.
        width: Distance from there at which it is half as steep.
        speed: Change of the centre for each unit of the normalised time.
    """

    column: int
    centre: float
    width: float
    speed: float = 0.0


@dataclass(frozen=True)
class Stretch:
    """A map of normalised coordinates ``(n, d)`` to stretched ones, each nearly in [-1, 1].

    Attributes:
        fronts: What is stretched.
        periodic: For each coordinate, whether it is periodic.
        time: Column of the time, or None.
    """

    fronts: tuple[Front, ...]
    periodic: tuple[bool, ...]
    time: int | None = None

    def __call__(self, z: Any) -> Any:
        """Map normalised points, or jets of them, ``(n, d)``."""
        columns = [self._along(column, z) for column in range(len(self.periodic))]
        return torch.cat(columns, -1)

    def _of(self, column: int) -> tuple[Front, ...]:
        return tuple(front for front in self.fronts if front.column == column)

    def _along(self, column: int, z: Any) -> Any:
        plain = z[..., column : column + 1]
        fronts = self._of(column)
        if not fronts:
            return plain
        kernels = [(front, width) for front in fronts for width in _widths(front)]
        part = 1 / (len(kernels) + 1)
        total = part * plain if not self.periodic[column] else plain
        for front, width in kernels:
            away = plain - front.centre
            if front.speed and self.time is not None:
                away = away - front.speed * (z[..., self.time : self.time + 1] + 1.0)
            total = total + part * self._front(front, width, away)
        return total

    def _front(self, front: Front, w: float, away: Any) -> Any:
        if self.periodic[front.column]:
            r = max(1 - math.pi * w, 0.0)
            angle = math.pi * away
            return (2 / math.pi) * torch.atan(r * torch.sin(angle) / (1.0 - r * torch.cos(angle)))
        area = (math.atan((1 - front.centre) / w) + math.atan((1 + front.centre) / w)) / 2
        return torch.atan(away * (1 / w)) * (1 / area)

    def even(self, z: Tensor) -> Tensor:
        """Map normalised points that are evenly distributed to ones that are so in the stretched coordinates.

        Args:
            z: Points ``(n, d)`` in [-1, 1]^d.

        Returns:
            Points ``(n, d)``; what is steep has more of them.
        """
        found = z.clone()
        for column in {front.column for front in self.fronts}:
            low, high = z.clone(), z.clone()
            low[:, column], high[:, column] = -1.0, 1.0
            ends = self._along(column, low), self._along(column, high)
            aim = ends[0] + (z[:, column : column + 1] + 1) / 2 * (ends[1] - ends[0])
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                below = (self._along(column, middle) < aim)[:, 0]
                low[below, column] = middle[below, column]
                high[~below, column] = middle[~below, column]
            found[:, column] = (low[:, column] + high[:, column]) / 2
        return found


def _widths(front: Front) -> list[float]:
    """Return the widths of the kernels of a front, from its own to one that leads over to where nothing is steep."""
    found = [NEAR * front.width]
    while WIDER * found[-1] < WIDEST:
        found.append(WIDER * found[-1])
    return found


@dataclass(frozen=True)
class Graded:
    """A density of points that is the same in each of some cells; coordinates stay as they are.

    Attributes:
        ends: For each column the ends of its cells, ascending from -1 to 1, or none where points are even.
    """

    ends: tuple[tuple[float, ...], ...]

    def __call__(self, z: Any) -> Any:
        """Return normalised points as they are."""
        return z

    def even(self, z: Tensor) -> Tensor:
        """Map normalised points ``(n, d)`` that are evenly distributed to ones of which each cell has as many."""
        found = z.clone()
        for column, ends in enumerate(self.ends):
            if ends:
                edges = torch.tensor(ends, dtype=z.dtype, device=z.device)
                place = (z[:, column] + 1) / 2 * (len(ends) - 1)
                cell = place.long().clamp(0, len(ends) - 2)
                found[:, column] = edges[cell] + (place - cell) * (edges[cell + 1] - edges[cell])
        return found
