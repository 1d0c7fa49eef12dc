"""Angles of the views of a measured scan: their unit, their limited arc, and views that are there twice."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.scans.doubts import Doubt
from nfsolve.data.scans.files import numbers
from nfsolve.forward.radon.units import like_degrees, like_radians

SAME_DEGREES = 1e-6
LARGEST = 1e8  # degrees; of larger ones the place on the circle is lost to rounding


def angles_of(path: Path, known: dict[str, Any], unit: str, turns: bool = False) -> np.ndarray:
    """Return the angles of the views.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        unit: ``"degrees"``, ``"radians"``, or empty: degrees, unless they look like radians.
        turns: Whether turns matter, as in a helix, so that angles beyond two of them are kept as they are.

    Returns:
        Angles (views,), in degrees; in [0, 360) if they go beyond two turns.

    Raises:
        InputError: They are not finite, or look like radians.
    """
    if unit not in ("", "degrees", "radians"):
        raise unknown("angle unit", unit, ("degrees", "radians"))
    angles = numbers(path, known, "angles_deg").ravel()
    wrong = ~(np.abs(angles) < LARGEST)
    if wrong.any():
        view = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"angles must be finite and below {LARGEST:g}, but 'angles_deg' of '{path}' is {angles[view]} in view "
            f"{view}",
            do="correct it, or leave the view out",
        )
    reason = "" if unit else like_radians(angles)
    if reason:
        raise InputError(
            f"'angles_deg' of '{path}' look like radians, not degrees: {reason}",
            do="state their unit: angle_unit='radians' or angle_unit='degrees'",
        )
    reason = like_degrees(angles) if unit == "radians" else ""
    if reason:
        warnings.warn(
            f"'angles_deg' of '{path.name}' are taken as radians, as stated, but look like degrees: {reason}; if they "
            "are, leave out angle_unit (--angle-unit)",
            Doubt,
            stacklevel=3,
        )
    degrees = np.degrees(angles) if unit == "radians" else angles
    return degrees % 360 if np.abs(degrees).max() > 720 and not turns else degrees


def once_around(degrees: np.ndarray) -> list[int]:
    """Return the indices of all views but a last one that repeats the first after a full turn."""
    again = len(degrees) > 1 and abs(abs(degrees[-1] - degrees[0]) - 360) < SAME_DEGREES
    return list(range(len(degrees) - again))


def arc_of(path: Path, known: dict[str, Any], unit: str) -> tuple[float, float] | None:
    """Return the limited arc that a file names.

    Args:
        path: The file.
        known: The file's arrays in the general layout, with the angles of the arc or, rising, its two ends.
        unit: As for `angles_of`.

    Returns:
        First and last angle in degrees, the last at most a turn beyond the first; None where the file names no arc.

    Raises:
        InputError: Two ends fall, so that they could mean either of two arcs, or an angle is not finite.
    """
    if "limited_angles_deg" not in known:
        return None
    angles = numbers(path, known, "limited_angles_deg").ravel()
    arc = np.degrees(angles) if unit == "radians" else angles
    if not np.isfinite(arc).all() or (len(arc) == 2 and arc[1] < arc[0]):
        raise InputError(
            f"'limited_angles_deg' of '{path}' must name the finite angles of an arc, or its two ends, rising, got "
            f"{arc.tolist()[:4]}",
            do="write an arc from 330 through 0 to 30 as 330, 390, or list all its angles",
        )
    steps = np.diff(arc)
    if (steps >= 0).all() or (steps <= 0).all():
        return float(arc.min()), min(float(arc.max()), float(arc.min()) + 360)
    around = np.unique(arc % 360)  # in any order, or through 0: all of the circle but the widest gap
    gaps = np.diff(around, append=around[0] + 360)
    first = (int(gaps.argmax()) + 1) % len(around)
    return float(around[first]), float(around[first] + 360 - gaps.max())


def in_arc(degrees: np.ndarray, arc: tuple[float, float]) -> np.ndarray:
    """Return which angles (n,) lie on an arc, whatever turn they are counted in."""
    low, high = arc
    return (degrees - low + SAME_DEGREES) % 360 <= high - low + 2 * SAME_DEGREES
