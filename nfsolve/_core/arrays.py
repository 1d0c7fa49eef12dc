"""Arrays of numbers by name from .npz and .csv files."""

import zipfile
from pathlib import Path

import numpy as np

from nfsolve._core.errors import InputError


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the named arrays of a .npz or .csv file.

    Args:
        path: The file.

    Returns:
        Name -> array of numbers.

    Raises:
        InputError: The file is corrupt or of another kind.
    """
    try:
        if path.suffix == ".csv":
            table = np.genfromtxt(path, delimiter=",", names=True)
            if not table.dtype.names:
                raise ValueError("no header line")
            return {name: np.atleast_1d(table[name]) for name in table.dtype.names}
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # numpy would take it for a pickle, and advise to trust it
                raise ValueError("not a zip archive")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"data file '{path}' could not be read ({error})",
            "a .npz archive of number arrays or a .csv file with a header line",
            "write it again, or check that the copy is complete",
        ) from error
