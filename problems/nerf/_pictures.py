"""What a user takes away from inverse rendering: rendered views, depth and normals, a video, a mesh, one picture."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nfsolve import InputError, MissingExtra
from nfsolve.data.photos import Photographs
from nfsolve.meshes import Mesh, level_set
from nfsolve.metrics import psnr
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, in_pieces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from problems.nerf._radiance import Radiance

SHOWN = 2  # held-out views that are exported and drawn
LARGE = 200  # longest side of the images in the picture, pixels
SMALL = 240  # images are enlarged by a whole number up to about this side
SOLID = 0.5  # opacity above which a ray has depth and normal
PACE = 12  # frames a second


def export(problem: "Radiance", field: FieldFunction, data: Batch, folder: Path) -> None:
    """Write held-out views beside their renderings, depth and normals, a video around the scene, and a mesh."""
    import imageio.v3 as iio

    test, grid = data["test"], problem.look(field, data)
    for view in shown_views(test):
        seen = problem.render_view(field, test, view, grid, normals=problem.surfaces)
        maps = {"heldout": torch.cat([test.image(view), seen["rgb"]], 1)}
        if problem.surfaces:
            maps |= {"depth": closeness(seen), "normals": _normals(seen)}
            arrays: Any = {name: panels.array(seen[name]) for name in ("rgb", "opacity", "depth", "normal")}
            np.savez_compressed(folder / f"maps_{view}.npz", **arrays)
        for name, image in maps.items():
            iio.imwrite(folder / f"{name}_{view}.png", _bytes(image, SMALL))
    if problem.frames:
        write_video(problem, field, _resized(test.path(problem.frames), problem.video), grid, folder)
    if problem.mesh:
        try:
            surface(problem, field, data).write(folder / "mesh.ply")
        except (MissingExtra, InputError) as error:
            print(f"no mesh: {error}")


def write_video(problem: "Radiance", field: FieldFunction, path: Photographs, grid: Any, folder: Path) -> None:
    """Write the views of a path beside their depth as GIF, and as MP4 where imageio-ffmpeg is installed."""
    import imageio.v3 as iio

    frames = []
    for view in range(len(path.cameras)):
        seen = problem.render_view(field, path, view, grid)
        frames.append(_bytes(torch.cat([seen["rgb"], closeness(seen)], 1) if problem.surfaces else seen["rgb"]))
    iio.imwrite(folder / "orbit.gif", np.stack(frames), duration=1000 // PACE, loop=0)
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        iio.imwrite(folder / "orbit.mp4", np.stack(frames), fps=PACE, macro_block_size=2)


def surface(problem: "Radiance", field: FieldFunction, data: Batch) -> Mesh:
    """Extract the surface of one density, in the coordinates of the rays."""
    colours = data["train"].colours
    low, high = np.array(problem.domain.bounds).T

    def density(points: np.ndarray) -> np.ndarray:
        inside = torch.from_numpy(low + (points + 1) / 2 * (high - low)).to(colours)
        with torch.no_grad():
            return panels.array(in_pieces(lambda some: field(some)[:, :1], inside)).reshape(-1)

    mesh = level_set(density, problem.mesh, problem.level)
    return Mesh(low + (mesh.vertices + 1) / 2 * (high - low), mesh.faces)


def picture(problem: "Radiance", field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
    """Draw two held-out views with errors, depth and normals, and the history."""
    figure = panels.new_figure(14.0, 8.2)
    rows: list[Any] = [list("abcde"), list("fghij"), list("kkkkk")]
    axes = figure.subplot_mosaic(rows, height_ratios=[4, 4, 3])
    test, grid = data["test"], problem.look(field, data)
    for places, view in zip(("abcde", "fghij"), shown_views(test), strict=False):
        _view_panels([axes[name] for name in places], problem, field, test, view, grid)
    if len(test.cameras) < SHOWN:
        for name in "fghij":
            axes[name].axis("off")
    panels.history_panel(axes["k"], history, "psnr_heldout")
    return figure


def _view_panels(
    axes: list[Any], problem: "Radiance", field: FieldFunction, test: Photographs, view: int, grid: Any
) -> None:
    stride = -(-int(test.cameras.sizes[view].max()) // LARGE)
    seen = problem.render_view(field, test, view, grid, normals=True, stride=stride)
    exact = test.image(view)[::stride, ::stride]
    off = (seen["rgb"] - exact).abs().mean(-1)
    depth = torch.where(seen["opacity"] > SOLID, seen["depth"], math.nan)[..., 0]
    images: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (exact.clamp(0, 1), f"held-out view {view + 1}", {}),
        (seen["rgb"].clamp(0, 1), f"rendered, {psnr(seen['rgb'], exact):.1f} dB", {}),
        (off, f"colour error, mean {float(off.mean()):.4f}", {"vmin": 0, "vmax": 0.1, "cmap": "magma"}),
        (depth, "depth", {"cmap": "viridis_r"}),
        (_normals(seen), "normals", {}),
    )
    for ax, (values, title, options) in zip(axes, images, strict=True):
        shown = ax.imshow(panels.array(values), **options)
        ax.set(title=title, xticks=[], yticks=[])
        if options:
            ax.figure.colorbar(shown, ax=ax, shrink=0.7, location="bottom", pad=0.02)


def closeness(seen: Batch) -> Tensor:
    """Show depth as grey, (h, w, 3): near is bright, and black is where nothing is."""
    solid = seen["opacity"] > SOLID
    some = seen["depth"][solid]
    if not len(some):
        return torch.zeros_like(seen["rgb"])
    near, far = some.min(), some.max()
    return torch.where(solid, 1 - 0.8 * (seen["depth"] - near) / (far - near).clamp_min(1e-6), 0.0).expand(-1, -1, 3)


def _normals(seen: Batch) -> Tensor:
    return torch.where(seen["opacity"] > SOLID, 0.5 + 0.5 * seen["normal"], 1.0)


def shown_views(test: Photographs) -> list[int]:
    """Choose views spread over all."""
    n = len(test.cameras)
    return list(range(0, n, -(-n // SHOWN)))[:SHOWN]


def _resized(photographs: Photographs, longest: int) -> Photographs:
    cameras = photographs.cameras
    sizes = (cameras.sizes * longest / cameras.sizes.max()).round().long().clamp_min(1)
    sizes += sizes % 2  # MP4 wants even sides
    ratio = sizes / cameras.sizes
    resized = replace(cameras, focals=cameras.focals * ratio, centres=cameras.centres * ratio, sizes=sizes)
    return replace(photographs, cameras=resized.to(cameras.poses.device, cameras.poses.dtype))


def _bytes(values: Tensor, least: int = 0) -> np.ndarray:
    pixels = (255 * panels.array(values).clip(0, 1)).round().astype(np.uint8)
    factor = max(1, least // pixels.shape[0])
    return pixels.repeat(factor, 0).repeat(factor, 1)
