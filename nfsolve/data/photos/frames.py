"""One photograph and its camera, as every layout gives them, before the picture is decoded."""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.pictures import decode

Root = Path | zipfile.Path
Bounds = tuple[tuple[float, float], ...]
SPLITS = ("train", "val", "test")
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
        rotation = self.pose[:3, :3]
        stretch = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        turn = float(np.linalg.det(rotation))
        if not (np.isfinite(self.pose).all() and stretch < 1e-3 and turn > 0):
            kind = "is mirrored" if stretch < 1e-3 else "is not rigid"
            raise InputError(
                f"the pose of '{self.name}' {kind}: determinant {turn:.6g}, R R^T differs from 1 by {stretch:.3g}",
                "a camera-to-world rotation (determinant +1, orthonormal to 0.001) and a translation, all finite",
                "take out a scale or a swapped axis; the camera looks along its -z, +x is right and +y is up",
            )


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


def hold_out_some(frames: list[Frame], every: int) -> dict[str, list[Frame]]:
    """Hold out every k-th frame in the order of names, beginning with the first."""
    if every < 2:
        raise InputError(f"hold_out = {every}", "at least 2: one frame in so many is not trained on")
    ordered = sorted(frames, key=lambda frame: frame.name)
    test = ordered[::every]
    return {"train": [f for i, f in enumerate(ordered) if i % every], "val": test, "test": test}


def read_picture(file: Root) -> Tensor:
    """Decode the picture in a file."""
    return decode(file.read_bytes(), f"image '{file}'")


def _focal(size: float, angle: float | None) -> float | None:
    return None if angle is None else 0.5 * size / math.tan(0.5 * angle)
