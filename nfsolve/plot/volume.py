"""A page to look through volumes: slices in three planes with sliders, in one HTML file without links to others."""

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nfsolve._core.errors import InputError

TEMPLATE = Path(__file__).with_name("volume.html")
MOST = 2**24  # voxels of all volumes on a page; more are averaged over blocks


def volume_page(volumes: Mapping[str, np.ndarray], voxel: float, length: str, unit: str, title: str) -> str:
    """Write a page on volumes of one shape, in 256 grey levels between the extremes of the first.

    Args:
        volumes: Name -> (nz, ny, nx): slice 0 at the smallest z, row 0 at the largest y.
        voxel: Side of a voxel.
        length: Its unit, such as "mm"; empty where it is not known.
        unit: That of the values, such as "/ mm".
        title: Title of the page.

    Returns:
        HTML that needs no other file and no network.

    Raises:
        InputError: There is no volume, their shapes differ, or one of them is not three-dimensional.
    """
    shapes = {np.shape(values) for values in volumes.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InputError(
            f"a page shows volumes (slices, rows, columns) of one shape, got {sorted(shapes)}",
            do="give one array with three axes for each name",
        )
    side = 1
    while len(volumes) * np.prod([n // side for n in next(iter(shapes))]) > MOST:
        side += 1
    shown = {name: _merged(np.asarray(values, np.float32), side) for name, values in volumes.items()}
    first = next(iter(shown.values()))
    low, high = float(np.nanmin(first)), float(np.nanmax(first))
    step = max((high - low) / 255, 1e-30)
    data = {name: _packed(values, low, step) for name, values in shown.items()}
    about = {"shape": first.shape, "voxel": voxel * side, "length": length, "unit": unit, "low": low, "step": step}
    note = f"{' x '.join(map(str, first.shape))} voxels (z, y, x)" + (
        f"; each is the mean of {side}^3, which the files beside this page hold one by one" if side > 1 else ""
    )
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, text in (
        ("title", html.escape(title)),
        ("note", note),
        ("about", json.dumps(about)),
        ("data", json.dumps(data).replace("</", "<\\/")),
    ):
        page = page.replace(f"@{name}@", text)
    return page


def _merged(values: np.ndarray, side: int) -> np.ndarray:
    """Average blocks of side^3 voxels; what does not fill a block at the far ends is left out."""
    if side == 1:
        return values
    counts = [n // side for n in values.shape]
    cut = values[tuple(slice(n * side) for n in counts)]
    return cut.reshape([m for n in counts for m in (n, side)]).mean((1, 3, 5))


def _packed(values: np.ndarray, low: float, step: float) -> str:
    """Write values as bytes in base64: steps above the lowest."""
    levels = (np.nan_to_num(values, nan=low) - low) / step + 0.5
    return base64.b64encode(np.clip(levels, 0, 255).astype(np.uint8).tobytes()).decode()
