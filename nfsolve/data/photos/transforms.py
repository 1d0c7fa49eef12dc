"""transforms.json of Blender scenes, nerfstudio and instant-ngp.

Mildenhall et al., "NeRF", ECCV 2020 (one file for each split, camera_angle_x); docs.nerf.studio, "Data conventions"
(intrinsics and distortion for all frames or for each, masks, lists of the splits); instant-ngp,
docs/nerf_dataset_tips.md (aabb_scale, scale, offset, x_fov). A key that says something and is not used is named once.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.data.photos.extent import cameras_of
from nfsolve.data.photos.finding import named_mask, say_unused, with_pictures
from nfsolve.data.photos.frames import SPLITS, Bounds, Frame, Layout, Root, hold_out_some, read_json, say
from nfsolve.data.photos.intrinsics import is_fisheye, merged, numbers, read_lens
from nfsolve.forward.cameras import Cameras

LENS = ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov", "w", "h", "cx", "cy", "k1", "k2", "k3")
LENS += ("k4", "k5", "k6", "p1", "p2", "distortion_params", "camera_model", "is_fisheye")
FRAME = ("file_path", "transform_matrix", "mask_path")
NOTES = ("rotation", "sharpness", "colmap_im_id", "original_fn", "camera_label", "n_frames", "up", "fps", "from_na")
UNUSED = {  # keys of which the user should know that they are not used, and why
    "applied_transform": "the poses are taken as they are, with it",
    "applied_scale": "the poses are taken as they are, with it",
    "ply_file_path": "its points are not read",
    "depth_file_path": "depths are not read",
    "depth_path": "depths are not read",
    "time": "the scene is taken to stand still",
}
EXACT = 1e-3  # how far the entries of a rotation may be off
REFUSED: dict[str, str] = dict.fromkeys(
    ("mask", "dynamic_mask_path"), "give the masks as mask_path, black where left out"
)
REFUSED |= dict.fromkeys(("k5", "k6", "s1", "s2", "s3", "s4"), "undistort the images, and take this key out")
REFUSED |= {"rolling_shutter": "correct the images, and take this key out"}


def read_transforms(root: Root, files: Mapping[str, Root], hold_out: int, allow_outside: bool = False) -> Layout:
    """Read transforms.json.

    Args:
        root: The folder of the scene.
        files: The file of each split, or the one file under the key ``""``, which is split by its lists or by number.
        hold_out: If no splits are given, every ``hold_out``-th frame in the order of names is for tests.
        allow_outside: Whether pictures may lie outside of ``root``.

    Returns:
        The layout; where there are no frames for one of val and test, they are the same.

    Raises:
        InputError: Something is missing, malformed, contradicts itself or cannot be used.
    """
    heads = {key: _json(file) for key, file in files.items()}
    splits = {key: _frames(root, files[key].name, head, allow_outside) for key, head in heads.items()}
    models = {is_fisheye(head | entry) for head in heads.values() for entry in head["frames"]}
    if len(models) > 1:
        raise InputError(
            f"frames of '{root}' must have one camera model, but some have fisheye lenses and others do not",
            do="make a scene of each",
        )
    everyone = [frame for some in splits.values() for frame in some]
    boxes = {key: _aabb(files[key].name, head) for key, head in heads.items()}
    if len(set(boxes.values())) > 1:
        raise InputError(
            f"the splits of '{root}' must have one aabb_scale, scale and offset, but theirs differ", do="correct them"
        )
    nears, fars = ({_distance(files[k].name, h, key) for k, h in heads.items()} for key in ("near", "far"))
    if "" in splits:
        head = heads[""]
        splits = _listed(files[""].name, head, splits[""]) or hold_out_some(splits[""], hold_out)
    for one, other in (("val", "test"), ("test", "val")):
        if one not in splits and other in splits:
            splits[one] = splits[other]
    _check_leakage(splits)
    bare = sum(frame.mask is None for frame in everyone)
    named = any("mask_path" in entry for head in heads.values() for entry in head["frames"])
    if named and bare > 0:
        say(f"{bare} of {len(everyone)} photographs have no mask, and all of their pixels count")
    if splits.get("train"):
        say_unused(root, everyone)
    for key, head in heads.items():
        _say_unused(files[key].name, head)
    angle_only = all("camera_angle_x" in h and "fl_x" not in h for h in heads.values())
    white = "" not in files and angle_only
    return Layout(splits, any(models), max(nears, key=str), max(fars, key=str), next(iter(boxes.values())), white)


def read_cameras(file: Path) -> Cameras:
    """Read cameras alone, written as in transforms.json: matrices, and a lens with ``w`` and ``h`` for all or for each.

    Args:
        file: The JSON file; pictures are not looked for.

    Returns:
        The cameras, in the order of the frames.

    Raises:
        InputError: Something is missing, malformed or contradicts itself.
    """
    head = _json(file)
    common, where = read_lens(f"'{file.name}'", head), f"'{file.name}'"
    entries = [{"file_path": str(i)} | entry for i, entry in enumerate(head["frames"])]
    frames = []
    for i, entry in enumerate(entries):
        frames.append(_frame(file.parent, f"frame {i} of {where}", entry | {"mask_path": None}, common, False, []))
        if not {"w", "h"} <= frames[-1].lens.keys():
            raise InputError(f"frame {i} of {where} must have the size of its image", do="write 'w' and 'h'")
    if not frames:
        raise InputError(f"{where} must have frames, but it has none", do="write one for each camera")
    fisheye = {is_fisheye(head | entry) for entry in entries}
    if len(fisheye) > 1:
        raise InputError(f"cameras of {where} must all be fisheye or none", do="write a file for each")
    return cameras_of(frames, [[round(frame.lens["w"]), round(frame.lens["h"])] for frame in frames], fisheye.pop())


def _json(file: Root) -> dict[str, Any]:
    head = read_json(file, "correct it there")
    frames = head.get("frames") if isinstance(head, dict) else None
    if not isinstance(frames, list) or not all(isinstance(entry, dict) for entry in frames):
        raise InputError(
            f"'{file}' must have a list 'frames' with an entry for each image, but it has none",
            do="write one entry with file_path and transform_matrix for each image",
        )
    head, head["frames"] = _given(head), [_given(entry) for entry in frames]
    for entry in (head, *head["frames"]):
        for key in entry.keys() & REFUSED.keys():
            if np.any(entry[key]):
                raise InputError(f"'{file.name}' must not have '{key}', which is not read", do=REFUSED[key])
    return head


def _given(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _frames(root: Root, file: str, head: dict[str, Any], allow_outside: bool) -> list[Frame]:
    common = read_lens(f"'{file}'", head)
    entries = enumerate(head["frames"])
    stretched: list[float] = []
    frames = [_frame(root, f"frame {i} of '{file}'", e, common, allow_outside, stretched) for i, e in entries]
    if any(abs(factor - 1) > EXACT for factor in stretched):
        say(f"the rotations of '{file}' are scaled, by {stretched[0]:.4g} in the first frame; the scale is left out")
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            raise InputError(
                f"'{file}' must name each image once, but it has two frames of '{frame.name}'", do="correct file_path"
            )
        seen.add(frame.name)
    return with_pictures(root, frames, allow_outside)


def _frame(
    root: Root, where: str, entry: dict[str, Any], common: dict[str, float], allow_outside: bool, stretched: list[float]
) -> Frame:
    """Read a frame but for its picture; note by which factor its rotation is scaled."""
    for key in ("file_path", "transform_matrix"):
        if key not in entry:
            raise InputError(f"{where} must have '{key}', but it does not", do="write it in each frame")
    pose = _pose(f"'transform_matrix' of {where}", entry["transform_matrix"])
    factor = float(np.linalg.norm(pose[:3, :3], axis=0).mean())
    stretched.append(factor)
    if factor > 0:
        pose[:3, :3] /= factor
    lens = merged(common, read_lens(where, entry))
    if not {"fl_x", "camera_angle_x", "fl_y", "camera_angle_y"} & lens.keys():
        raise InputError(
            f"{where} must have a focal length, but it has none",
            do="write 'fl_x' or 'camera_angle_x', or 'x_fov' in degrees, for all frames at the top or in each frame; "
            "other names, such as 'focal' or 'fov', are not read",
        )
    name, mask = _name(entry["file_path"]), entry.get("mask_path")
    return Frame(name, pose, lens, None, named_mask(root, where, _name(mask), allow_outside) if mask else None)


def _pose(what: str, value: Any) -> np.ndarray:
    """Read a camera-to-world matrix of three or four rows, also written row by row in one list."""
    pose = numbers(what, value)
    if pose.shape in ((12,), (16,)):
        pose = pose.reshape(-1, 4)
    if pose.shape not in ((3, 4), (4, 4)):
        raise InputError(f"{what} must have shape (4, 4) or (3, 4), but it has {pose.shape}", do="correct it")
    last = np.array([0.0, 0.0, 0.0, 1.0])
    if len(pose) == 4 and np.abs(pose[3] - last).max() > EXACT:
        turned = np.abs(pose[:, 3] - last).max() <= EXACT
        raise InputError(
            f"the last row of {what} must be 0, 0, 0, 1, got {', '.join(f'{v:g}' for v in pose[3])}",
            do="transpose it: its last column is what should be its last row" if turned else "correct it",
        )
    return np.concatenate([pose[:3], last[None]])


def _name(path: Any) -> str:
    return posixpath.normpath(str(path).replace("\\", "/"))


def _listed(file: str, head: dict[str, Any], frames: list[Frame]) -> dict[str, list[Frame]]:
    """Follow the lists of names by which nerfstudio's format may say what is in which split."""
    by_name = {posixpath.splitext(frame.name)[0]: frame for frame in frames} | {frame.name: frame for frame in frames}

    def find(name: str) -> Frame | None:
        return by_name.get(name) or by_name.get(posixpath.splitext(name)[0])  # a list may have other endings, or none

    splits: dict[str, list[Frame]] = {}
    for key in SPLITS:
        names = head.get(f"{key}_filenames")
        if names is None:
            continue
        if not isinstance(names, list):
            raise InputError(
                f"'{key}_filenames' of '{file}' must be a list of names, got {str(names)[:80]}", do="correct it"
            )
        lost = [name for name in map(_name, names) if find(name) is None]
        if lost:
            raise InputError(
                f"'{key}_filenames' of '{file}' must name frames, but no frame has the file_path '{lost[0]}'"
                + (f" and {len(lost) - 1} others" if len(lost) > 1 else ""),
                do="spell them as file_path does",
            )
        chosen = {id(find(name)) for name in map(_name, names)}
        splits[key] = [frame for frame in frames if id(frame) in chosen]
    listed = {id(frame) for some in splits.values() for frame in some}
    left = [frame for frame in frames if id(frame) not in listed]
    if not splits or not left:
        return splits
    found = f"'{file}': {len(left)} of {len(frames)} frames are in none of the lists of names"
    if not splits.get("train"):
        say(f"{found}, and are trained on, since there is no list for training")
        return splits | {"train": left}
    if len(splits) == 1:
        say(f"{found}, and are held out, since there is only a list for training")
        return splits | {"test": left}
    say(f"{found} and are not used")
    return splits


