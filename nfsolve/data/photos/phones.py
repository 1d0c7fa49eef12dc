"""Captures of telephones as their applications export them: Polycam (raw data) and Record3D.

Both have the axes of ARKit: cameras look along -z, and the world's +y is up, which becomes +z here. Polycam has a JSON
for each keyframe (entries t_00 to t_23 of the pose), Record3D one file ``metadata`` (quaternions x, y, z, w and places,
and the matrix of the lens column by column). Depths are not read.
"""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nfsolve._core.errors import InputError
from nfsolve.data.photos.finding import with_pictures
from nfsolve.data.photos.frames import Frame, Layout, Root, check_inside, hold_out_some, read_json, say
from nfsolve.data.photos.intrinsics import numbers

KEYFRAMES = (("corrected_cameras", "corrected_images"), ("cameras", "images"))
POLYCAM = {"fx": "fl_x", "fy": "fl_y", "cx": "cx", "cy": "cy", "width": "w", "height": "h"}
POLYCAM_NOTES = ("timestamp", "blur_score", "angular_velocity", "linear_velocity", "neighbors", "center_depth")
RECORD3D = ("K", "poses", "w", "h")
RECORD3D_NOTES = ("fps", "dw", "dh", "initPose", "frameTimestamps", "cameraType")
TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # y is up -> z is up


def find_polycam(root: Root) -> tuple[str, str] | None:
    """Return the folders of cameras and images of a raw export of Polycam in a folder, or None."""
    for base in ("keyframes", "."):
        for cameras, images in KEYFRAMES:
            folder = root / base / cameras if base != "." else root / cameras
            if folder.is_dir() and any(entry.name.endswith(".json") for entry in folder.iterdir()):
                return (f"{base}/{cameras}", f"{base}/{images}") if base != "." else (cameras, images)
    return None


def read_polycam(root: Root, folders: tuple[str, str], hold_out: int, allow_outside: bool) -> Layout:
    """Read a raw export of Polycam; corrected cameras come before those that were measured.

    Raises:
        InputError: A file is damaged or lacks a number.
    """
    files = sorted((f for f in (root / folders[0]).iterdir() if f.name.endswith(".json")), key=lambda file: file.name)
    frames, unread = [], set()
    for file in files:
        check_inside(root, file, allow_outside)
        entry = _entries(file)
        pose = np.eye(4)
        pose[:3] = [[_number(file, entry, f"t_{row}{column}") for column in range(4)] for row in range(3)]
        pose[:3] = TURN @ pose[:3]
        lens = {name: _number(file, entry, key) for key, name in POLYCAM.items()}
        frames.append(Frame(f"{folders[1]}/{file.name[: -len('.json')]}", pose, lens, None))
        unread |= {key for key in entry if key not in (*POLYCAM, *POLYCAM_NOTES) and not key.startswith("t_")}
    _say_unread(folders[0], unread)
    return Layout(hold_out_some(with_pictures(root, frames, allow_outside), hold_out), captured=True)


def is_record3d(root: Root) -> bool:
    """Tell whether a folder is an export of Record3D."""
    return (root / "metadata").is_file() or (root / "metadata.json").is_file()


def read_record3d(root: Root, hold_out: int, allow_outside: bool) -> Layout:
    """Read an export of Record3D, with photographs 0.jpg, 1.jpg, ... in ``rgbd``, ``rgb`` or ``images``.

    Raises:
        InputError: Its metadata is damaged, or lacks something.
    """
    file = next(root / name for name in ("metadata", "metadata.json") if (root / name).is_file())
    check_inside(root, file, allow_outside)
    head = _entries(file)
    missing = [key for key in RECORD3D if key not in head]
    if missing:
        raise InputError(f"'{file}' must have '{missing[0]}', but it does not", do="export it from Record3D again")
    matrix, rows = numbers(f"'K' of '{file}'", head["K"]).reshape(-1), numbers(f"'poses' of '{file}'", head["poses"], 2)
    if len(matrix) != 9 or rows.shape[1] != 7:
        raise InputError(
            f"'{file}' must have 9 numbers of K and 7 of each pose, but it has {len(matrix)} and {rows.shape[1]}",
            do="export it from Record3D again",
        )
    lens = {"w": _number(file, head, "w"), "h": _number(file, head, "h")}
    lens |= {"fl_x": matrix[0], "fl_y": matrix[4], "cx": matrix[6], "cy": matrix[7]}
    own = head.get("perFrameIntrinsicCoeffs")
    lenses = [lens] * len(rows)
    if own is not None and np.shape(own) == (len(rows), 4):
        given = numbers(f"'perFrameIntrinsicCoeffs' of '{file}'", own, 2).tolist()
        lenses = [lens | dict(zip(("fl_x", "fl_y", "cx", "cy"), row, strict=True)) for row in given]
    folder = next((name for name in ("rgbd", "rgb", "images") if (root / name).is_dir()), "rgbd")
    frames = []
    for i, row in enumerate(rows):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = TURN @ Rotation.from_quat(row[:4]).as_matrix(), TURN @ row[4:]
        frames.append(Frame(f"{folder}/{i}", pose, lenses[i], None))
    _say_unread(file.name, {key for key in head if key not in (*RECORD3D, *RECORD3D_NOTES, "perFrameIntrinsicCoeffs")})
    return Layout(hold_out_some(with_pictures(root, frames, allow_outside), hold_out), captured=True)


def _say_unread(where: str, keys: set[str]) -> None:
    if keys:
        named = "', '".join(sorted(keys))
        say(f"'{where}' has keys that are not read: '{named}'")


def _number(file: Root, entry: dict[str, Any], key: str) -> float:
    if key not in entry:
        raise InputError(f"'{file}' must have '{key}', but it does not", do="export the capture again")
    return float(numbers(f"'{key}' of '{file}'", entry[key], 0))


def _entries(file: Root) -> dict[str, Any]:
    found = read_json(file, "copy it again")
    if not isinstance(found, dict):
        raise InputError(f"'{file}' must be a JSON object, but it is not", do="copy it again")
    return found
