"""Many views, each with its own pose, focal lengths, principal point, size and lens; rays of any pixels of them.

Pixel (c, r) of pose M sees o + t M_rot ((c - c_x) / f_x, -(r - c_y) / f_y, -1), t > 0, where the lens is straight.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.cameras import lenses


@dataclass(frozen=True)
class Cameras:
    """The cameras of n views.

    Args:
        poses: Camera-to-world matrices ``(n, 4, 4)``.
        focals: Focal lengths f_x, f_y, pixels, ``(n, 2)``.
        centres: Principal points, (column, row) in pixels, ``(n, 2)``.
        sizes: Width and height, pixels, ``(n, 2)``, whole numbers.
        distortion: k1, k2, k3, k4, p1, p2 for each view, ``(n, 6)``; None for straight lines.
        fisheye: Whether the lenses are of the fisheye model, see `nfsolve.forward.cameras.lenses`.

    Raises:
        InputError: The shapes are not these.
    """

    poses: Tensor
    focals: Tensor
    centres: Tensor
    sizes: Tensor
    distortion: Tensor | None = None
    fisheye: bool = False

    def __post_init__(self) -> None:
        n = len(self.poses)
        shapes = {"poses": (n, 4, 4), "focals": (n, 2), "centres": (n, 2), "sizes": (n, 2), "distortion": (n, 6)}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and tuple(values.shape) != shape:
                raise InputError(
                    f"{name} of {n} views must have shape {shape}, got {tuple(values.shape)}", do="give one row a view"
                )

    @staticmethod
    def with_angle(poses: Tensor, width: int, height: int, angle: float) -> "Cameras":
        """Make ideal cameras of one kind.

        Args:
            poses: Camera-to-world matrices ``(n, 4, 4)``, or one ``(4, 4)``.
            width: Image width, pixels.
            height: Image height, pixels.
            angle: Full horizontal angle of view, radians.

        Returns:
            The cameras, with square pixels and the principal point in the middle.

        Raises:
            InputError: A size is not positive, or the angle is none in (0, pi).
        """
        if min(width, height) < 1 or not 0 < angle < math.pi:
            raise InputError(
                "a camera needs a positive size and an angle between 0 and pi radians, got "
                f"{width} x {height} pixels and {angle:g}"
            )
        poses = poses.reshape(-1, 4, 4)
        sizes = torch.tensor([[width, height]], device=poses.device).expand(len(poses), 2)
        focals = torch.full_like(poses[:, 0, :2], focal_from_angle(width, angle))
        return Cameras(poses, focals, sizes.to(poses) / 2, sizes)

    def __len__(self) -> int:
        return len(self.poses)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Cameras":
        """Move to a device and a type; sizes stay whole numbers."""
        bent = None if self.distortion is None else self.distortion.to(device, dtype)
        moved = {name: getattr(self, name).to(device, dtype) for name in ("poses", "focals", "centres")}
        return replace(self, **moved, sizes=self.sizes.to(device), distortion=bent)

    def __getitem__(self, views: slice | list[int]) -> "Cameras":
        """Keep some of the views."""
        names = ("poses", "focals", "centres", "sizes", "distortion")
        return replace(self, **{n: v[views] for n in names if (v := getattr(self, n)) is not None})

    def resized(self, sizes: Tensor) -> "Cameras":
        """Return the same views with other widths and heights ``(n, 2)``, pixels."""
        ratio = sizes / self.sizes
        return replace(self, focals=self.focals * ratio, centres=self.centres * ratio, sizes=sizes).to(
            self.poses.device, self.poses.dtype
        )

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Find the pixels with given numbers, counted view by view and row by row from 0.

        Args:
            index: Numbers ``(m,)``.

        Returns:
            Numbers of the views ``(m,)``, and pixel centres ``(m, 2)``, (column, row).
        """
        ends = self.sizes.prod(-1).cumsum(0)
        views = torch.searchsorted(ends, index, right=True)
        width = self.sizes[views, 0]
        inside = index - (ends[views] - self.sizes[views].prod(-1))
        pixels = torch.stack([inside % width, inside // width], -1)
        return views, pixels.to(self.poses.dtype) + 0.5

    def pixels(self, view: int) -> tuple[Tensor, Tensor]:
        """List all pixels of one view, row by row: its number ``(m,)`` repeated, and centres ``(m, 2)``."""
        width, height = self.sizes[view].tolist()
        centres = pixel_centres(width, height, dtype=self.poses.dtype, device=self.poses.device)
        return torch.full((len(centres),), view, device=centres.device), centres

    def rays(self, views: Tensor, pixels: Tensor, poses: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the rays that some pixels of some views see.

        Args:
            views: Number of the view for each pixel ``(m,)``.
            pixels: Points of the images ``(m, 2)``, (column, row) in pixels.
            poses: Poses of all views to use instead, ``(n, 4, 4)``, such as corrected ones.

        Returns:
            Origins ``(m, 3)`` and directions ``(m, 3)`` of unit length, in world coordinates.
        """
        return aim((self.poses if poses is None else poses)[views], self.towards(views, pixels))

    def towards(self, views: Tensor, pixels: Tensor) -> Tensor:
        """Return the directions ``(m, 3)`` before their cameras that pixels see, see `aim`; they know no pose."""
        points = (pixels - self.centres[views]) / self.focals[views]
        if self.distortion is None and not self.fisheye:
            return torch.cat([points, torch.ones_like(points[:, :1])], -1)
        return lenses.straighten(points, self._coefficients(views), self.fisheye)

    def project(self, views: Tensor, points: Tensor, poses: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find where world points appear: the inverse of `rays`.

        Args:
            views: Number of the view for each point ``(m,)``.
            points: World points ``(m, 3)``.
            poses: Poses of all views to use instead, ``(n, 4, 4)``.

        Returns:
            Image points ``(m, 2)``, (column, row) in pixels, and depths ``(m, 1)`` along the viewing axis.
            Where the depth is not positive the point is behind the camera; its image has no meaning unless the
            lens is a fisheye.
        """
        seen = in_camera((self.poses if poses is None else poses)[views], points)
        at = lenses.bend(seen, self._coefficients(views), self.fisheye)
        return at * self.focals[views] + self.centres[views], seen[:, 2:]

    def check_lenses(self, names: list[str]) -> None:
        """Make sure that the distortion can be undone all over each image, on a grid with its edges and corners.

        Args:
            names: What to call the views in an error.

        Raises:
            InputError: Newton's method does not converge, or the lens shows two directions in one place.
        """
        if self.distortion is None and not self.fisheye:
            return
        side = torch.linspace(0, 1, 17, dtype=self.poses.dtype, device=self.poses.device)
        grid = torch.cartesian_prod(side, side)
        for view, name in enumerate(names):
            pixels = grid * self.sizes[view]
            views = torch.full((len(grid),), view, device=grid.device)
            points = (pixels - self.centres[view]) / self.focals[view]
            bad = ~lenses.faithful(points, self._coefficients(views), self.fisheye)[:, 0]
            if bool(bad.any()):
                values = dict(zip(lenses.COEFFICIENTS, self._coefficients(views)[0].tolist(), strict=True))
                raise InputError(
                    f"every pixel must see one direction, but the distortion of view '{name}' cannot be undone at "
                    f"pixel {pixels[bad][0].tolist()}: {values}",
                    do="check them, the focal length and the camera model, or undistort the images beforehand",
                )

    def _coefficients(self, views: Tensor) -> Tensor:
        return self.poses.new_zeros(len(views), 6) if self.distortion is None else self.distortion[views]


def focal_from_angle(width: int, angle: float) -> float:
    """Convert a horizontal angle of view to a focal length, f = (width / 2) / tan(angle / 2).

    Args:
        width: Image width, pixels.
        angle: Full horizontal angle of view, radians (``camera_angle_x`` of the Blender format).

    Returns:
        Focal length, pixels.
    """
    return 0.5 * width / math.tan(0.5 * angle)


def pixel_centres(width: int, height: int, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """List the centres of all pixels of an image, row by row, ``(height * width, 2)``: (column, row)."""
    rows = torch.arange(height, dtype=dtype, device=device) + 0.5
    columns = torch.arange(width, dtype=dtype, device=device) + 0.5
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([column, row], -1).reshape(-1, 2)


def aim(poses: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    """Turn directions before a camera into rays of the world.

    Args:
        poses: One pose ``(4, 4)`` for all, or one for each, ``(n, 4, 4)``.
        towards: Directions ``(n, 3)`` of any length, x to the right, y down, z forward as in an image.

    Returns:
        Origins ``(n, 3)`` and unit directions ``(n, 3)`` in world coordinates.
    """
    world = (poses[..., :3, :3] @ _flip(towards)[..., None])[..., 0]
    directions = world / world.norm(dim=-1, keepdim=True)
    return poses[..., :3, 3].expand_as(directions), directions


def in_camera(poses: Tensor, points: Tensor) -> Tensor:
    """Return world points ``(n, 3)`` in the camera's frame: x to the right, y down, z forward. Undoes `aim`."""
    offset = points - poses[..., :3, 3]
    return _flip((poses[..., :3, :3].transpose(-1, -2) @ offset[..., None])[..., 0])


def _flip(rows: Tensor) -> Tensor:
    """Exchange the axes of images (y down, z forward) and those of OpenGL (y up, z back)."""
    return torch.cat([rows[:, :1], -rows[:, 1:]], -1)
