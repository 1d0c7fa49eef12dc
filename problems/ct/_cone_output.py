"""Pictures and files of reconstructed volumes: three slices and their errors; .npz, TIFF, HDF5, NIfTI, a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nfsolve import MissingExtra, require_extra
from nfsolve.forward.radon import ConeBeam, VoxelGrid
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from nfsolve.plot.volume import volume_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = {"field": "neural field", "fdk": "FDK", "sirt": "SIRT", "cgls": "CGLS", "tv": "total variation"}


def cone_picture(volumes: dict[str, Tensor], grid: VoxelGrid, unit: str) -> "Figure":
    """Draw the middle slices across z, y and x of the truth, if it is there, of each reconstruction, and of its error.

    Args:
        volumes: Name -> (nz, ny, nx), of which one may be "truth".
        grid: Their voxels.
        unit: That of the attenuation, in words.

    Returns:
        The figure: a row for each slice, first the volumes, then the errors.
    """
    truth = volumes.get("truth")
    found = {name: values for name, values in volumes.items() if name != "truth"}
    peak = float((volumes["field"] if truth is None else truth).max())
    columns = len(found) if truth is None else 2 * len(found) + 1
    figure = panels.new_figure(11.0, 4.6)
    axes = figure.subplots(3, columns, squeeze=False)
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": peak}
    error: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -0.2 * peak, "vmax": 0.2 * peak}
    shown: list[Any] = [] if truth is None else [("truth", truth, gray)]
    for name, values in found.items():
        score = "" if truth is None else f"\n{psnr(values, truth, peak):.1f} dB"
        shown.append((WORDS[name] + score, values, gray))
    if truth is not None:
        shown += [(f"{WORDS[name]}\nminus truth", values - truth, error) for name, values in found.items()]
    for column, (title, values, options) in enumerate(shown):
        for row, (cut, extent, names) in enumerate(_slices(panels.array(values), grid)):
            image = axes[row, column].imshow(cut, extent=extent, origin="lower", interpolation="nearest", **options)
            axes[row, column].set(xticks=[], yticks=[], title="" if row else title)
            if column == 0:
                axes[row, 0].set(xlabel=names[0], ylabel=names[1])
            if row == 2 and options is not shown[column - 1][2]:
                bar = figure.colorbar(image, ax=axes[2, column], location="bottom", shrink=0.9)
                bar.set_label(unit)
                ends = options["vmin"], options["vmax"]
                bar.set_ticks(ends, labels=[f"{end:.2g}" for end in ends])
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


def write_volumes(volumes: dict[str, Tensor], voxel: float, geometry: ConeBeam, folder: Path, length: str = "") -> None:
    """Write volumes as arrays, a page to look through them, and the field in the formats of other programs.

    That is a stack of TIFF pages and, where the libraries are there, HDF5 (`write_hdf5`) and NIfTI.

    Args:
        volumes: Name -> (nz, ny, nx), with slice 0 at the smallest z and row 0 at the largest y.
        voxel: Side of a voxel.
        geometry: Views and panel.
        folder: Where.
        length: Unit of the voxel, ``"mm"`` where it is known.
    """
    import imageio.v3 as iio

    arrays: dict[str, Any] = {name: panels.array(values).astype(np.float32) for name, values in volumes.items()}
    np.savez_compressed(folder / "reconstruction.npz", angles=geometry.angles, voxel=voxel, **arrays)
    field = arrays["field"]
    iio.imwrite(folder / "reconstruction.tif", field)
    per = f"/ {length}" if length else "per unit of length"
    (folder / "volume.html").write_text(volume_page(arrays, voxel, length, per, "Reconstruction"), encoding="utf-8")
    write_hdf5(folder / "reconstruction.h5", field, voxel, length)
    try:
        nibabel: Any = require_extra("nibabel", extra="ct", purpose="writing NIfTI")
    except MissingExtra as error:
        print(f"no NIfTI file: {error}")
        return
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * voxel for n in field.shape[::-1]]
    nibabel.Nifti1Image(field[:, ::-1].transpose(2, 1, 0), affine).to_filename(folder / "reconstruction.nii.gz")


def write_hdf5(path: Path, volume: np.ndarray, voxel: float, length: str) -> None:
    """Write a volume or slice as NXdata of a NeXus file (its default, so that viewers open it), if h5py is there.

    Args:
        path: Where.
        volume: (nz, ny, nx), attenuation per unit of length.
        voxel: Side of a voxel.
        length: Its unit; empty where it is not known.
    """
    try:
        h5py: Any = require_extra("h5py", extra="ct", purpose="writing HDF5")
    except MissingExtra as error:
        print(f"no HDF5 file: {error}")
        return
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update(NX_class="NXentry", default="data")
        data = entry.create_group("data")
        axes = ("z", "y", "x")[-volume.ndim :]
        data.attrs.update(NX_class="NXdata", signal="attenuation", axes=axes)
        stored = data.create_dataset("attenuation", data=volume, compression="gzip", compression_opts=1)
        stored.attrs["units"] = f"1/{length}" if length else ""
        for axis, n in zip(axes, volume.shape, strict=True):
            places = (np.arange(n) - (n - 1) / 2) * voxel * (-1 if axis == "y" else 1)  # row 0 lies at the largest y
            data.create_dataset(axis, data=places).attrs["units"] = length
