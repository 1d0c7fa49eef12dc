"""Detector rows of a panel that is turned in its own plane, whose columns are then not along the axis of rotation."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError

MOST = 45.0  # degrees: beyond it rows are columns


def unrolled(path: Path, read: Callable[[int], dict[str, Any]], row: int, rows: int, roll: float) -> dict[str, Any]:
    """Return what a panel would have measured in a row, were it not turned; linear between bins and rows.

    Rows are as far apart as bins. Bins that lie beyond the panel have weight 0, and the value of its border.

    Args:
        path: The file.
        read: From a row of the panel to the attributes sinogram, weights, counts and I0 of a `scan.Scan`.
        row: The row across the axis of rotation, counted like those of the panel, about its middle.
        rows: Number of rows.
        roll: Degrees by which the panel is turned counter-clockwise, seen with row 0 on top and bins rising
            to the right.

    Returns:
        Its attributes.

    Raises:
        InputError: There is one row only, or the angle is too large.
    """
    if not roll:
        return read(row)
    if rows < 2 or not abs(roll) <= MOST:
        raise InputError(
            f"a roll of the detector of up to {MOST:g} degrees is undone between its rows, got {roll:g} degrees for "
            f"the {rows} rows of '{path}'",
            do="give the whole stack of rows" if rows < 2 else "give a smaller angle, in degrees",
        )
    n = read(row)["sinogram"].shape[1]
    sine, cosine = math.sin(math.radians(roll)), math.cos(math.radians(roll))
    across, up = np.arange(n) - (n - 1) / 2, (rows - 1) / 2 - row
    column = (n - 1) / 2 + across * cosine + up * sine
    height = (rows - 1) / 2 - (up * cosine - across * sine)
    beyond = (column < -0.5) | (column > n - 0.5) | (height < -0.5) | (height > rows - 0.5)
    column, height = column.clip(0, n - 1), height.clip(0, rows - 1)
    left, upper = np.floor(column).astype(int).clip(0, n - 2), np.floor(height).astype(int).clip(0, rows - 2)
    right_share, lower_share = column - left, height - upper
    found: dict[str, Any] = {}
    known = np.zeros(0)
    for index in range(upper.min(), upper.max() + 2):
        share = np.where(upper == index, 1 - lower_share, np.where(upper + 1 == index, lower_share, 0.0))
        part = read(index)
        weights = np.ones_like(part["sinogram"]) if part.get("weights") is None else part["weights"]
        unknown = np.minimum(weights[:, left], weights[:, left + 1])
        known = np.where(share > 0, np.minimum(known, unknown), known) if known.size else np.where(share, unknown, 1.0)
        for name in ("sinogram", "counts", "I0", "overexposed"):
            if part.get(name) is not None:
                values = (1 - right_share) * part[name][:, left] + right_share * part[name][:, left + 1]
                found[name] = found.get(name, 0.0) + share * values
    known = np.where(beyond, 0.0, known)
    return found | {"weights": known if (known < 1).any() else None}
