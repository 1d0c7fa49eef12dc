"""What phantoms of ellipses and of ellipsoids share: values, averages over cells, and chords, in closed form.

A body is mapped to the unit ball at the origin; a line o + l d has the chord 2 sqrt(|d|^2 - |o x d|^2) / |d|^2 in it.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Body(Protocol):
    """A body whose value adds to those it overlaps."""

    @property
    def value(self) -> float:
        """What it adds inside, per unit of length."""
        ...

    def unit(self, points: Tensor, directions: bool = False) -> Tensor:
        """Map points, or directions, (n, d), so that the body becomes the unit ball at the origin."""
        ...


def values_at(bodies: Sequence[Body], points: Tensor) -> Tensor:
    """Sum the values of the bodies that hold each point, (n, d) -> (n, 1)."""
    total = points.new_zeros(len(points), 1)
    for body in bodies:
        total = total + body.value * (_squared(body.unit(points)) <= 1).to(points)
    return total


def cell_averages(bodies: Sequence[Body], centres: Tensor, offsets: Tensor) -> Tensor:
    """Average over the same offsets (k, d) from the middle of each cell, (n, d) -> (n, 1)."""
    total = torch.zeros_like(centres[:, :1])
    for offset in offsets:
        total += values_at(bodies, centres + offset)
    return total / len(offsets)


def integrals(bodies: Sequence[Body], rays: tuple[Tensor, Tensor]) -> Tensor:
    """Integrate along infinite lines, a point on each and its unit direction, both (m, d), giving (m, 1)."""
    feet, directions = rays
    total = feet.new_zeros(len(feet), 1)
    for body in bodies:
        o, d = body.unit(feet), body.unit(directions, directions=True)
        squared = _squared(d)
        total = total + body.value * 2 * (squared - _squared(_cross(o, d))).clamp(min=0).sqrt() / squared
    return total


def _cross(o: Tensor, d: Tensor) -> Tensor:
    """Distance of the lines from the origin, times |d|: one number in a plane, a vector in space."""
    return o[:, :1] * d[:, 1:] - o[:, 1:] * d[:, :1] if o.shape[1] == 2 else torch.linalg.cross(o, d)


def _squared(vectors: Tensor) -> Tensor:
    first, *others = vectors.split(1, dim=1)  # a third of the time of a sum over a few columns
    return sum((column**2 for column in others), first**2)
