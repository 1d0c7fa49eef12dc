"""Where the pictures and masks of a scene lie: under their names, in smaller copies, or where a folder was moved to.

A file may name pictures without their ending, on another machine, or in a folder of which only a smaller copy was kept
(``images_2``). Masks that no frame names are looked for where COLMAP (``masks/1.jpg.png``), nerfstudio
(``masks/1.png``) and instant-ngp (``dynamic_mask_1.png``, white where others are black) have them.
"""

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos.frames import ENDINGS, Frame, PictureFile, Root, check_inside, is_inside, say

IMAGES = ("images", "input", "rgb", "images_2", "images_4", "images_8")  # folders of the same pictures
SMALLER = re.compile(r"(^|/)images_\d+(/|$)")
DEEP = 4  # folders below the scene's in which pictures are looked for that nothing names
MASKS = "masks"
MOVING = "dynamic_mask_"


def with_pictures(root: Root, frames: Sequence[Frame], allow_outside: bool, stored: bool = False) -> list[Frame]:
    """Find the pictures of frames, and masks of those that have none, and say once what is not where it should be.

    Args:
        root: The folder of the scene.
        frames: Frames without pictures.
        allow_outside: Whether pictures may lie outside of ``root``.
        stored: Whether cameras are for pixels as they are stored, whatever EXIF says.

    Returns:
        The frames; one whose file is missing has no picture.

    Raises:
        InputError: A picture lies outside of the folder, or two frames have one picture.
    """
    found = [locate(root, frame.name, allow_outside) for frame in frames]
    _check_distinct(frames, found)
    pairs = list(zip(frames, found, strict=True))
    elsewhere = [(f.name, file) for f, file in pairs if file is not None and not _is_named(root, f.name, file)]
    if elsewhere:
        name, at = elsewhere[0][0], _relative(root, elsewhere[0][1])
        say(f"{_count(elsewhere)} not where the file says: '{name}' is read from '{at}'")
        _check_copies(root, pairs)
    unmasked = [] if any(frame.mask for frame in frames) else pairs
    masks = {f.name: _mask(root, _relative(root, file)) for f, file in unmasked if file is not None}
    masked = [mask for mask in masks.values() if mask is not None]
    if masked:
        at = _relative(root, masked[0][0])
        say(f"masks are used that no frame names, for {len(masked)} of {len(frames)} photographs, such as '{at}'")
    return [
        replace(
            frame,
            image=None if file is None else PictureFile(file, _size(frame), stored),
            mask=frame.mask or _reader(masks.get(frame.name)),
        )
        for frame, file in pairs
    ]


def _check_copies(root: Root, pairs: Sequence[tuple[Frame, Root | None]]) -> None:
    """Refuse smaller copies of pictures whose lens is in pixels, of an image of which nothing says the size."""
    for frame, file in pairs:
        at = "" if file is None else _relative(root, file)
        copy = SMALLER.search(posixpath.dirname(at)) and not SMALLER.search(posixpath.dirname(frame.name))
        if copy and frame.lens.keys() & {"fl_x", "fl_y"} and not frame.lens.keys() & {"w", "h"}:
            raise InputError(
                f"'{frame.name}' is read from a smaller copy, '{at}', but the focal length is in pixels of an image "
                "whose size is not said",
                do="write 'w' and 'h' of that image",
            )


def say_unused(root: Root, frames: Sequence[Frame]) -> None:
    """Say once which pictures in the folder of a scene no frame uses, such as views without a pose, or masks.

    Smaller copies of what is used (``images_2``) are not counted.
    """
    if not frames or any(frame.image is None for frame in frames):
        return  # which is an error of its own
    used = [reader.file for frame in frames for reader in (frame.image, frame.mask) if isinstance(reader, PictureFile)]
    names = {_relative(root, file) for file in used}
    names |= {_within(root, file) for file in used if isinstance(root, Path) and isinstance(file, Path)}
    plain = {_without_folder(name) for name in names}
    left: dict[str, list[str]] = {}
    for name in _pictures(root):
        if name not in names and _without_folder(name) not in plain:
            left.setdefault(posixpath.dirname(name), []).append(posixpath.basename(name))
    if left:
        kinds = [f"{len(some)} in '{folder or '.'}' (such as '{min(some)}')" for folder, some in sorted(left.items())]
        more = f" and in {len(kinds) - 4} more folders" if len(kinds) > 4 else ""
        say(
            f"pictures that no frame names are not used: {', '.join(kinds[:4])}{more}; masks are found as mask_path or "
            "as masks/NAME.png"
        )


