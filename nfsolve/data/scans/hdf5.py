"""Scans from HDF5 files of beamlines: Data Exchange, and NeXus' NXtomo. Only the detector row that is used is read.

Sources: F. De Carlo et al., "Scientific data exchange: a schema for HDF5-based storage of raw and analyzed data",
J. Synchrotron Radiation 21, 2014; NeXus definition NXtomo (image_key 0: projection, 1: flat, 2: dark, 3: invalid).
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, require
from nfsolve.data.scans.doubts import Doubt

ENDINGS = (".h5", ".hdf5", ".hdf", ".nxs", ".nx")
MILLIMETRES = {"mm": 1.0, "m": 1e3, "cm": 10.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "nm": 1e-6}
MILLIMETRES |= {"micron": 1e-3, "millimetre": 1.0, "metre": 1e3, "centimetre": 10.0, "micrometre": 1e-3}
MILLIMETRES |= {"nanometre": 1e-6}
PROJECTION, FLAT, DARK = 0, 1, 2
NAMES = "'exchange/data' (Data Exchange) or 'entry/instrument/detector/data' with 'image_key' (NXtomo)"


class Frames:
    """Frames of a stack on the disk, as an array (views, rows, bins) of which a row is read when it is taken.

    Args:
        path: The file.
        name: The stack's name in it.
        frames: Which frames, rising.
        shape: Shape of all of them, (views, rows, bins).
        dtype: Their type.
    """

    def __init__(self, path: Path, name: str, frames: np.ndarray, shape: tuple[int, ...], dtype: np.dtype):
        self.path, self.name, self.frames, self.shape, self.dtype = path, name, frames, shape, dtype
        self.ndim = len(shape)

    def take(self, index: int, axis: int) -> np.ndarray:
        """Read one row, (views, bins)."""
        return self._read((slice(None),) * axis + (index,))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Read all."""
        return self._read(()).astype(dtype or self.dtype)

    def _read(self, where: tuple[Any, ...]) -> np.ndarray:
        h5py: Any = require("h5py", extra="ct", purpose="reading HDF5 files")
        with h5py.File(self.path) as file:
            stack = file[self.name]
            if len(self.frames) == len(stack):
                return stack[where]
            return stack[(self.frames, *where[1:])]


def read_hdf5(path: Path) -> dict[str, Any]:
    """Read the scan of a file of one of the two layouts.

    Args:
        path: The file.

    Returns:
        Arrays in the general layout of `nfsolve.data.scans.scan`: counts, flat, dark, angles_deg, spacing. A file with
        ``sinogram`` or ``counts`` at its top is in this layout already.

    Raises:
        InputError: The file is of another layout, or lacks angles or flat fields.
        MissingExtra: h5py is not installed.
    """
    h5py: Any = require("h5py", extra="ct", purpose="reading HDF5 files")
    with h5py.File(path) as file:
        if "exchange/data" in file:
            found = _data_exchange(path, file)
        elif not {"sinogram", "counts"}.isdisjoint(file):  # the layout of .npz files
            datasets = {name: entry[()] for name, entry in file.items() if hasattr(entry, "dtype")}
            return {
                name: _text(of) if h5py.check_string_dtype(file[name].dtype) else of for name, of in datasets.items()
            }
        else:
            # older files have an entry inside the entry
            places = [
                *file,
                *(f"{name}/{inner}" for name in file if hasattr(file[name], "keys") for inner in file[name]),
            ]
            entry = next((name for name in places if f"{name}/instrument/detector/image_key" in file), None)
            if entry is None:
                raise InputError(
                    f"'{path}' must hold {NAMES}, or 'sinogram' and 'angles_deg', but it holds "
                    f"{', '.join(file) or 'nothing'}",
                    do="write the arrays to .npz, in the layout of read_scan",
                )
            found = _nxtomo(path, file, entry)
    beam = {"geometry": "parallel", "axes": "views rows bins", "find_axis": True}
    return beam | ({} if "spacing" in found else {"spacing": 1.0, "unit": "bin"}) | found


