"""Pictures and files of reconstructed volumes: three slices and their errors; .npz, TIFF, NIfTI."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve import MissingExtra, require_extra
from nfsolve.forward.radon import ConeBeam, VoxelGrid
from nfsolve.metrics import psnr
from nfsolve.plot import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {"field": "neural field", "fdk": "FDK", "sirt": "SIRT", "cgls": "CGLS", "tv": "total variation"}


def cone_picture(volumes: dict[str, Tensor], grid: VoxelGrid) -> "Figure":
    """Draw the middle slices across z, y and x of the truth, of each reconstruction, and of its error.

    Args:
        volumes: Name -> (nz, ny, nx); the first is the truth.
        grid: Their voxels.

    Returns:
        The figure: a row for each slice, first the volumes, then the errors.
    """
    truth = volumes["truth"]
    peak = float(truth.max())
    found = {name: values for name, values in volumes.items() if name != "truth"}
    columns = 2 * len(found) + 1
    figure = panels.new_figure(11.0, 4.6)
    axes = figure.subplots(3, columns, squeeze=False)
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": peak}
    error: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -0.2 * peak, "vmax": 0.2 * peak}
    shown: list[Any] = [("truth", truth, gray)]
    for name, values in found.items():
        shown.append((f"{WORDS[name]}\n{psnr(values, truth, peak):.1f} dB", values, gray))
    shown += [(f"{WORDS[name]}\nminus truth", values - truth, error) for name, values in found.items()]
    for column, (title, values, options) in enumerate(shown):
        for row, (cut, extent, names) in enumerate(_slices(panels.array(values), grid)):
            image = axes[row, column].imshow(cut, extent=extent, origin="lower", interpolation="nearest", **options)
            axes[row, column].set(xticks=[], yticks=[], title="" if row else title)
            if column == 0:
                axes[row, 0].set(xlabel=names[0], ylabel=names[1])
            if row == 2 and options is not shown[column - 1][2]:
                bar = figure.colorbar(image, ax=axes[2, column], location="bottom", shrink=0.9)
                bar.set_label("per unit of length")
    return figure


def _slices(values: np.ndarray, grid: VoxelGrid) -> list[tuple[np.ndarray, tuple[float, ...], tuple[str, str]]]:
    """Cut a volume in its middle across z, y and x; both axes of each slice rise."""
    z, y, x = (n // 2 for n in values.shape)
    in_x, in_y, in_z = grid.bounds
    return [
        (values[z, ::-1], (*in_x, *in_y), ("x", "y")),
        (values[:, y], (*in_x, *in_z), ("x", "z")),
        (values[:, ::-1, x], (*in_y, *in_z), ("y", "z")),
    ]


def write_volumes(volumes: dict[str, Tensor], voxel: float, geometry: ConeBeam, folder: Path) -> None:
    """Write volumes as arrays, and the field as a stack of TIFF pages and, with nibabel, as NIfTI.

    Args:
        volumes: Name -> (nz, ny, nx), with slice 0 at the smallest z and row 0 at the largest y.
        voxel: Side of a voxel, in mm where it is known.
        geometry: Views and panel.
        folder: Where.
    """
    import imageio.v3 as iio

    arrays: dict[str, Any] = {name: panels.array(values).astype(np.float32) for name, values in volumes.items()}
    np.savez_compressed(folder / "reconstruction.npz", angles=geometry.angles, voxel=voxel, **arrays)
    field = arrays["field"]
    iio.imwrite(folder / "reconstruction.tif", field)
    try:
        nibabel: Any = require_extra("nibabel", extra="ct", purpose="writing NIfTI")
    except MissingExtra as error:
        print(f"no NIfTI file: {error}")
        return
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * voxel for n in field.shape[::-1]]
    nibabel.Nifti1Image(field[:, ::-1].transpose(2, 1, 0), affine).to_filename(folder / "reconstruction.nii.gz")
