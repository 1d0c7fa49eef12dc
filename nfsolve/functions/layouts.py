"""Layouts in which pairs of functions are published, recognised by the names of their arrays.

PDEBench: Takamoto et al., NeurIPS 2022, arXiv 2210.07182. neuraloperator, and the files of Li et al., arXiv 2010.08895.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from nfsolve._core.errors import InputError, unknown
from nfsolve.functions.stored import Lazy, by_rows

Times = Literal["all", "last", "next"]
TIMES = ("all", "last", "next")
GROUPED = re.compile(r"(.+)/data")  # one group for each function, as in 0007/data
FEW = 8  # channels at most, by which (functions, channels, points along the axes) is told from points


@dataclass(frozen=True)
class Layout:
    """What the arrays of a file mean.

    Attributes:
        name: What to call it.
        inputs: Arrays of the input functions.
        outputs: Arrays of the output functions.
        points: One array of points, or one for each axis of a grid; none of a uniform grid on [0, 1].
        series: Whether the outputs are series in time, (functions, times, *grid), of which the input is the first.
        times: Array of their times, or none; where ``last_axis`` is true, time is the last axis of the outputs.
        last_axis: See there.
        channels_first: Whether channels come before the axes of the grid.
        open: Whether a grid without points leaves out the upper ends of [0, 1], as the embedding of neuraloperator.
        test: Arrays of the test pairs in the same file, inputs and then outputs; their points, where they are others,
            are NAME_test, and sensors of an input NAME_sensors of the array of its test functions.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    points: tuple[str, ...] = ()
    series: bool = False
    times: str = ""
    last_axis: bool = False
    channels_first: bool = False
    open: bool = False
    test: tuple[str, ...] = ()


KNOWN = (
    Layout("nfsolve", ("f",), ("s",), ("x",), test=("f_test", "s_test")),
    Layout("DeepXDE", ("v",), ("u",), ("x",)),
    Layout("neuraloperator", ("x",), ("y",), channels_first=True, open=True),
    Layout("Li et al., Darcy", ("coeff",), ("sol",)),
    Layout("Li et al.", ("a",), ("u",)),
    Layout("PINA", ("input_training",), ("output_training",), test=("input_testing", "output_testing")),
    Layout("PDEBench, Darcy", ("nu",), ("tensor",), ("x-coordinate", "y-coordinate"), channels_first=True),
)
AXES = ("x-coordinate", "y-coordinate", "z-coordinate")
FLUID = ("density", "pressure", "Vx", "Vy", "Vz")


def recognise(arrays: Mapping[str, Any], path: Any) -> Layout:
    """Return the layout of arrays by their names.

    Raises:
        InputError: It is none that is known.
    """
    found = _pdebench(arrays)
    for layout in KNOWN if found is None else ():
        if {*layout.inputs, *layout.outputs} <= set(arrays) and all(_is_table(arrays[n]) for n in layout.outputs):
            points = layout.points if set(layout.points) <= set(arrays) else ()
            test = layout.test if set(layout.test) <= set(arrays) else ()
            found = replace(layout, points=points, test=test)
            break
    if found is None and {"f", "s"} & set(arrays):  # what is missing is said by its name
        return replace(KNOWN[0], test=())
    if found is None:
        raise InputError(
            f"'{path}' must have arrays of a known layout, such as f, x and s, but it has {_listed(arrays)}",
            do='name the input functions, the outputs and the points, as in --reads a --gives u --points "x y"',
        )
    if found.name == "Li et al." and "t" in arrays and arrays["u"].ndim == arrays["a"].ndim + 1:
        return replace(found, series=True, times="t", last_axis=True)
    if "x" in arrays and (found.points == ("x",) or found.name.startswith("Li et al.")):
        return replace(found, points=_axes(arrays, arrays[found.outputs[0]].shape[1:]) or ("x",))
    return found


def _is_table(array: Any) -> bool:
    """Say whether an array may be output functions rather than an axis."""
    return len(getattr(array, "shape", ())) > 1


def _axes(arrays: Mapping[str, Any], shape: Sequence[int]) -> tuple[str, ...]:
    """Return the names of axes whose lengths are those of a function on a plane or in space, in its order."""
    names = [n for n in ("x", "y", "z") if n in arrays and not _is_table(arrays[n])]
    if len(names) < 2:
        return ()
    orders = itertools.permutations(names)
    return next((o for o in orders if tuple(len(arrays[n]) for n in o) == tuple(shape[: len(o)])), ())


