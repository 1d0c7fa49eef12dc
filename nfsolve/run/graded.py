"""Cells that follow a solution, and what marches on finer and finer ones foretell."""

from typing import Any

import numpy as np
from torch import Tensor

from nfsolve.fields.field import OnArrays

GROWS = 0.2  # by which a cell may be larger than its neighbour, as a part of it
HALVINGS = 60


def graded(at: np.ndarray, scale: np.ndarray, density: float, fewest: int) -> np.ndarray:
    """Return the ends of cells whose width times the local scale is 1 / density, and whose widths change slowly."""
    width = 1 / (density * scale)
    for step in (1, -1):  # the smallest of width[j] + GROWS |at[i] - at[j]| over the places before, then after
        line = step * GROWS * at
        width = (np.minimum.accumulate((width - line)[::step]))[::step] + line
    number = np.concatenate([[0.0], np.cumsum(np.diff(at) * (1 / width[1:] + 1 / width[:-1]) / 2)])
    count = max(round(number[-1]), fewest)
    ends = np.interp(np.linspace(0, number[-1], count + 1), number, at)
    ends[0], ends[-1] = at[0], at[-1]
    return ends


def graded_to(at: np.ndarray, scale: np.ndarray, count: int) -> np.ndarray:
    """Return the ends of about as many cells, whose widths follow the local scale as those of `graded`.

    Args:
        at: Ascending places ``(n,)``.
        scale: One over the length on which the solution changes there, ``(n,)``, positive.
        count: Number of cells.

    Returns:
        Ends ``(count + 1,)``, or one more or fewer.
    """
    low, high = 1e-6, 1e6
    total = float(np.trapezoid(scale, at))
    for _ in range(HALVINGS):
        density = (low * high) ** 0.5
        found = graded(at, scale, density * count / total, 1)
        if len(found) - 1 == count:
            break
        low, high = (density, high) if len(found) - 1 < count else (low, density)
    return found


class Extrapolated(OnArrays):
    """A field and a part of what it changed of a coarser one (L. F. Richardson, Phil. Trans. A 210 (1911) 307).

    Args:
        field: The finer field.
        before: The coarser one.
        part: Error of the finer field as a part of that of the coarser one.
    """

    def __init__(self, field: Any, before: Any, part: float):
        super().__init__()
        self.field, self.before, self.part = field, before, part
        self.inputs, self.outputs = field.inputs, field.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map points ``(n, d)`` to values ``(n, k)``."""
        finer = self.field(x)
        return finer + self.part * (finer - self.before(x))
