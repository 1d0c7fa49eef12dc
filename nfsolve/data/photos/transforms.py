"""transforms.json of Blender scenes, nerfstudio and instant-ngp.

Mildenhall et al., "NeRF", ECCV 2020 (one file for each split, camera_angle_x); docs.nerf.studio, "Data conventions"
(intrinsics and distortion, for all frames or for each); instant-ngp, docs/nerf_dataset_tips.md (aabb_scale).
"""

import json
import math
import posixpath
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.frames import (
    ENDINGS,
    SPLITS,
    Bounds,
    Frame,
    Layout,
    Root,
    check_inside,
    hold_out_some,
    read_bytes,
    read_picture,
)
from nfsolve.forward.cameras.lenses import COEFFICIENTS

_LENS = ("camera_angle_x", "camera_angle_y", "fl_x", "fl_y", "w", "h", "cx", "cy", *COEFFICIENTS)
_FISHEYE = {"PINHOLE": False, "SIMPLE_PINHOLE": False, "SIMPLE_RADIAL": False, "RADIAL": False, "OPENCV": False}
_FISHEYE |= {"SIMPLE_RADIAL_FISHEYE": True, "RADIAL_FISHEYE": True, "OPENCV_FISHEYE": True}
_READ = {
    *_LENS,
    "frames",
    "file_path",
    "transform_matrix",
    "camera_model",
    "is_fisheye",
    "aabb_scale",
    "scale",
    "offset",
}
_READ |= {"distortion_params", *(f"{split}_filenames" for split in SPLITS)}
# keys that say how a file was made, or what other programs do with it, but nothing of the photographs
_REMARKS = {"rotation", "sharpness", "colmap_im_id", "original_fn", "ply_file_path", "applied_transform"}
_REMARKS |= {"applied_scale", "orientation_override", "auto_scale_poses_override", "camera_label", "n_frames", "up"}
_REMARKS |= {"depth_file_path", "depth_path", "integer_depth_scale", "enable_depth_loading", "from_na", "fps"}
_MASKS = ("mask_path", "mask", "dynamic_mask_path")
_UNREAD: dict[str, str] = dict.fromkeys(_MASKS, "make what is masked transparent in the images, and take this key out")
_UNREAD |= dict.fromkeys(("k5", "k6", "s1", "s2", "s3", "s4"), "undistort the images, and take this key out")
_UNREAD |= {"rolling_shutter": "correct the images, and take this key out"}


def read_transforms(root: Root, files: Mapping[str, Root], hold_out: int, allow_outside: bool) -> Layout:
    """Read the files of the splits, or the one file under the key ``""``, which is split by its lists or by number."""
    heads = {key: _json(file) for key, file in files.items()}
    splits = {key: _frames(root, files[key].name, head, allow_outside) for key, head in heads.items()}
    models = {_is_fisheye(head | entry) for head in heads.values() for entry in head["frames"]}
    if len(models) > 1:
        raise InputError(
            f"frames of '{root}' must have one camera model, but some have fisheye lenses and others have not",
            do="make a scene of each",
        )
    head = next(iter(heads.values()))
    if "" in splits:
        splits = _listed(files[""].name, head, splits[""]) or hold_out_some(splits[""], hold_out)
    angle_only = all("camera_angle_x" in h and "fl_x" not in h for h in heads.values())
    return Layout(splits, any(models), bounds=_aabb(head), white="" not in files and angle_only)


def _json(file: Root) -> dict[str, Any]:
    try:
        head = json.loads(read_bytes(file).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{file}' must be valid JSON, but it is not ({str(error)[:200]})", do="correct it there"
        ) from error
    frames = head.get("frames") if isinstance(head, dict) else None
    if not isinstance(frames, list) or not all(isinstance(entry, dict) for entry in frames):
        raise InputError(
            f"'{file}' must have a list 'frames' with an entry for each image, but it has none",
            do="write one entry with file_path and transform_matrix for each image",
        )
    head, head["frames"] = _given(head), [_given(entry) for entry in frames]
    _check_keys(file.name, {key: value for entry in (head, *head["frames"]) for key, value in entry.items()})
    return head


