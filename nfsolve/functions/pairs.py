"""Pairs of functions from files, input and output, of which a mini-batch reads only its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nfsolve._core.arrays import real_numbers
from nfsolve._core.errors import InputError
from nfsolve.functions.stored import column, open_arrays, rows_of


@dataclass(frozen=True)
class Pairs:
    """Input functions at sensors with output functions at points.

    Attributes:
        inputs: For each input function an array (functions, sensors), or what gives rows of it.
        points: Points of the outputs: (points, d), the same for all functions (aligned data), or (functions, points,
            d), each function its own (unaligned).
        outputs: Values there, (functions, points, k) or (functions, points) for k = 1.
        sensors: Positions of the sensors of each input function, (sensors, d), None where they are not known.
    """

    inputs: tuple[Any, ...]
    points: Any
    outputs: Any
    sensors: tuple[np.ndarray | None, ...] = ()

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
        for f, at in zip(self.inputs, self.sensors, strict=False):
            if at is not None and (at.shape[:1] != f.shape[1:] or not np.isfinite(at).all()):
                raise InputError(
                    f"sensors must be {f.shape[1]} rows of finite coordinates, (sensors, d), the same for all "
                    f"functions, but their array has shape {at.shape}",
                    do="correct it, or leave it out",
                )
        if all(type(array) is np.ndarray for array in (*self.inputs, self.points, self.outputs)):
            self.take(np.arange(n))  # in memory: a NaN is found now, and not in some mini-batch

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def aligned(self) -> bool:
        """Whether all functions have the same points."""
        return self.points.ndim == 2

    def take(self, rows: Tensor | np.ndarray | Sequence[int]) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Read some pairs, in float64.

        Args:
            rows: Numbers of the functions.

        Returns:
            Inputs, each (n, sensors); points (points, d), or (n, points, d) where they are not aligned; outputs
            (n, points, k).

        Raises:
            InputError: A value is not finite, or no real number.
        """
        rows = np.asarray(rows)
        inputs = tuple(rows_of(f, rows, "the input functions") for f in self.inputs)
        points = rows_of(self.points, np.arange(len(self.points)) if self.aligned else rows, "the points")
        outputs = rows_of(self.outputs, rows, "the outputs")
        return inputs, points, outputs if outputs.ndim == 3 else outputs[..., None]


def read_pairs(path: str | Path, inputs: Sequence[str] = ("f",), points: str = "x", outputs: str = "s") -> Pairs:
    """Open pairs of functions; an array NAME_sensors, where there is one, says where the input NAME is given.

    Args:
        path: What `open_arrays` takes; only .npz is read at once.
        inputs: Names of the arrays of the input functions.
        points: Name of the array of the points; with one coordinate its shape may be (points,).
        outputs: Name of the array of the output functions.

    Returns:
        The pairs.

    Raises:
        InputError: An array is missing, shapes do not fit, or (.npz) a value is not finite or no real number.
        MissingExtra: h5py is not installed, and the file is HDF5.
    """
    arrays = open_arrays(path)
    at = column(arrays, points, path)
    named = {name: f"{name}_sensors" for name in inputs}
    return Pairs(
        tuple(column(arrays, name, path) for name in inputs),
        at if at.ndim > 1 else real_numbers(at, "the points")[:, None],
        column(arrays, outputs, path),
        tuple(real_numbers(arrays[key], f"'{key}' of '{path}'") if key in arrays else None for key in named.values()),
    )