def _pdebench(arrays: Mapping[str, Any]) -> Layout | None:
    axes = tuple(name for name in AXES if name in arrays)
    if "nu" not in arrays and "tensor" in arrays and "t-coordinate" in arrays:
        return Layout("PDEBench", ("tensor",), ("tensor",), axes, series=True, times="t-coordinate")
    fluid = tuple(name for name in FLUID if name in arrays)
    if fluid and axes and "t-coordinate" in arrays:
        return Layout("PDEBench, compressible flow", fluid, fluid, axes, series=True, times="t-coordinate")
    groups = [name for name in arrays if GROUPED.fullmatch(name)]
    if groups:
        first = groups[0].removesuffix("/data")
        axes = tuple(f"{first}/grid/{c}" for c in "xyz" if f"{first}/grid/{c}" in arrays)
        times = f"{first}/grid/t" if f"{first}/grid/t" in arrays else ""
        return Layout("PDEBench, one group for each function", ("data",), ("data",), axes, series=True, times=times)
    if "velocity" in arrays and arrays["velocity"].ndim >= 4:
        times = "t" if "t" in arrays else ""
        return Layout("PDEBench, incompressible flow", ("velocity",), ("velocity",), series=True, times=times)
    return None


def grouped(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add ``data``, the arrays of all groups one after the other, where each function has a group of its own."""
    names = [name for name in arrays if GROUPED.fullmatch(name)]
    if not names or "data" in arrays:
        return arrays
    shapes = {arrays[name].shape for name in names}
    if len(shapes) > 1:
        raise InputError(
            f"all functions must have one grid, but the groups hold arrays of shapes {sorted(shapes)[0]} and "
            f"{sorted(shapes)[-1]}",
            do="resample them on one grid",
        )
    first = arrays[names[0]]
    stacked = Lazy(
        (len(names), *first.shape),
        np.dtype(first.dtype),
        lambda rows: np.stack([np.asarray(arrays[names[row]]) for row in rows]),
    )
    return {**arrays, "data": stacked}


def pairs_of_series(series: Any, times: np.ndarray, how: str) -> tuple[Any, Any, np.ndarray | None, int]:
    """Make pairs of series in time.

    Args:
        series: Values (functions, times, ...), or what gives rows of them.
        times: The times.
        how: ``all``: from the first time to all later ones; ``last``: from the first to the last one; ``next``: from
            each time to the one after it, as a roll-out needs.

    Returns:
        Inputs (n, ...); outputs (n, ...), or (n, times, ...) for ``all``; the times of the outputs or None; the number
        of pairs that one series gives, which training and test must not share.
    """
    if how not in TIMES:
        raise unknown("times", how, TIMES)
    n, count, *rest = series.shape
    if count < 2:
        raise InputError(f"series must have at least 2 times, got {count}", do="give the outputs alone, as s")
    if how == "all":
        first = by_rows(series, (n, *rest), lambda rows: rows[:, 0])
        return first, by_rows(series, (n, count - 1, *rest), lambda rows: rows[:, 1:]), times[1:], 1
    if how == "last":
        first = by_rows(series, (n, *rest), lambda rows: rows[:, 0])
        return first, by_rows(series, (n, *rest), lambda rows: rows[:, -1]), None, 1
    each, kind = count - 1, np.dtype(series.dtype)

    def at(shift: int) -> Any:
        if type(series) is np.ndarray:
            return series[:, shift : shift + each].reshape(n * each, *rest)

        def read(rows: np.ndarray) -> np.ndarray:
            whole, back = np.unique(rows // each, return_inverse=True)
            return np.asarray(series[whole])[back, rows % each + shift]

        return Lazy((n * each, *rest), kind, read)

    return at(0), at(1), None, each


def split_channels(array: Any, sizes: Sequence[int], first: bool) -> list[Any]:
    """Return the channels of functions on a grid, one array each, (n, *sizes); of several channels see `Layout`."""
    shape = tuple(array.shape[1:])
    d = len(sizes)
    if shape == tuple(sizes):
        return [array]
    axis = 1 if first else array.ndim - 1
    return [
        by_rows(array, (len(array), *sizes), lambda rows, c=c: np.take(rows, c, axis=axis))
        for c in range(shape[0] if first else shape[d])
    ]


def real_parts(name: str, array: Any) -> dict[str, Any]:
    """Return a real array under its name, and of a complex one the real and the imaginary part."""
    if np.dtype(array.dtype).kind != "c":
        return {name: array}
    parts = {"re": np.real, "im": np.imag}
    return {f"{name}_{key}": by_rows(array, array.shape, part, np.float64) for key, part in parts.items()}


def _listed(arrays: Mapping[str, Any]) -> str:
    shown = [f"{name} {tuple(a.shape)}" for name, a in list(arrays.items())[:12]]
    return ", ".join(shown) + (f" and {len(arrays) - 12} more" if len(arrays) > 12 else "") or "none"
