"""What a transforms.json says of a lens: focal lengths, principal point, size, distortion and camera model."""

import math
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, unknown
from nfsolve.forward.cameras.lenses import COEFFICIENTS

PLAIN = ("fl_x", "fl_y", "w", "h", "cx", "cy", *COEFFICIENTS)
FOCAL = (("fl_x", "camera_angle_x"), ("fl_y", "camera_angle_y"))  # each says the same
FISHEYE = {"PINHOLE": False, "SIMPLE_PINHOLE": False, "PERSPECTIVE": False, "SIMPLE_RADIAL": False, "RADIAL": False}
FISHEYE |= {"OPENCV": False, "SIMPLE_RADIAL_FISHEYE": True, "RADIAL_FISHEYE": True, "OPENCV_FISHEYE": True}
SMALLEST = 3.2  # degrees of an angle of view; all of half a turn in radians are less
AGREE = 0.01  # relative difference up to which two focal lengths are the same


def read_lens(where: str, entry: dict[str, Any]) -> dict[str, float]:
    """Read the lens that is described at the top of a file or in one frame.

    Args:
        where: What to call the place in an error.
        entry: The keys there; null counts as not written.

    Returns:
        The numbers by the names fl_x, fl_y, camera_angle_x, camera_angle_y (radians), w, h, cx, cy, k1 to k4, p1, p2.

    Raises:
        InputError: A number is none, cannot be, or is of a lens that is not modelled.
    """
    lens = {key: float(numbers(f"'{key}' of {where}", entry[key], 0)) for key in PLAIN if entry.get(key) is not None}
    for axis in "xy":
        if entry.get(f"{axis}_fov") is not None:  # degrees, of instant-ngp
            degrees = float(numbers(f"'{axis}_fov' of {where}", entry[f"{axis}_fov"], 0))
            check_degrees(f"'{axis}_fov' of {where}", degrees)
            lens[f"camera_angle_{axis}"] = math.radians(degrees)
        key = f"camera_angle_{axis}"
        if entry.get(key) is not None:
            lens[key] = float(numbers(f"'{key}' of {where}", entry[key], 0))
        if key in lens:
            check_angle(f"'{key}' of {where}", lens[key])
    wrong = [key for key in ("fl_x", "fl_y", "w", "h") if not lens.get(key, 1.0) > 0]
    if wrong:
        raise InputError(f"'{wrong[0]}' of {where} must be positive, got {lens[wrong[0]]:g}", do="correct it")
    return lens | _distortion(where, entry, lens)


def _distortion(where: str, entry: dict[str, Any], lens: dict[str, float]) -> dict[str, float]:
    """Read ``distortion_params`` of nerfstudio: k1, k2, k3, k4, p1, p2."""
    if entry.get("distortion_params") is None:
        return {}
    values = numbers(f"'distortion_params' of {where}", entry["distortion_params"], 1)
    if len(values) != len(COEFFICIENTS):
        raise InputError(
            f"'distortion_params' of {where} must be {', '.join(COEFFICIENTS)}, but it has {len(values)} numbers",
            do="write all six, zeros too",
        )
    named: dict[str, float] = dict(zip(COEFFICIENTS, values.tolist(), strict=True))
    for key in named.keys() & lens.keys():
        if lens[key] != named[key]:
            raise InputError(
                f"'{key}' of {where} must be that of 'distortion_params', {named[key]:g}, got {lens[key]:g}",
                do="keep one of them",
            )
    return named


def merged(common: dict[str, float], own: dict[str, float]) -> dict[str, float]:
    """Let what a frame says win over what the file says of all; a focal length also over an angle of view."""
    dropped = {key for pair in FOCAL if own.keys() & set(pair) for key in pair}
    return {key: value for key, value in common.items() if key not in dropped} | own


def focal_lengths(name: str, lens: dict[str, float], width: float, height: float) -> tuple[float, float]:
    """Return f_x and f_y in pixels of an image of this size.

    Args:
        name: Name of the image.
        lens: See `read_lens`.
        width: Of the image.
        height: Of the image.

    Raises:
        InputError: A focal length and an angle of view contradict each other.
    """
    found: list[float | None] = []
    for (focal, angle), size in zip(FOCAL, (width, height), strict=True):
        seen = None if angle not in lens else 0.5 * size / math.tan(0.5 * lens[angle])
        said = lens.get(focal, seen)
        if said is not None and seen is not None and abs(said / seen - 1) > AGREE:
            raise InputError(
                f"'{focal}' and '{angle}' contradict each other for '{name}' of {width:g} x {height:g} pixels: the "
                f"focal length is {said:g} by the one and {seen:g} by the other",
                do="leave out the one that is wrong",
            )
        found.append(said)
    fl_x, fl_y = found[0] or found[1], found[1] or found[0]
    assert fl_x and fl_y, "readers refuse frames without a focal length"
    return fl_x, fl_y


def is_fisheye(entry: dict[str, Any]) -> bool:
    """Tell whether a camera model is of the fisheye kind.

    Raises:
        InputError: The model is not known, or contradicts ``is_fisheye`` or the tangential distortion.
    """
    said, model = bool(entry.get("is_fisheye")), entry.get("camera_model")
    name = None if model is None else str(model).upper()
    if name is not None and name not in FISHEYE:
        raise unknown("camera model", name, FISHEYE, "undistort the images beforehand")
    by_model = said if name is None else FISHEYE[name]
    if said and not by_model:
        raise InputError(f"is_fisheye and camera_model contradict each other: true and '{model}'", do="correct one")
    tangential = any(entry.get(key) for key in ("p1", "p2")) or any((entry.get("distortion_params") or [])[4:])
    if by_model and tangential:
        raise InputError("a fisheye lens has no p1 and p2, but they are not 0", do="correct camera_model or the lens")
    return by_model


def check_angle(what: str, angle: float) -> float:
    """Return an angle of view in radians; refuse one that no lens without distortion has."""
    if not 0 < angle < math.pi:
        raise InputError(
            f"{what} must be an angle in radians, between 0 and pi, got {angle:g}",
            do=f"write {math.radians(angle):.6g} if it is in degrees" if 4 < angle < 180 else "correct it",
        )
    return angle


def check_degrees(what: str, degrees: float) -> None:
    """Refuse an angle of view in degrees that is so small that it must be one in radians."""
    if 0 < degrees < SMALLEST:
        raise InputError(
            f"{what} must be an angle in degrees, and none is as small as {degrees:g}",
            do=f"write {math.degrees(degrees):.6g} if it is in radians",
        )


def numbers(what: str, value: Any, ndim: int | None = None) -> np.ndarray:
    """Read finite numbers.

    Args:
        what: What to call them in an error.
        value: What the file has.
        ndim: Number of axes that they must have; None for any.

    Raises:
        InputError: They are not numbers, not finite, or of another shape.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.full((), np.nan)
    if not np.isfinite(found).all() or ndim not in (None, found.ndim):
        wanted = "a finite number" if ndim == 0 else "finite numbers"
        raise InputError(f"{what} must be {wanted}, got {str(value)[:80]}", do="correct it")
    return found
