"""Functions moved along periodic coordinates until their leading wave has phase zero.

Where solutions move with their input functions, as those of equations that name no place do, a map need be known only
for functions that were moved in this way, which have a coordinate less each: the slice of a group action, as in C. W.
Rowley & J. E. Marsden, Physica D 142 (2000) 1. A shift by any distance is exact for functions that the grid resolves.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

GRID, CLOSED, WAVES = range(3)  # values without the upper end of the period, with it, coefficients of `tensor_basis`


class Part(NamedTuple):
    """Columns of a row that are an array with an axis along the coordinate.

    Attributes:
        first: The first of them.
        before: Product of the sizes of the axes before it.
        count: Its size.
        after: Product of the sizes of the axes behind it.
        kind: ``GRID``, ``CLOSED`` or ``WAVES``.
    """

    first: int
    before: int
    count: int
    after: int
    kind: int


class Along(NamedTuple):
    """A periodic coordinate along which functions are moved.

    Attributes:
        inputs: The input functions that vary along it in a row of all of them; the first one says how far.
        output: The solution in a row of its own.
    """

    inputs: tuple[Part, ...]
    output: Part


Frame = tuple[Along, ...]


def frame_of(
    periodic: Sequence[bool],
    shapes: Sequence[Sequence[int]],
    closed: Sequence[bool],
    sizes: Sequence[int],
    outputs: int,
    kind: int = GRID,
) -> Frame:
    """Return along what functions can be moved; empty where nothing is periodic.

    Args:
        periodic: Which coordinates are.
        shapes: For each input function the sensors along each coordinate, 1 where it does not vary along it.
        closed: For each of them whether the sensors along periodic coordinates include the upper end; empty for none.
        sizes: Values of the solution along each coordinate.
        outputs: Unknowns, the last axis of a solution.
        kind: Of the solution.
    """
    found = []
    for i in (i for i, wraps in enumerate(periodic) if wraps):
        parts, first = [], 0
        for j, shape in enumerate(shapes):
            if shape[i] > 3:
                ends = CLOSED if closed and closed[j] else GRID
                parts.append(Part(first, math.prod(shape[:i]), shape[i], math.prod(shape[i + 1 :]), ends))
            first += math.prod(shape)
        if parts:
            behind = math.prod(sizes[i + 1 :]) * outputs
            found.append(Along(tuple(parts), Part(0, math.prod(sizes[:i]), sizes[i], behind, kind)))
    return tuple(found)


def led(frame: Frame, rows: Tensor) -> Frame:
    """Put the input function first whose leading wave has the largest share of it, in the mean over functions."""

    def share(part: Part) -> float:
        size = _table(rows, part).flatten(1).norm(dim=1).mean()
        return float(_leading(rows, part).abs().mean() / size.clamp_min(1e-300))

    return tuple(along._replace(inputs=tuple(sorted(along.inputs, key=share, reverse=True))) for along in frame)


def aligned(frame: Frame, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Move input functions.

    Args:
        frame: Along what.
        rows: Sensor values of all of them side by side ``(n, m)``.

    Returns:
        The rows, and by which part of the period each function was moved along each coordinate, ``(n, axes)``.
    """
    shifts = []
    for along in frame:
        shift = _leading(rows, along.inputs[0]).angle() / (-2 * math.pi)
        for part in along.inputs:
            rows = moved(rows, part, shift)
        shifts.append(shift)
    return rows, torch.stack(shifts, 1)


def carried(frame: Frame, rows: Tensor, shifts: Tensor) -> Tensor:
    """Move solutions ``(n, p)`` as their input functions were; with minus the shifts back again."""
    for along, shift in zip(frame, shifts.T, strict=True):
        rows = moved(rows, along.output, shift)
    return rows


def moved(rows: Tensor, part: Part, shift: Tensor) -> Tensor:
    """Return rows with the values of a part at x + shift in the place of those at x.

    Args:
        rows: ``(n, m)``.
        part: Which columns.
        shift: In units of the period, ``(n,)``.
    """
    table = _table(rows, part)
    if part.kind == WAVES:
        k = part.count // 2 + 1
        sines = torch.cat([torch.zeros_like(table[:, :, :1]), table[:, :, k:]], 2)
        turned = torch.complex(table[:, :, :k], -sines) * _turn(shift, k)
        table = torch.cat([turned.real, -turned.imag[:, :, 1:]], 2)
    else:
        inside = table[:, :, : part.count - (part.kind == CLOSED)]
        n = inside.shape[2]
        inside = torch.fft.irfft(torch.fft.rfft(inside, dim=2) * _turn(shift, n // 2 + 1), n, dim=2)
        table = torch.cat([inside, inside[:, :, :1]], 2) if part.kind == CLOSED else inside
    last = part.first + table[0].numel()
    return torch.cat([rows[:, : part.first], table.flatten(1), rows[:, last:]], 1)


def as_table(frame: Frame) -> Tensor:
    """Write a frame as numbers ``(parts, 7)``."""
    parts = [(i, j, *part) for i, along in enumerate(frame) for j, part in enumerate((along.output, *along.inputs))]
    return torch.tensor(parts)


def from_table(table: Tensor) -> Frame:
    """Read a frame from what `as_table` wrote."""
    found: dict[int, list[Part]] = {}
    for i, _, *part in table.tolist():
        found.setdefault(i, []).append(Part(*part))
    return tuple(Along(tuple(inputs), output) for output, *inputs in found.values())


def _table(rows: Tensor, part: Part) -> Tensor:
    size = part.before * part.count * part.after
    return rows[:, part.first : part.first + size].reshape(-1, part.before, part.count, part.after)


def _leading(rows: Tensor, part: Part) -> Tensor:
    """Return the coefficient of the longest wave along the coordinate, of the mean over all others, ``(n,)``."""
    values = _table(rows, part).sum((1, 3))[:, : part.count - (part.kind == CLOSED)]
    return torch.fft.rfft(values, dim=1)[:, 1]


def _turn(shift: Tensor, count: int) -> Tensor:
    """Return by what waves are multiplied, ``(n, 1, count, 1)``."""
    k = torch.arange(count, dtype=shift.dtype, device=shift.device)
    angle = 2 * math.pi * shift[:, None] * k
    return torch.polar(torch.ones_like(angle), angle)[:, None, :, None]
