"""Images and volumes of attenuation, from which scans are simulated: slices in Hounsfield units, and volumes.

mu = mu_water (1 + HU / 1000), with mu_water = 0.2059 / cm at 60 keV, where the beam of a medical scanner has its mean.
Source: J. H. Hubbell, S. M. Seltzer, "Tables of X-Ray Mass Attenuation Coefficients", NIST Standard Reference
Database 126, water.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.data.scans.files import check_keys, kind_of, number, numbers, open_arrays
from nfsolve.forward.radon import PixelGrid, VoxelGrid

MU_WATER = 0.02059  # per mm
SMALLEST, LARGEST = 1e-15, 1e15  # values of a volume; their squares are far from the limits of float32
LARGEST_HU = 1e5  # metals have some 30000


@dataclass(frozen=True)
class Slice:
    """One image of attenuation.

    Attributes:
        name: Of the file.
        image: Attenuation (rows, columns) >= 0, per mm; zero outside the largest circle in it.
        pixel: Side of a pixel, in mm.
    """

    name: str
    image: np.ndarray
    pixel: float
    unit = "mm"

    @property
    def grid(self) -> PixelGrid:
        """Pixels of the image."""
        rows, columns = self.image.shape
        return PixelGrid(rows, columns, self.pixel)

    def coarsened(self, factor: int) -> "Slice":
        """Average blocks of factor x factor pixels."""
        return Slice(self.name, _block_means(self.image, factor), self.pixel * factor)


@dataclass(frozen=True)
class Volume:
    """A volume of attenuation, or of anything that adds up along rays.

    Attributes:
        name: Of the file.
        values: (nz, ny, nx): slice 0 at the smallest z, row 0 at the largest y, column 0 at the smallest x.
        voxel: Side of a voxel, in `unit`.
        unit: ``"mm"``, or ``"voxel"`` where the file does not say.
    """

    name: str
    values: np.ndarray
    voxel: float
    unit: str

    @property
    def grid(self) -> VoxelGrid:
        """Voxels of the volume."""
        nz, ny, nx = self.values.shape
        return VoxelGrid((nz, ny, nx), self.voxel)

    def coarsened(self, factor: int) -> "Volume":
        """Average blocks of factor^3 voxels."""
        return Volume(self.name, _block_means(self.values, factor), self.voxel * factor, self.unit)


def read_slice(path: str | Path) -> Slice:
    """Read a slice in Hounsfield units, to be projected.

    Pixels outside the largest circle in the image are taken as air: a detector as wide as the image sees the rest.

    Args:
        path: A .npz or .mat file with keys ``hu`` (rows, columns) and ``pixel_mm`` (side of a pixel), or a DICOM
            image (.dcm, with pydicom). Row 0 lies at the largest y.

    Returns:
        Attenuation per mm.

    Raises:
        InputError: No slice, not finite, or no positive pixel.
    """
    return slice_of(*open_arrays(path))


def slice_of(found: Path, arrays: dict[str, Any], row: int = 0, pixel: float = 0.0) -> Slice:
    """Make a slice from the arrays of a file, or of a folder of DICOM images, that was opened; see `read_slice`.

    Args:
        found: The file.
        arrays: What it holds.
        row: Which slice of a series, from the lowest.
        pixel: Side of a pixel in mm, where the file does not say it.
    """
    if "hu" not in arrays:
        check_keys(found, arrays, {"hu": "Hounsfield units (rows, columns)", "pixel_mm": "side of a pixel in mm"})
    hu, pixel = numbers(found, arrays, "hu"), _pixel(found, arrays, pixel)
    if "series" in arrays:
        if not 0 <= row < len(hu):
            raise InputError(f"'{found}' has slices 0 to {len(hu) - 1}, got row = {row}", do="choose one of them")
        hu = hu[row]
    if hu.ndim != 2 or not np.isfinite(hu).all():
        raise InputError(
            f"'hu' of '{found}' must be one image of finite numbers, (rows, columns), but it has shape {hu.shape}"
            + ("" if np.isfinite(hu).all() else " and values that are NaN or infinite"),
            do="choose one slice, and fill in what is missing",
        )
    if np.abs(hu).max() > LARGEST_HU:
        raise InputError(
            f"'hu' of '{found}' must be Hounsfield units (air -1000, water 0), but it reaches {np.abs(hu).max():g}",
            do="convert them by the slope and intercept of the scanner",
        )
    image = np.clip(MU_WATER * (1 + hu / 1000), 0, None)
    y, x = (np.arange(n) - (n - 1) / 2 for n in hu.shape)
    outside = np.hypot(y[:, None], x[None, :]) > min(hu.shape) / 2
    return Slice(found.stem, np.where(outside, 0.0, image), pixel)


def _pixel(found: Path, arrays: dict[str, Any], given: float) -> float:
    """Return the side of a pixel in mm, which the file or the user says."""
    if "pixel_mm" not in arrays:
        if given <= 0:
            raise InputError(
                f"'{found}' lacks 'pixel_mm' (side of a pixel in mm), in DICOM PixelSpacing",
                do="give it in mm: --pixel 0.7, say",
            )
        return given
    pixel = number(found, arrays, "pixel_mm", positive=True)
    if given and abs(given - pixel) > 1e-3 * pixel:
        raise InputError(
            f"'{found}' says that a pixel has a side of {pixel:g} mm, got pixel = {given:g}", do="leave out --pixel"
        )
    return pixel


def _of_series(found: Path, arrays: dict[str, Any]) -> Volume:
    """Make a volume of attenuation from a DICOM series; slices at other distances than pixels are interpolated."""
    pixel = _pixel(found, arrays, 0.0)
    check_keys(found, arrays, {"slice_mm": "distance of the slices, from two or more of them"})
    values, gap = np.clip(MU_WATER * (1 + numbers(found, arrays, "hu") / 1000), 0, None), float(arrays["slice_mm"])
    if abs(gap - pixel) > 1e-3 * pixel:
        place = np.arange(int((len(values) - 1) * gap / pixel) + 1) * pixel / gap
        below = np.minimum(place.astype(int), len(values) - 2)
        share = (place - below)[:, None, None]
        values = (1 - share) * values[below] + share * values[below + 1]
        warnings.warn(
            f"slices of '{found}' are {gap:g} mm apart and pixels {pixel:g} mm: interpolated to {len(values)} slices",
            stacklevel=4,
        )
    return Volume(found.name, values, pixel, "mm")


def read_volume(path: str | Path) -> Volume:
    """Read a volume, to be projected by a cone beam.

    Args:
        path: A .npz or .mat file with ``volume`` (nz, ny, nx), or ``vol`` (nx, ny, nz) as MATLAB's toolboxes keep it
            with y from the front, and optionally ``scale`` (a factor on the values) and ``voxel_mm`` (side of a
            voxel); or a .npy file of one (nz, ny, nx) array; or a folder with a DICOM series.

    Returns:
        The volume.

    Raises:
        InputError: No volume, or values that are not finite.
    """
    found, arrays = open_arrays(path)
    if "series" in arrays:
        return _of_series(found, arrays)
    if kind_of(arrays) != "volume":
        check_keys(found, arrays, {"volume": "values (nz, ny, nx)"})
    key = "volume" if "volume" in arrays else "vol"
    values = numbers(found, arrays, key)
    if values.ndim != 3 or not np.isfinite(values).all():
        raise InputError(
            f"'{key}' of '{found}' must have three axes of finite numbers, but it has shape {values.shape}"
            + ("" if np.isfinite(values).all() else " and values that are NaN or infinite"),
            do="stack slices of one size along the first axis, and fill in what is missing",
        )
    largest = float(np.abs(values).max())
    if not SMALLEST < largest < LARGEST:
        raise InputError(
            f"'{key}' of '{found}' must show something, in values from {SMALLEST:g} to {LARGEST:g}, but the largest is "
            f"{largest:g}",
            do="check that the file is whole, and its unit",
        )
    if key == "vol":
        values = np.ascontiguousarray(values.transpose(2, 1, 0))
    if "scale" in arrays:
        values = values * number(found, arrays, "scale")
    known = "voxel_mm" in arrays
    return Volume(
        found.stem, values, number(found, arrays, "voxel_mm", True) if known else 1.0, "mm" if known else "voxel"
    )


def _block_means(values: np.ndarray, factor: int) -> np.ndarray:
    if factor < 1 or any(n % factor for n in values.shape):
        raise InputError(
            f"blocks must divide each side of the array, but their side is {factor}, and its shape {values.shape}",
            do="choose a divisor of each side",
        )
    blocks = values.reshape([m for n in values.shape for m in (n // factor, factor)])
    return blocks.mean(axis=tuple(range(1, blocks.ndim, 2)))
