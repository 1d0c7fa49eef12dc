"""One photograph and its camera, as every layout gives them, before the picture is decoded."""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError
from nfsolve.data.pictures import decode

Root = Path | zipfile.Path
Bounds = tuple[tuple[float, float], ...]
SPLITS = ("train", "val", "test")
LARGEST = 2**30  # bytes of one file
ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")


@dataclass(frozen=True)
class Frame:
    """One photograph: its name, pose (4, 4), what is said of its lens, and how to read it (None: it is missing)."""

    name: str
    pose: np.ndarray
    lens: dict[str, float]
    image: Callable[[], Tensor] | None

    def intrinsics(self, width: float, height: float) -> tuple[float, float, float, float]:
        """Return f_x, f_y, c_x, c_y in pixels of an image of this size."""
        lens = self.lens
        focal = {
            "x": lens.get("fl_x") or _focal(width, lens.get("camera_angle_x")),
            "y": lens.get("fl_y") or _focal(height, lens.get("camera_angle_y")),
        }
        fl_x = focal["x"] or focal["y"]
        fl_y = focal["y"] or focal["x"]
        assert fl_x and fl_y, "readers refuse frames without a focal length"
        return fl_x, fl_y, lens.get("cx", width / 2), lens.get("cy", height / 2)

    def __post_init__(self) -> None:
        check_pose(self.name, self.pose)


@dataclass(frozen=True)
class Layout:
    """All frames of all splits, and what the format says of the scene."""

    splits: dict[str, list[Frame]]
    fisheye: bool = False
    near: float | None = None
    far: float | None = None
    bounds: Bounds | None = None
    white: bool = False
    forward_facing: bool = False


def check_pose(name: str, pose: np.ndarray) -> None:
    """Refuse a pose ``(4, 4)`` that no camera can have."""
    rotation = pose[:3, :3]
    stretch = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    turn = float(np.linalg.det(rotation))
    if not (np.isfinite(pose).all() and stretch < 1e-3 and turn > 0):
        kind = "mirrored" if stretch < 1e-3 else "not rigid"
        raise InputError(
            f"the pose of '{name}' must be a camera-to-world rotation and a translation, but it is {kind}: its "
            f"determinant is {turn:.6g}, and R R^T differs from 1 by {stretch:.3g}",
            do="take out a scale or a swapped axis; the camera looks along its -z, +x is right and +y is up",
        )


def hold_out_some(frames: list[Frame], every: int) -> dict[str, list[Frame]]:
    """Hold out every k-th frame in the order of names, beginning with the first."""
    if every < 2:
        raise InputError(f"hold_out must be at least 2, got {every}", do="hold out one frame in so many")
    ordered = sorted(frames, key=lambda frame: frame.name)
    test = ordered[::every]
    return {"train": [f for i, f in enumerate(ordered) if i % every], "val": test, "test": test}


def check_inside(root: Root, file: Root, allow_outside: bool) -> None:
    """Refuse a file that does not lie in the folder of the scene, also behind ``..`` and links.

    Args:
        root: The folder or archive of the scene.
        file: A file that the scene names.
        allow_outside: Whether to allow it; an archive has no outside.

    Raises:
        InputError: It lies outside.
    """
    if allow_outside or isinstance(root, zipfile.Path) or isinstance(file, zipfile.Path):
        return
    if not file.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"files of the scene '{root}' must lie in its folder, but it names '{file}', which is '{file.resolve()}'",
            do="copy the file into the folder, or, if you trust the scene, give allow_outside=True (--allow-outside)",
        )


def read_bytes(file: Root) -> bytes:
    """Read a file of a folder or an archive, of at most `LARGEST` bytes."""
    try:
        zipped = isinstance(file, zipfile.Path)
        size = file.root.getinfo(file.at).file_size if zipped else file.stat().st_size
        if size > LARGEST:
            raise ValueError(f"it has {size / 2**30:.3g} GiB, and {LARGEST / 2**30:.3g} are allowed")
        return file.read_bytes()
    except Exception as error:  # damaged, encrypted and lying archives make zipfile and zlib raise whatever they like
        raise InputError(
            f"'{file}' must be a whole file, but it could not be read ({reason(error)})", do="copy it again"
        ) from error


def read_picture(file: Root) -> Tensor:
    """Decode the picture in a file."""
    return decode(read_bytes(file), f"image '{file}'")


def _focal(size: float, angle: float | None) -> float | None:
    return None if angle is None else 0.5 * size / math.tan(0.5 * angle)
