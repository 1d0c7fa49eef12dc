"""Which part of space photographs show: its box, and where rays begin and end, from the data or the cameras."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.data.photos.frames import Bounds, Frame, Layout, say
from nfsolve.forward.cameras import Cameras, ndc_rays
from nfsolve.forward.cameras.lenses import COEFFICIENTS

LARGE = 4.0  # times the width of what all cameras see, beyond which a box is named
_NARROW = 0.03  # mean squared sine between the viewing axes (10 degrees) below which their common point means nothing


def cameras_of(frames: Sequence[Frame], sizes: Sequence[Sequence[float]], fisheye: bool) -> Cameras:
    """Make the cameras of frames whose images have these widths and heights."""
    numbers = [frame.intrinsics(width, height) for frame, (width, height) in zip(frames, sizes, strict=True)]
    lenses = [[frame.lens.get(name, 0.0) for name in COEFFICIENTS] for frame in frames]
    rows = torch.tensor(numbers, dtype=torch.float64)
    return Cameras(
        poses=torch.stack([torch.from_numpy(frame.pose) for frame in frames]).double(),
        focals=rows[:, :2],
        centres=rows[:, 2:],
        sizes=torch.tensor(sizes).long(),
        distortion=torch.tensor(lenses, dtype=torch.float64) if any(map(any, lenses)) else None,
        fisheye=fisheye,
    )


def find_extent(
    layout: Layout,
    where: str,
    bounds: Bounds | None,
    near: float | None,
    far: float | None,
    ndc: bool | None,
    backed: bool = False,
) -> tuple[float, float, Bounds, tuple[float, float] | None]:
    """Decide near, far and the box; what is given comes first, then what the data say, then the cameras.

    In NDC the near plane is at 1 (LLFF's unit) and the box holds all rays. Else the box is the cube of
    ``aabb_scale``, which converters write whatever the scene: where one colour is known to be behind everything, what
    lies in it of the next box. Or it is the cube around the point nearest to all viewing axes that just holds the
    largest sphere there which a camera sees whole, the median over cameras; or, where the axes have no common
    point, what the cameras see between near and far. ``near`` is then the smallest distance from a camera to
    the box, at least a hundredth of ``far``, the largest distance from a camera to a corner.

    Args:
        layout: All frames.
        where: What to call the data in an error.
        bounds: The box, if given.
        near: Where rays begin, if given.
        far: Where they end, if given.
        ndc: Whether to use normalised device coordinates, if given.
        backed: Whether one colour is behind the scene, which then is what the cameras look at.

    Returns:
        near, far, bounds, and for NDC half width and half height of the image at distance 1.

    Raises:
        InputError: Near and far, or the box, are in the wrong order; the cameras tell no box; they do not face forward.
    """
    everyone = list({id(frame): frame for frames in layout.splits.values() for frame in frames}.values())
    cameras = cameras_of(everyone, _sizes(everyone), layout.fisheye)
    ndc = layout.forward_facing if ndc is None else ndc
    if near is None:
        near = 1.0 if ndc and layout.forward_facing else layout.near
    far = layout.far if far is None else far
    extent = None
    if ndc:
        extent = _half_angles(cameras)[0]
        bounds = bounds or _ndc_hull(cameras, everyone, extent, near)
        far = float("inf") if far is None else far
    if bounds is None:
        bounds = layout.bounds if layout.captured else _within_aabb(cameras, layout.bounds, where, backed)
    bounds = bounds or _seen_by(cameras, where, near, far, layout.forward_facing)
    if len(bounds) != 3 or not all(low < high for low, high in bounds):
        raise InputError(
            f"the box must be (low, high) of x, y and z with low < high, got {bounds}", do="correct bounds"
        )
    gap, reach = _distances(cameras.poses[:, :3, 3], bounds)
    far = reach if far is None else far
    near = max(gap, 0.01 * far) if near is None else near
    if not 0 <= near < far:
        raise InputError(
            f"near and far must be 0 <= near < far, got near = {near:.6g} and far = {far:.6g}",
            do="give both in the unit of the poses",
        )
    return near, far, bounds, extent


def view_rays(cameras: Cameras, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return numbers of views, origins and directions for a grid of points over each image, edges included."""
    line = torch.linspace(0, 1, side, dtype=cameras.poses.dtype)
    grid = torch.cartesian_prod(line, line)
    views = torch.arange(len(cameras)).repeat_interleave(len(grid))
    return views, *cameras.rays(views, grid.repeat(len(cameras), 1) * cameras.sizes[views])


def _sizes(frames: list[Frame]) -> list[list[float]]:
    """Return widths and heights as the file says, else those of the first photograph."""
    first: list[float] = []
    for frame in frames:
        if not first and not {"w", "h"} <= frame.lens.keys() and frame.image is not None:
            height, width = frame.image().shape[:2]
            first = [width, height]
    return [[f.lens["w"], f.lens["h"]] if {"w", "h"} <= f.lens.keys() else first for f in frames]


def _half_angles(cameras: Cameras) -> list[tuple[float, float]]:
    """Return half widths and half heights of the images at distance 1."""
    return [(w, h) for w, h in (cameras.sizes / (2 * cameras.focals)).tolist()]


def _ndc_hull(cameras: Cameras, frames: list[Frame], extent: tuple[float, float], near: float | None) -> Bounds:
    if near is None or near <= 0:
        raise InputError(f"normalised device coordinates need a positive near plane, got near = {near}", do="give near")
    views, origins, directions = view_rays(cameras, 9)
    wrong = (directions[:, 2] > -0.05) | (origins[:, 2] <= -near)
    if bool(wrong.any()):
        name = frames[int(views[wrong][0])].name
        raise InputError(
            "normalised device coordinates need cameras that all face forward, but "
            f"view '{name}' does not look along -z from before the near plane",
            do="give ndc=False and bounds",
        )
    start, along, length = ndc_rays(origins, directions, extent, near)
    return _hull(torch.cat([start, start + length * along]))


def _hull(points: Tensor) -> Bounds:
    return tuple(zip(points.amin(0).tolist(), points.amax(0).tolist(), strict=True))


def _within_aabb(cameras: Cameras, cube: Bounds | None, where: str, backed: bool) -> Bounds | None:
    """Return the cube of aabb_scale, or what of it the cameras look at where a colour is behind that."""
    looked = None if cube is None else _looked_at(cameras)
    if cube is not None and looked is None and (other := _other_axes(cameras)):
        say(f"the cameras of '{where}' do not look at one point, but they would {other}")
    if cube is None or looked is None:
        return cube
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(cube, looked, strict=True))
    if backed and all(low < high for low, high in shared):
        if shared != cube:
            say(
                f"of the box that aabb_scale of '{where}' gives, the part that the cameras look at is used, since one "
                "colour is behind it; give bounds for another"
            )
        return shared
    times = (cube[0][1] - cube[0][0]) / (looked[0][1] - looked[0][0])
    if times > LARGE:
        say(
            f"aabb_scale of '{where}' makes the box {times:.3g} times as wide as what all cameras see; where that is "
            "an object before one colour, give background, or bounds"
        )
    return cube


