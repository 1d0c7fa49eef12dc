"""Lens distortion by its polynomials, and its inverse by Newton's method.

A direction (x, y, 1) before the camera, x to the right and y down, appears at the normalised image point
(u, v) = ((c - c_x) / f_x, (r - c_y) / f_y). With r^2 = x^2 + y^2 (OpenCV 4, "Camera calibration and 3D
reconstruction" and "Fisheye camera model"; the distortion coefficients of the nerfstudio format):

    OPENCV:         u = x R + 2 p1 x y + p2 (r^2 + 2 x^2),  v = y R + p1 (r^2 + 2 y^2) + 2 p2 x y,
                    R = 1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8
    OPENCV_FISHEYE: (u, v) = (x, y) / r * t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8),  t = angle to the axis
"""

from collections.abc import Callable

import torch
from torch import Tensor

COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")
_NEWTON = 5  # steps without gradient; with the two recorded ones enough up to 1 % from a fold
_TINY = 1e-30  # squared radius below which a point is on the axis


def bend(towards: Tensor, coefficients: Tensor, fisheye: bool) -> Tensor:
    """Find where directions appear.

    Args:
        towards: Directions ``(n, 3)``, x to the right, y down, z forward; z > 0 unless ``fisheye``.
        coefficients: k1, k2, k3, k4, p1, p2 for each row, ``(n, 6)``.
        fisheye: Whether the lens is of the fisheye model, which has no p1 and p2.

    Returns:
        Normalised image points ``(n, 2)``.
    """
    if not fisheye:
        return _shift(towards[:, :2] / towards[:, 2:], coefficients)[0]
    radius = towards[:, :2].square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    angle = torch.atan2(radius, towards[:, 2:])
    return towards[:, :2] / radius * angle * _polynomial(angle.square(), coefficients)[0]


def straighten(points: Tensor, coefficients: Tensor, fisheye: bool) -> Tensor:
    """Find which directions appear at given points: the inverse of `bend`.

    The last two of the Newton steps are recorded: each doubles the order to which the result depends rightly
    on points and coefficients, so first, second and third derivatives are those of the exact inverse.

    Args:
        points: Normalised image points ``(n, 2)``.
        coefficients: k1, k2, k3, k4, p1, p2 for each row, ``(n, 6)``.
        fisheye: Whether the lens is of the fisheye model.

    Returns:
        Directions ``(n, 3)``, not of unit length. Where Newton's method does not converge they mean nothing; see
        `faithful`.
    """
    if not fisheye:
        x = _newton(_shift_step, points, coefficients)
        return torch.cat([x, torch.ones_like(x[:, :1])], -1)
    radius = points.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    angle = _newton(_angle_step, radius, coefficients)
    return torch.cat([points * torch.sin(angle) / radius, torch.cos(angle)], -1)


def faithful(points: Tensor, coefficients: Tensor, fisheye: bool) -> Tensor:
    """Tell where `straighten` found the direction, on the part of the lens where no two directions coincide.

    Args:
        points: Normalised image points ``(n, 2)``.
        coefficients: k1, k2, k3, k4, p1, p2 for each row, ``(n, 6)``.
        fisheye: Whether the lens is of the fisheye model.

    Returns:
        Booleans ``(n, 1)``.
    """
    towards = straighten(points, coefficients, fisheye)
    if fisheye:
        angle = torch.atan2(towards[:, :2].norm(dim=-1, keepdim=True), towards[:, 2:])
        unfolded = _polynomial(angle.square(), coefficients)
        rising = unfolded[0] + 2 * angle.square() * unfolded[1] > 0
    else:
        a, b, c = _shift(towards[:, :2], coefficients)[1]
        rising = (a * c - b * b > 0) & (a > 0)
    error = (bend(towards, coefficients, fisheye) - points).norm(dim=-1, keepdim=True)
    return rising & (error <= 1e3 * torch.finfo(points.dtype).eps * (1 + points.norm(dim=-1, keepdim=True)))


def _newton(step: Callable[[Tensor, Tensor, Tensor], Tensor], target: Tensor, coefficients: Tensor) -> Tensor:
    guess = target.detach()
    with torch.no_grad():
        for _ in range(_NEWTON):
            guess = step(guess, target, coefficients)
    for _ in range(2):
        guess = step(guess, target, coefficients)
    return guess


def _polynomial(s: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate 1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4 and its derivative."""
    k1, k2, k3, k4 = coefficients[:, :4].split(1, -1)
    return 1 + s * (k1 + s * (k2 + s * (k3 + s * k4))), k1 + s * (2 * k2 + s * (3 * k3 + s * 4 * k4))


def _shift(x: Tensor, coefficients: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return (u, v) of the OPENCV model, and du/dx, du/dy = dv/dx, dv/dy."""
    p1, p2 = coefficients[:, 4:5], coefficients[:, 5:]
    a, b = x[:, :1], x[:, 1:]
    square = a * a + b * b
    value, slope = _polynomial(square, coefficients)
    common = value + 2 * (p2 * a + p1 * b)
    jacobian = (
        common + 2 * a * (a * slope + 2 * p2),
        2 * (a * b * slope + p1 * a + p2 * b),
        common + 2 * b * (b * slope + 2 * p1),
    )
    return torch.cat([a * common + p2 * square, b * common + p1 * square], -1), jacobian


def _shift_step(x: Tensor, target: Tensor, coefficients: Tensor) -> Tensor:
    at, (a, b, c) = _shift(x, coefficients)
    u, v = (at - target).split(1, -1)
    return x - torch.cat([c * u - b * v, a * v - b * u], -1) / (a * c - b * b)


def _angle_step(angle: Tensor, target: Tensor, coefficients: Tensor) -> Tensor:
    value, slope = _polynomial(angle.square(), coefficients)
    return angle - (angle * value - target) / (value + 2 * angle.square() * slope)
