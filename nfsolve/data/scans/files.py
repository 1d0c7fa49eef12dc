"""Arrays by name from the files that tomography comes in: .npz, .npy, MATLAB's .mat and DICOM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import read_arrays
from nfsolve._core.errors import InputError, require
from nfsolve.data.tables import find_file

ENDINGS = ("", ".npz", ".mat", ".npy", ".dcm")


def open_arrays(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Read the arrays of a file.

    Args:
        path: A path, or a name under ``$NFSOLVE_DATA``; see `ENDINGS`. The one array of a .npy file is named
            ``volume`` if it has three axes, else ``sinogram``; a DICOM image is given as ``hu`` and ``pixel_mm``.

    Returns:
        The path of the file; name -> array (in .mat files also nested dictionaries, for structures).

    Raises:
        InputError: There is no such file, or it could not be read.
        MissingExtra: pydicom is not installed, and the file is DICOM.
    """
    found = find_file(str(path), None, ENDINGS)
    if found.suffix == ".npz":
        return found, read_arrays(found)
    readers = {".npy": _npy, ".mat": _mat, ".dcm": _dicom}
    if found.suffix.lower() not in readers:
        raise InputError(f"'{found}' is of no known kind", f"a file that ends in {', '.join(ENDINGS[1:])}")
    if found.suffix.lower() == ".dcm":
        require("pydicom", extra="ct", purpose="reading DICOM files")
    try:
        return found, readers[found.suffix.lower()](found)
    except Exception as error:  # the libraries raise whatever they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = {
            ".mat": "save it again with -v7 (files of -v7.3 are HDF5)",
            ".dcm": "convert it to .npz with keys hu and pixel_mm",
        }
        raise InputError(
            f"'{found}' could not be read ({reason[:120]})",
            f"a complete {found.suffix} file",
            advice.get(found.suffix.lower(), "write it again"),
        ) from error


def kind_of(arrays: Mapping[str, Any]) -> str:
    """Say what a file holds: ``"slice"`` (key ``hu``), ``"volume"`` (``vol``, ``volume``) or else ``"scan"``."""
    if "hu" in arrays:
        return "slice"
    return "volume" if "vol" in arrays or "volume" in arrays else "scan"


def check_keys(path: Path, arrays: Mapping[str, Any], meaning: Mapping[str, str]) -> None:
    """Refuse a file without the keys that its use needs.

    Args:
        path: The file.
        arrays: What it holds.
        meaning: What each needed key means.

    Raises:
        InputError: Some are missing; each is named with its meaning.
    """
    missing = [f"'{key}' ({text})" for key, text in meaning.items() if key not in arrays]
    if missing:
        raise InputError(f"'{path}' holds {', '.join(arrays) or 'nothing'}", f"it lacks {', '.join(missing)}")


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
    values = np.asarray(arrays[key])
    if values.dtype.kind not in "fiub":
        raise InputError(f"'{key}' of '{path}' is of type {values.dtype}", "real numbers were expected")
    if not values.size:
        raise InputError(f"'{key}' of '{path}' is empty, of shape {values.shape}", "numbers were expected")
    return values.astype(np.float64)


def _npy(path: Path) -> dict[str, Any]:
    array = np.load(path, allow_pickle=False)
    return {"volume" if array.ndim == 3 else "sinogram": array}


def _mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    return {k: v for k, v in loadmat(path, simplify_cells=True).items() if not k.startswith("__")}


def _dicom(path: Path) -> dict[str, Any]:
    pydicom: Any = require("pydicom", extra="ct", purpose="reading DICOM files")
    image = pydicom.dcmread(path)
    height, width = (float(side) for side in image.PixelSpacing)
    if abs(height - width) > 1e-6 * width:
        raise ValueError(f"its pixels are {height} x {width} mm, and square ones are needed")
    hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    return {"hu": hu, "pixel_mm": width}
