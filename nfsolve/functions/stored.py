"""Arrays by name from files, read when their rows are asked for where the kind of file allows it.

HDF5, zarr, MATLAB's -v7.3 and folders of .npy files stay on the disk; .npz, older .mat, netCDF and .pt are read whole.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import map_array, memory, read_arrays, real_numbers, reason
from nfsolve._core.errors import InputError, require
from nfsolve._core.matlab import read_matlab

KINDS = "give a .npz, .mat, .h5, .nc, .zarr or .pt file, or a folder of .npy files"
HDF5 = (".h5", ".hdf5", ".he5", ".hdf")
NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
TORCH = (".pt", ".pth")


@dataclass(frozen=True)
class Lazy:
    """An array of which only the rows that are asked for are read.

    Attributes:
        shape: Its shape.
        dtype: Type of what `read` gives.
        read: Gives the rows of ascending numbers, as an array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.read(np.asarray(rows))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self.read(np.arange(len(self)))
        return whole if dtype is None else whole.astype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def by_rows(array: Any, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray], dtype: Any = None) -> Any:
    """Change the rows of an array, at once where it is in memory, else when they are read.

    Args:
        array: An array, or what gives rows of it.
        shape: Shape of the result, which has as many rows.
        change: Takes some rows and gives theirs.
        dtype: Type of the result, by default that of the array.
    """
    if type(array) is np.ndarray:
        return change(array)
    return Lazy(shape, np.dtype(dtype or array.dtype), lambda rows: change(np.asarray(array[rows])))


def open_arrays(path: str | Path) -> Mapping[str, Any]:
    """Open the arrays of a file or folder.

    Args:
        path: A .npz, .mat, HDF5, netCDF, zarr or .pt file, or a folder with one .npy file for each array. Arrays in
            groups have the names of these before their own, as in ``0001/data``.

    Returns:
        Name -> array, or what gives rows of it.

    Raises:
        InputError: There is no such file, or it could not be read.
        MissingExtra: The library of this kind of file is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"a file or folder of functions is needed, but '{path}' was not found", do=KINDS)
    kind = path.suffix.lower()
    if path.is_dir() and not _is_zarr(path):
        return _folder(path)
    if kind == ".npz":
        return read_arrays(path)
    if kind == ".npy":
        return _alone(path)
    if path.is_dir():
        return _read("zarr store", _zarr, path, require("zarr", extra="operators", purpose="reading zarr stores"))
    if kind in (*HDF5, ".mat") and (kind != ".mat" or _is_hdf5(path)):
        h5py = require("h5py", extra="operators", purpose="reading HDF5 files")
        return _read("HDF5 file", _matlab_hdf5 if kind == ".mat" else _hdf5, path, h5py)
    if kind == ".mat":
        return _read(".mat file", _matlab, path, None)
    if kind in NETCDF:
        return _read("netCDF file", _netcdf, path, require("xarray", extra="operators", purpose="reading netCDF files"))
    if kind in TORCH:
        return _read("file of tensors by torch.save", _torch, path, torch)
    raise InputError(f"functions are not read from files that end in '{path.suffix}', as '{path}' does", do=KINDS)


def _read(what: str, reader: Callable[[Path, Any], dict[str, Any]], path: Path, library: Any) -> dict[str, Any]:
    try:
        return reader(path, library)
    except InputError:
        raise
    except Exception as error:  # damaged files make the libraries raise whatever they like
        raise InputError(
            f"a {what} is needed, but '{path}' could not be read ({reason(error)})",
            do="write it again, or check that the copy is complete",
        ) from error


def _folder(path: Path) -> dict[str, Any]:
    found = {file.stem: map_array(file) for file in sorted(path.glob("*.npy"))}
    if not found:
        raise InputError(f"a folder of functions must hold .npy files, but '{path}' holds none", do=KINDS)
    return found


def _alone(path: Path) -> dict[str, Any]:
    """Return the columns of a structured array, or the one array of a file by the file's name."""
    array = map_array(path)
    return {path.stem: array} if array.dtype.names is None else {name: array[name] for name in array.dtype.names}


def _is_zarr(path: Path) -> bool:
    return any((path / name).exists() for name in (".zgroup", ".zarray", "zarr.json"))


def _is_hdf5(path: Path) -> bool:
    """Say whether a .mat file is of -v7.3: the signature of HDF5 follows 512 bytes of MATLAB's own, or begins it."""
    with path.open("rb") as file:
        start = file.read(520)
    return b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:520])


def _datasets(file: Any, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, kind):
            found[name] = item

    file.visititems(visit)
    return found


def _hdf5(path: Path, h5py: Any) -> dict[str, Any]:
    found = _datasets(h5py.File(path), h5py.Dataset)
    return {name: _ragged(item) if h5py.check_vlen_dtype(item.dtype) else item for name, item in found.items()}


def _ragged(item: Any) -> Any:
    """Return rows of several lengths ``(n,)`` as a table ``(n, longest)``, with NaN behind the shorter ones."""
    return padded([np.asarray(row) for row in item[()]]) if item.ndim == 1 else item


def padded(rows: Sequence[Any]) -> np.ndarray:
    """Return arrays ``(m_i, ...)`` as one ``(n, longest, ...)``, with NaN behind the shorter ones."""
    rows = [np.asarray(row) for row in rows]
    if len({row.shape[1:] for row in rows}) > 1 or any(not row.ndim for row in rows):
        raise ValueError(f"its rows have shapes such as {rows[0].shape} and {rows[-1].shape}, which make no table")
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    kind = np.result_type(np.float64 if not any(r.dtype.kind == "c" for r in rows) else np.complex128)
    table = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), np.nan, kind)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table


