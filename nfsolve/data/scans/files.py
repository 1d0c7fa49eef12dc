"""Arrays by name from the files that tomography comes in: .npz, .npy, .mat, DICOM, HDF5 of beamlines, TIFF stacks."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import map_array, memory, read_arrays, real_number, real_numbers, reason
from nfsolve._core.errors import InputError, require
from nfsolve._core.matlab import read_matlab
from nfsolve.data.scans import hdf5, stacks
from nfsolve.data.scans.dicom import read_dicom, read_series
from nfsolve.data.tables import find_file

ENDINGS = ("", ".npz", ".mat", ".npy", ".dcm", *hdf5.ENDINGS, *stacks.ENDINGS)


def open_arrays(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Read the arrays of a file.

    Args:
        path: A path, or a name under ``$NFSOLVE_DATA``; see `ENDINGS`. The one array of a .npy file is named
            ``volume`` if it has three axes, else ``sinogram``; a DICOM image is given as ``hu`` and ``pixel_mm``.
            A folder holds TIFF or PNG projections (`stacks`) or a DICOM series (`dicom`).

    Returns:
        The path of the file; name -> array (in .mat files also nested dictionaries, for structures).

    Raises:
        InputError: There is no such file, or it could not be read.
        MissingExtra: pydicom or h5py is not installed, and the file is DICOM or HDF5.
    """
    folder = _folder(str(path))
    if folder is None and Path(path).is_dir():
        held = sorted({file.suffix.lower() or file.name for file in Path(path).iterdir()})
        raise InputError(
            f"a folder of projections holds {' or '.join(stacks.PAGES)} images, and one of slices DICOM images, but "
            f"'{path}' holds {', '.join(held[:6]) or 'nothing'}",
            do="convert the images, or name a file",
        )
    if folder is not None:
        return folder, (stacks.read_stack if _holds(folder, stacks.PAGES) else read_series)(folder)
    found = find_file(str(path), None, ENDINGS)
    if found.suffix.lower() == ".npz":
        return found, read_arrays(found)
    if found.suffix.lower() == ".npy":
        array = np.array(map_array(found))
        return found, {"volume" if array.ndim == 3 else "sinogram": array}
    readers = {".mat": lambda mat: read_matlab(mat, memory()), ".dcm": read_dicom}
    readers |= dict.fromkeys(stacks.ENDINGS, stacks.read_stack)
    readers |= dict.fromkeys(hdf5.ENDINGS, hdf5.read_hdf5)
    if found.suffix.lower() not in readers:
        raise InputError(
            f"tomography is read from files that end in {', '.join(ENDINGS[1:])}, but '{found}' does not",
            do="convert it to .npz",
        )
    if found.suffix.lower() == ".dcm":
        require("pydicom", extra="ct", purpose="reading DICOM files")
    if found.suffix.lower() in hdf5.ENDINGS:
        require("h5py", extra="ct", purpose="reading HDF5 files")
    try:
        return found, readers[found.suffix.lower()](found)
    except InputError:
        raise
    except Exception as error:  # the libraries raise whatever they like
        advice = {
            ".mat": "save it again with -v7 (files of -v7.3 are HDF5)",
            ".dcm": "convert it to .npz with keys hu and pixel_mm",
        }
        advice |= dict.fromkeys(hdf5.ENDINGS, "copy it again, or write its arrays to .npz")
        raise InputError(
            f"'{found}' must be a complete {found.suffix} file, but it could not be read ({reason(error)})",
            do=advice[found.suffix.lower()],
        ) from error


def _folder(path: str) -> Path | None:
    """Return the folder of this name that holds images; None where there is none."""
    places = [Path(path), *([Path(os.environ["NFSOLVE_DATA"]) / path] if "NFSOLVE_DATA" in os.environ else [])]
    return next((p for p in places if p.is_dir() and _holds(p, (*stacks.PAGES, ".dcm", ".ima", ""))), None)


def _holds(folder: Path, endings: tuple[str, ...]) -> bool:
    return any(file.is_file() and file.suffix.lower() in endings for file in folder.iterdir())


def kind_of(arrays: Mapping[str, Any]) -> str:
    """Say what a file holds: ``"slice"`` (key ``hu``), ``"volume"`` (``vol``, ``volume``) or else ``"scan"``."""
    if "hu" in arrays:
        return "slice"
    return "volume" if "vol" in arrays or "volume" in arrays else "scan"


def check_keys(path: Path, arrays: Mapping[str, Any], meaning: Mapping[str, str]) -> None:
    """Refuse a file without the keys that its use needs.

    Raises:
        InputError: Some are missing; each is named with its meaning.
    """
    missing = [f"'{key}' ({text})" for key, text in meaning.items() if key not in arrays]
    if missing:
        raise InputError(
            f"'{path}' lacks {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}",
            do="store them under these names",
        )


def numbers(path: Path, arrays: Mapping[str, Any], key: str) -> np.ndarray:
    """Return an array of a file in double precision.

    Args:
        path: The file.
        arrays: What it holds.
        key: The array's name.

    Returns:
        The array, float64.

    Raises:
        InputError: It is empty, or not of real numbers.
    """
    values = real_numbers(arrays[key], f"'{key}' of '{path}'")
    if not values.size:
        raise InputError(
            f"'{key}' of '{path}' must hold numbers, but it has shape {values.shape}", do="fill it, or leave it out"
        )
    return values


def number(path: Path, arrays: Mapping[str, Any], key: str, positive: bool = False) -> float:
    """Return one number of a file, which must be finite, and positive if so asked."""
    return real_number(arrays[key], f"'{key}' of '{path}'", positive)
