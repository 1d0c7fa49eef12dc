"""Columns and references from files: .npz with one array for each name, .csv with a header line."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import read_arrays, real_number, real_numbers, reason
from nfsolve._core.errors import InputError


def find_file(name: str, owner: type | None = None, endings: tuple[str, ...] = ("",)) -> Path:
    """Find a data file: at the path given, beside the file of the problem or of its base, then under ``$NFSOLVE_DATA``.

    Args:
        name: Path or file name.
        owner: The problem's class, or None.
        endings: Endings to try after the name.

    Returns:
        The path of an existing file.

    Raises:
        InputError: There is none.
    """
    folders = [Path()]
    for cls in inspect.getmro(owner) if owner is not None else ():
        if cls.__module__.partition(".")[0] in ("nfsolve", "abc", "builtins"):
            continue
        try:
            folders.append(Path(inspect.getfile(cls)).parent)
        except (TypeError, OSError):  # a class from an interactive session has no file
            pass
    if "NFSOLVE_DATA" in os.environ:
        folders.append(Path(os.environ["NFSOLVE_DATA"]))
    for folder in folders:
        for ending in endings:
            path = folder / (name + ending)
            if path.is_file():
                return path
            if path.is_dir():
                raise InputError(f"a data file is needed, but '{path}' is a folder", do="name a file in it")
    searched = ", ".join(dict.fromkeys(str(folder.resolve()) for folder in folders))
    raise InputError(
        f"data file '{name}' was not found; a file of this name must lie in one of {searched}",
        do="give its path, or set the environment variable NFSOLVE_DATA to its folder",
    )


def read_columns(
    name: str | Mapping[str, Any],
    owner: type,
    coordinates: tuple[str, ...],
    outputs: tuple[str, ...] | None,
    what: str = "the data in memory",
) -> dict[str, Tensor]:
    """Read measured data as columns.

    Args:
        name: File name, with or without ending; or the columns themselves, by name.
        owner: The problem's class.
        coordinates: Names that must be columns of the file.
        outputs: Names of which at least one must be a column; None where there are only points.
        what: What to call columns that come from no file in an error.

    Returns:
        Name -> values ``(n,)``, float64.

    Raises:
        InputError: A column is missing, lengths differ, or a value is not finite.
    """
    if isinstance(name, Mapping):
        arrays = {str(key): _in_memory(values, f"'{key}' of {what}") for key, values in name.items()}
    else:
        path = find_file(name, owner, ("", ".npz", ".csv"))
        arrays, what = read_arrays(path), f"data file '{path}'"
    missing = [c for c in coordinates if c not in arrays]
    if missing or not (outputs is None or any(out in arrays for out in outputs)):
        values = "" if outputs is None else f" and at least one of {', '.join(outputs)}"
        raise InputError(
            f"{what} must have columns {', '.join(coordinates)}{values}, but it has {', '.join(arrays) or 'none'}",
            do="name the columns as the problem does",
        )
    names = (*coordinates, *(outputs or ()))
    used = {n: np.ravel(real_numbers(arrays[n], f"'{n}' of {what}")) for n in names if n in arrays}
    lengths = {n: len(values) for n, values in used.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"the columns of {what} must have one length, but they have {lengths}",
            do="write one value of each column for each point",
        )
    if not max(lengths.values()):
        raise InputError(f"{what} must have at least one row, but it has none", do="check how it was selected")
    for n, values in used.items():
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"column '{n}' of {what} must hold finite numbers, but it is {values[row]} in row {row}",
                do="remove these rows or fill them in",
            )
    return {n: torch.from_numpy(values) for n, values in used.items()}


def named_columns(points: Any, coordinates: tuple[str, ...], what: str) -> Mapping[str, Any]:
    """Return points as columns by name.

    Args:
        points: An array ``(n, d)``, of one coordinate ``(n,)`` too, or columns by name.
        coordinates: Names of the d columns.
        what: What to call the points in an error.

    Returns:
        Columns by name.

    Raises:
        InputError: The array has another shape.
    """
    if isinstance(points, Mapping):
        return points
    table = _in_memory(points, what)
    if table.ndim == len(coordinates) == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[1] != len(coordinates):
        raise InputError(
            f"{what} must have shape (n, {len(coordinates)}) with columns {', '.join(coordinates)}, "
            f"got shape {table.shape}",
            do="give every point a row and every coordinate a column",
        )
    return dict(zip(coordinates, table.T, strict=True))


def read_reference(
    name: str, owner: type, coordinates: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[Tensor, Tensor, tuple[int, ...], float]:
    """Read a reference solution on a grid.

    Args:
        name: A .npz file with one axis for each coordinate, one array over the axes for each unknown, NaN
            where it is unknown, and ``error``, the estimated relative L2 error of the reference.
        owner: The problem's class.
        coordinates: Names of the axes, in order.
        outputs: Names of the unknowns.

    Returns:
        Points ``(n, d)``, values ``(n, k)``, the grid's sizes and the error.

    Raises:
        InputError: An entry is missing or has another shape.
    """
    path = find_file(name, owner, ("", ".npz"))
    arrays = read_arrays(path)
    missing = [n for n in (*coordinates, *outputs, "error") if n not in arrays]
    if missing:
        raise InputError(
            f"reference '{path}' must have an axis for each coordinate, an array for each unknown, and 'error', but it "
            f"lacks {', '.join(missing)}",
            do="store them under these names",
        )
    axes = [torch.from_numpy(np.ravel(_real(path, arrays, c))) for c in coordinates]
    for c, axis in zip(coordinates, axes, strict=True):
        if not len(axis) or not torch.isfinite(axis).all():
            raise InputError(
                f"axis '{c}' of '{path}' must hold finite numbers, but it is {axis.tolist()[:8]}", do="correct it"
            )
    sizes = tuple(len(axis) for axis in axes)
    for out in outputs:
        if arrays[out].shape != sizes:
            raise InputError(
                f"'{out}' of '{path}' must have shape {sizes}, as its axes do, but it has {arrays[out].shape}",
                do="order its axes as the coordinates are ordered",
            )
    error = real_number(arrays["error"], f"'error' of reference '{path}'")
    if error < 0:
        raise InputError(
            f"'error' of reference '{path}' must be a number of at least 0, got {error:g}",
            do="store the relative L2 error of the whole reference",
        )
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    columns = [torch.from_numpy(_real(path, arrays, out)).reshape(-1) for out in outputs]
    return grid, torch.stack(columns, -1), sizes, error


def _in_memory(values: Any, what: str) -> np.ndarray:
    """Return what a user has in memory, such as a list, a series or a tensor on any device, as an array."""
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be an array of numbers ({reason(error)})", do="give one number each") from error


def _real(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    return real_numbers(arrays[name], f"'{name}' of '{path}'")
