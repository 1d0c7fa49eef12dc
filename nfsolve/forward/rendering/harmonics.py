"""Real spherical harmonics: how a colour that depends on the viewing direction is written.

Fridovich-Keil et al., "Plenoxels: radiance fields without neural networks", CVPR 2022, section 3.2 (degree 2); Yu et
al., "PlenOctrees", ICCV 2021, show that a network which gives the coefficients renders as well as one which reads the
direction.
"""

import math

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

MOST = 3


def spherical_harmonics(directions: Tensor, degree: int) -> Tensor:
    """Evaluate all real spherical harmonics up to a degree.

    Args:
        directions: Unit vectors ``(n, 3)``.
        degree: Highest degree, 0 to 3.

    Returns:
        ``(n, (degree + 1)^2)``, orthonormal in the mean over the sphere, so that the first column is 1.

    Raises:
        InputError: Another degree.
    """
    if not 0 <= degree <= MOST:
        raise InputError(
            f"the degree of spherical harmonics must be 0 to {MOST}, got {degree}", do="choose one of these"
        )
    x, y, z = directions.split(1, -1)
    columns = [torch.ones_like(x)]
    if degree > 0:
        columns += [math.sqrt(3) * axis for axis in (y, z, x)]
    if degree > 1:
        half = math.sqrt(15) / 2
        columns += [2 * half * x * y, 2 * half * y * z, math.sqrt(5) / 2 * (3 * z * z - 1)]
        columns += [2 * half * x * z, half * (x * x - y * y)]
    if degree > 2:
        third, second, first = math.sqrt(70) / 4, math.sqrt(105), math.sqrt(42) / 4
        columns += [third * y * (3 * x * x - y * y), second * x * y * z, first * y * (5 * z * z - 1)]
        columns += [math.sqrt(7) / 2 * z * (5 * z * z - 3), first * x * (5 * z * z - 1)]
        columns += [second / 2 * z * (x * x - y * y), third * x * (x * x - 3 * y * y)]
    return torch.cat(columns, -1)
