"""The colour behind a scene: given, known for the layout, or what the photographs show along their borders.

Transparent images are taken to be straight, as the PNG specification says (colours are not multiplied by
alpha; NeRF's Blender scenes are), and composed before the background as they are read: c alpha + b (1 - alpha).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.frames import Frame, Layout, say

Colour = tuple[float, ...]
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
WHITE = BACKGROUNDS["white"]
NO_BACKGROUND = "none"
LOOKED_AT = 8  # photographs in which a common background is looked for, about
BORDER, ALIKE = 0.8, 4 / 255  # share of a border that must have its colour, and how exactly
CLOSE = 0.4  # the same share for layouts of renderings, in which the object may touch the border


def find_background(background: str | Sequence[float] | None, layout: Layout) -> Colour | None:
    """Return the colour behind the scene, or None where the photographs show what is there.

    Args:
        background: What the user said; None to find out.
        layout: All frames. Transparent photographs are put before white, as renderings of Blender are.

    Raises:
        InputError: There is no such colour.
    """
    if background is not None:
        return _named(background)
    frames = [frame for frame in layout.splits.get("train", []) if frame.image is not None]
    pictures = [frame.image() for frame in frames[:: -(-len(frames) // LOOKED_AT) or 1] if frame.image is not None]
    if any(is_transparent(picture) for picture in pictures):
        if not layout.white:
            say("the photographs are transparent, and white is put behind them; give another background")
        return WHITE
    if layout.forward_facing:
        return None
    found = _common([_border(picture) for picture in pictures], CLOSE if layout.white else BORDER)
    if found is None and layout.white:
        say("the photographs are opaque and have no common colour along their borders, so no background is assumed")
    elif found is not None and not (layout.white and found == WHITE):
        say(
            f"the photographs have one colour along their borders, {', '.join(f'{value:g}' for value in found)}, which "
            "is taken for the background; give another, or background='none' where it belongs to the scene"
        )
    return found


def is_transparent(picture: Tensor) -> bool:
    """Tell whether a picture ``(h, w, channels)`` has an alpha channel that is not 1 everywhere."""
    return picture.shape[-1] in (2, 4) and float(picture[..., -1].min()) < 1


def in_colour(picture: Tensor) -> Tensor:
    """Return red, green and blue ``(h, w, 3)`` of a picture, without its alpha."""
    return picture[..., :3] if picture.shape[-1] > 2 else picture[..., :1].expand(-1, -1, 3)


def compose(frame: Frame, picture: Tensor, behind: Colour | None) -> Tensor:
    """Put a picture before the background, ``(h, w, 3)``.

    Raises:
        InputError: It is transparent, and there is no background.
    """
    if not is_transparent(picture):
        return in_colour(picture)
    alpha = picture[..., -1:]
    if behind is None:
        share = 100 * float((alpha < 1).double().mean())
        raise InputError(
            f"image '{frame.name}' is transparent in {share:.0f} % of its pixels and needs a colour behind it",
            do="give background='white' or another; the rendering is composed before the same colour",
        )
    colours = in_colour(picture)
    return colours * alpha + colours.new_tensor(behind) * (1 - alpha)


def _common(borders: list[Tensor], share: float) -> Colour | None:
    """Return the colour that so large a share of each border has, if there is one."""
    if not borders:
        return None
    middle = torch.cat(borders).median(0).values
    if not all(float(((border - middle).abs().amax(-1) <= ALIKE).double().mean()) >= share for border in borders):
        return None
    return tuple(round(value, 4) for value in middle.tolist())


def _border(picture: Tensor) -> Tensor:
    """Return the colours ``(n, 3)`` along the border of a photograph."""
    colours = in_colour(picture)
    return torch.cat([colours[0], colours[-1], colours[:, 0], colours[:, -1]])


def _named(background: str | Sequence[float]) -> Colour | None:
    if background == NO_BACKGROUND:
        return None
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            known = (*BACKGROUNDS, NO_BACKGROUND)
            raise unknown("background", background, known, "give one of these, or three numbers in [0, 1]")
        return BACKGROUNDS[background]
    if len(background) != 3 or not all(0 <= value <= 1 for value in background):
        raise InputError(
            f"background must be red, green and blue in [0, 1], got {tuple(background)}", do="choose such a colour"
        )
    return tuple(float(value) for value in background)
