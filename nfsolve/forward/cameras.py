"""Pinhole cameras: pixel (c, r) of pose M sees o + t M_rot ((c - c_x) / f, -(r - c_y) / f, -1), t > 0.

A pose is a camera-to-world matrix (4, 4) with OpenGL axes: the camera looks along its -z, +x is right and
+y is up. The centre of the pixel in column i, row j lies at (i + 0.5, j + 0.5), row 0 at the top. These are
the conventions of the Blender and nerfstudio formats (docs.nerf.studio, "Data conventions").
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True)
class Pinhole:
    """The intrinsic numbers of an ideal camera with square pixels.

    Args:
        width: Image width, pixels.
        height: Image height, pixels.
        focal: Focal length, pixels.
        centre: Principal point (column, row), pixels; the middle of the image if None.

    Raises:
        InputError: A size or the focal length is not positive.
    """

    width: int
    height: int
    focal: float
    centre: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not self.focal > 0:
            raise InputError(
                f"a camera of {self.width} x {self.height} pixels with focal length {self.focal}",
                "positive sizes and a positive focal length, all in pixels",
            )

    def pixels(self, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Tensor:
        """List the centres of all pixels, row by row.

        Args:
            dtype: Type of the result.
            device: Device of the result.

        Returns:
            Centres ``(height * width, 2)`` with columns (column, row), in pixels.
        """
        rows = torch.arange(self.height, dtype=dtype, device=device) + 0.5
        columns = torch.arange(self.width, dtype=dtype, device=device) + 0.5
        row, column = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([column, row], -1).reshape(-1, 2)

    def rays(self, poses: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the rays that pixels see.

        Args:
            poses: One pose ``(4, 4)`` for all pixels, or one for each, ``(n, 4, 4)``.
            pixels: Points of the image ``(n, 2)``, (column, row) in pixels; see `pixels` for the centres.

        Returns:
            Origins ``(n, 3)`` and directions ``(n, 3)`` of unit length, in world coordinates.

        Raises:
            InputError: The shapes are not these.
        """
        _check_shapes(poses, pixels, 2, "pixels")
        centre = pixels.new_tensor(self._centre())
        across = (pixels - centre) / self.focal
        camera = torch.stack([across[:, 0], -across[:, 1], -torch.ones_like(across[:, 0])], -1)
        world = (poses[..., :3, :3] @ camera[..., None])[..., 0]
        directions = world / world.norm(dim=-1, keepdim=True)
        return poses[..., :3, 3].expand_as(directions), directions

    def project(self, poses: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Find where world points appear in the image: the inverse of `rays`.

        Args:
            poses: One pose ``(4, 4)`` for all points, or one for each, ``(n, 4, 4)``.
            points: World points ``(n, 3)``.

        Returns:
            Image points ``(n, 2)``, (column, row) in pixels, and depths ``(n, 1)`` along the viewing axis.
            Where the depth is not positive the point is behind the camera; its image has no meaning.

        Raises:
            InputError: The shapes are not these.
        """
        _check_shapes(poses, points, 3, "points")
        offset = points - poses[..., :3, 3]
        camera = (poses[..., :3, :3].transpose(-1, -2) @ offset[..., None])[..., 0]
        depth = -camera[:, 2:]
        across = self.focal * camera[:, :2] / depth * camera.new_tensor([1.0, -1.0])
        return across + camera.new_tensor(self._centre()), depth

    def _centre(self) -> tuple[float, float]:
        return self.centre if self.centre is not None else (self.width / 2, self.height / 2)


def focal_from_angle(width: int, angle: float) -> float:
    """Convert a horizontal angle of view to a focal length, f = (width / 2) / tan(angle / 2).

    Args:
        width: Image width, pixels.
        angle: Full horizontal angle of view, radians (``camera_angle_x`` of the Blender format).

    Returns:
        Focal length, pixels.
    """
    return 0.5 * width / math.tan(0.5 * angle)


def look_at(eyes: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """Build poses of cameras that look at a point.

    Args:
        eyes: Camera positions ``(n, 3)``.
        target: The point ``(3,)`` in the middle of every image.
        up: World direction ``(3,)`` that appears upright.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.

    Raises:
        InputError: A camera sits at the target, or looks along `up`.
    """
    back = eyes - target
    right = torch.linalg.cross(up.expand_as(back), back)
    degenerate = right.norm(dim=-1) <= 1e-9 * up.norm() * back.norm(dim=-1).clamp_min(1e-300)
    if bool(degenerate.any()):
        first = int(degenerate.nonzero()[0])
        raise InputError(
            f"camera {first} at {eyes[first].tolist()} with target {target.tolist()} and up {up.tolist()}",
            "an eye away from the target and a viewing direction that is not parallel to up",
            "move the eye, or choose another up",
        )
    back = back / back.norm(dim=-1, keepdim=True)
    right = right / right.norm(dim=-1, keepdim=True)
    poses = torch.eye(4, dtype=eyes.dtype, device=eyes.device).repeat(len(eyes), 1, 1)
    poses[:, :3, :3] = torch.stack([right, torch.linalg.cross(back, right), back], -1)
    poses[:, :3, 3] = eyes
    return poses


def orbit(
    n: int,
    radius: float,
    elevation: float,
    *,
    start: float = 0.0,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Place cameras evenly on a circle around the z axis, all looking at the target.

    Args:
        n: Number of cameras; the last does not repeat the first.
        radius: Distance from the target.
        elevation: Angle above the horizontal plane, radians, between -pi/2 and pi/2 (exclusive).
        start: Azimuth of the first camera, radians, from the x axis.
        target: The point in the middle of every image.
        dtype: Type of the poses.
        device: Device of the poses.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.
    """
    azimuths = start + 2 * math.pi * torch.arange(n, dtype=dtype, device=device) / n
    return _on_sphere(azimuths, torch.full_like(azimuths, elevation), radius, target)


def dome(
    n: int,
    radius: float,
    elevations: tuple[float, float],
    *,
    start: float = 0.0,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Spread cameras evenly over a zone of a sphere, on a golden-angle spiral, looking at the target.

    Args:
        n: Number of cameras.
        radius: Distance from the target.
        elevations: Lowest and highest angle above the horizontal plane, radians.
        start: Azimuth of the first camera, radians, from the x axis.
        target: The point in the middle of every image.
        dtype: Type of the poses.
        device: Device of the poses.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.

    Reference:
        Vogel, "A better way to construct the sunflower head", Mathematical Biosciences 44 (1979): equal areas
        are equal steps in the sine of the elevation.
    """
    index = torch.arange(n, dtype=dtype, device=device)
    low, high = (math.sin(angle) for angle in elevations)
    heights = low + (high - low) * (index + 0.5) / max(n, 1)
    return _on_sphere(start + _GOLDEN_ANGLE * index, torch.asin(heights), radius, target)


def _on_sphere(azimuth: Tensor, elevation: Tensor, radius: float, target: tuple[float, float, float]) -> Tensor:
    level = torch.cos(elevation)
    unit = torch.stack([level * torch.cos(azimuth), level * torch.sin(azimuth), torch.sin(elevation)], -1)
    middle = unit.new_tensor(target)
    return look_at(middle + radius * unit, middle, unit.new_tensor([0.0, 0.0, 1.0]))


def _check_shapes(poses: Tensor, rows: Tensor, columns: int, what: str) -> None:
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise InputError(f"{what} of shape {tuple(rows.shape)}", f"(n, {columns})")
    if poses.shape not in ((4, 4), (len(rows), 4, 4)):
        raise InputError(
            f"poses of shape {tuple(poses.shape)} for {len(rows)} {what}",
            f"(4, 4) or ({len(rows)}, 4, 4)",
            "give one camera-to-world matrix, or one for each row",
        )
