"""Pictures from files: reading, and resizing to the size and the shape that a protocol asks for.

Pictures are (height, width, channels), float64 in [0, 1], colours as stored (sRGB).
"""

import io
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nfsolve._core.arrays import reason
from nfsolve._core.errors import InputError, require
from nfsolve.data import sixteen_bits
from nfsolve.data.tables import find_file

SMALLEST = 22  # pixels along a side: two windows of SSIM
REC709 = (0.2126, 0.7152, 0.0722)
REC601 = (0.299, 0.587, 0.114)
DIRECT = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
DIRECT |= {"RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}  # mode -> mode of 8 bits
ORIENTATION = 0x0112  # tag of EXIF
STORED = {  # its value -> from the upright picture back to the pixels as they are stored (EXIF 2.3, table 6)
    1: lambda picture: picture,
    2: lambda picture: picture.flip(1),
    3: lambda picture: picture.flip(0, 1),
    4: lambda picture: picture.flip(0),
    5: lambda picture: picture.transpose(0, 1),
    6: lambda picture: picture.rot90(1, (0, 1)),
    7: lambda picture: picture.transpose(0, 1).flip(0, 1),
    8: lambda picture: picture.rot90(-1, (0, 1)),
}


def read(
    name: str,
    gray: bool,
    owner: type | None = None,
    luma: tuple[float, float, float] = REC709,
    plain: bool = False,
) -> Tensor:
    """Read a picture.

    Args:
        name: Path or name under ``$NFSOLVE_DATA``; empty takes the photograph that comes with matplotlib.
        gray: Whether to return brightness, one channel, instead of three colours.
        owner: The problem's class, to look beside its file.
        luma: Weights of red, green and blue in the brightness.
        plain: Whether one colour everywhere is allowed.

    Returns:
        ``(height, width, 1 or 3)``.

    Raises:
        InputError: No such file, or no picture, see `decode`; transparent pixels; one colour everywhere.
    """
    path = find_file(name, owner) if name else photograph()
    values = decode(path.read_bytes(), f"picture '{path}'")
    if values.shape[-1] in (2, 4) and float(values[..., -1].min()) < 1:
        raise InputError(
            f"picture '{path}' must be opaque, but {100 * float((values[..., -1] < 1).double().mean()):.3g} % of its "
            "pixels are transparent",
            do="flatten it onto a background and save it again",
        )
    colours = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].expand(-1, -1, 3)
    picture = (colours @ values.new_tensor(luma)[:, None] if gray else colours).clamp(0, 1)
    if not plain and float((picture.amax((0, 1)) - picture.amin((0, 1))).max()) == 0:
        raise InputError(
            f"picture '{path}' must show something to fit, but it has one colour everywhere",
            do="choose another picture",
        )
    return picture


def decode(content: bytes, what: str) -> Tensor:
    """Decode a picture as a viewer shows it: upright (EXIF), with all its channels, transparency too.

    Args:
        content: The bytes of its file.
        what: What to call it in an error.

    Returns:
        Brightness, brightness and alpha, RGB, or RGB and straight alpha ``(height, width, 1 to 4)`` in [0, 1].

    Raises:
        InputError: This is not a picture, it is damaged, or the scale or colours of its mode are not defined.
    """
    if not content:
        raise InputError(f"{what} must be a picture, but the file is empty", do="copy it again")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # an MPO is a photograph with its preview
                raise InputError(
                    f"{what} must be one picture, but it holds {image.n_frames} pictures",  # type: ignore[attr-defined]
                    do="save the frame or page that you mean as PNG",
                )
            bits, inverted = _bits(image, content), _is_white_at_0(image)
            if bits > 8 and (deep := sixteen_bits.colours(image, content)) is not None:
                return torch.from_numpy(deep)
            image.load()
            if image.mode == "L" and bits in (2, 4) and "transparency" in image.info:  # Pillow widens all but the key
                image.info["transparency"] *= 255 // (2**bits - 1)
            upright = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        tiff = content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        known = (
            "this kind of TIFF, such as one of floating-point colours, is not read"
            if tiff
            else "its format is not known"
        )
        raise InputError(
            f"{what} must be a picture such as PNG, JPEG or TIFF, but {known}",
            do="open it in a viewer and save it as PNG",
        ) from error
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like; a picture of too many pixels ends here as well
        raise InputError(
            f"{what} must be a whole picture, but it could not be decoded ({reason(error)})",
            do="open it in a viewer and save it again, or make it smaller",
        ) from error
    values = to_values(upright, what, bits, image.format or "")
    return 1 - values if inverted else values


