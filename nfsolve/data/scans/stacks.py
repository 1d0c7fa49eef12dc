"""Stacks of TIFF or PNG images: the projections of a parallel beam, one to a file of a folder or to a page of a TIFF.

In a folder, files with "flat" or "white" in their names hold the bare beam, and with "dark" the dark field; the others
are projections, in the order of the numbers in their names. Beside a file of many pages, as NAME.tif, these are
NAME_flat.tif and NAME_dark.tif. Angles in degrees, one for each projection, are those of angles.txt, or
NAME_angles.txt.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError

ENDINGS = (".tif", ".tiff")
PAGES = (*ENDINGS, ".png")
KINDS = {"flat": "flat", "white": "flat", "dark": "dark"}


class Pages:
    """Images of a stack on the disk, as an array (views, rows, bins) of which a row is kept when it is taken.

    Args:
        files: The files in order, of one page each, or a single one of many.

    Raises:
        InputError: A file is not an image, or they differ in shape.
    """

    def __init__(self, files: list[Path]):
        self.files = files
        first = _page(files[0], 0)
        pages = _pages(files[0]) if len(files) == 1 else len(files)
        self.shape, self.dtype, self.ndim = (pages, *first.shape), first.dtype, 3

    def take(self, index: int, axis: int) -> np.ndarray:
        """Read one row of the detector, (views, bins), or one column or view likewise."""
        if axis == 0:
            return self._page(index)
        return np.stack([self._page(view).take(index, axis - 1) for view in range(self.shape[0])])

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Read all."""
        return np.stack([self._page(view) for view in range(self.shape[0])]).astype(dtype or self.dtype)

    def _page(self, view: int) -> np.ndarray:
        path, page = (self.files[0], view) if len(self.files) == 1 else (self.files[view], 0)
        image = _page(path, page)
        if image.shape != self.shape[1:]:
            raise InputError(
                f"the projections of a stack must have one shape, but '{path}' has {image.shape} and the first "
                f"{self.shape[1:]}",
                do="take files of other kinds out of the folder",
            )
        return image


def read_stack(path: Path) -> dict[str, Any]:
    """Read the projections of a folder of TIFF or PNG images, or of a file of many pages.

    Args:
        path: The folder, or the file.

    Returns:
        Arrays in the general layout of `nfsolve.data.scans.scan`: counts with flat and dark, or a sinogram where there
        is no flat field; angles_deg, where they are there; axes.

    Raises:
        InputError: There are no projections, or a file could not be read.
    """
    files: dict[str, list[Path]] = {"projection": [], "flat": [], "dark": []}
    if path.is_dir():
        for file in sorted(path.iterdir(), key=_in_order):
            if file.suffix.lower() in PAGES and not file.name.startswith("."):
                files[next((kind for word, kind in KINDS.items() if word in file.stem.lower()), "projection")].append(
                    file
                )
        angles = path / "angles.txt"
    else:
        files["projection"] = [path]
        for word, kind in KINDS.items():
            files[kind] += [p for p in (path.with_name(f"{path.stem}_{word}{path.suffix}"),) if p.is_file()]
        angles = path.with_name(f"{path.stem}_angles.txt")
    if not files["projection"]:
        raise InputError(
            f"the folder '{path}' holds no projections: none of its {sum(map(len, files.values()))} images is one",
            do="name flat fields with 'flat' or 'white', dark fields with 'dark', and projections without these words",
        )
    _check_names(path, files["projection"])
    pages = Pages(files["projection"])
    if pages.shape[0] == 1:
        raise InputError(
            f"'{path}' holds one image, and a scan needs a projection for each view",
            do="if it is a sinogram (views, bins), save it as an .npz with 'sinogram', 'angles_deg', 'geometry' and "
            "'spacing'",
        )
    known: dict[str, Any] = {
        "geometry": "parallel",
        "axes": "views rows bins",
        "find_axis": True,
        "stack": pages.shape[0],
    }
    known["counts" if files["flat"] else "sinogram"] = pages
    for kind in ("flat", "dark"):
        if files[kind]:
            frames = np.concatenate([np.asarray(Pages([file]), np.float64) for file in files[kind]])
            known[kind] = frames.mean(0, keepdims=True)
    if files["dark"] and not files["flat"]:
        raise InputError(
            f"'{path}' has a dark field but no flat field, the bare beam",
            do="add it as flat.tif (NAME_flat.tif beside a file of many pages), or take the dark field away",
        )
    if angles.is_file():
        try:
            known["angles_deg"] = np.loadtxt(angles, ndmin=1)
        except ValueError as error:
            raise InputError(f"'{angles}' must hold one angle to a line ({reason(error)})", do="correct it") from error
    return known


def _check_names(path: Path, files: list[Path]) -> None:
    """Refuse projections of several kinds of names: some may be flat or dark fields under other words."""
    names = [re.sub(r"\d+", "", file.stem.lower()).strip("_-. ") for file in files]
    kinds = {name: names.count(name) for name in names}
    most = max(kinds, key=lambda name: kinds[name])
    others = [f"{count} named '{name}...'" for name, count in kinds.items() if name != most]
    if others and kinds[most] > 1:
        raise InputError(
            f"the projections in '{path}' must have names alike but for numbers, but beside {kinds[most]} named "
            f"'{most}...' there are {', '.join(others[:4])}",
            do="put 'flat' or 'dark' into the names of flat and dark fields, and take files of other kinds out",
        )


def _in_order(path: Path) -> list[Any]:
    """Sort by the numbers in names as numbers: 2 comes before 10."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", path.name)]


def _pages(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


def _page(path: Path, page: int) -> np.ndarray:
    """Read one page, (rows, columns)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.seek(page)
            values = np.asarray(image)
    except Exception as error:  # Pillow raises whatever it likes
        raise InputError(
            f"'{path}' must be a whole TIFF or PNG image, but it could not be read ({reason(error)})",
            do="write it as whole numbers of 8, 16 or 32 bits or as floating-point numbers of 32 bits; others, such as "
            "those of 16 or 64 bits, are not read",
        ) from error
    if values.ndim != 2:
        raise InputError(
            f"projections are grey images, but '{path}' has shape {values.shape}", do="save one value for each pixel"
        )
    return values
