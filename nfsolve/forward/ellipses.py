"""Phantoms made of ellipses, with values, pixel averages and line integrals in closed form.

A ray that passes an ellipse of value v adds v times its chord. The phantom is the modified Shepp-Logan head:
L. A. Shepp, B. F. Logan, IEEE Trans. Nuclear Science 21(3), 1974, with the contrasts of P. Toft's thesis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nfsolve.forward import bodies
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid


@dataclass(frozen=True)
class Ellipse:
    """One ellipse, whose value adds to those it overlaps.

    Attributes:
        value: Added inside, per unit of length.
        a: Half axis along the direction `angle`, in units of length.
        b: The other half axis.
        x: Centre.
        y: Centre.
        angle: Direction of the half axis a, in degrees from the x axis (as in the published tables).
    """

    value: float
    a: float
    b: float
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0

    def unit(self, points: Tensor, directions: bool = False) -> Tensor:
        """Map points, or directions, (n, 2), so that the ellipse becomes the unit circle at the origin."""
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        if not directions:
            points = points - points.new_tensor([self.x, self.y])
        return points @ points.new_tensor([[c / self.a, -s / self.b], [s / self.a, c / self.b]])


SHEPP_LOGAN = (
    Ellipse(1.0, 0.69, 0.92),
    Ellipse(-0.8, 0.6624, 0.874, 0.0, -0.0184),
    Ellipse(-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    Ellipse(-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    Ellipse(0.1, 0.21, 0.25, 0.0, 0.35),
    Ellipse(0.1, 0.046, 0.046, 0.0, 0.1),
    Ellipse(0.1, 0.046, 0.046, 0.0, -0.1),
    Ellipse(0.1, 0.046, 0.023, -0.08, -0.605),
    Ellipse(0.1, 0.023, 0.023, 0.0, -0.606),
    Ellipse(0.1, 0.023, 0.046, 0.06, -0.605),
)


def ellipse_values(ellipses: Sequence[Ellipse], points: Tensor) -> Tensor:
    """Evaluate a phantom at points.

    Args:
        ellipses: The phantom.
        points: Points (n, 2).

    Returns:
        Sum of the values of the ellipses that hold each point, (n, 1).
    """
    return bodies.values_at(ellipses, points)


def ellipse_image(
    ellipses: Sequence[Ellipse],
    grid: PixelGrid,
    supersample: int = 8,
    dtype: torch.dtype = torch.float64,
    device: Any = "cpu",
) -> Tensor:
    """Average a phantom over the pixels of a grid.

    Args:
        ellipses: The phantom.
        grid: Pixels.
        supersample: Points per pixel and direction.
        dtype: Type of the image.
        device: Device of the image.

    Returns:
        Image (rows, columns).
    """
    centres = grid.centres(dtype, device)
    inside = PixelGrid(supersample, supersample, grid.pixel / supersample).centres(dtype, device)
    return bodies.cell_averages(ellipses, centres, inside).reshape(grid.shape)


def ellipse_integrals(ellipses: Sequence[Ellipse], rays: tuple[Tensor, Tensor]) -> Tensor:
    """Integrate a phantom exactly along infinite lines.

    Args:
        ellipses: The phantom.
        rays: A point on each line and its unit direction, both (m, 2).

    Returns:
        Line integrals, (m, 1).
    """
    return bodies.integrals(ellipses, rays)


def ellipse_sinogram(
    ellipses: Sequence[Ellipse],
    geometry: ParallelBeam | FanBeam,
    sub_rays: int = 16,
    dtype: torch.dtype = torch.float64,
    device: Any = "cpu",
) -> Tensor:
    """Average exact line integrals over each detector bin.

    Args:
        ellipses: The phantom.
        geometry: Views and detector.
        sub_rays: Evenly spread rays averaged in each bin; 1 gives line integrals at the bin centres.
        dtype: Type of the sinogram.
        device: Device of the sinogram.

    Returns:
        Sinogram (views, bins).
    """
    rays = geometry.refined(sub_rays).rays()
    integrals = ellipse_integrals(ellipses, rays).reshape(*geometry.shape, sub_rays).mean(-1)
    return integrals.to(device=device, dtype=dtype)
