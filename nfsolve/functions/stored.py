"""Arrays that are read when their rows are asked for: HDF5 files and folders of .npy files; .npz is read at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import map_array, read_arrays, real_numbers, reason
from nfsolve._core.errors import InputError, require

KINDS = "give a .npz file, a .h5 file, or a folder of .npy files"


def open_arrays(path: str | Path) -> Mapping[str, Any]:
    """Open the arrays of a file or folder.

    Args:
        path: A .npz file, which is read into memory (a member of an archive cannot be mapped); a .h5 or .hdf5 file, or
            a folder with one .npy file for each array, which stay on the disk.

    Returns:
        Name -> array, or what gives rows of it.

    Raises:
        InputError: There is no such file, or it could not be read.
        MissingExtra: h5py is not installed, and the file is HDF5.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"a file or folder of functions is needed, but '{path}' was not found", do=KINDS)
    if path.is_file() and path.suffix == ".npz":
        return read_arrays(path)
    if path.is_dir():
        return {file.stem: map_array(file) for file in sorted(path.glob("*.npy"))}
    if path.suffix not in (".h5", ".hdf5"):
        raise InputError(f"functions are not read from files that end in '{path.suffix}', as '{path}' does", do=KINDS)
    h5py = require("h5py", extra="operators", purpose="reading HDF5 files")
    try:
        file = h5py.File(path)
        return {str(name): file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    except Exception as error:  # damaged files make the library raise whatever it likes
        raise InputError(
            f"a HDF5 file is needed, but '{path}' could not be read ({reason(error)})", do=KINDS
        ) from error


def column(arrays: Mapping[str, Any], name: str, path: str | Path) -> Any:
    """Return one array, or say which ones there are.

    Args:
        arrays: What `open_arrays` gave.
        name: The array's name.
        path: Where it came from.

    Returns:
        The array, or what gives rows of it.

    Raises:
        InputError: There is none of this name, or it has no rows.
    """
    if name not in arrays:
        raise InputError(
            f"'{path}' must have an array '{name}', but it has {', '.join(arrays) or 'none'}",
            do="rename one of them, or name the array that is meant",
        )
    if not len(arrays[name].shape) or not all(arrays[name].shape):
        raise InputError(
            f"'{name}' of '{path}' must have a row for each function, but it has shape {arrays[name].shape}",
            do="store at least one function",
        )
    return arrays[name]


def rows_of(array: Any, rows: np.ndarray, name: str) -> Tensor:
    """Read some rows, in float64.

    Args:
        array: An array, or what gives rows of it.
        rows: Their numbers, in any order, perhaps repeated.
        name: What the array is called.

    Returns:
        The rows.

    Raises:
        InputError: A value is not finite, or no real number.
    """
    ordered, back = np.unique(rows, return_inverse=True)  # HDF5 wants them so
    values = real_numbers(array, name, ordered)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if bad.any():
        raise InputError(
            f"{name} must hold finite numbers, but row {ordered[bad.argmax()]} has NaN or infinity",
            do="remove these functions or fill the values in",
        )
    return torch.from_numpy(values[back])
