"""transforms.json of Blender scenes, nerfstudio and instant-ngp.

Mildenhall et al., "NeRF", ECCV 2020 (one file for each split, camera_angle_x); docs.nerf.studio, "Data conventions"
(intrinsics and distortion, for all frames or for each); instant-ngp, docs/nerf_dataset_tips.md (aabb_scale).
"""

import json
import posixpath
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.frames import ENDINGS, SPLITS, Bounds, Frame, Layout, Root, hold_out_some, read_picture

_LENS = ("camera_angle_x", "camera_angle_y", "fl_x", "fl_y", "w", "h", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2")
_FISHEYE = {"PINHOLE": False, "SIMPLE_PINHOLE": False, "SIMPLE_RADIAL": False, "RADIAL": False, "OPENCV": False}
_FISHEYE |= {"SIMPLE_RADIAL_FISHEYE": True, "RADIAL_FISHEYE": True, "OPENCV_FISHEYE": True}


def read_transforms(root: Root, files: Mapping[str, Root], hold_out: int) -> Layout:
    """Read the files of the splits, or the one file under the key ``""``, which is split by its lists or by number."""
    heads = {key: _json(file) for key, file in files.items()}
    splits = {key: _frames(root, files[key].name, head) for key, head in heads.items()}
    models = {_is_fisheye(head | entry) for head in heads.values() for entry in head["frames"]}
    if len(models) > 1:
        raise InputError(f"frames of '{root}' have fisheye lenses and others", "one camera model for all")
    head = next(iter(heads.values()))
    if "" in splits:
        splits = _listed(head, splits[""]) or hold_out_some(splits[""], hold_out)
    angle_only = all("camera_angle_x" in h and "fl_x" not in h for h in heads.values())
    return Layout(splits, any(models), bounds=_aabb(head), white="" not in files and angle_only)


def _json(file: Root) -> dict[str, Any]:
    try:
        head = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"'{file}' is not valid JSON ({error})", "a transforms.json", "correct it there") from error
    frames = head.get("frames") if isinstance(head, dict) else None
    if not isinstance(frames, list) or not all(isinstance(entry, dict) for entry in frames):
        raise InputError(f"'{file}' has no list 'frames'", "one entry with file_path and transform_matrix per image")
    return head


def _frames(root: Root, file: str, head: dict[str, Any]) -> list[Frame]:
    return [_frame(root, f"'{file}', frame {i}", head | entry) for i, entry in enumerate(head["frames"])]


def _frame(root: Root, where: str, entry: dict[str, Any]) -> Frame:
    for key in ("file_path", "transform_matrix"):
        if key not in entry:
            raise InputError(f"{where}, has no '{key}'", "file_path and transform_matrix in each frame")
    name = posixpath.normpath(str(entry["file_path"]).replace("\\", "/"))
    pose = _numbers(f"{where}, 'transform_matrix'", entry["transform_matrix"])
    if pose.shape not in ((3, 4), (4, 4)):
        raise InputError(f"{where}, 'transform_matrix' has shape {pose.shape}", "(4, 4), or (3, 4)")
    pose = np.concatenate([pose[:3], [[0.0, 0.0, 0.0, 1.0]]])
    lens = {key: float(_numbers(f"{where}, '{key}'", entry[key], 0)) for key in _LENS if key in entry}
    if not {"fl_x", "camera_angle_x", "fl_y", "camera_angle_y"} & lens.keys():
        raise InputError(
            f"{where}, has no focal length",
            "'fl_x' or 'camera_angle_x', for all frames at the top or in each frame",
        )
    wrong = [key for key in _LENS[:6] if key in lens and not lens[key] > 0]
    if wrong:
        raise InputError(f"{where}, '{wrong[0]}' is {lens[wrong[0]]}", "a positive number")
    at = next((at for ending in ("", *ENDINGS) if (at := root / (name + ending)).is_file()), None)
    return Frame(name, pose, lens, None if at is None else partial(read_picture, at))


def _numbers(what: str, value: Any, ndim: int | None = None) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.full((), np.nan)
    if not np.isfinite(numbers).all() or ndim not in (None, numbers.ndim):
        raise InputError(f"{what} is {str(value)[:80]}", "finite numbers" if ndim is None else "a finite number")
    return numbers


def _is_fisheye(entry: dict[str, Any]) -> bool:
    model = entry.get("camera_model", "OPENCV")
    if model not in _FISHEYE:
        raise unknown("camera model", str(model), _FISHEYE)
    return _FISHEYE[model] or bool(entry.get("is_fisheye", False))


def _listed(head: dict[str, Any], frames: list[Frame]) -> dict[str, list[Frame]]:
    """Follow the lists of names by which nerfstudio's format may say what is in which split."""
    lists = {
        key: {posixpath.normpath(n) for n in head[f"{key}_filenames"]} for key in SPLITS if f"{key}_filenames" in head
    }
    return {key: [frame for frame in frames if frame.name in names] for key, names in lists.items()}


def _aabb(head: dict[str, Any]) -> Bounds | None:
    """Return the cube of side aabb_scale around (0.5, 0.5, 0.5) in the coordinates ``scale * x + offset``."""
    if "aabb_scale" not in head:
        return None
    side, scale = (float(_numbers(f"'{key}'", head.get(key, 0.33), 0)) for key in ("aabb_scale", "scale"))
    if not side > 0 or not scale > 0:
        raise InputError(f"aabb_scale = {side} and scale = {scale}", "positive numbers")
    offset = np.broadcast_to(_numbers("'offset'", head.get("offset", 0.5)), (3,))
    return tuple(((0.5 - side / 2 - o) / scale, (0.5 + side / 2 - o) / scale) for o in offset.tolist())
