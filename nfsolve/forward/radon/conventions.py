"""Geometries of other programs: where they put the rotation axis, how they count angles, and how arrays lie.

Half a pixel matters: with scikit-image's axis taken for the middle of the image, filtered back-projection of a smooth
object loses 9 dB. Lengths are in pixels of the image, as in those programs. Angles that look as if they were in the
other unit are taken as that program has them, and a warning says so.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.radon.cone import ConeBeam
from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.grids import PixelGrid, VoxelGrid
from nfsolve.forward.radon.parallel import ParallelBeam
from nfsolve.forward.radon.units import like_degrees, like_radians


@dataclass(frozen=True, eq=False)
class Converted:
    """A sinogram of another program as nfsolve's functions take it.

    Attributes:
        sinogram: Line integrals (views, bins), of a cone beam (views, rows, columns).
        geometry: Views and detector.
        grid: Pixels of the image as that program has it: on this grid images need no shift; of a cone beam voxels.
    """

    sinogram: Tensor
    geometry: Any
    grid: Any


def from_skimage(sinogram: Any, theta: Sequence[float] | np.ndarray | None = None, circle: bool = True) -> Converted:
    """Convert what `skimage.transform.radon` gives: (bins, views), degrees, the axis on pixel n // 2.

    Args:
        sinogram: Line integrals (bins, views).
        theta: Angles in degrees; None spreads the views over half a turn, as `iradon` does.
        circle: As in `radon`: True for images as wide as the detector, False for a detector as long as their diagonal.

    Returns:
        Sinogram, geometry and grid, with pixels of side 1.

    Raises:
        InputError: The sinogram does not have an angle for each of its columns.
    """
    columns = torch.as_tensor(np.asarray(sinogram))
    bins, views = _two_axes(columns, "(bins, views)")
    degrees = np.linspace(0, 180, views, endpoint=False) if theta is None else np.asarray(theta, float).ravel()
    if len(degrees) != views:
        raise InputError(
            f"scikit-image keeps a sinogram as (bins, views), and {tuple(columns.shape)} does not fit {len(degrees)} "
            "angles",
            do="transpose it, or correct theta",
        )
    _doubt_the_unit("theta", "scikit-image", "degrees", like_radians(degrees))
    side = bins if circle else int(math.sqrt(bins**2 / 2))
    bin_off, pixel_off = (0.0 if n % 2 else 0.5 for n in (bins, side))
    geometry = ParallelBeam(tuple(np.radians(degrees % 360)), bins, 1.0, -bin_off)
    return Converted(columns.T.contiguous(), geometry, PixelGrid(side, side, 1.0, (-pixel_off, pixel_off)))


def from_astra(sinogram: Any, proj_geom: Mapping[str, Any], vol_geom: Mapping[str, Any]) -> Converted:
    """Convert a sinogram of the ASTRA toolbox, (views, bins) in radians, with its two geometries.

    Args:
        sinogram: Line integrals (views, bins).
        proj_geom: What `astra.create_proj_geom` gave, "parallel" or "fanflat".
        vol_geom: What `astra.create_vol_geom` gave, with square pixels.

    Returns:
        Sinogram, geometry and grid, in the units of these geometries.

    Raises:
        InputError: Another kind of geometry, pixels that are not square, or a sinogram of another shape.
    """
    kind = str(proj_geom["type"])
    if kind not in ("parallel", "fanflat"):
        raise unknown("type of ASTRA's projection geometry", kind, ("parallel", "fanflat"))
    rows, columns = int(vol_geom["GridRowCount"]), int(vol_geom["GridColCount"])
    box = vol_geom.get("option", {})
    x, y = (
        (float(box.get(f"WindowMin{axis}", -n / 2)), float(box.get(f"WindowMax{axis}", n / 2)))
        for axis, n in (("X", columns), ("Y", rows))
    )
    pixel, height = (x[1] - x[0]) / columns, (y[1] - y[0]) / rows
    if abs(pixel - height) > 1e-9 * pixel:
        raise InputError(f"pixels must be square, but ASTRA's are {pixel:g} x {height:g}", do="resample the volume")
    grid = PixelGrid(rows, columns, pixel, (sum(x) / 2, sum(y) / 2))
    values = torch.as_tensor(np.asarray(sinogram))
    radians = np.asarray(proj_geom["ProjectionAngles"], float).ravel()
    _doubt_the_unit("ProjectionAngles", "ASTRA", "radians", like_degrees(radians))
    angles = tuple(radians % (2 * math.pi))
    bins, spacing = int(proj_geom["DetectorCount"]), float(proj_geom["DetectorWidth"])
    if _two_axes(values, "(views, bins)") != (len(angles), bins):
        raise InputError(
            f"the sinogram has shape {tuple(values.shape)}, and ASTRA's geometry {(len(angles), bins)} = (views, bins)",
            do="give the geometry that it was made with",
        )
    if kind == "parallel":
        return Converted(values, ParallelBeam(angles, bins, spacing), grid)
    source = float(proj_geom["DistanceOriginSource"])
    fan = FanBeam(angles, bins, spacing, source, source + float(proj_geom["DistanceOriginDetector"]))
    return Converted(values, fan, grid)


def from_tomopy(projections: Any, theta: Any, center: float | None = None, row: int = 0) -> Converted:
    """Convert a row of what `tomopy.recon` takes: (views, rows, bins) after the logarithm, in radians.

    Args:
        projections: Line integrals (views, rows, bins), or (views, bins).
        theta: Angles in radians.
        center: Rotation axis as tomopy has it, from the left edge of the first bin; None takes the middle.
        row: Which row.

    Returns:
        Sinogram, geometry and grid, with bins and pixels of side 1; images lie as those of `tomopy.recon`.

    Raises:
        InputError: There is no such row, or not one angle for each view.
    """
    values = torch.as_tensor(np.asarray(projections))
    if values.dim() == 3:
        if not 0 <= row < values.shape[1]:
            raise InputError(f"tomopy's array has rows 0 to {values.shape[1] - 1}, got {row}", do="choose one of them")
        values = values[:, row]
    _, bins = _two_axes(values, "(views, bins), or three (views, rows, bins)")
    geometry = ParallelBeam(
        _angles(theta, values, "tomopy"), bins, 1.0, bins / 2 - (bins / 2 if center is None else center)
    )
    return Converted(values, geometry, PixelGrid(bins, bins, 1.0))


def from_odl(sinogram: Any, geometry: Any, space: Any) -> Converted:
    """Convert a sinogram of ODL, (views, bins), with its geometry and the space of its images.

    ODL's images are [x, y] with y rising: `image.T[::-1]` is one of ours, and the way back is the same.

    Args:
        sinogram: Line integrals (views, bins), an array or an element of the range of a ray transform.
        geometry: `Parallel2dGeometry`, or `FanBeamGeometry` with a flat detector, with the default directions.
        space: `odl.uniform_discr` of the images: ``min_pt``, ``max_pt`` and ``shape``.

    Returns:
        Sinogram, geometry and grid, in ODL's unit of length.

    Raises:
        InputError: The detector is curved, pixels are not square, or the sinogram has another shape.
    """
    if getattr(geometry, "det_curvature_radius", None) is not None:
        raise InputError("the detector must be flat, and this one of ODL is curved", do="resample it to a flat one")
    (low, *_), (high, *_) = (np.ravel(ends) for ends in (geometry.det_partition.min_pt, geometry.det_partition.max_pt))
    values = torch.as_tensor(np.asarray(sinogram))
    _, bins = _two_axes(values, "(views, bins)")
    detector: dict[str, Any] = {"n_bins": bins, "spacing": float(high - low) / bins}
    detector["centre"] = float(low + high) / 2
    angles = _angles(geometry.angles, values, "ODL")
    columns, rows = (int(n) for n in space.shape)
    (x, y), (width, height) = np.asarray(space.min_pt, float), np.subtract(space.max_pt, space.min_pt)
    pixel = float(width) / columns
    if abs(float(height) / rows - pixel) > 1e-9 * pixel:
        raise InputError(f"pixels must be square, but ODL's are {pixel:g} x {height / rows:g}", do="resample the space")
    grid = PixelGrid(rows, columns, pixel, (float(x + width / 2), float(y + height / 2)))
    if not hasattr(geometry, "src_radius"):
        return Converted(values, ParallelBeam(angles, **detector), grid)
    source = float(geometry.src_radius)
    return Converted(values, FanBeam(angles, **detector, **_distances(source, source + geometry.det_radius)), grid)


def from_tigre(projections: Any, geo: Any, angles: Any) -> Converted:
    """Convert cone-beam projections of TIGRE, (views, rows, columns) in radians, with its geometry.

    TIGRE's source begins on the x axis, a quarter turn ahead of ours, and its volumes (z, y, x) have y rising:
    `volume[:, ::-1]` is one of ours, and the way back is the same.

    Args:
        projections: Line integrals (views, rows, columns).
        geo: TIGRE's geometry, of a cone beam: DSO, DSD, nDetector, dDetector, offDetector, nVoxel, dVoxel.
        angles: Angles in radians.

    Returns:
        Projections, geometry and voxels, in TIGRE's unit of length.

    Raises:
        InputError: Another kind of beam, a turned detector, a shifted volume, voxels that are not cubes, or
            projections of another shape.
    """
    kind = str(getattr(geo, "mode", None) or "cone")
    if kind != "cone":
        raise unknown("mode of TIGRE's geometry", kind, ("cone",))
    for name in ("rotDetector", "offOrigin", "COR"):
        moved = getattr(geo, name, None)
        if moved is not None and np.any(np.asarray(moved, float)):
            raise InputError(
                f"a turned detector and shifts of volume and axis are not taken over from TIGRE, got {name} = {moved}",
                do="set it to zero, and correct the projections for it",
            )
    values = torch.as_tensor(np.asarray(projections))
    shape = len(np.ravel(angles)), *(int(n) for n in geo.nDetector)
    if tuple(values.shape) != shape:
        raise InputError(
            f"the projections have shape {tuple(values.shape)}, and TIGRE's geometry {shape} = (views, rows, columns)",
            do="give the geometry that they were made with",
        )
    voxels = np.asarray(geo.dVoxel, float)
    if np.ptp(voxels) > 1e-9 * voxels[0]:
        raise InputError(f"voxels must be cubes, but TIGRE's are {voxels.tolist()}", do="resample the volume")
    radians = np.ravel(np.asarray(angles, float))
    _doubt_the_unit("angles", "TIGRE", "radians", like_degrees(radians))
    turned = tuple((radians + math.pi / 2) % (2 * math.pi))
    offset = np.zeros(2) if getattr(geo, "offDetector", None) is None else np.asarray(geo.offDetector, float)
    geometry = ConeBeam(
        turned,
        (shape[1], shape[2]),
        (float(geo.dDetector[0]), float(geo.dDetector[1])),
        **_distances(float(geo.DSO), float(geo.DSD)),
        centre=(float(offset[0]), float(offset[1])),
    )
    nz, ny, nx = (int(n) for n in geo.nVoxel)
    return Converted(values, geometry, VoxelGrid((nz, ny, nx), float(voxels[0])))


def _distances(source_origin: float, source_detector_distance: float) -> dict[str, Any]:
    return {"source_origin": source_origin, "source_detector_distance": float(source_detector_distance)}


def _angles(theta: Any, values: Tensor, program: str) -> tuple[float, ...]:
    """Return angles in [0, 2 pi), one for each view of a sinogram (views, bins)."""
    angles = np.ravel(np.asarray(theta, float))
    if len(angles) != len(values):
        raise InputError(
            f"{program} keeps a sinogram with the views first, and {tuple(values.shape)} does not fit {len(angles)} "
            "angles",
            do="transpose it, or correct the angles",
        )
    _doubt_the_unit("angles", program, "radians", like_degrees(angles), stacklevel=4)
    return tuple(angles % (2 * math.pi))


def _doubt_the_unit(name: str, program: str, unit: str, reason: str, stacklevel: int = 3) -> None:
    """Warn where angles look as if they were not in the unit of a program, for a reason that is not empty."""
    if not reason:
        return
    other, convert = ("radians", "np.degrees") if unit == "degrees" else ("degrees", "np.radians")
    warnings.warn(
        f"{program} has angles in {unit}, but '{name}' looks like {other}: {reason}; it is taken as {unit}. If it is "
        f"in {other}, give {convert}({name})",
        stacklevel=stacklevel,
    )


def _two_axes(values: Tensor, axes: str) -> tuple[int, int]:
    if values.dim() != 2:
        raise InputError(
            f"a sinogram must have two axes {axes}, got shape {tuple(values.shape)}", do="choose one slice"
        )
    return values.shape[0], values.shape[1]
