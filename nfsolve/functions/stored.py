"""Arrays that are read when their rows are asked for: HDF5 files and folders of .npy files; .npz is read at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import read_arrays
from nfsolve._core.errors import InputError, require

KINDS = "a .npz file, a .h5 file, or a folder of .npy files"


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
        raise InputError(f"data '{path}' not found", KINDS)
    if path.is_file() and path.suffix == ".npz":
        return read_arrays(path)
    if path.is_dir():
        opened, reader = {file.stem: file for file in sorted(path.glob("*.npy"))}, _map
        return {name: _tried(reader, file) for name, file in opened.items()}
    if path.suffix in (".h5", ".hdf5"):
        h5py = require("h5py", extra="operators", purpose="reading HDF5 files")
        file = _tried(h5py.File, path)
        return {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    raise InputError(f"data '{path}' is of no known kind", KINDS)


def _map(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _tried(reader: Any, path: Path) -> Any:
    try:
        return reader(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"'{path}' could not be read ({error})", KINDS, "write it again") from error


def column(arrays: Mapping[str, Any], name: str, path: str | Path) -> Any:
    """Return one array, or say which ones there are."""
    if name not in arrays:
        raise InputError(f"'{path}' has no array '{name}'", f"it has {', '.join(arrays) or 'none'}")
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
        InputError: A value is not finite.
    """
    ordered, place = np.unique(rows, return_inverse=True)  # HDF5 wants them so
    values = np.asarray(array[ordered], dtype=np.float64)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if bad.any():
        raise InputError(
            f"'{name}' has values that are not finite in row {ordered[bad.argmax()]}",
            "finite numbers",
            "remove these functions or fill the values in",
        )
    return torch.from_numpy(values[place])
