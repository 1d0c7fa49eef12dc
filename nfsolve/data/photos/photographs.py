"""Posed photographs: colours, cameras, and the part of space that they show.

Transparent images are taken to be straight, as the PNG specification says (colours are not multiplied by
alpha; NeRF's Blender scenes are), and composed before the background as they are read: c alpha + b (1 - alpha).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.photos.extent import cameras_of, find_extent
from nfsolve.data.photos.frames import Bounds, Frame
from nfsolve.data.photos.layouts import read_layout
from nfsolve.data.pictures import area
from nfsolve.forward.cameras import Cameras, ndc_rays, orbit, sway
from nfsolve.forward.rendering import Rays, box_intersection

BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
Colour = tuple[float, ...]


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
        ndc: Half width and half height of the images at distance 1 for a scene in normalised device coordinates,
            see `ndc_rays`; None for one in world coordinates.
    """

    colours: Tensor
    cameras: Cameras
    names: tuple[str, ...]
    near: float
    far: float
    bounds: Bounds
    background: Colour | None = None
    ndc: tuple[float, float] | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Photographs":
        """Move colours and cameras to a device and a type."""
        return replace(self, colours=self.colours.to(device, dtype), cameras=self.cameras.to(device, dtype))

    def image(self, view: int) -> Tensor:
        """Return one photograph, ``(height, width, 3)``."""
        counts = self.cameras.sizes.prod(-1).tolist()
        width, height = self.cameras.sizes[view].tolist()
        return self.colours.split(counts)[view].reshape(height, width, 3)

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
        near, far = box_intersection(origins, directions, self.bounds)
        near, far = near.clamp_min(low), torch.minimum(far, high)
        hit = far > near
        near, far = torch.where(hit, near, 0.0), torch.where(hit, far, 0.0)
        return Rays(origins, directions, viewing, near, far)

    def all_rays(self) -> Rays:
        """Return the rays of all pixels of all views, in the order of ``colours``."""
        n = int(self.cameras.sizes.prod(-1).sum())
        return self.rays(*self.cameras.locate(torch.arange(n, device=self.cameras.sizes.device)))

    def path(self, n: int) -> "Photographs":
        """Make views without colours for a video, with the first view's angle of view and no distortion.

        Around a box: a circle about the vertical (z) through its middle, at the views' median distance and
        elevation. In NDC: small circles before the scene, within the views' own places.
        """
        places = self.cameras.poses[:, :3, 3].detach().double().cpu()
        if self.ndc is not None:
            focus = 1 / (0.25 / self.near + 0.15 / self.far)  # between near and five times far, as LLFF's videos
            x, y, z = places.abs().quantile(0.9, 0).tolist()
            poses = sway(n, (0.7 * x, 0.7 * y, 0.7 * z), focus)
        else:
            middle = torch.tensor(self.bounds, dtype=torch.float64).mean(-1)
            offset = places - middle
            radius = offset.norm(dim=-1)
            elevation = float(torch.asin(offset[:, 2] / radius).median().clamp(-1.4, 1.4))
            x, y, z = middle.tolist()
            poses = orbit(n, float(radius.median()), elevation, target=(x, y, z))
        first = self.cameras[[0] * n]
        cameras = replace(first, poses=poses.to(first.poses), distortion=None, fisheye=False)
        names = tuple(f"{i + 1} of {n}" for i in range(n))
        return replace(self, colours=self.colours[:0], cameras=cameras, names=names)


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
) -> Photographs:
    """Read the photographs of one split, with what all splits share: the box, near and far.

    Args:
        path: A folder or a .zip with transforms.json, transforms_{train,val,test}.json or poses_bounds.npy; such a
            JSON file itself; or a .npz with images_train, poses_train, ... and camera_angle_x or focal, or with images
            and poses_bounds. Also the name of a file under ``$NFSOLVE_DATA``.
        split: ``"train"``, ``"val"`` or ``"test"``. Without files or lists for them, val and test are the same.
        downscale: How many times smaller the images are made, by averaging areas after composing.
        background: The colour behind transparent pixels, ``"white"``, ``"black"`` or three numbers in [0, 1];
            white by default for the Blender layout and its .npz, and to be chosen for others.
        bounds: The box of the scene, ``(low, high)`` of each coordinate; see `find_extent` for the default.
        near: Where rays begin; see `find_extent`.
        far: Where rays end.
        ndc: Whether the scene is in normalised device coordinates; by default for LLFF only.
        hold_out: Where nothing is said of splits, every ``hold_out``-th frame, by name, is for tests.
        allow_outside: Whether a scene may name files outside of its folder: by ``..``, whole paths or links.

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
            f"each frame of '{path}' must have a .png or .jpg of its name, but there is no '{few}",
            do="correct file_path, or leave the frame out",
        )
    behind = _colour(background if background is not None else "white" if layout.white else None)
    images, cameras = _load(frames, layout.fisheye, downscale, behind)
    extent = find_extent(layout, str(path), bounds, near, far, ndc, behind is not None)
    names = tuple(frame.name for frame in frames)
    cameras.check_lenses(list(names))
    photographs = Photographs(torch.cat(images), cameras, names, *extent[:3], behind, extent[3])
    _check_box(photographs)
    return photographs


def _colour(background: str | Sequence[float] | None) -> Colour | None:
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise unknown("background", background, BACKGROUNDS, "or give three numbers in [0, 1]")
        return BACKGROUNDS[background]
    if background is not None and (len(background) != 3 or not all(0 <= value <= 1 for value in background)):
        raise InputError(
            f"background must be red, green and blue in [0, 1], got {tuple(background)}", do="choose such a colour"
        )
    return None if background is None else tuple(float(value) for value in background)


def _load(frames: list[Frame], fisheye: bool, downscale: float, behind: Colour | None) -> tuple[list[Tensor], Cameras]:
    images, sizes, before = [], [], []
    for frame in frames:
        assert frame.image is not None
        picture = _compose(frame, frame.image(), behind)
        height, width = picture.shape[:2]
        claimed = (frame.lens.get("w", width), frame.lens.get("h", height))
        if claimed != (width, height):
            raise InputError(
                f"image '{frame.name}' must have {claimed[0]:g} x {claimed[1]:g} pixels, as the file says by w and h, "
                f"but it has {width} x {height}",
                do="correct the sizes there, with focal lengths and principal points in the same pixels",
            )
        small = [max(1, round(side / downscale)) for side in (width, height)]
        images.append(area(picture, small[1], small[0]).float().clamp(0, 1).reshape(-1, 3))
        sizes.append(small)
        before.append([width, height])
    return images, cameras_of(frames, before, fisheye).resized(torch.tensor(sizes))


def _compose(frame: Frame, picture: Tensor, behind: Colour | None) -> Tensor:
    channels = picture.shape[-1]
    colours = picture[..., :3] if channels > 2 else picture[..., :1].expand(-1, -1, 3)
    if channels in (1, 3):
        return colours
    alpha = picture[..., -1:]
    if behind is None:
        if float(alpha.min()) == 1:
            return colours
        share = 100 * float((alpha < 1).double().mean())
        raise InputError(
            f"image '{frame.name}' is transparent in {share:.0f} % of its pixels and needs a colour behind it",
            do="give background='white' or another; the rendering is composed before the same colour",
        )
    return colours * alpha + colours.new_tensor(behind) * (1 - alpha)


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