def _looked_at(cameras: Cameras) -> Bounds | None:
    """Return the cube around the point nearest to all viewing axes; None where they have no common point."""
    eyes, axes = cameras.poses[:, :3, 3], -cameras.poses[:, :3, 2]
    across = torch.eye(3, dtype=axes.dtype) - axes[:, :, None] * axes[:, None, :]
    total = across.mean(0)
    if float(torch.linalg.eigvalsh(total)[0]) <= _NARROW:
        return None
    middle = torch.linalg.solve(total, (across @ eyes[..., None]).mean(0))[:, 0]
    if float(((middle - eyes) * axes).sum(-1).median()) <= 1e-6 * float(eyes.abs().max()):  # behind, or at, them
        return None
    tangent = torch.tensor(_half_angles(cameras), dtype=axes.dtype).amin(-1)
    half = float(((middle - eyes).norm(dim=-1) * torch.sin(torch.atan(tangent))).median())
    return tuple((centre - half, centre + half) for centre in middle.tolist())


def _seen_by(cameras: Cameras, where: str, near: float | None, far: float | None, forward: bool) -> Bounds:
    looked = None if forward else _looked_at(cameras)
    if looked is not None:
        return looked
    if near is not None and far is not None:
        _, origins, directions = view_rays(cameras, 9)
        return _hull(torch.cat([origins + near * directions, origins + far * directions]))
    other = None if forward else _other_axes(cameras)
    raise InputError(
        f"cameras must surround a scene, or its box must be given, but those of '{where}' do not look at one point"
        + (f", though they would {other}" if other else ", and nothing says how far they see"),
        do="correct the poses" if other else "give bounds, or near and far, or aabb_scale in transforms.json",
    )


def _other_axes(cameras: Cameras) -> str | None:
    """Return under which other convention of poses cameras would look at one point, in words."""
    inverse, turned = torch.linalg.inv(cameras.poses), cameras.poses.new_tensor([1.0, -1.0, -1.0, 1.0])
    ways = {
        "with the axes of OpenCV: y and z of each camera turned round": cameras.poses * turned,
        "if the matrices were inverted: they map the world to the camera": inverse,
        "if the matrices were inverted and y and z of each camera turned round": inverse * turned,
    }
    return next((way for way, poses in ways.items() if _looked_at(replace(cameras, poses=poses)) is not None), None)


def _distances(eyes: Tensor, bounds: Bounds) -> tuple[float, float]:
    """Find the smallest distance from a point to the box, and the largest to a corner of it."""
    low, high = eyes.new_tensor(bounds).unbind(-1)
    gap = torch.maximum(low - eyes, eyes - high).clamp_min(0).norm(dim=-1)
    corners = eyes.new_tensor(list(itertools.product(*bounds)))
    return float(gap.min()), float(torch.cdist(eyes, corners).max())
