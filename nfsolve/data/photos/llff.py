"""poses_bounds.npy beside a folder of images (Mildenhall et al., "Local light field fusion", ACM TOG 38 (2019))."""

import io
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos.frames import ENDINGS, Frame, Layout, Root, hold_out_some, read_picture


def read_llff(root: Root, hold_out: int) -> Layout:
    """Read a folder with poses_bounds.npy and ``images``, or the first of ``images_4``, ``images_8`` and so on."""
    folders = {entry.name: entry for entry in root.iterdir() if entry.is_dir() and entry.name.startswith("images")}
    if not folders:
        raise InputError(f"'{root}' has poses_bounds.npy and no folder 'images'", "the photographs, in 'images'")
    folder = folders[min(folders, key=lambda name: (len(name), name))]
    files = sorted((f for f in folder.iterdir() if f.name.endswith(ENDINGS)), key=lambda file: file.name)
    try:
        rows = np.load(io.BytesIO((root / "poses_bounds.npy").read_bytes()), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"'{root / 'poses_bounds.npy'}' could not be read ({error})", "an array (n, 17)") from error
    return read_rows(rows, [(file.name, partial(read_picture, file)) for file in files], str(root), hold_out)


def read_rows(
    rows: np.ndarray, images: Sequence[tuple[str, Callable[[], Tensor]]], where: str, hold_out: int
) -> Layout:
    """Read rows of [R | t | height, width, focal] (3 x 5) with axes down, right, back, then near and far.

    Lengths are divided by 3/4 of the nearest bound, so that a near plane at 1 lies before everything, and the
    mean camera goes to the origin, looking along -z.
    """
    if rows.ndim != 2 or rows.shape[1] != 17 or len(rows) != len(images) or len(rows) == 0:
        raise InputError(f"poses_bounds of '{where}' has shape {rows.shape} for {len(images)} images", "(images, 17)")
    near, far = float(rows[:, 15].min()), float(rows[:, 16].max())
    if not 0 < near < far:
        raise InputError(f"poses_bounds of '{where}' says near = {near:.6g} and far = {far:.6g}", "0 < near < far")
    matrices = rows[:, :15].reshape(-1, 3, 5).astype(np.float64)
    unit = 0.75 * near
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = matrices[:, :, [1, 0, 2]] * [1.0, -1.0, 1.0]
    poses[:, :3, 3] = matrices[:, :, 3] / unit
    poses = np.linalg.inv(mean_pose(poses)) @ poses
    frames = []
    for (name, image), pose, (height, width, focal) in zip(images, poses, matrices[:, :, 4], strict=True):
        lens = {"camera_angle_x": 2 * math.atan(0.5 * width / focal)}
        lens["camera_angle_y"] = 2 * math.atan(0.5 * height / focal)
        frames.append(Frame(name, pose, lens, partial(_same_shape, name, image, height / width)))
    return Layout(hold_out_some(frames, hold_out), near=near / unit, far=far / unit, forward_facing=True)


def mean_pose(poses: np.ndarray) -> np.ndarray:
    """Average poses (n, 4, 4): mean position, mean viewing axis, and the mean of what is up."""
    back = poses[:, :3, 2].sum(0)
    right = np.cross(poses[:, :3, 1].sum(0), back)
    back, right = back / np.linalg.norm(back), right / np.linalg.norm(right)
    mean = np.eye(4)
    mean[:3] = np.stack([right, np.cross(back, right), back, poses[:, :3, 3].mean(0)], -1)
    return mean


def _same_shape(name: str, image: Callable[[], Tensor], aspect: float) -> Tensor:
    picture = image()
    height, width = picture.shape[:2]
    if abs(aspect * width - height) > 1.01:
        raise InputError(
            f"image '{name}' has {width} x {height} pixels",
            f"the shape that poses_bounds says, height = {aspect:.4g} width",
        )
    return picture