def _pictures(root: Root) -> list[str]:
    """Return the names of all pictures in the folder of a scene, or in those of its folders down to `DEEP`."""
    found, places = [], [(root, 0)]
    while places:
        place, depth = places.pop()
        for entry in place.iterdir():
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir() and depth < DEEP:
                places.append((entry, depth + 1))
            elif posixpath.splitext(entry.name)[1] in ENDINGS:
                found.append(_relative(root, entry))
    return found


def _without_folder(name: str) -> str:
    """Return a name without its ending, and without that one of its folders which smaller copies have another of."""
    parts = _stem(name).split("/")
    return "/".join("" if part in IMAGES else part for part in parts)


def locate(root: Root, name: str, allow_outside: bool) -> Root | None:
    """Find the file of a picture by its name; None where there is none.

    Raises:
        InputError: It lies outside of the folder.
    """
    for place in _places(name):
        for candidate in _endings(place):
            if (file := root / candidate).is_file():
                check_inside(root, file, allow_outside)
                return file
    return None


def named_mask(root: Root, where: str, name: str, allow_outside: bool) -> Callable[[], Tensor]:
    """Find the mask that a frame names.

    Raises:
        InputError: There is none.
    """
    found = locate(root, name, allow_outside)
    if found is None:
        raise InputError(f"the mask '{name}' of {where} must be a picture, but there is none", do="correct mask_path")
    return PictureFile(found)


def _places(name: str) -> Iterator[str]:
    """Yield the name and ever shorter ends of it, each also in the other folders of images."""
    yield name
    parts = [part for part in name.split("/") if part not in ("", "..")]
    for start in range(len(parts)):
        end = parts[start:]
        yield "/".join(end)
        for i, part in enumerate(end):
            if part in IMAGES:
                yield from ("/".join([*end[:i], other, *end[i + 1 :]]) for other in IMAGES if other != part)


def _endings(name: str) -> Iterator[str]:
    """Yield a name as it is, with each ending of a picture, and with another one than its own."""
    stem, ending = posixpath.splitext(name)
    yield name
    yield from (name + other for other in ENDINGS)
    if ending in ENDINGS:
        yield from (stem + other for other in sorted(ENDINGS, key=lambda other: other.lower() != ending.lower()))


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _mask(root: Root, name: str) -> tuple[Root, bool] | None:
    """Return the file of a mask that nothing names, and whether it is white where others are black."""
    folder, file = posixpath.split(name)
    rest = folder.partition("/")[2] if folder.partition("/")[0] in IMAGES else folder
    beside = posixpath.join(MASKS, rest, file)
    for candidate in (f"{beside}.png", *_endings(_stem(beside)), *_endings(beside)):
        if (root / candidate).is_file() and is_inside(root, root / candidate):
            return root / candidate, False
    moving = root / posixpath.join(folder, f"{MOVING}{_stem(file)}.png")
    return (moving, True) if moving.is_file() and is_inside(root, moving) else None


def _reader(mask: tuple[Root, bool] | None) -> Callable[[], Tensor] | None:
    if mask is None:
        return None
    file, inverted = mask
    return PictureFile(file, inverted=inverted)


def _size(frame: Frame) -> tuple[float, float] | None:
    return (frame.lens["w"], frame.lens["h"]) if {"w", "h"} <= frame.lens.keys() else None


def _check_distinct(frames: Sequence[Frame], found: Sequence[Root | None]) -> None:
    owners: dict[str, str] = {}
    for frame, file in zip(frames, found, strict=True):
        if file is not None and owners.setdefault(str(file), frame.name) != frame.name:
            raise InputError(
                f"'{owners[str(file)]}' and '{frame.name}' must be two pictures, but both were found at '{file}'",
                do="correct file_path",
            )


def _is_named(root: Root, name: str, file: Root) -> bool:
    """Tell whether a file lies where its name says, but for its ending."""
    named, at = (str(p.resolve() if isinstance(p, Path) else p) for p in (root / name, file))
    return _stem(at) in (named, _stem(named))


def _relative(root: Root, file: Root) -> str:
    return str(file).replace("\\", "/").removeprefix(str(root).replace("\\", "/")).lstrip("/")


def _within(root: Path, file: Path) -> str:
    """Return the name of a file in a folder, also where it was named through another one."""
    return posixpath.join(*os.path.relpath(file.resolve(), root.resolve()).split(os.sep))


def _count(rows: Sequence[object]) -> str:
    return f"{len(rows)} pictures are" if len(rows) > 1 else "1 picture is"