def orientation(content: bytes) -> int:
    """Return how a viewer turns the stored pixels of a picture, the orientation of EXIF, 1 (not at all) to 8."""
    with Image.open(io.BytesIO(content)) as image:
        if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode it to look behind its pixels
            return 1
        said = image.getexif().get(ORIENTATION, 1)
    return said if said in STORED else 1


def from_pillow(image: Image.Image, what: str = "the picture") -> Tensor:
    """Convert a picture that Pillow has opened or made, as `decode` does.

    Args:
        image: The picture; of an animation its current frame.
        what: What to call it in an error.

    Returns:
        ``(height, width, 1 to 4)`` in [0, 1].

    Raises:
        InputError: As for `decode`, or colours of 16 bits, which Pillow would cut to 8.
    """
    if image.mode in DIRECT and ";16" in sixteen_bits.raw_mode(image):
        raise InputError(
            f"{what} must have 8 bits in each channel where Pillow holds it, but its file has 16",
            do="give the path of the file",
        )
    values = to_values(ImageOps.exif_transpose(image), what, kind=image.format or "")
    return 1 - values if _is_white_at_0(image) else values


def to_values(image: Image.Image, what: str, bits: int = 8, kind: str = "") -> Tensor:
    """Convert a picture of any mode of Pillow; see `decode`.

    Args:
        image: The picture.
        what: What to call it in an error.
        bits: Bits of each channel in the file.
        kind: Pillow's name of the file format, such as ``"PNG"``.

    Returns:
        ``(height, width, 1 to 4)`` in [0, 1].

    Raises:
        InputError: The mode has no defined scale or colours, or values lie outside [0, 1].
    """
    mode = image.mode
    if mode in DIRECT:
        if bits > 8:  # Pillow would drop the lower bits
            raise InputError(
                f"{what} must have 8 bits in each channel of mode {mode}, but it has {bits}, in planes or "
                "multiplied by alpha",
                do="save it as PNG of 16 bits",
            )
        target = DIRECT[mode]
        if mode == "P" or "transparency" in image.info:
            target = {"L": "LA"}.get(target, "RGBA") if "transparency" in image.info else target
        if mode == "1" and target == "LA":
            image = image.convert("L")
        values = np.asarray(image if image.mode == target else image.convert(target)) / 255
    elif mode.startswith("I;16") or (mode == "I" and kind in ("PNG", "PPM")):
        peak = 2 ** (bits if 8 < bits < 16 and kind == "TIFF" else 16) - 1
        values = np.asarray(image).astype(np.float64)[..., None] / peak
        if (key := image.info.get("transparency")) is not None:
            values = np.concatenate([values, values != key / peak], -1)
    elif mode == "F":
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(
                f"{what} must hold finite numbers, but it has values that are NaN or infinite",
                do="fill them in and save it again",
            )
        if values.min() < 0 or values.max() > 1:
            raise InputError(
                f"{what} must have values from 0 to 1 in mode F (floating point), but they reach from "
                f"{values.min():.6g} to {values.max():.6g}",
                do="divide by the value of white and save it again",
            )
    else:
        raise InputError(
            f"{what} must be of a mode whose colours and scale are defined, such as L, RGB or I;16, but it has {mode}",
            do="convert it to RGB, or to brightness in 8 or 16 bits",
        )
    return torch.from_numpy(np.array(values, np.float64)).reshape(image.height, image.width, -1)


