"""Where cameras stand: poses that look at a point, around it, above it, or swaying before it.

Poses are camera-to-world matrices with OpenGL axes, float64 on the CPU, see `nfsolve.forward.cameras`.
"""

import math

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


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
            f"a camera must stand away from its target and not look along up, but camera {first} is at "
            f"{eyes[first].tolist()}, with target {target.tolist()} and up {up.tolist()}",
            do="move the camera, or choose another up",
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
) -> Tensor:
    """Place cameras evenly on a circle around the z axis, all looking at the target.

    Args:
        n: Number of cameras; the last does not repeat the first.
        radius: Distance from the target.
        elevation: Angle above the horizontal plane, radians, between -pi/2 and pi/2 (exclusive).
        start: Azimuth of the first camera, radians, from the x axis.
        target: The point in the middle of every image.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.
    """
    azimuths = start + 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return _on_sphere(azimuths, torch.full_like(azimuths, elevation), radius, target)


def spiral(
    n: int,
    radius: float,
    elevations: tuple[float, float],
    turns: float = 2.0,
    *,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Place cameras on a sphere around the target, turning about the z axis while they rise.

    Args:
        n: Number of cameras.
        radius: Distance from the target.
        elevations: First and last angle above the horizontal plane, radians.
        turns: Times around.
        target: The point in the middle of every image.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.
    """
    azimuths = torch.linspace(0, 2 * math.pi * turns, n, dtype=torch.float64)
    return _on_sphere(azimuths, torch.linspace(*elevations, n, dtype=torch.float64), radius, target)


def dome(
    n: int,
    radius: float,
    elevations: tuple[float, float],
    *,
    start: float = 0.0,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Spread cameras evenly over a zone of a sphere, on a golden-angle spiral, looking at the target.

    Args:
        n: Number of cameras.
        radius: Distance from the target.
        elevations: Lowest and highest angle above the horizontal plane, radians.
        start: Azimuth of the first camera, radians, from the x axis.
        target: The point in the middle of every image.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.

    Reference:
        Vogel, "A better way to construct the sunflower head", Mathematical Biosciences 44 (1979): equal areas
        are equal steps in the sine of the elevation.
    """
    index = torch.arange(n, dtype=torch.float64)
    low, high = (math.sin(angle) for angle in elevations)
    heights = low + (high - low) * (index + 0.5) / max(n, 1)
    return _on_sphere(start + _GOLDEN_ANGLE * index, torch.asin(heights), radius, target)


def sway(n: int, radii: tuple[float, float, float], focus: float) -> Tensor:
    """Let a camera at the origin circle before a scene that lies along -z, always looking at one point of it.

    Args:
        n: Number of cameras; the last does not repeat the first.
        radii: Amplitudes along x, y and z; along z the camera goes to and fro twice.
        focus: Distance of the point ``(0, 0, -focus)`` that all look at.

    Returns:
        Camera-to-world poses ``(n, 4, 4)``.
    """
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    eyes = torch.stack([torch.cos(angles), torch.sin(angles), torch.sin(2 * angles)], -1)
    scaled = eyes * eyes.new_tensor(radii)
    return look_at(scaled, eyes.new_tensor([0.0, 0.0, -focus]), eyes.new_tensor([0.0, 1.0, 0.0]))


def _on_sphere(azimuth: Tensor, elevation: Tensor, radius: float, target: tuple[float, float, float]) -> Tensor:
    level = torch.cos(elevation)
    unit = torch.stack([level * torch.cos(azimuth), level * torch.sin(azimuth), torch.sin(elevation)], -1)
    middle = unit.new_tensor(target)
    return look_at(middle + radius * unit, middle, unit.new_tensor([0.0, 0.0, 1.0]))
