"""What the geometries share: checks of angles and detectors, positions of bins, the two axes of each view."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


def checked_angles(angles: Sequence[float], turns: float = 2.0) -> tuple[float, ...]:
    """Return angles as a tuple of floats, or refuse them.

    Args:
        angles: One angle per view, in radians.
        turns: Full turns beyond which they look like degrees.

    Raises:
        InputError: There is none, one is not finite, or they look like degrees.
    """
    angles = tuple(float(t) for t in angles)
    if not angles:
        raise InputError("a scan needs at least one view, got no angle", do="give one angle per view, in radians")
    for view, angle in enumerate(angles):
        if not math.isfinite(angle):
            raise InputError(
                f"the angle of view {view} must be finite, got {angle}", do="correct it, or leave the view out"
            )
    largest = max(map(abs, angles))
    if largest > 2 * math.pi * turns:
        raise InputError(
            f"angles are in radians, at most two turns (12.57), got {largest:g}",
            do="convert degrees by math.radians, and take larger angles modulo a turn",
        )
    return angles


def check_detector(n_bins: int, spacing: float, centre: float) -> None:
    """Refuse an axis of a detector without bins, without width, or without a finite centre."""
    if n_bins < 1 or not 0 < spacing < math.inf or not math.isfinite(centre):
        raise InputError(
            f"a detector needs at least one bin, a positive bin width and a finite centre, got {n_bins} bins of width "
            f"{spacing} at {centre}",
            do="correct the one that is wrong",
        )


def check_distances(source_origin: float, source_detector_distance: float) -> None:
    """Refuse distances from the source that are not positive."""
    if not 0 < source_origin < math.inf or not 0 < source_detector_distance < math.inf:
        raise InputError(
            f"the distances from the source must be positive, got {source_origin} to the axis of rotation and "
            f"{source_detector_distance} to the detector",
            do="give both in the unit of the bin width",
        )


def bin_centres(
    n_bins: int, spacing: float, centre: float, dtype: torch.dtype = torch.float64, device: Any = "cpu"
) -> Tensor:
    """List the positions of the bin centres along one axis of a detector, (n_bins,), in units of length."""
    return centre + (torch.arange(n_bins, dtype=dtype, device=device) - (n_bins - 1) / 2) * spacing


def merged_bins(n_bins: int, spacing: float, centre: float, side: int) -> tuple[int, float, float]:
    """Merge groups of bins along one axis of a detector.

    Args:
        n_bins: Number of bins.
        spacing: Their width, in units of length.
        centre: Middle of the detector.
        side: Bins in each group; what remains is left out at both ends, one more at the last.

    Returns:
        Number, width and centre of the groups.
    """
    return n_bins // side, spacing * side, centre - n_bins % side % 2 * spacing / 2


def axes(angles: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the detector axis n = (cos t, sin t) and the central ray (-sin t, cos t), both (views, 2)."""
    t = torch.tensor(angles, dtype=torch.float64)
    return torch.stack([t.cos(), t.sin()], -1), torch.stack([-t.sin(), t.cos()], -1)
