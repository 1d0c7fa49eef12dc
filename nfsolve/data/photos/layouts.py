"""Which layout of photographs lies at a path: a folder, a zip of one, or arrays in .npz."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.arrays import read_arrays, real_number, real_numbers, reason
from nfsolve._core.errors import InputError
from nfsolve.data.photos.colmap import find_model, read_colmap
from nfsolve.data.photos.frames import SPLITS, Frame, Layout, Root, check_inside
from nfsolve.data.photos.intrinsics import check_angle
from nfsolve.data.photos.llff import read_llff, read_rows
from nfsolve.data.photos.phones import find_polycam, is_record3d, read_polycam, read_record3d
from nfsolve.data.photos.transforms import read_transforms
from nfsolve.data.tables import find_file


def read_layout(path: str | Path, hold_out: int, allow_outside: bool = False) -> Layout:
    """Find out which layout lies at a path, and read everything but the pictures.

    Args:
        path: A folder, .zip or .npz, or a transforms.json.
        hold_out: If no splits are given, every ``hold_out``-th frame in the order of names is for tests.
        allow_outside: Whether the scene may name files outside of its folder.

    Raises:
        InputError: There is nothing of a known layout, or something in it is wrong.
    """
    found = Path(path) if Path(path).is_dir() else find_file(str(path), None, ("", ".npz", ".zip"))
    if found.suffix == ".npz":
        return _arrays(found, hold_out)
    named = found if found.suffix == ".json" else None
    root = _descend(found if found.is_dir() else _open(found)) if named is None else found.parent
    poses = root / "poses_bounds.npy"
    if named is None and poses.is_file():
        check_inside(root, poses, allow_outside)
        return read_llff(root, hold_out, allow_outside)
    files: dict[str, Root] = {}
    if named is None or named.stem in {f"transforms_{split}" for split in SPLITS}:
        files = {split: file for split in SPLITS if (file := root / f"transforms_{split}.json").is_file()}
    if not files and (single := named or root / "transforms.json").is_file():
        files = {"": single}
    if not files:
        return _read_capture(root, str(found), hold_out, allow_outside)
    for file in files.values():
        check_inside(root, file, allow_outside)
    return read_transforms(root, files, hold_out, allow_outside)


def _read_capture(root: Root, where: str, hold_out: int, allow_outside: bool) -> Layout:
    """Read what no file of ours describes: a model of COLMAP, or the export of a telephone."""
    if found := find_model(root):
        return read_colmap(*found, hold_out, allow_outside)
    if keyframes := find_polycam(root):
        return read_polycam(root, keyframes, hold_out, allow_outside)
    if is_record3d(root):
        return read_record3d(root, hold_out, allow_outside)
    raise InputError(
        f"'{where}' must hold posed photographs, by transforms.json, transforms_train.json, poses_bounds.npy, a model "
        "of COLMAP (sparse/0), or an export of Polycam or Record3D, but it has none of these",
        do="run COLMAP on the photographs, or convert the scene to the nerfstudio layout",
    )


def _open(file: Path) -> Root:
    try:
        return zipfile.Path(file)
    except Exception as error:  # damaged archives make zipfile raise whatever it likes
        raise InputError(
            f"posed photographs must be a folder, a .zip, a .npz or a transforms.json, but '{file}' could not be read "
            f"({reason(error)})",
            do="copy it again, or name the folder",
        ) from error


def _descend(root: Root) -> Root:
    """Go down while there is nothing but one folder, as in most zips."""
    while True:
        inside = [entry for entry in root.iterdir() if not entry.name.startswith(("__MACOSX", "."))]
        if len(inside) != 1 or not inside[0].is_dir():
            return root
        root = inside[0]


def _arrays(file: Path, hold_out: int) -> Layout:
    arrays = read_arrays(file)

    def need(key: str, *shape: int | None) -> np.ndarray:
        if key not in arrays:
            raise InputError(
                f"'{file}' must have an array '{key}', but it has {', '.join(arrays)}", do="store it under this name"
            )
        came = arrays[key].shape
        if len(came) != len(shape) or any(s not in (None, c) for s, c in zip(shape, came, strict=True)):
            wanted = ", ".join("any" if s is None else str(s) for s in shape)
            raise InputError(
                f"'{key}' of '{file}' must have shape ({wanted}), but it has {came}", do="store it in this shape"
            )
        return arrays[key]

    def number(key: str) -> float:
        return real_number(arrays[key], f"'{key}' of '{file}'")

    def pictures(key: str, n: int, names: list[str]) -> list[tuple[str, Callable[[], Tensor]]]:
        if len(names) != n:
            raise InputError(
                f"'{file}' must name each of its {n} images, but it has {len(names)} names", do="correct them"
            )
        return [(name, partial(_pixels, arrays[key], i, f"image '{name}' of '{file}'")) for i, name in enumerate(names)]

    if "poses_bounds" in arrays:
        n = len(need("images", None, None, None, 3))
        named = pictures("images", n, [f"{i:04d}" for i in range(n)])
        return read_rows(arrays["poses_bounds"], named, str(file), hold_out)
    splits = {}
    for split in (split for split in SPLITS if f"images_{split}" in arrays):
        n, height, width, _ = need(f"images_{split}", None, None, None, None).shape
        poses = real_numbers(need(f"poses_{split}", n, 4, 4), f"'poses_{split}' of '{file}'")
        if "camera_angle_x" in arrays:
            lens = {"camera_angle_x": check_angle(f"'camera_angle_x' of '{file}'", number("camera_angle_x"))}
        else:
            need("focal", *np.shape(arrays.get("focal", 0)))
            lens = {"fl_x": number("focal"), "w": float(width), "h": float(height)}
        names = [str(name) for name in np.ravel(arrays.get(f"names_{split}", [f"{split}_{i:04d}" for i in range(n)]))]
        known = zip(pictures(f"images_{split}", n, names), poses, strict=True)
        splits[split] = [Frame(name, pose, lens, image) for (name, image), pose in known]
    if not splits:
        raise InputError(
            f"'{file}' must hold images_train and poses_train, or images and poses_bounds, but it has "
            f"{', '.join(arrays) or 'none'}",
            do="store them under these names",
        )
    near, far = (number(key) if key in arrays else None for key in ("near", "far"))
    return Layout(splits, near=near, far=far, white=True)


def _pixels(images: np.ndarray, i: int, what: str) -> Tensor:
    """Return an image as values in [0, 1]."""
    pixels = images[i]
    if pixels.dtype in (np.uint8, np.uint16):
        return torch.from_numpy(pixels / np.iinfo(pixels.dtype).max)
    values = real_numbers(pixels, what)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"{what} must hold values from 0 to 1, or be of type uint8 or uint16, but its {pixels.dtype} values reach "
            f"from {values.min():.6g} to {values.max():.6g}",
            do="divide by the value of white",
        )
    return torch.from_numpy(values)