def _bits(image: Image.Image, content: bytes) -> int:
    """Return the bits of each channel in the file, which Pillow's modes do not tell."""
    if image.format == "PNG":
        return content[24]
    if image.format == "TIFF":
        if 2 in image.tag_v2.get(339, ()) and image.mode == "L":  # type: ignore[attr-defined]
            raise ValueError("its brightness is stored with a sign")
        return max(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined]
    if image.format == "PPM" and content[:2] in (b"P3", b"P6"):
        fields = re.sub(rb"#[^\n\r]*", b"", content[:4096]).split(maxsplit=4)
        return int(fields[3]).bit_length()
    return 8


def _is_white_at_0(image: Image.Image) -> bool:
    """Return whether a TIFF has its white at 0; Pillow inverts pictures of 8 bits, and no others."""
    return image.format == "TIFF" and image.mode[0] in "IF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]


def photograph() -> Path:
    """Find the photograph that comes with matplotlib."""
    cbook = require("matplotlib.cbook", extra="plot", purpose="the photograph that is fitted without --image")
    try:
        path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    except OSError:
        path = Path("grace_hopper.jpg")
    if not path.is_file():
        raise InputError(
            "a picture is needed, but this matplotlib comes without its sample photograph", do="give --image PATH"
        )
    return path


def shrink(picture: Tensor, size: int) -> Tensor:
    """Shrink a picture to a longest side of at most ``size``, with antialiasing."""
    height, width = picture.shape[:2]
    factor = size / max(height, width)
    _check_size(picture, min(height, width) * min(factor, 1))
    if factor >= 1:
        return picture
    shape = (round(height * factor), round(width * factor))
    planes = picture.movedim(-1, 0)[None]
    return F.interpolate(planes, shape, mode="bilinear", antialias=True)[0].movedim(0, -1).clamp(0, 1)


def squeeze(picture: Tensor, size: int, kernel: Literal["area", "bilinear"] = "area") -> Tensor:
    """Resize a picture to a square of at most ``size``, never more than its shorter side; the aspect ratio is lost.

    Args:
        picture: ``(height, width, channels)``.
        size: Largest side of the square.
        kernel: Exact averages over areas, or bilinear interpolation without antialiasing.

    Returns:
        ``(side, side, channels)``.

    Raises:
        InputError: The picture is too small.
    """
    height, width = picture.shape[:2]
    side = min(size, height, width)
    _check_size(picture, side)
    if kernel == "area":
        return area(picture, side, side).clamp(0, 1)
    planes = picture.movedim(-1, 0)[None]
    return F.interpolate(planes, (side, side), mode="bilinear", align_corners=False)[0].movedim(0, -1).clamp(0, 1)


def crop(picture: Tensor, size: int, kernel: Literal["area", "bilinear"] = "area") -> Tensor:
    """Cut the largest square out of the centre of a picture and resize it as `squeeze` does."""
    side = min(picture.shape[:2])
    _check_size(picture, side)
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    return squeeze(picture[top : top + side, left : left + side], size, kernel)


def area(picture: Tensor, height: int, width: int) -> Tensor:
    """Average a picture (h, w, channels) over equal areas, cut pixels with their share."""
    return _average(_average(picture, height).transpose(0, 1), width).transpose(0, 1)


def _average(picture: Tensor, m: int) -> Tensor:
    """Average the n rows over m equal parts: differences of the integral up to their ends."""
    n = len(picture)
    if m == n:
        return picture
    ends = torch.arange(m + 1, dtype=torch.float64) * n / m
    row = ends.long().clamp(max=n - 1)
    integral = (picture.cumsum(0) - picture)[row] + (ends - row).to(picture)[:, None, None] * picture[row]
    return (integral[1:] - integral[:-1]) * m / n


def _check_size(picture: Tensor, shorter: float) -> None:
    if shorter < SMALLEST:
        height, width = picture.shape[:2]
        raise InputError(
            f"a picture must keep at least {SMALLEST} pixels on its shorter side after shrinking, but this one has "
            f"{width} x {height} pixels",
            do="choose a larger picture or a larger size",
        )
