"""Models of COLMAP: cameras, images and points, as text or binary files beside a folder of photographs.

Schoenberger & Frahm, "Structure-from-Motion Revisited", CVPR 2016. A pose there maps the world to a camera whose axes
are right, down and forward.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError
from nfsolve.data.photos import colmap_files as files
from nfsolve.data.photos.finding import IMAGES, say_unused, with_pictures
from nfsolve.data.photos.frames import Bounds, Frame, Layout, Root, check_inside, hold_out_some, read_bytes, say

FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap_text", "distorted/sparse/0")
UNDISTORTED = ("dense", "undistorted")  # folders of scenes of their own, which COLMAP's image_undistorter writes
ABOVE = 3  # folders above that of a model in which pictures may lie
FLIP = np.diag([1.0, -1.0, -1.0])  # axes right, down, forward <-> right, up, back
OUTLIERS, MARGIN, FEWEST = 0.01, 0.1, 20  # share of points at each end, what the box reaches beyond, points for one


def find_model(root: Root) -> tuple[Root, Root] | None:
    """Return the folder of a scene, which may be one in the given one, and in it that of the largest model; or None."""
    for scene in (root, *(root / name for name in UNDISTORTED)):
        for folder in FOLDERS:
            place = scene / folder if folder else scene
            if _has(place, "cameras"):
                return (scene if folder else _home(scene)), _largest(place)
    return None


def _home(model: Root) -> Root:
    """Return the folder of a scene of which only that of the model was named, such as ``sparse/0``."""
    if isinstance(model, Path) and not any((model / name).is_dir() for name in IMAGES):
        for parent in model.resolve().parents[:ABOVE]:
            if any((parent / name).is_dir() for name in IMAGES):
                return parent
    return model


def _has(place: Root, name: str) -> bool:
    return any((place / f"{name}.{kind}").is_file() for kind in ("bin", "txt"))


def _largest(model: Root) -> Root:
    """Return the model with the most photographs of those that COLMAP numbers: ``0``, ``1``, ... in one folder."""
    if model.name != "0":
        return model
    folder: Any = model.parent
    rivals = [place for place in folder.iterdir() if place.name.isdigit() and _has(place, "images")]
    if len(rivals) < 2:
        return model
    sizes = {place: len(_views(place)) for place in sorted(rivals, key=lambda place: int(place.name))}
    best = max(sizes, key=lambda place: sizes[place])
    counts = ", ".join(f"{n} in '{place.name}'" for place, n in sizes.items())
    say(
        f"COLMAP has made {len(rivals)} models that have no common coordinates, of {counts} photographs; '{best.name}' "
        "is used; for more of them, match the photographs anew"
    )
    return best


def read_colmap(root: Root, model: Root, hold_out: int, allow_outside: bool) -> Layout:
    """Read a scene whose cameras COLMAP found.

    The world is turned so that the mean of what is up in the photographs is +z; lengths stay those of the model. Its
    points, without the outermost, give the box.

    Args:
        root: The folder of the scene, with the photographs in ``images``, ``images_2`` and so on, or ``input``.
        model: The folder of ``cameras``, ``images`` and perhaps ``points3D``, each .bin or .txt.
        hold_out: Every ``hold_out``-th photograph in the order of names is for tests.
        allow_outside: Whether pictures may lie outside of ``root``.

    Raises:
        InputError: A file is damaged, or a camera is of a model that cannot be computed.
    """
    lenses = _read(root, model, "cameras", allow_outside, files.cameras_of_text, files.cameras_of_bytes)
    views = _views(model, root, allow_outside)
    if not views:
        raise InputError(f"the model '{model}' must have images, but it has none", do="let COLMAP register some")
    lost = [view for view in views if view.camera not in lenses]
    if lost:
        raise InputError(
            f"image '{lost[0].name}' of '{model}' must have a camera, but there is none of number {lost[0].camera}",
            do="copy cameras and images of one model",
        )
    kinds = {lenses[view.camera][0] for view in views}
    if len(kinds) > 1:
        raise InputError(f"cameras of '{model}' must all be fisheye or none, but some are", do="make a scene of each")
    poses = np.stack([_pose(view) for view in views])
    turn = upright(poses)
    poses[:, :3] = turn @ poses[:, :3]
    # The plain name first: the folder of pictures is found where it is.
    frames = [Frame(f"images/{v.name}", pose, lenses[v.camera][1], None) for v, pose in zip(views, poses, strict=True)]
    points = np.zeros((0, 3))
    if _has(model, "points3D"):
        points = _read(root, model, "points3D", allow_outside, files.points_of_text, files.points_of_bytes)
    found = _with_their_pictures(root, model, frames, allow_outside)
    say_unused(root, found)
    return Layout(
        hold_out_some(found, hold_out),
        fisheye=kinds.pop(),
        bounds=box_of_points(points @ turn.T),
        captured=True,
    )


def _with_their_pictures(root: Root, model: Root, frames: list[Frame], allow_outside: bool) -> list[Frame]:
    """Find the pictures of a model; a few may have been taken out since, which is said."""
    _check_names(model, frames)
    found = with_pictures(root, frames, allow_outside, stored=True)
    kept = [frame for frame in found if frame.image is not None]
    lost = [frame.name for frame in found if frame.image is None]
    if 2 * len(lost) > len(found):
        raise InputError(
            f"photographs of the model '{model}' must lie in '{root}' under their names, but {len(lost)} of "
            f"{len(found)} do not, such as '{lost[0]}'",
            do="put them into 'images' there, and give --data that folder",
        )
    if lost:
        say(f"{len(lost)} of {len(found)} photographs of the model are left out, as there is no '{lost[0]}'")
    return kept


def _check_names(model: Root, frames: list[Frame]) -> None:
    names = [frame.name for frame in frames]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(
            f"images of the model '{model}' must have different names, but {names.count(twice[0])} are "
            f"'{twice[0].removeprefix('images/')}'",
            do="match the photographs anew, with the folders of cameras in their names",
        )


def upright(poses: np.ndarray) -> np.ndarray:
    """Return the rotation ``(3, 3)`` that takes the mean of what is up in views with poses ``(n, 4, 4)`` to +z."""
    up = poses[:, :3, 1].mean(0)
    if np.linalg.norm(up) < 1e-3:
        return np.eye(3)
    return Rotation.align_vectors([[0.0, 0.0, 1.0]], [up / np.linalg.norm(up)])[0].as_matrix()


def box_of_points(points: np.ndarray) -> Bounds | None:
    """Return the box of points ``(n, 3)`` without the outermost, or None where there are few."""
    if len(points) < FEWEST:
        return None
    low, high = np.quantile(points, [OUTLIERS, 1 - OUTLIERS], axis=0)
    pad = MARGIN * (high - low).max()
    return tuple(zip((low - pad).tolist(), (high + pad).tolist(), strict=True))


def _views(model: Root, root: Root | None = None, allow_outside: bool = False) -> list[files.View]:
    return _read(root or model, model, "images", allow_outside, files.views_of_text, files.views_of_bytes)


def _read(root: Root, model: Root, name: str, allow_outside: bool, of_text: Callable, of_bytes: Callable) -> Any:
    if all((model / f"{name}.{kind}").is_file() for kind in ("bin", "txt")):
        say(f"the model '{model}' is there in two forms, of which .bin is read, as by COLMAP, and .txt is not")
    for kind, parse in (("bin", of_bytes), ("txt", of_text)):
        file = model / f"{name}.{kind}"
        if not file.is_file():
            continue
        check_inside(root, file, allow_outside)
        content = read_bytes(file)
        try:
            return parse(content if kind == "bin" else content.decode())
        except (struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"'{file}' must be a whole file of COLMAP, but it could not be read ({reason(error)})",
                do="copy it again, or export the model anew",
            ) from error
    raise InputError(f"the model '{model}' must have {name}.bin or {name}.txt, but it has neither", do="copy it too")


def _pose(view: files.View) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = view.rotation.T @ FLIP
    pose[:3, 3] = -view.rotation.T @ view.shift
    return pose