def _check_leakage(splits: dict[str, list[Frame]]) -> None:
    trained = {frame.name for frame in splits.get("train", [])}
    for key in ("test", "val"):
        both = [frame.name for frame in splits.get(key, []) if frame.name in trained]
        if both:
            raise InputError(
                f"'{both[0]}' is a view for training and for {key}, so held-out scores would come from trained pixels",
                do="keep each view in one split",
            )


def _say_unused(file: str, head: dict[str, Any]) -> None:
    top = {*LENS, *NOTES, "frames", "aabb_scale", "scale", "offset", "near", "far"}
    top |= {f"{split}_filenames" for split in SPLITS}
    keys = [key for key in head if key not in top]
    keys += [key for entry in head["frames"] for key in entry if key not in (*LENS, *FRAME, *NOTES)]
    keys = [key for key in keys if key not in REFUSED]  # which are zero
    if keys:
        words = [f"'{key}' ({UNUSED[key]})" if key in UNUSED else f"'{key}'" for key in dict.fromkeys(keys)]
        say(f"'{file}' has keys that are not read: {', '.join(words)}")


def _distance(file: str, head: dict[str, Any], key: str) -> float | None:
    return None if head.get(key) is None else float(numbers(f"'{key}' of '{file}'", head[key], 0))


def _aabb(file: str, head: dict[str, Any]) -> Bounds | None:
    """Return the cube of side aabb_scale around (0.5, 0.5, 0.5) in the coordinates ``scale * x + offset``."""
    given = {key: head[key] for key in ("aabb_scale", "scale", "offset") if head.get(key) is not None}
    if not given:
        return None
    values = {"aabb_scale": 1.0, "scale": 0.33, "offset": 0.5} | given
    side, scale = (float(numbers(f"'{key}' of '{file}'", values[key], 0)) for key in ("aabb_scale", "scale"))
    offset = numbers(f"'offset' of '{file}'", values["offset"])
    if not side > 0 or not scale > 0:
        raise InputError(f"aabb_scale and scale must be positive, got {side:g} and {scale:g}", do="correct them")
    if offset.shape not in ((), (3,)):
        raise InputError(f"'offset' must be a number or three, but it has shape {offset.shape}", do="correct it")
    return tuple(((0.5 - side / 2 - o) / scale, (0.5 + side / 2 - o) / scale) for o in (offset + np.zeros(3)).tolist())
