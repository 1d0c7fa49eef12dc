"""An operator from pairs of functions of your own: values of f at its sensors -> values of s at points.

The file holds ``f`` (functions, sensors); ``x``, the points of s, (points, d) for all functions or (functions, points,
d) if each has its own; and ``s`` at these points, (functions, points) or (functions, points, k). It may also hold
``f_sensors`` (sensors, d), the points at which f is given. From a .h5 file or a folder of .npy files a mini-batch reads
only its own rows; a .npz file is read as a whole.

    nfsolve run deeponet_pairs --pairs my.npz
    nfsolve run deeponet_pairs --pairs my.h5 --reads "f g" --coordinates "t x"
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfsolve import Box, InputError, OperatorPDE, main
from nfsolve import generator as seeded
from nfsolve.data.tables import find_file
from nfsolve.functions import Pairs, check_leakage, read_pairs
from nfsolve.functions.stored import rows_of
from nfsolve.problem.operator.families import as_read
from nfsolve.problem.operator.samples import FunctionSet, axes_of, label_rows
from nfsolve.problem.pde.sample import Grid

SOME = 1000  # rows that are in memory at once, and from which scales are taken
LEAST = 1e-3  # of the deviation of all s: labels smaller than that count as if they were as large
UNRESOLVED = 100.0  # deviation of s in units of the rounding of its mean, below which nothing can be learned
NAMES = ("x", "y", "z")


@dataclass
class PairsOperator(OperatorPDE):
    """The operator f -> s from pairs of functions in a file."""

    pairs: str = ""
    """file with f, x and s, or its name under $NFSOLVE_DATA; or a folder"""
    every: int = 10
    """one in this many pairs is held out"""
    reads: str = "f"
    """names of the input functions in the file, separated by spaces"""
    coordinates: str = ""
    """names of the columns of x, separated by spaces; empty for x, or x y, or x y z, or x1 x2 and so on"""
    n_tests: int = field(default=1000, kw_only=True)
    """largest number of held-out pairs on which the operator is scored"""
    physics: bool = field(default=False, init=False)
    data: bool = field(default=True, init=False)
    n_functions: int = field(default=1, init=False)
    sensors: int = field(default=1, init=False)
    data_seed: int = field(default=0, init=False)
    n_face: int = field(default=1, init=False)

    needs = "pairs of functions, --pairs FILE"
    domain = property(lambda self: self._known.domain)  # type: ignore[assignment]  # of the instance
    unknowns = property(lambda self: self._known.unknowns)  # type: ignore[assignment]
    inputs = property(lambda self: self._known.inputs)  # type: ignore[assignment]

    def __post_init__(self):
        for name, low in {"every": 2, "n_tests": 2, "batch": 1, "n_points": 1}.items():
            if getattr(self, name) < low:
                raise InputError(
                    f"{name} must be at least {low}, got {getattr(self, name)}", do="choose a larger number"
                )

    @cached_property
    def _known(self) -> "Known":
        if not self.pairs:
            raise InputError(
                "deeponet_pairs needs a file or folder with functions f, points x and solutions s",
                do="give --pairs FILE",
            )
        given = Path(self.pairs)
        path = given if given.exists() else find_file(self.pairs, type(self))
        return Known(read_pairs(path, self.reads.split()), self.reads.split(), self.coordinates.split(), self.every)

    def spaces(self):
        """None: the functions are those of the file."""
        return {}

    def sensor_points(self, name):
        """Return the places of the sensors; their numbers where the file does not have them."""
        return self._known.places[name]

    def seen(self, values):
        """Bring each input function to mean 0 and deviation 1 over the training functions."""
        scaled = ((values[n] - mean) / size for n, (mean, size) in self._known.input_scales.items())
        return as_read(list(scaled))

    def output_transform(self):
        """The field is of order one; its outputs get the means and deviations of the training labels."""
        return partial(rescaled, *self._known.output_scales)

    def load(self, device, dtype):
        """Read the pairs that are held out, and refuse those that are among the others."""
        like, known = torch.empty(0, device=device, dtype=dtype), self._known
        rows = known.held_out[: self.n_tests]
        inputs, points, truth = known.pairs.take(rows)
        functions, values = self.read(dict(zip(self.inputs, inputs, strict=True)), like)
        check_leakage(known.training_inputs(), values)
        empty = (truth.flatten(1) == 0).all(1)
        if empty.any():
            raise InputError(
                f"s of held-out pair {int(rows[empty][0])} is zero everywhere, so its relative error is undefined",
                do="leave that pair out",
            )
        for name, mean, size in zip(self.outputs, *known.output_scales, strict=True):
            if size < UNRESOLVED * torch.finfo(dtype).eps * abs(mean):
                raise InputError(
                    f"{name} varies by {size:.1e} about {mean:.6g}, which {str(dtype)[6:]} does not resolve",
                    do="subtract its mean in the file" + (", or use dtype float64" if dtype != torch.float64 else ""),
                )
        grid = self.as_points(points if known.pairs.aligned else points.transpose(0, 1), like)
        return {
            "like": like,
            "grid": Grid(grid, grid_sizes(points) if known.pairs.aligned else (len(grid),)),
            "quick": torch.randperm(len(grid), generator=seeded(0, "quick"))[:SOME].to(device),
            "lifting": {},
            "test": FunctionSet(functions, values, truth=truth.to(device)),
        }

    def sample(self, data, state, generator):
        """Read a mini-batch of pairs, some points of each."""
        known, like = self._known, data["like"]
        rows = known.training[torch.randperm(len(known.training), generator=generator)[: self.batch]]
        inputs, points, truth = known.pairs.take(rows)
        functions, _ = self.read(dict(zip(self.inputs, inputs, strict=True)), like)
        places = torch.randperm(truth.shape[1], generator=generator)[: self.n_points]
        points = points[places] if known.pairs.aligned else points[:, places].transpose(0, 1)
        size = truth.square().mean(1, keepdim=True).sqrt()
        size = size.maximum(LEAST * torch.tensor(known.output_scales[1], dtype=torch.float64))
        return {"data": label_rows(self.as_points(points, like), truth[:, places], size, like, functions, {})}

    def snapshots(self):
        """Return the first training labels, where they are on a uniform grid; as in `OperatorPDE`."""
        _, points, truth = self._known.first
        sizes = grid_sizes(points) if self._known.pairs.aligned else ()
        if len(sizes) < len(self.domain.names):
            raise InputError("modes of labels need points x of a uniform grid, but these are none", do="use DeepONet")
        return axes_of(points, sizes), truth.unflatten(1, sizes)


class Known:
    """What the file says before anything is trained.

    Args:
        pairs: The open file.
        reads: Names of the input functions.
        coordinates: Names of the coordinates of the points, or none.
        every: Every which pair is held out.
    """

    def __init__(self, pairs: Pairs, reads: list[str], coordinates: list[str], every: int):
        self.pairs, count, d = pairs, len(pairs), pairs.points.shape[-1]
        last = torch.arange(count) % every == every - 1
        self.held_out, self.training = last.nonzero()[:, 0], (~last).nonzero()[:, 0]
        if len(self.held_out) < 2:
            raise InputError(
                f"at least 2 pairs must be held out, but of {count} only every {every}th is",
                do="give a smaller --every N",
            )
        names = coordinates or _names(d)
        if len(names) != d:
            raise InputError(f"points of {d} columns need {d} coordinates, got {len(names)}", do="name each column")
        k = pairs.outputs.shape[2] if pairs.outputs.ndim == 3 else 1
        self.unknowns = " ".join(f"s{i + 1}" for i in range(k)) if k > 1 else "s"
        taken = set(names) & {*reads, *self.unknowns.split()}
        if taken:
            raise InputError(f"'{min(taken)}' names a coordinate and a function", do="give them different names")
        self.domain = Box(**dict(zip(names, _bounds(pairs), strict=True)))
        self.places, self.inputs = {}, {}
        for name, f, sensors in zip(reads, pairs.inputs, pairs.sensors, strict=True):
            at = np.arange(f.shape[1]) if sensors is None else sensors
            self.places[name] = torch.from_numpy(at.reshape(len(at), -1).astype(np.float64))
            self.inputs[name] = "sensor" if sensors is None else " ".join(_names(self.places[name].shape[1]))
        inputs, _, outputs = self.first
        self.input_scales = {n: (float(f.mean()), float(f.std()) or 1.0) for n, f in zip(reads, inputs, strict=True)}
        outputs = outputs.flatten(0, 1)
        self.output_scales = outputs.mean(0).tolist(), [size or 1.0 for size in outputs.std(0).tolist()]

    @property
    def first(self) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The first training pairs."""
        return self.pairs.take(self.training[:SOME])

    def training_inputs(self) -> Iterator[Tensor]:
        """Read the input functions of the training pairs, part by part ``(n, sensors of all)``."""
        for rows in _parts(self.training.numpy()):
            yield torch.cat([rows_of(f, rows, "the input functions") for f in self.pairs.inputs], 1)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), SOME):
        yield rows[start : start + SOME]