def _matlab(path: Path, _: Any) -> dict[str, Any]:
    """Read a file of -v7 or older; members of structures are named as in ``data/f``."""
    found: dict[str, Any] = {}

    def take(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, member in value.items():
                take(f"{name}/{key}", member)
        elif isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype == object):
            found[name] = padded(list(value))
        else:
            found[name] = np.asarray(value)

    for name, value in read_matlab(path, memory()).items():
        take(name, value)
    return found


def _matlab_hdf5(path: Path, h5py: Any) -> dict[str, Any]:
    """Open a -v7.3 file, which has the axes of its arrays in the opposite order; cells are rows of several lengths."""
    file = h5py.File(path)
    found = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and name != "#refs#"}
    return {name: _transposed(file, item) for name, item in found.items()}


def _transposed(file: Any, item: Any) -> Any:
    if item.dtype.kind == "O":  # a cell array: references to its entries
        return padded([_plain(np.asarray(file[reference])).T.squeeze() for reference in item[()].ravel()])
    shape, vector = item.shape[::-1], item.ndim == 2 and 1 in item.shape
    if vector or item.ndim < 2:  # MATLAB has no vectors, only rows and columns
        return _plain(item[()]).ravel()
    kind = np.complex128 if item.dtype.names else item.dtype
    return Lazy(shape, np.dtype(kind), lambda rows: _plain(item[..., rows]).T)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return complex numbers of MATLAB, which it stores as pairs, as such."""
    names = values.dtype.names
    return values if not names else values["real"] + 1j * values["imag"] if "imag" in names else values


def _zarr(path: Path, zarr: Any) -> dict[str, Any]:
    opened = zarr.open(str(path), mode="r")
    if isinstance(opened, zarr.Array):
        return {path.stem: _scaled(opened)}
    members = opened.members(max_depth=None)
    return {name: _scaled(item) for name, item in members if isinstance(item, zarr.Array)}


def _scaled(array: Any) -> Lazy:
    """Read rows of a zarr array, in the units of its attributes where xarray packed it."""
    factor, shift = (array.attrs.get(key, default) for key, default in (("scale_factor", 1), ("add_offset", 0)))
    packed = (factor, shift) != (1, 0)

    def read(rows: np.ndarray) -> np.ndarray:
        values = np.asarray(array.oindex[rows] if array.ndim else array[()])
        return values * factor + shift if packed else values

    return Lazy(tuple(array.shape), np.dtype(np.float64) if packed else array.dtype, read)


def _netcdf(path: Path, xarray: Any) -> dict[str, Any]:
    """Read variables and coordinates in their units, missing values as NaN, and times as numbers."""
    with path.open("rb") as file:
        classic = file.read(3) == b"CDF"
    if not classic:
        require("h5netcdf", extra="operators", purpose="reading netCDF files")
    with xarray.open_dataset(path, engine="scipy" if classic else "h5netcdf", decode_times=False) as opened:
        return {str(name): np.asarray(values) for name, values in opened.variables.items()}


def _torch(path: Path, _: Any) -> dict[str, Any]:
    """Read a mapping of tensors, or a tuple of inputs and outputs; code in the file is never run."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds other objects than tensors, whose code is not run") from error
    if isinstance(held, list | tuple) and len(held) == 2:
        held = dict(zip("xy", held, strict=True))
    if not isinstance(held, Mapping):
        raise ValueError(f"it holds a {type(held).__name__}, and a mapping of tensors by name is needed")
    return {str(name): _of_tensors(str(name), values) for name, values in held.items()}


def _of_tensors(name: str, values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.numpy() if values.dtype != torch.bfloat16 else values.float().numpy()
    if isinstance(values, list | tuple) and values:
        return padded([np.asarray(row) for row in values])
    if isinstance(values, np.ndarray | int | float):
        return np.asarray(values)
    raise ValueError(f"'{name}' is a {type(values).__name__}, and tensors are needed")


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
    shape = getattr(arrays[name], "shape", ())
    if not len(shape) or not all(shape):
        raise InputError(
            f"'{name}' of '{path}' must have a row for each function, but it has shape {shape}",
            do="store at least one function",
        )
    return arrays[name]


def rows_of(array: Any, rows: np.ndarray, name: str, gaps: bool = False) -> Tensor:
    """Read some rows, in float64.

    Args:
        array: An array, or what gives rows of it.
        rows: Their numbers, in any order, perhaps repeated.
        name: What the array is called.
        gaps: Whether values may be missing, as NaN, but not all of a row.

    Returns:
        The rows.

    Raises:
        InputError: A value is not finite, or no real number.
    """
    ordered, back = np.unique(rows, return_inverse=True)  # HDF5 wants them so
    values = real_numbers(array, name, ordered)
    flat = values.reshape(len(values), -1)
    bad = np.isinf(flat).any(1) | np.isnan(flat).all(1) if gaps else ~np.isfinite(flat).all(1)
    if bad.any():
        needed = "finite numbers, or NaN for those that are missing," if gaps else "finite numbers,"
        what = "infinity, or NaN alone" if gaps else "NaN or infinity"
        raise InputError(
            f"{name} must hold {needed} but row {ordered[bad.argmax()]} has {what}",
            do="remove these functions or fill the values in",
        )
    return torch.from_numpy(values[back])