def _data_exchange(path: Path, file: Any) -> dict[str, Any]:
    stack = file["exchange/data"]
    if "exchange/data_white" not in file:
        raise InputError(f"'{path}' lacks 'exchange/data_white', the bare beam", do="add it to the file")
    found: dict[str, Any] = {
        "counts": Frames(path, "exchange/data", np.arange(len(stack)), stack.shape, stack.dtype),
        "flat": _mean(file["exchange/data_white"]),
    }
    if "exchange/theta" in file:
        found["angles_deg"] = _degrees(file["exchange/theta"])
    else:
        found["stack"] = len(stack)  # so that the turn is asked for
    if "exchange/data_dark" in file:
        found["dark"] = _mean(file["exchange/data_dark"])
    return found | _spacing(path, file, "measurement/instrument/detector/pixel_size_x")


def _nxtomo(path: Path, file: Any, entry: str) -> dict[str, Any]:
    detector = f"{entry}/instrument/detector"
    stack, kinds = file[f"{detector}/data"], np.asarray(file[f"{detector}/image_key"])
    if f"{entry}/sample/rotation_angle" not in file:
        raise InputError(f"'{path}' lacks '{entry}/sample/rotation_angle', the angle of each frame", do="add it")
    if kinds.shape != stack.shape[:1]:
        raise InputError(
            f"'{detector}/image_key' of '{path}' must name the kind of each of {len(stack)} frames, but it has shape "
            f"{kinds.shape}",
            do="give 0 for projections, 1 for flat and 2 for dark fields, 3 for frames that are not valid",
        )
    if not (kinds == FLAT).any() or not (kinds == PROJECTION).any():
        raise InputError(
            f"'{path}' must hold projections and flat fields, but no frame has the image key "
            f"{FLAT if (kinds == PROJECTION).any() else PROJECTION}",
            do="correct 'image_key'",
        )
    frames = np.flatnonzero(kinds == PROJECTION)
    found = {
        "counts": Frames(path, f"{detector}/data", frames, (len(frames), *stack.shape[1:]), stack.dtype),
        "flat": _mean(stack[kinds == FLAT]),
        "angles_deg": _degrees(file[f"{entry}/sample/rotation_angle"])[frames],
    }
    if (kinds == DARK).any():
        found["dark"] = _mean(stack[kinds == DARK])
    return found | _spacing(path, file, f"{detector}/x_pixel_size")


def _mean(frames: Any) -> np.ndarray:
    """Average frames of the detector, (1, rows, bins)."""
    values = np.asarray(frames, np.float64)
    return (values if values.ndim == 3 else values[None]).mean(0, keepdims=True)


def _degrees(angles: Any) -> np.ndarray:
    """Return angles in degrees; those of a file that states no unit as they are."""
    values, unit = np.asarray(angles, np.float64), _text(angles.attrs.get("units", ""))
    return np.degrees(values) if unit.startswith("rad") else values


def _spacing(path: Path, file: Any, name: str) -> dict[str, float]:
    """Return the width of a bin in mm, where the file says it with its unit; of one without a unit the user is told."""
    if name not in file:
        return {}
    width, said = float(np.ravel(file[name])[0]), _text(file[name].attrs.get("units", ""))
    unit = MILLIMETRES.get(said.replace("meter", "metre").removesuffix("s"))
    if unit is not None:
        return {"spacing": width * unit}
    warnings.warn(
        f"'{name}' of '{path.name}' is {width:g} "
        + (f"in '{said}', which is no unit of length that is known" if said else "without a unit")
        + ", and is not used: lengths are in bins; give the width of a bin in mm by pixel= (--pixel)",
        Doubt,
        stacklevel=2,
    )
    return {}


def _text(value: Any) -> str:
    value = np.ravel(value)[0]
    return (value.decode() if isinstance(value, bytes) else str(value)).strip().lower()
