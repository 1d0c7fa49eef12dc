"""Which layout of photographs lies at a path: a folder, a zip of one, or arrays in .npz."""

import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos.frames import SPLITS, Frame, Layout, Root
from nfsolve.data.photos.llff import read_llff, read_rows
from nfsolve.data.photos.transforms import read_transforms
from nfsolve.data.tables import find_file, read_arrays


def read_layout(path: str | Path, hold_out: int) -> Layout:
    """Find out which layout lies at a path, and read everything but the pictures.

    Args:
        path: A folder, .zip or .npz.
        hold_out: Where nothing is said of splits, every ``hold_out``-th frame in the order of names is for tests.

    Returns:
        The layout.

    Raises:
        InputError: There is nothing of a known layout, or something in it is wrong.
    """
    found = Path(path) if Path(path).is_dir() else find_file(str(path), None, ("", ".npz", ".zip"))
    if found.suffix == ".npz":
        return _arrays(found, hold_out)
    root = _descend(found if found.is_dir() else _open(found))
    if (root / "poses_bounds.npy").is_file():
        return read_llff(root, hold_out)
    files = {split: file for split in SPLITS if (file := root / f"transforms_{split}.json").is_file()}
    if not files and (root / "transforms.json").is_file():
        files = {"": root / "transforms.json"}
    if not files:
        raise InputError(
            f"'{found}' holds no posed photographs",
            "transforms.json, transforms_train.json or poses_bounds.npy, with a folder of images",
            "convert the scene to the nerfstudio layout",
        )
    return read_transforms(root, files, hold_out)


def _open(file: Path) -> Root:
    if not zipfile.is_zipfile(file):
        raise InputError(f"'{file}' is no zip archive", "a folder, a .zip or a .npz of posed photographs")
    return zipfile.Path(file)


def _descend(root: Root) -> Root:
    """Go down while there is nothing but one folder, as in most zips."""
    while True:
        inside = [entry for entry in root.iterdir() if not entry.name.startswith(("__MACOSX", "."))]
        if len(inside) != 1 or not inside[0].is_dir():
            return root
        root = inside[0]


def _arrays(file: Path, hold_out: int) -> Layout:
    arrays = read_arrays(file)

    def picture(key: str, i: int) -> Tensor:
        pixels = arrays[key][i]
        peak = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
        return torch.from_numpy(pixels.astype(np.float64) / peak).reshape(*pixels.shape[:2], -1)

    def need(key: str, *shape: int | None) -> np.ndarray:
        if key not in arrays:
            raise InputError(f"'{file}' has no array '{key}'", f"it beside {', '.join(arrays)}")
        came = arrays[key].shape
        if len(came) != len(shape) or any(s not in (None, c) for s, c in zip(shape, came, strict=True)):
            raise InputError(f"'{key}' of '{file}' has shape {came}", f"{shape}, with any number for None")
        return arrays[key]

    if "poses_bounds" in arrays:
        n = len(need("images", None, None, None, 3))
        return read_rows(
            arrays["poses_bounds"], [(f"{i:04d}", partial(picture, "images", i)) for i in range(n)], str(file), hold_out
        )
    splits = {}
    for key in (key for key in SPLITS if f"images_{key}" in arrays):
        n, _, width, _ = need(f"images_{key}", None, None, None, None).shape
        poses = need(f"poses_{key}", n, 4, 4).astype(np.float64)
        if "camera_angle_x" in arrays:
            lens = {"camera_angle_x": float(arrays["camera_angle_x"])}
        else:
            lens = {"fl_x": float(need("focal")), "w": float(width), "h": float(arrays[f"images_{key}"].shape[1])}
        names = [str(name) for name in arrays.get(f"names_{key}", [f"{key}_{i:04d}" for i in range(n)])]
        splits[key] = [Frame(names[i], poses[i], lens, partial(picture, f"images_{key}", i)) for i in range(n)]
    if not splits:
        raise InputError(
            f"'{file}' holds {', '.join(arrays)}", "images_train and poses_train, or images and poses_bounds"
        )
    near, far = (float(arrays[key]) if key in arrays else None for key in ("near", "far"))
    return Layout(splits, near=near, far=far, white=True)
