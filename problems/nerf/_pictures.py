"""Pictures of inverse rendering: rendered views, depth and normals, a video, and one of the whole run."""

import importlib.util
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfsolve import InputError, require_extra
from nfsolve.data.photos import Photographs
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from problems.nerf._renderer import Renderer, Seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 2  # held-out views that are exported and drawn
LARGE = 200  # longest side of the images in the picture, pixels
SMALL = 240  # images are enlarged by a whole number up to about this side
SOLID = 0.5  # opacity above which a ray has depth and normal
FRAME_RATE = 12  # of the video, 1/s


def write_views(folder: Path, renderer: Renderer, photographs: Photographs, surfaces: bool) -> None:
    """Write photographs beside their renderings, and depth and normals where the scene has surfaces."""
    import imageio.v3 as iio

    for view in shown_views(photographs):
        seen = renderer.render_view(photographs, view, normals=surfaces)
        maps = {"heldout": torch.cat([photographs.image(view), seen.rgb], 1)}
        if surfaces:
            maps |= {"depth": depth_as_gray(seen), "normals": normals_as_colours(seen)}
            arrays: Any = {name: panels.array(getattr(seen, name)) for name in ("rgb", "opacity", "depth", "normals")}
            np.savez_compressed(folder / f"maps_{view}.npz", **arrays)
        for name, image in maps.items():
            iio.imwrite(folder / f"{name}_{view}.png", _bytes(image, SMALL))


def write_video(folder: Path, renderer: Renderer, path: Photographs, surfaces: bool) -> None:
    """Write the views of a path, beside their depth where the scene has surfaces, as GIF, and as MP4 if possible."""
    frames = []
    for view in range(len(path.cameras)):
        seen = renderer.render_view(path, view)
        frames.append(torch.cat([seen.rgb, depth_as_gray(seen)], 1) if surfaces else seen.rgb)
    write_frames(folder / "orbit.gif", frames)
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        write_frames(folder / "orbit.mp4", frames)


def write_frames(out: Path, images: Iterable[Tensor]) -> list[Path]:
    """Write images ``(height, width, 3)`` of one size as a video.

    Args:
        out: A file .gif or .mp4, or a folder for PNG images.
        images: What to write, made as they are needed.

    Returns:
        The files that were written.

    Raises:
        InputError: It is a file of another kind.
        MissingExtra: An MP4 needs imageio-ffmpeg.
    """
    import imageio.v3 as iio

    if out.suffix == ".mp4":
        require_extra("imageio_ffmpeg", extra="video", purpose="writing an MP4")
    elif out.suffix not in ("", ".gif"):
        raise InputError(f"a video must be a .gif, an .mp4 or a folder, got '{out}'", do="choose another name")
    if not out.suffix:
        out.mkdir(parents=True, exist_ok=True)
        files = []
        for i, image in enumerate(images):
            files.append(out / f"{i:04d}.png")
            iio.imwrite(files[-1], _bytes(image))
        return files
    out.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"fps": FRAME_RATE, "macro_block_size": 2}
    if out.suffix == ".gif":
        options = {"duration": 1000 // FRAME_RATE, "loop": 0}
    iio.imwrite(out, np.stack([_bytes(image) for image in images]), **options)
    return [out]


def picture(renderer: Renderer, test: Photographs, history: list[dict[str, Any]]) -> "Figure":
    """Draw two held-out views with errors, depth and normals, and the history."""
    figure = panels.new_figure(11.0, 7.2)
    rows: list[Any] = [list("abcde"), list("fghij"), list("kkkkk")]
    axes = figure.subplot_mosaic(rows, height_ratios=[4, 4, 3])
    for places, view in zip(("abcde", "fghij"), shown_views(test), strict=False):
        _view_panels([axes[name] for name in places], renderer, test, view)
    if len(test.cameras) < SHOWN:
        for name in "fghij":
            axes[name].axis("off")
    panels.history_panel(axes["k"], history, "psnr_heldout")
    return figure


def _view_panels(axes: list[Any], renderer: Renderer, test: Photographs, view: int) -> None:
    stride = -(-int(test.cameras.sizes[view].max()) // LARGE)
    seen = renderer.render_view(test, view, normals=True, stride=stride)
    exact = test.image(view)[::stride, ::stride]
    off = (seen.rgb - exact).abs().mean(-1)
    depth = torch.where(seen.opacity > SOLID, seen.depth, math.nan)[..., 0]
    images: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (exact.clamp(0, 1), f"held-out view {view + 1}", {}),
        (seen.rgb.clamp(0, 1), f"rendered, {psnr(seen.rgb, exact):.1f} dB", {}),
        (off, f"colour error,\nmean {float(off.mean()):.4f}", {"vmin": 0, "vmax": 0.1, "cmap": "magma"}),
        (depth, "depth", {"cmap": "viridis_r"}),
        (normals_as_colours(seen), "normals", {}),
    )
    for ax, (values, title, options) in zip(axes, images, strict=True):
        shown = ax.imshow(panels.array(values), **options)
        ax.set(title=title, xticks=[], yticks=[])
        if options:
            what = "mean of the channels" if title.startswith("colour") else "distance along the ray"
            ax.figure.colorbar(shown, ax=ax, shrink=0.7, location="bottom", pad=0.02, label=what)


def depth_as_gray(seen: Seen) -> Tensor:
    """Show depth as gray, (h, w, 3): near is bright, and black is where nothing is."""
    solid = seen.opacity > SOLID
    some = seen.depth[solid]
    if not len(some):
        return torch.zeros_like(seen.rgb)
    near, far = some.min(), some.max()
    return torch.where(solid, 1 - 0.8 * (seen.depth - near) / (far - near).clamp_min(1e-6), 0.0).expand(-1, -1, 3)


def opacity_as_gray(seen: Seen) -> Tensor:
    """Show opacity as gray, (h, w, 3): white is opaque."""
    return seen.opacity.expand(-1, -1, 3)


def normals_as_colours(seen: Seen) -> Tensor:
    """Show normals as colours, (h, w, 3), white where nothing is."""
    assert seen.normals is not None
    return torch.where(seen.opacity > SOLID, 0.5 + 0.5 * seen.normals, 1.0)


SHOWS = {
    "rgb": lambda seen: seen.rgb,
    "depth": depth_as_gray,
    "normals": normals_as_colours,
    "opacity": opacity_as_gray,
}


def shown_views(test: Photographs) -> list[int]:
    """Choose views spread over all."""
    n = len(test.cameras)
    return list(range(0, n, -(-n // SHOWN)))[:SHOWN]


def resized(photographs: Photographs, longest: int) -> Photographs:
    """Return views without colours whose longest side has so many pixels; all sides even, as MP4 wants them."""
    sizes = photographs.cameras.sizes
    sizes = (sizes * longest / sizes.max()).round().long().clamp_min(1)
    return replace(photographs, cameras=photographs.cameras.resized(sizes + sizes % 2))


def _bytes(values: Tensor, least: int = 0) -> np.ndarray:
    pixels = (255 * panels.array(values).clip(0, 1)).round().astype(np.uint8)
    factor = max(1, least // pixels.shape[0])
    return pixels.repeat(factor, 0).repeat(factor, 1)
