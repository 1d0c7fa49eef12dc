"""Points at which a field is looked at, and how they are thinned."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


@dataclass
class Sample:
    """Points at which a field is looked at.

    Attributes:
        points: ``(n, d)``.
        values: The target there, ``(n, k)``, or None.
        sizes: Points along each axis where they form a lattice, the first axis slowest.
        words: How they were chosen.
    """

    points: Tensor
    values: Tensor | None
    sizes: tuple[int, ...] | None
    words: str

    def thinned(self, most: int) -> "Sample":
        """Return at most so many points: every s-th along each axis of a lattice, or a fixed random choice.

        Raises:
            InputError: Fewer than 4 points are asked for.
        """
        n = len(self.points)
        if most < 4:
            raise InputError(f"The analysis needs at least 4 points, got {most}", do="give a larger --points")
        if n <= most:
            return self
        if self.sizes is None:
            index = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:most].sort().values
            return self._at(index, None, f"{most} at random of {self.words}")
        stride = 2
        while _count(self.sizes, stride) > most:
            stride += 1
        keep = torch.arange(n).reshape(self.sizes)[(slice(None, None, stride),) * len(self.sizes)]
        words = f"{times(keep.shape)} lattice, every {_nth(stride)} point along each axis of {self.words}"
        return self._at(keep.reshape(-1), tuple(keep.shape), words)

    def _at(self, index: Tensor, sizes: tuple[int, ...] | None, words: str) -> "Sample":
        values = None if self.values is None else self.values[index]
        return Sample(self.points[index], values, sizes, words)


def lattice_sizes(points: Tensor) -> tuple[int, ...] | None:
    """Return the sizes of the lattice that points ``(n, d)`` form, the first axis slowest; None where they form none.

    Axes may run in any order and direction: sizes follow the order of the rows.
    """
    n, d = points.shape
    if d == 1:
        steps = points[:, 0].diff()
        even = n > 2 and bool((steps - steps.mean()).abs().max() <= 1e-6 * steps.abs().mean())
        return (n,) if even else None
    if d != 2 or n < 4:
        return None
    first = points[0]
    for fast in (0, 1):
        slow = 1 - fast
        changed = (points[:, slow] - first[slow]).abs() > 1e-9
        run = int(changed.int().argmax()) if bool(changed.any()) else n
        if run < 2 or n % run or n // run < 2:
            continue
        table = points.reshape(n // run, run, 2)
        same = (table[..., fast] - table[:1, :, fast]).abs().max() < 1e-9
        if bool(same) and bool((table[..., slow] - table[:, :1, slow]).abs().max() < 1e-9):
            return (n // run, run)
    return None


def _count(sizes: tuple[int, ...], stride: int) -> int:
    count = 1
    for n in sizes:
        count *= -(-n // stride)
    return count


def times(sizes: Any) -> str:
    """Return sizes as a text such as 3 x 4."""
    return " x ".join(str(int(n)) for n in sizes)


def _nth(n: int) -> str:
    return {1: "", 2: "2nd", 3: "3rd"}.get(n, f"{n}th")
