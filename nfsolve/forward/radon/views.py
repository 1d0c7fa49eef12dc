"""What the geometries share: checks of angles and detectors, positions of bins, the two axes of each view."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


def checked_angles(angles: Sequence[float]) -> tuple[float, ...]:
    """Return angles as a tuple of floats, or refuse them.

    Args:
        angles: One angle per view, in radians.

    Returns:
        The same numbers.

    Raises:
        InputError: There is none, one is not finite, or they look like degrees.
    """
    angles = tuple(float(t) for t in angles)
    if not angles or not all(map(math.isfinite, angles)):
        raise InputError(f"{len(angles)} angles", "at least one, all finite, was expected")
    largest = max(map(abs, angles))
    if largest > 4 * math.pi:
        raise InputError(f"an angle of {largest:g}", "radians were expected", "convert degrees by math.radians")
    return angles


def check_detector(n_bins: int, spacing: float, centre: float) -> None:
    """Refuse an axis of a detector without bins, without width, or without a place."""
    if n_bins < 1 or not 0 < spacing < math.inf or not math.isfinite(centre):
        raise InputError(
            f"a detector of {n_bins} bins of width {spacing} at {centre}",
            "at least one bin, a positive width and a finite centre were expected",
        )


def check_distances(source: float, detector: float) -> None:
    """Refuse distances from the source that are not positive."""
    if not 0 < source < math.inf or not 0 < detector < math.inf:
        raise InputError(
            f"a source {source} from the axis and {detector} from the detector",
            "two positive distances were expected",
        )


def bin_centres(
    n_bins: int, spacing: float, centre: float, dtype: torch.dtype = torch.float64, device: Any = "cpu"
) -> Tensor:
    """List the positions of the bin centres along one axis of a detector, (n_bins,), in units of length."""
    return centre + (torch.arange(n_bins, dtype=dtype, device=device) - (n_bins - 1) / 2) * spacing


def axes(angles: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the detector axis n = (cos t, sin t) and the central ray (-sin t, cos t), both (views, 2)."""
    t = torch.tensor(angles, dtype=torch.float64)
    return torch.stack([t.cos(), t.sin()], -1), torch.stack([-t.sin(), t.cos()], -1)
