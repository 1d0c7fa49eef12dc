"""One ideal camera: pixel (c, r) of pose M sees o + t M_rot ((c - c_x) / f, -(r - c_y) / f, -1), t > 0."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


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
        return pixel_centres(self.width, self.height, dtype=dtype, device=device)

    def rays(self, poses: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rays that pixels see.

        Args:
            poses: One pose ``(4, 4)`` for all pixels, or one for each, ``(n, 4, 4)``.
            pixels: Points of the image ``(n, 2)``, (column, row) in pixels; see `pixels` for the centres.

        Returns:
            Origins ``(n, 3)`` and directions ``(n, 3)`` of unit length, in world coordinates.

        Raises:
            InputError: The shapes are not these.
        """
        _check_shapes(poses, pixels, 2, "pixels")
        across = (pixels - pixels.new_tensor(self._centre())) / self.focal
        return aim(poses, torch.cat([across, torch.ones_like(across[:, :1])], -1))

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
        seen = in_camera(poses, points)
        depth = seen[:, 2:]
        return self.focal * seen[:, :2] / depth + seen.new_tensor(self._centre()), depth

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


def _check_shapes(poses: Tensor, rows: Tensor, columns: int, what: str) -> None:
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise InputError(f"{what} of shape {tuple(rows.shape)}", f"(n, {columns})")
    if poses.shape not in ((4, 4), (len(rows), 4, 4)):
        raise InputError(
            f"poses of shape {tuple(poses.shape)} for {len(rows)} {what}",
            f"(4, 4) or ({len(rows)}, 4, 4)",
            "give one camera-to-world matrix, or one for each row",
        )