def _given(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _check_keys(file: str, found: dict[str, Any]) -> None:
    """Refuse keys that change what a pixel means, and name others that are not read."""
    for key in sorted(found.keys() & _UNREAD.keys()):
        if np.any(found[key]):
            raise InputError(f"'{file}' must not have '{key}', which is not read", do=_UNREAD[key])
    others = sorted(found.keys() - _READ - _REMARKS - _UNREAD.keys())
    if others:
        known = "', '".join(others[:8])
        warnings.warn(f"'{file}' has keys that are not read: '{known}'", UserWarning, stacklevel=2)


def _frames(root: Root, file: str, head: dict[str, Any], allow_outside: bool) -> list[Frame]:
    frames = [_frame(root, f"frame {i} of '{file}'", head | e, allow_outside) for i, e in enumerate(head["frames"])]
    poses: dict[str, np.ndarray] = {}
    for frame in frames:
        if not np.array_equal(poses.setdefault(frame.name, frame.pose), frame.pose):
            raise InputError(
                f"'{file}' must name each image once, but it names '{frame.name}' with several poses",
                do="correct file_path",
            )
    return frames


def _frame(root: Root, where: str, entry: dict[str, Any], allow_outside: bool) -> Frame:
    for key in ("file_path", "transform_matrix"):
        if key not in entry:
            raise InputError(f"{where} must have '{key}', but it has not", do="write it in each frame")
    name = _normal(entry["file_path"])
    pose = _numbers(f"'transform_matrix' of {where}", entry["transform_matrix"])
    if pose.shape not in ((3, 4), (4, 4)):
        raise InputError(
            f"'transform_matrix' of {where} must have shape (4, 4) or (3, 4), but it has {pose.shape}", do="correct it"
        )
    pose = np.concatenate([pose[:3], [[0.0, 0.0, 0.0, 1.0]]])
    at = next((at for ending in ("", *ENDINGS) if (at := _file(root, name + ending, allow_outside)).is_file()), None)
    return Frame(name, pose, _lens(where, entry), None if at is None else partial(read_picture, at))


def _normal(name: Any) -> str:
    """Return a name in one spelling: slashes, and neither ``./`` nor ``..`` where they cancel."""
    return posixpath.normpath(str(name).replace("\\", "/"))


def _file(root: Root, name: str, allow_outside: bool) -> Root:
    file = root / name
    check_inside(root, file, allow_outside)
    return file


def _lens(where: str, entry: dict[str, Any]) -> dict[str, float]:
    """Return what a frame, or else the top of the file, says of the lens."""
    lens = {key: float(_numbers(f"'{key}' of {where}", entry[key], 0)) for key in _LENS if key in entry}
    if "distortion_params" in entry:
        listed = _numbers(f"'distortion_params' of {where}", entry["distortion_params"], 1)
        if len(listed) != len(COEFFICIENTS):
            raise InputError(
                f"'distortion_params' of {where} must be {', '.join(COEFFICIENTS)}, but it has {len(listed)} numbers",
                do="write all six, zeros too",
            )
        for key, value in zip(COEFFICIENTS, listed.tolist(), strict=True):
            if lens.setdefault(key, value) != value:
                raise InputError(
                    f"'{key}' of {where} must be that of 'distortion_params', {value:g}, got {lens[key]:g}",
                    do="keep one of them",
                )
    if not {"fl_x", "camera_angle_x", "fl_y", "camera_angle_y"} & lens.keys():
        raise InputError(
            f"{where} must have a focal length, but it has none",
            do="write 'fl_x' or 'camera_angle_x', for all frames at the top or in each frame",
        )
    for key in _LENS[:6]:
        if key in lens and not lens[key] > 0:
            raise InputError(f"'{key}' of {where} must be positive, got {lens[key]}", do="correct it")
    for key in _LENS[:2]:
        if key in lens:
            check_angle(f"'{key}' of {where}", lens[key])
    return lens


def check_angle(what: str, angle: float) -> float:
    """Return an angle of view in radians; refuse one that no lens without distortion has."""
    if not 0 < angle < math.pi:
        raise InputError(
            f"{what} must be an angle in radians, between 0 and pi, got {angle:g}",
            do=f"write {math.radians(angle):.6g} if it is in degrees" if 4 < angle < 180 else "correct it",
        )
    return angle


def _numbers(what: str, value: Any, ndim: int | None = None) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.full((), np.nan)
    if not np.isfinite(numbers).all() or ndim not in (None, numbers.ndim):
        wanted = "a finite number" if ndim == 0 else "finite numbers"
        raise InputError(f"{what} must be {wanted}, got {str(value)[:80]}", do="correct it")
    return numbers


def _is_fisheye(entry: dict[str, Any]) -> bool:
    model = str(entry.get("camera_model", "OPENCV")).upper()
    if model not in _FISHEYE:
        raise unknown("camera model", model, _FISHEYE)
    return _FISHEYE[model] or bool(entry.get("is_fisheye", False))


def _listed(file: str, head: dict[str, Any], frames: list[Frame]) -> dict[str, list[Frame]]:
    """Follow the lists of names by which nerfstudio's format may say what is in which split."""
    exact = {frame.name: frame.name for frame in frames}
    known = {posixpath.splitext(name)[0]: name for name in exact} | exact  # a list may have other endings, or none
    splits: dict[str, list[Frame]] = {}
    for key in (split for split in SPLITS if f"{split}_filenames" in head):
        names = [_normal(name) for name in np.ravel(head[f"{key}_filenames"])]
        found = [known.get(name) or known.get(posixpath.splitext(name)[0]) for name in names]
        lost = [name for name, frame in zip(names, found, strict=True) if frame is None]
        if lost:
            raise InputError(
                f"'{key}_filenames' of '{file}' must name frames, but no frame has the file_path '{lost[0]}'"
                + (f" and {len(lost) - 1} others" if len(lost) > 1 else ""),
                do="spell them as file_path does",
            )
        splits[key] = [frame for frame in frames if frame.name in set(found)]
    return splits


def _aabb(head: dict[str, Any]) -> Bounds | None:
    """Return the cube of side aabb_scale around (0.5, 0.5, 0.5) in the coordinates ``scale * x + offset``."""
    if "aabb_scale" not in head:
        return None
    side, scale = (float(_numbers(f"'{key}'", head.get(key, 0.33), 0)) for key in ("aabb_scale", "scale"))
    if not side > 0 or not scale > 0:
        raise InputError(f"aabb_scale and scale must be positive, got {side:g} and {scale:g}", do="correct them")
    offset = _numbers("'offset'", head.get("offset", 0.5))
    if offset.shape not in ((), (3,)):
        raise InputError(f"'offset' must be a number or three, but it has shape {offset.shape}", do="correct it")
    return tuple(
        ((0.5 - side / 2 - o) / scale, (0.5 + side / 2 - o) / scale) for o in np.broadcast_to(offset, 3).tolist()
    )