def _names(d: int) -> list[str]:
    return list(NAMES[:d]) if d <= len(NAMES) else [f"x{i + 1}" for i in range(d)]


def _bounds(pairs: Pairs) -> list[tuple[float, float]]:
    """Return the box of all points, which may be too many for memory."""
    lows, highs = [], []
    for rows in _parts(np.arange(len(pairs.points))):
        points = rows_of(pairs.points, rows, "the points").flatten(0, -2)
        lows.append(points.amin(0))
        highs.append(points.amax(0))
    return list(zip(torch.stack(lows).amin(0).tolist(), torch.stack(highs).amax(0).tolist(), strict=True))


def grid_sizes(points: Tensor) -> tuple[int, ...]:
    """Return the points along each coordinate of a uniform grid, the last one running first; else their number.

    Args:
        points: Points ``(n, d)``.

    Returns:
        d sizes, or ``(n,)``.
    """
    axes = [column.unique() for column in points.unbind(1)]
    uniform = all(len(a) > 1 and bool((a.diff() - a.diff().mean()).abs().max() < 1e-3 * a.diff().mean()) for a in axes)
    laid = torch.cartesian_prod(*axes).reshape(-1, len(axes)) if uniform else points[:0]
    return tuple(len(a) for a in axes) if torch.equal(laid, points) else (len(points),)


def rescaled(mean: list[float], size: list[float], x: Tensor, u: Tensor) -> Tensor:
    """Return raw outputs ``(n, k)`` a mean and a deviation; the points do not matter."""
    return u * u.new_tensor(size) + u.new_tensor(mean)


if __name__ == "__main__":
    main(PairsOperator)
