"""poses_bounds.npy beside a folder of images (Mildenhall et al., "Local light field fusion", ACM TOG 38 (2019))."""

import io
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from nfsolve._core.arrays import real_numbers, reason
from nfsolve._core.errors import InputError
from nfsolve.data.photos.frames import (
    ENDINGS,
    Frame,
    Layout,
    PictureFile,
    Root,
    check_inside,
    check_pose,
    hold_out_some,
    read_bytes,
)


def read_llff(root: Root, hold_out: int, allow_outside: bool) -> Layout:
    """Read a folder with poses_bounds.npy and ``images``, or the first of ``images_4``, ``images_8`` and so on."""
    folders = {entry.name: entry for entry in root.iterdir() if entry.is_dir() and entry.name.startswith("images")}
    if not folders:
        raise InputError(
            f"'{root}' must have a folder 'images' beside poses_bounds.npy, but it has none",
            do="put the photographs there",
        )
    folder = folders[min(folders, key=lambda name: (len(name), name))]
    files = sorted((f for f in folder.iterdir() if f.name.endswith(ENDINGS)), key=lambda file: file.name)
    for file in files:
        check_inside(root, file, allow_outside)
    try:
        rows = np.load(io.BytesIO(read_bytes(root / "poses_bounds.npy")), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise InputError(
            f"'{root / 'poses_bounds.npy'}' must be an array (n, 17), but it could not be read ({reason(error)})",
            do="copy it again",
        ) from error
    return read_rows(rows, [(file.name, PictureFile(file)) for file in files], str(root), hold_out)


def read_rows(
    rows: np.ndarray, images: Sequence[tuple[str, Callable[[], Tensor]]], where: str, hold_out: int
) -> Layout:
    """Read rows of [R | t | height, width, focal] (3 x 5) with axes down, right, back, then near and far.

    Lengths are divided by 3/4 of the nearest bound, so that a near plane at 1 lies before everything, and the
    mean camera goes to the origin, looking along -z.
    """
    rows = real_numbers(rows, f"poses_bounds of '{where}'")
    if rows.ndim != 2 or rows.shape[1] != 17 or len(rows) != len(images) or len(rows) == 0:
        raise InputError(
            f"poses_bounds of '{where}' must have shape (images, 17), but it has {rows.shape} for {len(images)} images",
            do="keep one row for each image",
        )
    near, far = float(rows[:, 15].min()), float(rows[:, 16].max())
    if not 0 < near < far < math.inf:
        raise InputError(
            f"bounds of '{where}' must be 0 < near < far, but poses_bounds says near = {near:.6g} and far = {far:.6g}",
            do="correct its last two columns",
        )
    matrices = rows[:, :15].reshape(-1, 3, 5)
    unit = 0.75 * near
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = matrices[:, :, [1, 0, 2]] * [1.0, -1.0, 1.0]
    poses[:, :3, 3] = matrices[:, :, 3] / unit
    for (name, _), pose, shape in zip(images, poses, matrices[:, :, 4], strict=True):
        check_pose(name, pose)
        if not (shape.min() > 0 and shape.max() < math.inf):
            raise InputError(
                f"height, width and focal length of '{name}' must be positive, but poses_bounds says {shape.tolist()}",
                do="correct its fifth column",
            )
    poses = np.linalg.inv(mean_pose(poses, where)) @ poses
    frames = []
    for (name, image), pose, (height, width, focal) in zip(images, poses, matrices[:, :, 4], strict=True):
        lens = {"camera_angle_x": 2 * math.atan(0.5 * width / focal)}
        lens["camera_angle_y"] = 2 * math.atan(0.5 * height / focal)
        frames.append(Frame(name, pose, lens, partial(_same_shape, name, image, height / width)))
    return Layout(hold_out_some(frames, hold_out), near=near / unit, far=far / unit, forward_facing=True)


def mean_pose(poses: np.ndarray, where: str) -> np.ndarray:
    """Average poses (n, 4, 4): mean position, mean viewing axis, and the mean of what is up."""
    back = poses[:, :3, 2].sum(0)
    right = np.cross(poses[:, :3, 1].sum(0), back)
    if not min(np.linalg.norm(back), np.linalg.norm(right)) > 1e-6 * len(poses):
        raise InputError(
            f"cameras of '{where}' must look into one half of space on average, but their axes cancel",
            do="convert the scene to the nerfstudio layout, which allows any cameras",
        )
    back, right = back / np.linalg.norm(back), right / np.linalg.norm(right)
    mean = np.eye(4)
    mean[:3] = np.stack([right, np.cross(back, right), back, poses[:, :3, 3].mean(0)], -1)
    return mean


def _same_shape(name: str, image: Callable[[], Tensor], aspect: float) -> Tensor:
    picture = image()
    height, width = picture.shape[:2]
    if abs(aspect * width - height) > 1.01:
        raise InputError(
            f"image '{name}' must have the shape that poses_bounds says, height = {aspect:.4g} width, but it has "
            f"{width} x {height} pixels",
            do="keep the images that belong to these poses",
        )
    return picture
