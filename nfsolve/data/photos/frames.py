"""One photograph and its camera, as every layout gives them, before the picture is decoded."""

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError
from nfsolve.data.photos.intrinsics import focal_lengths
from nfsolve.data.pictures import STORED, decode, orientation

Root = Path | zipfile.Path
Bounds = tuple[tuple[float, float], ...]
SPLITS = ("train", "val", "test")
LARGEST = 2**30  # bytes of one file
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
ENDINGS += tuple(ending.upper() for ending in ENDINGS)


@dataclass(frozen=True)
class Frame:
    """One photograph.

    Attributes:
        name: Its file, relative to the scene.
        pose: Camera-to-world matrix ``(4, 4)``.
        lens: Its lens as the file describes it, see `nfsolve.data.photos.intrinsics.read_lens`.
        image: How to read it, ``(height, width, channels)`` in [0, 1]; None where the file is missing.
        mask: How to read the picture that is black where the photograph is not to be trusted; None for all of it.
    """

    name: str
    pose: np.ndarray
    lens: dict[str, float]
    image: Callable[[], Tensor] | None
    mask: Callable[[], Tensor] | None = None

    def intrinsics(self, width: float, height: float) -> tuple[float, float, float, float]:
        """Return f_x, f_y, c_x, c_y in pixels of an image of this size; of another size than w and h say, scaled."""
        lens = self.lens
        said = lens.get("w", width), lens.get("h", height)
        focal = focal_lengths(self.name, lens, *said)
        centre = lens.get("cx", said[0] / 2), lens.get("cy", said[1] / 2)
        if not (0 < centre[0] < said[0] and 0 < centre[1] < said[1]):
            raise InputError(
                f"the principal point of '{self.name}' must lie in its image of {said[0]:g} x {said[1]:g} pixels, but "
                f"cx = {centre[0]:g} and cy = {centre[1]:g}",
                do="write w and h of the image that the lens was calibrated with",
            )
        x, y = width / said[0], height / said[1]
        return focal[0] * x, focal[1] * y, centre[0] * x, centre[1] * y

    def __post_init__(self) -> None:
        check_pose(self.name, self.pose)


@dataclass(frozen=True)
class Layout:
    """All frames of all splits, and what the format says of the scene.

    Attributes:
        splits: The frames by split.
        fisheye: Whether lenses are of the fisheye kind.
        near: Where rays begin, if it is given.
        far: Where they end, if it is given.
        bounds: The cube of ``aabb_scale``, or the box of the points that were reconstructed with the cameras.
        white: Whether transparent photographs are known to be before white.
        forward_facing: Whether all cameras face forward, as in LLFF.
        captured: Whether the scene was taken by a camera (COLMAP, Polycam, Record3D), so that it goes on beyond its
            ``bounds``, which come from what was reconstructed.
    """

    splits: dict[str, list[Frame]]
    fisheye: bool = False
    near: float | None = None
    far: float | None = None
    bounds: Bounds | None = None
    white: bool = False
    forward_facing: bool = False
    captured: bool = False


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
        raise InputError(f"hold_out must be at least 2, got {every}", do="hold out one view in two or more")
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
    if not (allow_outside or is_inside(root, file)):
        at = file if isinstance(file, zipfile.Path) else file.resolve()
        raise InputError(
            f"files of the scene '{root}' must lie in its folder, but it names '{file}', which is '{at}'",
            do="copy the file into the folder, or, if you trust the scene, give allow_outside=True (--allow-outside)",
        )


def is_inside(root: Root, file: Root) -> bool:
    """Tell whether a file lies in the folder of the scene, also behind ``..`` and links; an archive has no outside."""
    if isinstance(root, zipfile.Path) or isinstance(file, zipfile.Path):
        return True
    return file.resolve().is_relative_to(root.resolve())


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


def read_json(file: Root, do: str) -> Any:
    """Read a JSON file.

    Args:
        file: The file.
        do: What to do where it is not valid.

    Returns:
        What it holds.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_bytes(file).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{file}' must be valid JSON, but it is not ({str(error)[:200]})", do=do) from error


@dataclass(frozen=True)
class PictureFile:
    """A picture in a file, which is decoded when it is called.

    Programs that find cameras, COLMAP among them, take pixels as they are stored, and do not turn them as EXIF says.

    Attributes:
        file: The file.
        size: Width and height that its lens is said for, if any; of the upright and the stored pixels, those that fit
            are taken.
        stored: Whether the stored ones are taken where both fit.
        inverted: Whether it is a mask that is white where others are black.
    """

    file: Root
    size: tuple[float, float] | None = None
    stored: bool = False
    inverted: bool = False

    def __call__(self) -> Tensor:
        """Return the pixels ``(height, width, channels)`` in [0, 1]."""
        content = read_bytes(self.file)
        picture = decode(content, f"image '{self.file}'")
        if self.inverted:
            return (picture[..., :3].amax(-1, keepdim=True) == 0).to(picture)
        turn = orientation(content) if self.size else 1
        if turn == 1 or not self._as_stored(STORED[turn](picture), picture):
            return picture
        say(
            "photographs are taken as their pixels are stored, not turned as EXIF says, since the cameras are for those"
        )
        return STORED[turn](picture)

    def _as_stored(self, stored: Tensor, upright: Tensor) -> bool:
        assert self.size is not None
        width, height = self.size
        fits = [
            abs(rows * width - columns * height) <= width + height
            for rows, columns in (stored.shape[:2], upright.shape[:2])
        ]
        if all(fits) and not self.stored:
            say(
                "EXIF turns some photographs, and they are taken as they are seen, upright; where cameras were found "
                "for the pixels as they are stored, remove the orientation from the files"
            )
        return fits[0] and (self.stored or not fits[1])


def say(text: str) -> None:
    """Tell the user what a file says and is not done, or done otherwise."""
    warnings.warn(text, stacklevel=2)
