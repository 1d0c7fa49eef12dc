"""DICOM images and series of computed tomography, in Hounsfield units.

Source: DICOM PS3.3, C.7.6.2 (image plane: pixel spacing, position, orientation) and C.8.2.1 (rescale slope, intercept).
"""

from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError, require

SAME = 1e-3  # relative differences of spacings that count as rounding


def read_dicom(path: Path) -> dict[str, Any]:
    """Read one image.

    Args:
        path: The file.

    Returns:
        ``hu``, (rows, columns), and ``pixel_mm`` where the file has it.

    Raises:
        ValueError: Its pixels are not square.
    """
    pydicom: Any = require("pydicom", extra="ct", purpose="reading DICOM files")
    return _arrays(pydicom.dcmread(path))


def read_series(folder: Path) -> dict[str, Any]:
    """Read the images of one series in a folder, in the order of their positions.

    Args:
        folder: A folder of .dcm files, or of DICOM files without an ending.

    Returns:
        ``hu``, (slices, rows, columns), slice 0 at the lowest position; ``series``, their number; ``pixel_mm``, and
        ``slice_mm``, the distance of slices, where the files have them.

    Raises:
        InputError: There are no images, they could not be read, or belong to several series.
    """
    pydicom: Any = require("pydicom", extra="ct", purpose="reading DICOM files")
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in (".dcm", ".ima", ""))
    images = []
    for file in files:
        try:
            image = pydicom.dcmread(file)
            images.append((_place(image), _arrays(image), str(getattr(image, "SeriesInstanceUID", ""))))
        except Exception as error:  # the library raises whatever it likes
            raise InputError(
                f"'{file}' must be a complete DICOM image, but it could not be read ({reason(error)})",
                do="take it out of the folder, or copy it again",
            ) from error
    series = {uid for _, _, uid in images}
    shapes = {(arrays["hu"].shape, arrays.get("pixel_mm")) for _, arrays, _ in images}
    if len(series) != 1 or len(shapes) != 1:
        raise InputError(
            f"the folder '{folder}' must hold the images of one series, of one shape and pixel spacing, but it has "
            f"{len(images)} images of {len(series)} series and {len(shapes)} shapes or spacings",
            do="put each series into a folder of its own",
        )
    places = [place for place, _, _ in images]
    known = [place for place in places if place is not None]
    if len(known) < len(places) or len(set(known)) < len(places):
        raise InputError(
            f"the images in '{folder}' are ordered by 'ImagePositionPatient', but {len(places) - len(known)} of "
            f"{len(places)} lack it, and {len(known) - len(set(known))} have the position of another one",
            do="add the positions, or take repeated images out",
        )
    images.sort(key=lambda entry: entry[0])
    found: dict[str, Any] = {"hu": np.stack([arrays["hu"] for _, arrays, _ in images]), "series": len(images)}
    if "pixel_mm" in images[0][1]:
        found["pixel_mm"] = images[0][1]["pixel_mm"]
    gaps = np.diff(np.sort(known))
    if len(gaps) and np.ptp(gaps) > SAME * gaps.mean() + 2e-3:
        raise InputError(
            f"the slices in '{folder}' must be evenly spaced, but their distances go from {gaps.min():g} to "
            f"{gaps.max():g} mm",
            do="add the missing ones",
        )
    return found | ({"slice_mm": float(gaps.mean())} if len(gaps) else {})


def _arrays(image: Any) -> dict[str, Any]:
    hu = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    spacing = getattr(image, "PixelSpacing", None)
    if spacing is None:
        return {"hu": hu}
    height, width = (float(side) for side in spacing)
    if abs(height - width) > 1e-6 * width:
        raise ValueError(f"its pixels are {height} x {width} mm, but square ones are needed")
    return {"hu": hu, "pixel_mm": width}


def _place(image: Any) -> float | None:
    """Return the position of an image along the normal of its plane, in mm."""
    position = getattr(image, "ImagePositionPatient", None)
    if position is None:
        return None
    axes = np.asarray(getattr(image, "ImageOrientationPatient", (1, 0, 0, 0, 1, 0)), np.float64).reshape(2, 3)
    return float(np.cross(axes[0], axes[1]) @ np.asarray(position, np.float64))
