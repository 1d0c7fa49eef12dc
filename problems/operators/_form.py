"""What an operator that was learned from pairs must know of them to answer: names, places and scales, no functions.

A run folder keeps it, so that a trained operator needs the file no longer, and scales are those of the training even
where the file has changed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from nfsolve import Box, InputError, periodic
from nfsolve.problem.operator.resampled import axes_of_grid


@dataclass(frozen=True)
class Form:
    """Names, places and scales of pairs of functions.

    Attributes:
        domain: The box of the points of the outputs.
        inputs: Input function -> the coordinates on which it lives, separated by spaces.
        places: Input function -> its sensors ``(m, d)``, float64; of one function where each has its own.
        own: Input functions of which each has sensors of its own.
        widths: Input function -> number of columns that a field reads.
        input_scales: Input function -> mean and deviation over the training functions.
        output_scales: Output -> mean and deviation.
        sizes: Points along each coordinate where the outputs lie on a uniform grid, else empty.
        highest: Coordinate -> its largest value among the points, which a period may or may not include.
    """

    domain: Box
    inputs: dict[str, str]
    places: dict[str, Tensor]
    own: tuple[str, ...]
    widths: dict[str, int]
    input_scales: dict[str, tuple[float, float]]
    output_scales: dict[str, tuple[float, float]]
    sizes: tuple[int, ...]
    highest: dict[str, float]

    def stored(self) -> dict[str, dict[str, np.ndarray]]:
        """Return all of it as named columns of numbers, for ``config.json``."""
        names, box = self.domain.names, zip(self.domain.bounds, self.domain.periodic, strict=True)
        sizes = self.sizes or (0,) * len(names)
        found = {
            "coordinates": {
                n: np.array([*bounds, wraps, size, self.highest[n]])
                for n, (bounds, wraps), size in zip(names, box, sizes, strict=True)
            },
            "inputs": {n: np.array([*s, self.widths[n], n in self.own]) for n, s in self.input_scales.items()},
            "outputs": {n: np.array(s) for n, s in self.output_scales.items()},
        }
        for name, at in self.places.items():
            kind, axes = "grid", [a.numpy() for a in axes_of_grid(at)]
            if not axes:
                kind, axes = "places", list(at.T.numpy())
            found[f"{kind} of {name}"] = dict(zip(self.inputs[name].split(), axes, strict=True))
        return found

    @classmethod
    def from_stored(cls, stored: dict[str, dict[str, np.ndarray]]) -> Self:
        """Build it from what `stored` gave."""
        boxes = {n: row.tolist() for n, row in stored["coordinates"].items()}
        rows = {n: row.tolist() for n, row in stored["inputs"].items()}
        columns = {n: stored.get(f"grid of {n}") or stored[f"places of {n}"] for n in rows}
        places = {}
        for name, axes in columns.items():
            parts = [torch.from_numpy(np.array(axis)) for axis in axes.values()]
            on_grid = f"grid of {name}" in stored
            places[name] = torch.cartesian_prod(*parts).reshape(-1, len(parts)) if on_grid else torch.stack(parts, 1)
        sizes = tuple(int(row[3]) for row in boxes.values())
        return cls(
            domain=Box(**{n: (periodic if row[2] else _plain)(*row[:2]) for n, row in boxes.items()}),
            inputs={n: " ".join(axes) for n, axes in columns.items()},
            places=places,
            own=tuple(n for n, row in rows.items() if row[3]),
            widths={n: int(row[2]) for n, row in rows.items()},
            input_scales={n: (row[0], row[1]) for n, row in rows.items()},
            output_scales={n: tuple(row.tolist()) for n, row in stored["outputs"].items()},
            sizes=sizes if min(sizes) else (),
            highest={n: row[4] for n, row in boxes.items()},
        )

    def same(self, other: "Form") -> bool:
        """Say whether another file has the same names, places and scales, up to rounding."""
        ours, theirs = self.stored(), other.stored()
        return {n: tuple(c) for n, c in ours.items()} == {n: tuple(c) for n, c in theirs.items()} and all(
            a.shape == theirs[n][k].shape and np.allclose(a, theirs[n][k], rtol=1e-6, atol=1e-12, equal_nan=True)
            for n, columns in ours.items()
            for k, a in columns.items()
        )

    def scaled(self, name: str, values: Tensor) -> Tensor:
        """Normalise an input function, and its places where each function has its own."""
        mean, size = self.input_scales[name]
        if name not in self.own:
            return (values - mean) / size
        own = self.inputs[name].split()
        table = values.unflatten(1, (-1, 1 + len(own)))
        ends = dict(zip(self.domain.names, self.domain.bounds, strict=True))
        low, high = table.new_tensor([ends.get(n, (-1.0, 1.0)) for n in own]).T
        return torch.cat(
            [(table[..., :1] - mean) / size, (2 * table[..., 1:] - low - high) / (high - low)], -1
        ).flatten(1)

    def layout(self) -> dict[str, Any]:
        """Return the grid of the outputs, and the sensors of each input along each coordinate, for `FNO`.

        Raises:
            InputError: They are on no grid.
        """
        names = self.domain.names
        if not self.sizes:
            raise InputError(
                "a Fourier neural operator needs points x of a uniform grid, which these are not", do="use DeepONet"
            )
        ends = dict(zip(names, zip(self.domain.bounds, self.domain.periodic, strict=True), strict=True))
        repeats = {n: wraps and self.highest[n] == high for n, ((_, high), wraps) in ends.items()}
        shapes, closed = [], []
        for name, at in self.places.items():
            own = self.inputs[name].split()
            sizes = grid_sizes(at) if own and name not in self.own else (1,) * len(own)
            fills = all(
                n in ends and abs(end - bound) <= 0.1 * (ends[n][0][1] - ends[n][0][0])
                for n, end, bound in self._ends(own, at)
            )
            if not fills or len(sizes) < len(own) or own != [n for n in names if n in own]:
                raise InputError(
                    f"a Fourier neural operator needs sensors of '{name}' on a uniform grid over some of "
                    f"{', '.join(names)}, but they are not, or not known",
                    do=f"store their points as {name}_sensors, or use DeepONet",
                )
            along = dict(zip(own, sizes, strict=True))
            shapes.append(tuple(along.get(n, 1) for n in names))
            tops = {n: float(at[:, own.index(n)].max()) for n in own}
            closed.append(any(ends[n][1] and abs(top - ends[n][0][1]) < 1e-6 * abs(top) for n, top in tops.items()))
        grid = tuple(size - repeats[n] for n, size in zip(names, self.sizes, strict=True))
        return {"grid": grid, "shapes": tuple(shapes), "closed": tuple(closed)}

    def _ends(self, own: list[str], at: Tensor) -> Iterator[tuple[str, float, float]]:
        """Give both ends of sensors along each of their coordinates, with those of the domain."""
        bounds = dict(zip(self.domain.names, self.domain.bounds, strict=True))
        for i, name in enumerate(own):
            low, high = bounds.get(name, (math.inf, math.inf))
            yield name, float(at[:, i].min()), low
            yield name, float(at[:, i].max()), high


def grid_sizes(points: Tensor) -> tuple[int, ...]:
    """Return the points along each coordinate of a uniform grid, the last one running first; of other points none.

    Args:
        points: Points ``(n, d)``.

    Returns:
        d sizes, or ().
    """
    axes = axes_of_grid(points)
    uniform = bool(axes) and all(map(equidistant, axes))
    return tuple(len(a) for a in axes) if uniform else ()


def equidistant(axis: Tensor) -> bool:
    """Say whether ascending numbers ``(n,)``, at least two, have equal steps."""
    steps = axis.diff()
    return len(axis) > 1 and bool((steps - steps.mean()).abs().max() < 1e-3 * steps.mean())


def disordered(points: Tensor) -> bool:
    """Say whether points ``(n, d)`` are those of a uniform grid in another order than `grid_sizes` wants."""
    ordered = points
    for column in reversed(range(points.shape[1])):
        ordered = ordered[ordered[:, column].argsort(stable=True)]
    return not torch.equal(ordered, points) and bool(grid_sizes(ordered))


def _plain(low: float, high: float) -> tuple[float, float]:
    return low, high
