"""Pictures from files: reading, and resizing to the size and the shape that a protocol asks for.

Pictures are (height, width, channels), float64 in [0, 1], colours as stored (sRGB).
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve._core.errors import InputError, require
from nfsolve.data.tables import find_file

SMALLEST = 22  # pixels along a side: two windows of SSIM
REC709 = (0.2126, 0.7152, 0.0722)
REC601 = (0.299, 0.587, 0.114)


def read(name: str, gray: bool, owner: type | None = None, luma: tuple[float, float, float] = REC709) -> Tensor:
    """Read a picture.

    Args:
        name: Path or name under ``$NFSOLVE_DATA``; empty takes the photograph that comes with matplotlib.
        gray: Whether to give brightness, one channel, instead of three colours.
        owner: The problem's class, to look beside its file.
        luma: Weights of red, green and blue in the brightness.

    Returns:
        ``(height, width, 1 or 3)``.

    Raises:
        InputError: No such file, or no picture; values that are not finite; one colour everywhere.
    """
    path = find_file(name, owner) if name else photograph()
    values = decode(path.read_bytes(), f"picture '{path}'")
    colours = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].expand(-1, -1, 3)  # without alpha
    picture = (colours @ values.new_tensor(luma)[:, None] if gray else colours).clamp(0, 1)
    if float((picture.amax((0, 1)) - picture.amin((0, 1))).max()) == 0:
        raise InputError(f"picture '{path}' has one colour everywhere", "a picture with something to fit")
    return picture


def decode(content: bytes, what: str) -> Tensor:
    """Decode a picture with all its channels, transparency too.

    Args:
        content: The bytes of its file.
        what: What to call it in an error.

    Returns:
        ``(height, width, 1 to 4)``.

    Raises:
        InputError: This is no picture, or it has values that are not finite.
    """
    import imageio.v3 as iio

    try:
        pixels = np.asarray(iio.imread(content, index=0))
    except Exception as error:  # decoders raise whatever they like
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not content:
            reason = "it is empty"
        elif reason.startswith("Could not find a backend"):
            reason = "of no known format"
        raise InputError(
            f"{what} could not be read ({reason[:120]})",
            "a picture such as PNG or JPEG",
            "open it in a viewer, or save it again",
        ) from error
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] > 4) or pixels.size == 0:
        raise InputError(f"{what} has shape {pixels.shape}", "one picture, (height, width) or with colours")
    peak = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    values = torch.from_numpy(pixels.astype(np.float64) / peak).reshape(*pixels.shape[:2], -1)
    if not torch.isfinite(values).all():
        raise InputError(f"{what} has values that are NaN or infinite", "numbers in [0, 1]")
    return values


def photograph() -> Path:
    """Find the photograph that comes with matplotlib."""
    cbook = require("matplotlib.cbook", extra="plot", purpose="the photograph that is fitted without --image")
    try:
        path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    except OSError:
        path = Path("grace_hopper.jpg")
    if not path.is_file():
        raise InputError("this matplotlib comes without its sample photograph", "a picture", "give --image PATH")
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
            f"a picture of {width} x {height} pixels", f"at least {SMALLEST} on its shorter side after shrinking"
        )
