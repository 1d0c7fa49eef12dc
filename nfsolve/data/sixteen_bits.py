"""Colours of 16 bits, of which Pillow keeps only the higher byte."""

import io
import re
import sys

import numpy as np
from PIL import Image, ImageOps

OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # order of bytes -> that swapped
HEADER = re.compile(rb"P([36])" + 3 * rb"(?:\s|#[^\n\r]*[\n\r])+(\d+)" + rb"\s")


def raw_mode(image: Image.Image) -> str:
    """Return the layout of the pixels in the file, which is known until they are loaded, such as ``"RGB;16B"``."""
    given = [tile.args for tile in getattr(image, "tile", ()) if tile.args]
    modes = {args if isinstance(args, str) else args[0] for args in given}
    return str(modes.pop()) if len(modes) == 1 else ""


def colours(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Read colours of 16 bits, each byte by itself: a layout with swapped bytes gives the lower one.

    Args:
        image: The picture as it was opened, not yet loaded.
        content: The bytes of its file.

    Returns:
        RGB, RGB and alpha, or brightness and alpha ``(height, width, 2 to 4)`` in [0, 1], upright; None where the
        picture is of another kind.

    Raises:
        ValueError: The file is damaged.
    """
    if image.format == "PPM":
        return _portable(content)
    layout = re.fullmatch(r"(LA|RGB|RGBA|RGBX|CMYK);16([BLN])", raw_mode(image))
    planes = image.format == "TIFF" and image.tag_v2.get(284) == 2  # type: ignore[attr-defined]
    if layout is None or planes or image.mode == "LA":  # of planes Pillow gives the higher byte, whatever the layout
        return None
    kind, order = layout.groups()
    high = np.asarray(ImageOps.exif_transpose(image)).astype(np.float64)
    low = _bytes(content, "RGBA" if kind == "LA" else f"{kind};16{OTHER_BYTE[order]}")
    if kind == "LA":  # four bytes of a pixel as if they were four channels
        return (256.0 * low[..., ::2] + low[..., 1::2]) / 65535
    values = (256 * high + low) / 65535
    if kind == "CMYK":
        return (1 - values[..., :3]) * (1 - values[..., 3:])
    key = image.info.get("transparency")
    if key is None:
        return values
    alpha = (np.round(65535 * values) != np.array(key)).any(-1, keepdims=True)
    return np.concatenate([values, alpha], -1)


def _bytes(content: bytes, layout: str) -> np.ndarray:
    """Decode a picture as if its pixels had another layout."""
    with Image.open(io.BytesIO(content)) as image:
        image.tile = [  # type: ignore[attr-defined]
            tile._replace(args=layout if isinstance(tile.args, str) else (layout, *(tile.args or ())[1:]))
            for tile in image.tile  # type: ignore[attr-defined]
        ]
        image.info.pop("transparency", None)
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.float64)


def _portable(content: bytes) -> np.ndarray | None:
    """Read a portable pixmap whose peak is more than 255."""
    head = HEADER.match(content)
    if head is None or int(head[4]) < 256:
        return None
    width, height, peak = (int(head[i]) for i in (2, 3, 4))
    n = 3 * width * height
    if head[1] == b"6":
        values = np.frombuffer(content, ">u2", n, head.end()).astype(np.float64)
    else:
        values = np.array(re.sub(rb"#[^\n\r]*", b"", content[head.end() :]).split()[:n], dtype=np.float64)
    if len(values) < n or values.max() > peak:
        raise ValueError(f"it needs {n} values of at most {peak}, and has {len(values)} of at most {values.max():g}")
    return values.reshape(height, width, 3) / peak
