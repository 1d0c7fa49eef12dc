"""Geometries of other programs: where they put the rotation axis, how they count angles, and how arrays lie.

Half a pixel matters: with scikit-image's axis taken for the middle of the image, filtered back-projection of a smooth
object loses 9 dB. Lengths are in pixels of the image, as in those programs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.grids import PixelGrid
from nfsolve.forward.radon.parallel import ParallelBeam


@dataclass(frozen=True, eq=False)
class Converted:
    """A sinogram of another program as nfsolve's functions take it.

    Attributes:
        sinogram: Line integrals (views, bins), with lengths in pixels.
        geometry: Views and detector.
        grid: Pixels of the image as that program has it: on this grid images need no shift.
    """

    sinogram: Tensor
    geometry: ParallelBeam | FanBeam
    grid: PixelGrid


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
    angles = tuple(np.asarray(proj_geom["ProjectionAngles"], float) % (2 * math.pi))
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


def _two_axes(values: Tensor, axes: str) -> tuple[int, int]:
    if values.dim() != 2:
        raise InputError(
            f"a sinogram must have two axes {axes}, got shape {tuple(values.shape)}", do="choose one slice"
        )
    return values.shape[0], values.shape[1]
