"""Pairs of functions from files, input and output, of which a mini-batch reads only its rows."""

import keyword
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve.functions.layouts import (
    FEW,
    Layout,
    Times,
    grouped,
    pairs_of_series,
    real_parts,
    recognise,
    split_channels,
)
from nfsolve.functions.places import likely_sensors, points_of, product, sensors_of, uniform
from nfsolve.functions.stored import Lazy, by_rows, column, open_arrays, rows_of


@dataclass(frozen=True)
class Pairs:
    """Input functions at sensors with output functions at points.

    Attributes:
        inputs: For each input function an array (functions, sensors), or what gives rows of it.
        points: Points of the outputs: (points, d), the same for all functions (aligned data), or (functions, points,
            d), each function its own (unaligned). NaN stands behind those of a function that has fewer.
        outputs: Values there, (functions, points, k) or (functions, points) for k = 1; NaN where one is missing.
        sensors: Positions of the sensors of each input function, (sensors, d), or (functions, sensors, d) with NaN
            behind those of a function that has fewer; None where they are not known.
        names: Names of the input functions.
        gives: Names of the outputs.
        coordinates: Names of the columns of the points, where the layout says them.
        group: Number of neighbouring pairs that come from one series in time.
        notes: What was assumed about the file, in words.
    """

    inputs: tuple[Any, ...]
    points: Any
    outputs: Any
    sensors: tuple[Any, ...] = ()
    names: tuple[str, ...] = ("f",)
    gives: tuple[str, ...] = ("s",)
    coordinates: tuple[str, ...] = ()
    group: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, m = len(self.outputs), self.outputs.shape[1] if self.outputs.ndim in (2, 3) else -1
        fits = all(f.ndim == 2 and len(f) == n for f in self.inputs) and self.points.shape[:-1] in ((m,), (n, m))
        if m < 0 or not fits:
            raise InputError(
                "pairs must be inputs (functions, sensors), points (points, d) or (functions, points, d), and outputs "
                "(functions, points) or (functions, points, k), but the inputs have shape "
                f"{', '.join(str(f.shape) for f in self.inputs)}, the points {self.points.shape}, and the outputs "
                f"{self.outputs.shape}",
                do="store arrays whose numbers of functions and points agree",
            )
        if all(type(array) is np.ndarray for array in (*self.inputs, self.points, self.outputs)):
            self.take(np.arange(n))  # in memory: infinity is found now, and not in some mini-batch

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def aligned(self) -> bool:
        """Whether all functions have the same points."""
        return self.points.ndim == 2

    def scattered(self, i: int) -> bool:
        """Say whether each function has sensors of its own for input i."""
        return i < len(self.sensors) and self.sensors[i] is not None and self.sensors[i].ndim == 3

    def width(self, i: int) -> int:
        """Return the number of columns of input i in `take`."""
        return self.inputs[i].shape[1] * (1 + (self.sensors[i].shape[2] if self.scattered(i) else 0))

    def input_rows(self, i: int, rows: np.ndarray) -> Tensor:
        """Read some functions of input i, (n, sensors); where each has its own sensors, see `take`."""
        if not self.scattered(i):
            return rows_of(self.inputs[i], rows, "the input functions")
        values = rows_of(self.inputs[i], rows, "the input functions", gaps=True)
        at = rows_of(self.sensors[i], rows, "the sensors", gaps=True)
        if (values.isnan() != at.isnan().any(-1)).any():
            raise InputError(
                f"input '{self.names[i]}' must have a value where it has a sensor, but one of them is NaN alone",
                do="write NaN for both where a function has fewer sensors",
            )
        return torch.cat([values[..., None], at], -1).flatten(1)

    def take(self, rows: Tensor | np.ndarray | Sequence[int]) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Read some pairs, in float64.

        Args:
            rows: Numbers of the functions.

        Returns:
            Inputs, each (n, sensors), or (n, sensors * (1 + d)) where each function has its own sensors: value and
            place one after the other, NaN where it has fewer; points (points, d), or (n, points, d) where they are not
            aligned; outputs (n, points, k), NaN where there is none.

        Raises:
            InputError: A value is infinite, or no real number, or a function has none at all.
        """
        rows = np.asarray(rows)
        inputs = tuple(self.input_rows(i, rows) for i in range(len(self.inputs)))
        outputs = rows_of(self.outputs, rows, "the outputs", gaps=True)
        outputs = outputs if outputs.ndim == 3 else outputs[..., None]
        if self.aligned:
            return inputs, rows_of(self.points, np.arange(len(self.points)), "the points"), outputs
        points = rows_of(self.points, rows, "the points", gaps=True)
        lost = points.isnan().any(-1)
        if (lost & outputs.isfinite().any(-1)).any():
            raise InputError("outputs must have points, but those of some values are NaN", do="fill them in")
        middle = points.nanmean(1, keepdim=True)  # any point does for a value that is missing
        return inputs, torch.where(lost[..., None], middle, points), outputs


def read_pairs(
    path: str | Path,
    inputs: str | Sequence[str] = (),
    points: str | Sequence[str] = (),
    outputs: str | Sequence[str] = (),
    times: Times = "all",
    test: bool = False,
) -> Pairs:
    """Open pairs of functions; an array NAME_sensors, where there is one, says where the input NAME is given.

    Args:
        path: What `open_arrays` takes.
        inputs: Names of the arrays of the input functions; without any name the layout is recognised, see
            `nfsolve.functions.layouts`.
        points: Name of the array of the points, or one name for each axis of a grid.
        outputs: Names of the arrays of the output functions.
        times: How pairs are made of series in time: from the first time to ``all`` later ones or to the ``last``, or
            from each to the ``next``.
        test: Whether to take the test pairs of a file that has both.

    Returns:
        The pairs. Complex functions have become two, the real and the imaginary part.

    Raises:
        InputError: An array is missing, shapes do not fit, or a value is infinite or no number.
        MissingExtra: The library of this kind of file is not installed.
    """
    arrays = grouped(open_arrays(path))
    named: list[tuple[str, ...]] = [
        tuple(n.split()) if isinstance(n, str) else tuple(n) for n in (inputs, points, outputs)
    ]
    if any(named):
        takes, at, gives = named
        at = at or (("x",) if "x" in arrays and "x" not in (*takes, *gives) else ())
        layout = Layout("as named", takes or ("f",), gives or ("s",), at)
    else:
        layout = recognise(arrays, path)
    for name in (*layout.inputs, *layout.outputs, *layout.points):
        column(arrays, name, path)
    if times != "all" and not layout.series:
        raise InputError(
            f"times='{times}' is for series in time, but '{path}' holds pairs of functions ({layout.name})",
            do="leave it out, or store the series as tensor (functions, times, *grid) with t-coordinate",
        )
    if test and layout.test:
        arrays = _tested(arrays, layout)
    return _Reading(arrays, layout, path, times).pairs()


def has_test(path: str | Path, inputs: Any, points: Any, outputs: Any) -> bool:
    """Say whether a file has test pairs beside the others."""
    return not (inputs or points or outputs) and bool(recognise(grouped(open_arrays(path)), path).test)


def _tested(arrays: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    """Put the arrays of the test pairs of a file in the places of the others, with their points and sensors if any."""
    own = dict(zip((*layout.inputs, *layout.outputs), layout.test, strict=True))
    own |= {name: f"{name}_test" for name in layout.points}
    own |= {f"{name}_sensors": f"{own[name]}_sensors" for name in layout.inputs}
    return {**arrays, **{name: arrays[other] for name, other in own.items() if other in arrays}}


class _Reading:
    """Brings the arrays of a file into the form of `Pairs`."""

    def __init__(self, arrays: Mapping[str, Any], layout: Layout, path: Any, times: Times):
        self.arrays, self.layout, self.path, self.times = arrays, layout, path, times
        self.notes: list[str] = []
        self.coordinates: tuple[str, ...] = ()
        self.group = 1

    def pairs(self) -> Pairs:
        """Return the pairs."""
        given, solved, points, sizes = (self._series if self.layout.series else self._plain)()
        outputs = [parts for name, array in solved.items() for parts in self._channels(name, array, sizes).items()]
        inputs: dict[str, Any] = {}
        sensors: list[Any] = []
        for name, array in given.items():
            for part, values in self._inputs(name, array, sizes).items():
                flat = _flat(values)
                sensors.append(self._sensors(name, part, values, flat, sizes, points))
                inputs[part] = flat
        gives = tuple(name for name, _ in outputs)
        taken = {*gives, *self.coordinates, *"xyzt"}
        names = tuple(f"{n}_in" if n in taken else n for n in map(_clean, inputs))
        return Pairs(
            tuple(inputs.values()),
            points,
            _stacked([_flat(array) for _, array in outputs]),
            tuple(sensors),
            names,
            gives,
            self.coordinates,
            self.group,
            tuple(self.notes),
        )

    def _plain(self) -> tuple[dict[str, Any], dict[str, Any], Any, tuple[int, ...]]:
        named = {name: column(self.arrays, name, self.path) for name in self.layout.outputs}
        first = next(iter(named.values()))
        if self.layout.points:
            at = [column(self.arrays, name, self.path) for name in self.layout.points]
            if self.layout.channels_first and first.ndim == len(at) + 2:
                shifted = Lazy((len(first), *first.shape[2:]), first.dtype, lambda rows: first[rows])
                points, sizes = points_of(at, self.layout.points, shifted)
            else:
                points, sizes = points_of(at, self.layout.points, first)
        else:
            few = first.shape[1] if first.ndim > 2 else FEW + 1
            channels = self.layout.channels_first and (few == 1 or (first.ndim > 3 and few <= FEW))
            sizes = tuple(first.shape[2 if channels else 1 :])
            if not sizes:
                raise InputError(
                    f"outputs must be (functions, points), but '{next(iter(named))}' has shape {tuple(first.shape)}",
                    do="store one row for each function",
                )
            ends = [1 - 1 / n if self.layout.open else 1.0 for n in sizes]
            points = uniform(sizes, [(0.0, end) for end in ends])
            self._note_unit(sizes)
        if len(sizes) > 1 and len(self.layout.points) == len(sizes):
            if self.layout.name != "as named" and {*self.layout.points} <= {"x", "y", "z"}:
                self.notes.append(f"the axes of '{next(iter(named))}' are taken to be {', '.join(self.layout.points)}")
            self.coordinates = tuple(_clean(n.removesuffix("-coordinate")) for n in self.layout.points)
        return {n: column(self.arrays, n, self.path) for n in self.layout.inputs}, named, points, sizes

    def _series(self) -> tuple[dict[str, Any], dict[str, Any], Any, tuple[int, ...]]:
        """Make inputs and outputs of series in time."""
        layout = self.layout
        series = {name: column(self.arrays, name, self.path) for name in layout.outputs}
        if layout.last_axis:
            shape = lambda a: (len(a), a.shape[-1], *a.shape[1:-1])  # noqa: E731
            series = {n: by_rows(a, shape(a), lambda rows: np.moveaxis(rows, -1, 1)) for n, a in series.items()}
        first = next(iter(series.values()))
        count = first.shape[1]
        times = real_numbers(self.arrays[layout.times], "the times").ravel() if layout.times else np.arange(count) * 1.0
        times = times[:count]  # PDEBench stores one more
        if len(times) != count:
            raise InputError(f"'{layout.times}' must have {count} times, got {len(times)}", do="store one for each")
        axes = [real_numbers(self.arrays[name], f"'{name}'").ravel() for name in layout.points]
        if not axes:
            known = column(self.arrays, layout.inputs[0], self.path).ndim - 1  # of an input that is given beside it
            several = layout.inputs == layout.outputs and first.ndim > 3 and first.shape[-1] <= FEW
            d = min(first.ndim - 2, known) - several
            axes = [np.linspace(0, 1, m) for m in first.shape[2 : 2 + d]]
            self._note_unit(first.shape[2 : 2 + d])
        sizes = tuple(len(axis) for axis in axes)
        if sizes != tuple(first.shape[2 : 2 + len(sizes)]):
            raise InputError(
                f"the axes have {sizes} points, but the values (functions, times, points along each axis) have shape "
                f"{tuple(first.shape)}",
                do="store axes that fit them",
            )
        space = ("x", "y", "z")[: len(axes)]
        given, solved = {}, {}
        own = layout.inputs != layout.outputs  # then the value at the first time is given beside the series
        for name, array in series.items():
            start, end, later, self.group = pairs_of_series(array, times, self.times)
            solved[name] = end
            given[f"{name}0"] = start
        if own and self.times == "all":  # the input is an array of its own, and the series begins after it
            given = {n: column(self.arrays, n, self.path) for n in layout.inputs}
            solved, later = series, times
        self.coordinates = space if later is None else ("t", *space)
        axes = axes if later is None else [later, *axes]
        return given, solved, product(axes), tuple(map(len, axes))

    def _channels(self, name: str, array: Any, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Return the channels of an output, real and by name."""
        parts = split_channels(array, sizes, self.layout.channels_first)
        if parts[0].shape[1:] != sizes or array.ndim > len(sizes) + 2:
            raise InputError(
                f"outputs must have shape (functions, {', '.join(map(str, sizes))}) or one axis of channels more, "
                f"but '{name}' has {tuple(array.shape)}",
                do="store arrays whose numbers of functions and points agree",
            )
        name = _clean(name)
        names = [name] if len(parts) == 1 else [f"{name}{i + 1}" for i in range(len(parts))]
        found: dict[str, Any] = {}
        for n, part in zip(names, parts, strict=True):
            found |= self._real(n, part)
        return found

    def _inputs(self, name: str, array: Any, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Return the channels of an input, real and by name, (n,), (n, m) or (n, *grid)."""
        space = sizes if not self.layout.series or self.times != "all" else sizes[1:]
        shape, first = tuple(array.shape[1:]), self.layout.channels_first
        d = len(space)
        several = (
            len(shape) == d + 1
            and (shape[1:] if first else shape[:d]) == space
            and not (d == 1 and not first and self._located(name))
        )
        if not several:
            return self._real(name, array)
        parts = split_channels(array, space, first)
        found: dict[str, Any] = {}
        for i, part in enumerate(parts):
            found |= self._real(name if len(parts) == 1 else f"{name}{i + 1}", part)
        return found

    def _located(self, name: str) -> bool:
        return f"{name}_sensors" in self.arrays

    def _real(self, name: str, array: Any) -> dict[str, Any]:
        parts = real_parts(name, array)
        if len(parts) > 1:
            self.notes.append(f"'{name}' is complex: its real and imaginary parts are {' and '.join(parts)}")
        return parts

    def _sensors(self, name: str, part: str, values: Any, flat: Any, sizes: tuple[int, ...], points: Any) -> Any:
        """Find the sensors of an input."""
        if values.ndim == 1:
            return np.empty((1, 0))
        if self._located(name):
            key = f"{name}_sensors"
            return sensors_of(self.arrays[key], key, flat.shape[1], len(flat))
        if points.ndim == 3:
            return None
        space = points
        if self.layout.series and self.times == "all":
            space, sizes = points[: math.prod(sizes[1:]), 1:], sizes[1:]
        found, words = likely_sensors(tuple(values.shape[1:]), sizes, space)
        if words:
            self.notes.append(f"'{part}' has no sensors ('{name}_sensors'): it is taken to be given {words}")
        return found

    def _note_unit(self, sizes: Sequence[int]) -> None:
        grid, ends = " x ".join(map(str, sizes)), ", without the upper ends" if self.layout.open else ""
        self.notes.append(f"the file has no points: outputs are taken to be on a uniform {grid} grid over [0, 1]{ends}")


def _flat(array: Any) -> Any:
    """Return values (n, *sizes) or (n,) as (n, m)."""
    m = math.prod(array.shape[1:])
    return array if array.ndim == 2 else by_rows(array, (len(array), m), lambda rows: rows.reshape(len(rows), m))


def _stacked(arrays: list[Any]) -> Any:
    """Return arrays (n, m) as one (n, m, k); one alone as it is."""
    if len(arrays) == 1:
        return arrays[0]
    lengths = {len(a) for a in arrays}
    if len(lengths) > 1:
        raise InputError(f"all outputs must have equally many functions, got {sorted(lengths)}", do="store the same")
    if all(type(a) is np.ndarray for a in arrays):
        return np.stack(arrays, -1)
    shape, kind = (*arrays[0].shape, len(arrays)), np.result_type(*(a.dtype for a in arrays))
    return Lazy(shape, kind, lambda rows: np.stack([np.asarray(a[rows]) for a in arrays], -1))


def _clean(name: str) -> str:
    """Return a name that signatures and files take: letters, digits and underscores."""
    plain = re.sub(r"\W+", "_", name).strip("_") or "f"
    return f"{plain}_" if plain[0].isdigit() or keyword.iskeyword(plain) else plain
