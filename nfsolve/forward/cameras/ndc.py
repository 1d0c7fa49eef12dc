"""Normalised device coordinates: the space before a camera, out to infinity, becomes one cube.

For scenes that face the cameras and reach far back (Mildenhall et al., "NeRF", ECCV 2020, appendix C).
"""

import torch
from torch import Tensor


def ndc_rays(
    origins: Tensor, directions: Tensor, extent: tuple[float, float], near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Map rays that run towards -z to the cube in which the plane z = -near is -1 and infinity is +1.

    A point (x, y, z) becomes (x / (-z w), y / (-z h), 1 + 2 near / z), where (w, h) is ``extent``: lines stay
    lines, and equal steps in the cube are equal steps in 1 / depth.

    Args:
        origins: ``(n, 3)``, with z > -near.
        directions: ``(n, 3)``, any length, with negative z.
        extent: Half width and half height of the image at distance 1, width / (2 f_x) and height / (2 f_y).
        near: Distance of the near plane from the origin, positive.

    Returns:
        Origins on the near plane ``(n, 3)``, unit directions ``(n, 3)``, and the lengths ``(n, 1)`` at which the
        rays reach infinity.
    """
    start = origins - (near + origins[:, 2:]) / directions[:, 2:] * directions
    scale = start.new_tensor(extent)
    begin = start[:, :2] / (near * scale)  # on the near plane, -z = near
    end = -directions[:, :2] / (directions[:, 2:] * scale)
    across = torch.cat([end - begin, torch.full_like(begin[:, :1], 2.0)], -1)
    length = across.norm(dim=-1, keepdim=True)
    return torch.cat([begin, torch.full_like(begin[:, :1], -1.0)], -1), across / length, length
