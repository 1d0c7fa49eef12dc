"""Panels of cone beams that are turned: what a panel that stands straight would have measured along the same rays."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import ConeBeam

MOST = 30.0  # degrees


def straightened(
    values: np.ndarray, geometry: ConeBeam, roll: float = 0.0, tilt: float = 0.0, slant: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate projections of a panel that is turned about the foot of the central ray, as if it were not.

    The ray through (u, v) of the straight panel, at the distance D of the source, is (u, v, D); it meets the other
    panel, which has the same foot, where both planes say. Linear between bins; the order is roll, tilt, slant.

    Args:
        values: Projections (views, rows, columns), rows rising along z.
        geometry: Views and the panel as if it stood straight; a centre is measured on the panel itself.
        roll: Degrees by which the panel is turned in its own plane, counter-clockwise as seen with z upwards and the
            columns rising to the right.
        tilt: Degrees by which its upper edge leans away from the source.
        slant: Degrees by which the edge of its last columns leans away from the source.

    Returns:
        Projections of the same shape, and the share of each bin that lies on the panel, (rows, columns), 1 or 0.

    Raises:
        InputError: An angle is not finite or beyond 30 degrees.
    """
    for name, angle in (("roll", roll), ("tilt", tilt), ("slant", slant)):
        if not abs(angle) <= MOST:
            raise InputError(
                f"a {name} of the panel of up to {MOST:g} degrees is undone, got {angle:g}",
                do="give it in degrees, or exchange the axes of the projections",
            )
    places = _places(geometry, roll, tilt, slant)
    beyond = (places.abs() > 1).any(-1)
    stack = torch.as_tensor(values)[None]  # views are channels
    found = grid_sample(stack, places[None].to(stack), align_corners=False, padding_mode="border")[0]
    return found.numpy(), (~beyond).double().numpy()


def _places(geometry: ConeBeam, roll: float, tilt: float, slant: float) -> Tensor:
    """Return where the rays of the straight panel meet the other one, (rows, columns, 2), from -1 to 1 across it."""
    r, a, b = (math.radians(angle) for angle in (roll, tilt, slant))
    turn = torch.tensor([[math.cos(b), 0, -math.sin(b)], [0, 1, 0], [math.sin(b), 0, math.cos(b)]])
    lean = torch.tensor([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    plane = torch.tensor([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    across, up, normal = (turn.double() @ lean.double() @ plane.double()).T
    distance = geometry.source_detector_distance
    v, u = geometry.offsets()
    rays = torch.stack(
        [u.expand(len(v), -1), v[:, None].expand(-1, len(u)), torch.full((len(v), len(u)), distance).double()], -1
    )
    foot = torch.tensor([0.0, 0.0, distance], dtype=torch.float64)
    met = rays * (distance * normal[2] / (rays @ normal))[..., None] - foot
    (n_rows, n_columns), (dv, du), (cv, cu) = geometry.n_bins, geometry.spacing, geometry.centre
    column, row = 2 * (met @ across - cu) / (n_columns * du), 2 * (met @ up - cv) / (n_rows * dv)
    return torch.stack([column, row], -1)
