"""Posed photographs: colours, cameras, and the part of space that they show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.backgrounds import Colour, compose, find_background, is_transparent
from nfsolve.data.photos.extent import cameras_of, find_extent
from nfsolve.data.photos.frames import ENDINGS, Bounds, Frame, Layout, say
from nfsolve.data.photos.layouts import read_layout
from nfsolve.data.pictures import area
from nfsolve.forward.cameras import Cameras, ndc_rays, orbit, spiral, sway
from nfsolve.forward.cameras.lenses import straighten
from nfsolve.forward.rendering import Contraction, Rays, box_intersection

PATHS = ("orbit", "spiral")
ROOM, CLOSEST = 1.05, 0.02  # half side of the cube in which space is not contracted, in parts of the reach of the
# cameras, and where rays begin, in parts of that half side
FAR_OFF, STRONG = 0.4, 2.0  # of an image is a principal point off its middle, and times a corner is moved by a lens
WIDE = math.radians(150)  # angle of view that no lens without distortion has


@dataclass(frozen=True)
class Photographs:
    """The photographs of one split.

    Attributes:
        colours: Colours of all pixels of all views, view by view and row by row, ``(N, 3)`` in [0, 1], as stored
            (sRGB).
        cameras: Their cameras; `Cameras.locate` tells which pixel a row of ``colours`` is.
        names: One for each view.
        near: No ray is looked at before this distance; with ``ndc`` the near plane.
        far: Nor beyond this one; with ``ndc`` the farthest bound that the data give, which cuts nothing.
        bounds: The box of the scene, ``(low, high)`` of each coordinate of `rays`.
        background: The colour behind the scene; None where the photographs show what is there.
        counted: Numbers of the pixels that masks leave, rows of ``colours``, ``(M,)``; None where all count.
        ndc: Half width and half height of the images at distance 1 for a scene in normalised device coordinates,
            see `ndc_rays`; None for one in world coordinates.
        contraction: How space without end is drawn into ``bounds``; None where all of the scene lies in them.
        opacity: Share of each pixel that the scene covers, ``(N, 1)``, where all photographs are transparent; None
            where only colours are known.
    """

    colours: Tensor
    cameras: Cameras
    names: tuple[str, ...]
    near: float
    far: float
    bounds: Bounds
    background: Colour | None = None
    ndc: tuple[float, float] | None = None
    counted: Tensor | None = None
    contraction: Contraction | None = None
    opacity: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Photographs":
        """Move colours and cameras to a device and a type."""
        counted = None if self.counted is None else self.counted.to(device)
        colours, cameras = self.colours.to(device, dtype), self.cameras.to(device, dtype)
        opacity = None if self.opacity is None else self.opacity.to(device, dtype)
        return replace(self, colours=colours, cameras=cameras, counted=counted, opacity=opacity)

    @property
    def n_counted(self) -> int:
        """Number of pixels that are trained on or scored."""
        return len(self.colours) if self.counted is None else len(self.counted)

    def number(self, index: Tensor) -> Tensor:
        """Return the rows of ``colours`` of some of the pixels that count, ``(m,)`` in [0, n_counted)."""
        index = index.to(self.colours.device)
        return index if self.counted is None else self.counted[index]

    def mask(self, view: int) -> Tensor:
        """Return which pixels of one photograph count, ``(height, width)``."""
        marked = torch.zeros(len(self.colours), dtype=torch.bool, device=self.colours.device)
        marked[slice(None) if self.counted is None else self.counted] = True
        return self._of_view(marked, view)

    def image(self, view: int) -> Tensor:
        """Return one photograph, ``(height, width, 3)``."""
        return self._of_view(self.colours, view)

    def _of_view(self, rows: Tensor, view: int) -> Tensor:
        size = self.cameras.sizes[view].flip(0).tolist()
        return rows.split(self.cameras.sizes.prod(-1).tolist())[view].unflatten(0, size)

    def rays(self, views: Tensor, pixels: Tensor, poses: Tensor | None = None) -> Rays:
        """Return the rays of some pixels, cut to the box and to [near, far].

        Args:
            views: Number of the view for each pixel ``(m,)``.
            pixels: Points of the images ``(m, 2)``; see `Cameras.locate` and `Cameras.pixels`.
            poses: Poses of all views to use instead, ``(n, 4, 4)``, such as corrected ones.

        Returns:
            The rays, in NDC where the scene is.
        """
        return self.cut(*self.cameras.rays(views, pixels, poses))

    def cut(self, origins: Tensor, viewing: Tensor) -> Rays:
        """Cut rays of the world, origins and unit directions ``(m, 3)``, to the box and to [near, far] as `rays`."""
        directions, low, high = viewing, self.near, torch.full_like(viewing[:, :1], self.far)
        if self.ndc is not None:
            origins, directions, high = ndc_rays(origins, viewing, self.ndc, self.near)
            low = 0.0
        if self.contraction is not None:
            near, far = (torch.full_like(viewing[:, :1], v) for v in (self.near, min(self.far, self.contraction.far)))
            return Rays(origins, viewing, viewing, near, far)
        near, far = box_intersection(origins, directions, self.bounds)
        near, far = near.clamp_min(low), torch.minimum(far, high)
        hit = far > near
        near, far = torch.where(hit, near, 0.0), torch.where(hit, far, 0.0)
        return Rays(origins, directions, viewing, near, far)

    def all_rays(self) -> Rays:
        """Return the rays of all pixels of all views, in the order of ``colours``."""
        n = int(self.cameras.sizes.prod(-1).sum())
        return self.rays(*self.cameras.locate(torch.arange(n, device=self.cameras.sizes.device)))

    def seen_by(self, cameras: Cameras) -> "Photographs":
        """Return the same scene without colours as other cameras see it."""
        names = tuple(f"{i + 1} of {len(cameras)}" for i in range(len(cameras)))
        moved = cameras.to(self.cameras.poses.device, self.cameras.poses.dtype)
        return replace(self, colours=self.colours[:0], cameras=moved, names=names, counted=None, opacity=None)

    def path(self, n: int, kind: str = "orbit") -> "Photographs":
        """Make views without colours for a video, with the first view's angle of view and no distortion.

        Around a box, at the views' median distance from its middle: ``orbit``, a circle about the vertical (z) at their
        median elevation, or ``spiral``, twice around while rising from their lowest to their highest elevation. In NDC
        both are small circles before the scene, within the cameras' own positions.

        Raises:
            InputError: There is no such path.
        """
        if kind not in PATHS:
            raise unknown("path", kind, PATHS)
        positions = self.cameras.poses[:, :3, 3].detach().double().cpu()
        if self.ndc is not None:
            focus = 1 / (0.25 / self.near + 0.15 / self.far)  # between near and five times far, as LLFF's videos
            x, y, z = positions.abs().quantile(0.9, 0).tolist()
            poses = sway(n, (0.7 * x, 0.7 * y, 0.7 * z), focus)
        else:
            middle = torch.tensor(self.bounds, dtype=torch.float64).mean(-1)
            offset = positions - middle
            radius = offset.norm(dim=-1)
            elevation = torch.asin(offset[:, 2] / radius).clamp(-1.4, 1.4)
            x, y, z = middle.tolist()
            if kind == "orbit":
                poses = orbit(n, float(radius.median()), float(elevation.median()), target=(x, y, z))
            else:
                ends = float(elevation.min()), float(elevation.max())
                poses = spiral(n, float(radius.median()), ends, target=(x, y, z))
        return self.seen_by(replace(self.cameras[[0] * n], poses=poses, distortion=None, fisheye=False))


def read_photographs(
    path: str | Path,
    split: str = "train",
    *,
    downscale: float = 1.0,
    background: str | Sequence[float] | None = None,
    bounds: Bounds | None = None,
    near: float | None = None,
    far: float | None = None,
    ndc: bool | None = None,
    hold_out: int = 8,
    allow_outside: bool = False,
    unbounded: bool | None = None,
) -> Photographs:
    """Read the photographs of one split, with what all splits share: the box, near and far.

    Args:
        path: A folder or a .zip with transforms.json, transforms_{train,val,test}.json, poses_bounds.npy, a model of
            COLMAP, or an export of Polycam or Record3D; such a JSON file itself; or a .npz with images_train,
            poses_train, ... and camera_angle_x or focal, or with images and poses_bounds. Also the name of a file
            under ``$NFSOLVE_DATA``.
        split: ``"train"``, ``"val"`` or ``"test"``. Without files or lists for them, val and test are the same.
        downscale: How many times smaller the images are made, by averaging areas after composing.
        background: The colour behind the scene, ``"white"``, ``"black"`` or three numbers in [0, 1]; ``"none"`` where
            the photographs show what is there. By default white behind transparent photographs, and behind opaque
            ones the one colour that they have along their borders, if they have one; see `find_background`.
        bounds: The box of the scene, ``(low, high)`` of each coordinate; see `find_extent` for the default.
        near: Where rays begin; see `find_extent`.
        far: Where rays end.
        ndc: Whether the scene is in normalised device coordinates; by default for LLFF only.
        hold_out: If no splits are given, every ``hold_out``-th frame, by name, is for tests.
        allow_outside: Whether a scene may name files outside of its folder: by ``..``, whole paths or links.
        unbounded: Whether the scene goes on beyond its box: space around a cube that holds the box and all cameras is
            contracted. By default for COLMAP, Polycam and Record3D without one colour behind the scene.

    Returns:
        The photographs, float32 colours and float64 cameras on the CPU.

    Raises:
        InputError: Something is missing, malformed or contradicts itself; the message names the file, key or view.
    """
    layout = read_layout(path, hold_out, allow_outside)
    frames = layout.splits.get(split, [])
    if not frames:
        known = ", ".join(f"{len(some)} {name}" for name, some in layout.splits.items())
        raise InputError(
            f"'{path}' must have photographs in split '{split}', but it has {known or 'none'}",
            do="choose another split, or move some of them there",
        )
    if not downscale >= 1:
        raise InputError(f"downscale must be at least 1, got {downscale}", do="choose a larger number")
    missing = [frame.name for frame in frames if frame.image is None]
    if missing:
        few = "', '".join(missing[:3]) + (f"' and {len(missing) - 3} more" if len(missing) > 3 else "'")
        raise InputError(
            f"each frame of '{path}' must have a picture of its name ({', '.join(ENDINGS[: len(ENDINGS) // 2])}), but "
            f"there is no '{few}",
            do="correct file_path, or leave the frame out",
        )
    behind = find_background(background, layout)
    images, opacities, masks, cameras = _load(frames, layout.fisheye, downscale, behind)
    extent = find_extent(layout, str(path), bounds, near, far, ndc, behind is not None)
    names = tuple(frame.name for frame in frames)
    cameras.check_lenses(list(names))
    _say_lenses(frames, cameras)
    counted = torch.cat(masks).nonzero()[:, 0] if any(frame.mask for frame in frames) else None
    if counted is not None and not len(counted):
        raise InputError(
            f"masks must leave some pixels, but those of '{path}' leave none", do="exchange black and white"
        )
    opacity = torch.cat(opacities) if len(opacities) == len(images) else None
    photographs = Photographs(
        torch.cat(images), cameras, names, *extent[:3], behind, extent[3], counted, opacity=opacity
    )
    _check_box(photographs)
    if unbounded and extent[3] is not None:
        raise InputError("a scene is either unbounded or in normalised device coordinates", do="give ndc=False")
    if unbounded or (unbounded is None and layout.captured and behind is None and extent[3] is None):
        return _without_end(photographs, layout, near, far)
    return photographs


def _without_end(photographs: Photographs, layout: Layout, near: float | None, far: float | None) -> Photographs:
    """Return the same photographs of a scene that goes on beyond its box, with near and far as they are given."""
    low, high = np.array(photographs.bounds).T
    centre = (low + high) / 2
    eyes = np.stack([frame.pose[:3, 3] for frames in layout.splits.values() for frame in frames])
    half = max(float((high - low).max()) / 2, ROOM * float(np.abs(eyes - centre).max()))
    x, y, z = centre.tolist()
    contraction = Contraction((x, y, z), half)
    near = layout.near if near is None else near
    far = layout.far if far is None else far
    return replace(
        photographs,
        near=CLOSEST * half if near is None else near,
        far=math.inf if far is None else far,
        bounds=contraction.outer,
        contraction=contraction,
    )


def _load(
    frames: list[Frame], fisheye: bool, downscale: float, behind: Colour | None
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Cameras]:
    """Read the pictures: colours ``(N, 3)``, opacities of the transparent ones, which pixels count, their cameras."""
    images, opacities, masks, sizes, before, blank = [], [], [], [], [], list[str]()
    for frame in frames:
        assert frame.image is not None
        stored = frame.image()
        if is_transparent(stored) and float(stored[..., -1].max()) == 0:
            blank.append(frame.name)
        picture = compose(frame, stored, behind)
        height, width = picture.shape[:2]
        small = [max(1, round(side / downscale)) for side in (width, height)]
        images.append(area(picture, small[1], small[0]).float().clamp(0, 1).reshape(-1, 3))
        if is_transparent(stored):
            opacities.append(area(stored[..., -1:], small[1], small[0]).float().clamp(0, 1).reshape(-1, 1))
        masks.append(area(_mask(frame, width, height), small[1], small[0]).reshape(-1) > 0.999)
        sizes.append(small)
        before.append([width, height])
    _check_sizes(frames, before)
    cameras = cameras_of(frames, before, fisheye)
    _say_wide(frames, cameras)
    if blank:
        say(f"image '{blank[0]}' is transparent everywhere" + f", as are {len(blank) - 1} more" * (len(blank) > 1))
    return images, opacities, masks, cameras.resized(torch.tensor(sizes))


def _check_sizes(frames: list[Frame], sizes: list[list[int]]) -> None:
    """Refuse pictures of another shape than w and h say, and say so where they have another scale."""
    scaled = []
    for frame, (width, height) in zip(frames, sizes, strict=True):
        said = frame.lens.get("w", width), frame.lens.get("h", height)
        if said == (width, height):
            continue
        sentence = f"image '{frame.name}' has {width} x {height} pixels, but w and h say {said[0]:g} x {said[1]:g}"
        if abs(width / said[0] * said[1] - height) > 1:
            raise InputError(sentence, do="correct w, h, focal lengths and principal point, all in the same pixels")
        scaled.append(sentence)
    if len({tuple(size) for size in sizes}) > 1 and any(
        "fl_x" in frame.lens and not {"w", "h"} & frame.lens.keys() for frame in frames
    ):
        say(
            "photographs have several sizes, and focal lengths in pixels without w and h, which are taken to be in the "
            "pixels of each photograph; write w and h of the image that a lens is for"
        )
    if scaled:
        others = f", and {len(scaled) - 1} more have other sizes than said" if len(scaled) > 1 else ""
        say(f"{scaled[0]}{others}; focal length and principal point are scaled to the picture")


def _say_wide(frames: list[Frame], cameras: Cameras) -> None:
    """Doubt a focal length that is far too short for the pixels of its image."""
    angles = 2 * torch.atan(0.5 * cameras.sizes[:, 0] / cameras.focals[:, 0])
    wide = (angles > WIDE).nonzero()[:, 0].tolist()
    if wide and not cameras.fisheye:
        first = wide[0]
        say(
            f"the focal length of '{frames[first].name}', {float(cameras.focals[first, 0]):.3g} pixels, makes its angle"
            f" of view {math.degrees(float(angles[first])):.0f} degrees; is it in pixels, and the angle in radians?"
        )


def _say_lenses(frames: list[Frame], cameras: Cameras) -> None:
    """Doubt principal points far from the middle, and distortions that change an angle of view by more than twice."""
    sizes = cameras.sizes.to(cameras.centres)
    off = ((cameras.centres / sizes - 0.5).abs() > FAR_OFF).any(-1).nonzero()[:, 0].tolist()
    if off:
        x, y = cameras.centres[off[0]].tolist()
        width, height = cameras.sizes[off[0]].tolist()
        say(
            f"the principal point of '{frames[off[0]].name}', ({x:g}, {y:g}), lies far from the middle of its "
            f"{width} x {height} pixels; are cx and cy in these pixels?"
        )
    if cameras.distortion is None or cameras.fisheye:
        return
    corners = (sizes / 2) / cameras.focals
    seen = straighten(corners, cameras.distortion, False)
    bent = (seen[:, :2] / seen[:, 2:]).norm(dim=-1) / corners.norm(dim=-1)
    strong = ((bent > STRONG) | (bent < 1 / STRONG)).nonzero()[:, 0].tolist()
    if strong:
        say(
            f"the distortion of '{frames[strong[0]].name}' moves the corners of its image to {bent[strong[0]]:.2g} "
            "times their distance from the middle; check k1, k2 and the camera model"
        )


def _mask(frame: Frame, width: int, height: int) -> Tensor:
    """Return 1 where pixels count and 0 where the mask is black, ``(height, width, 1)``."""
    if frame.mask is None:
        return torch.ones(height, width, 1, dtype=torch.float64)
    picture = frame.mask()
    rows, columns = picture.shape[:2]
    if abs(columns * height - rows * width) > max(rows, columns, height, width):
        raise InputError(
            f"the mask of '{frame.name}' must have the shape of its image, {width} x {height} pixels, but has "
            f"{columns} x {rows}",
            do="make it of the whole image",
        )
    bright = picture[..., -1:] if is_transparent(picture) else picture[..., :3].amax(-1, keepdim=True)
    return area((bright > 0.5 * bright.max()).double(), height, width)


def _check_box(photographs: Photographs) -> None:
    cameras = photographs.cameras
    side = torch.linspace(0, 1, 33, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    for view in range(len(cameras)):
        rays = photographs.rays(torch.full((len(grid),), view), grid * cameras.sizes[view])
        if bool((rays.far > 0).any()):
            return
    raise InputError(
        f"cameras must look at the box, but no ray of the {len(cameras)} views meets {photographs.bounds} between near "
        f"= {photographs.near:.6g} and far = {photographs.far:.6g}",
        do="give bounds, near and far in the unit of the poses, or correct the poses: a camera looks along its -z",
    )
