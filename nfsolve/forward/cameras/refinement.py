"""Camera poses as unknowns: M <- M exp(xi), one rigid motion xi in se(3) for each view.

Lin et al., "BARF: Bundle-Adjusting Neural Radiance Fields", ICCV 2021; the exponential as in Eade, "Lie groups
for 2D and 3D transformations" (2017), section 3.2. Poses are compared after the similarity of Umeyama, "Least-squares
estimation of transformation parameters between two point patterns", IEEE TPAMI 13 (1991).
"""

import math

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError


def rigid_motion(twists: Tensor) -> Tensor:
    """Take the exponential of rigid motions, se(3) -> SE(3).

    With w the rotation vector, theta = |w| and K = [w]x: R = 1 + (1 - theta^2 c) K + b K^2 and
    t = (1 + b K + c K^2) v, b = (1 - cos theta) / theta^2, c = (theta - sin theta) / theta^3. Both are power
    series in theta^2 without a special case at zero, so derivatives of every order exist there.

    Args:
        twists: Rotation vectors in radians, then translations, ``(n, 6)``. Exact to rounding up to half a turn,
            to 1e-8 up to a whole one.

    Returns:
        Matrices ``(n, 4, 4)``.
    """
    w, v = twists[:, :3], twists[:, 3:]
    square = w.square().sum(-1)[:, None, None]
    b, c = _series(square, 2), _series(square, 3)
    zero = torch.zeros_like(w[:, 0])
    x, y, z = w.unbind(-1)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    twice = skew @ skew
    one = torch.eye(3, dtype=w.dtype, device=w.device)
    rotation = one + (1 - square * c) * skew + b * twice
    shift = (one + b * skew + c * twice) @ v[..., None]
    last = one.new_tensor([[0.0, 0.0, 0.0, 1.0]]).expand(len(w), 1, 4)
    return torch.cat([torch.cat([rotation, shift], -1), last], 1)


def _series(square: Tensor, first: int) -> Tensor:
    """Sum (-square)^k / (2 k + first)! over k < 15, by Horner's rule."""
    total = torch.zeros_like(square)
    for k in reversed(range(15)):
        total = 1 / math.factorial(2 * k + first) - square * total
    return total


class PoseCorrections(nn.Module):
    """A rigid motion of each camera in its own frame, zero at first.

    Moving all cameras and the scene together changes no image. Either the first view stays where it is, and its own
    error moves the scene; or all are free, and the scene stays about where the poses agree that it is, since gradients
    have no part along such a motion. That the scene can grow with the distances between cameras is left to the
    starting values too.

    Args:
        n_views: Number of cameras.
        fix_first: Whether the first has no correction.
        unit: Radians and lengths that a parameter of 1 stands for; with a small one, optimizers that change all
            parameters by alike amounts, such as Adam, move cameras by little.

    Raises:
        InputError: There is no camera.
    """

    def __init__(self, n_views: int, *, fix_first: bool = True, unit: float = 1.0):
        super().__init__()
        if n_views < 1:
            raise InputError(f"n_views must be at least 1, got {n_views}", do="give the number of cameras")
        self.n_views, self.fixed, self.unit = n_views, int(fix_first), unit
        self.twists = nn.Parameter(torch.zeros(n_views - self.fixed, 6))

    def forward(self, poses: Tensor) -> Tensor:
        """Correct the poses of all views, ``(n_views, 4, 4)``.

        Raises:
            InputError: The number of poses is another.
        """
        if len(poses) != self.n_views:
            raise InputError(
                f"there must be one pose for each of the {self.n_views} corrected views, got {len(poses)}",
                do="give the poses of all views",
            )
        return poses @ rigid_motion(self.motions())

    def motions(self) -> Tensor:
        """Return the rotation vector, in radians, and the translation of each view, ``(n_views, 6)``."""
        return self.unit * torch.cat([self.twists.new_zeros(self.fixed, 6), self.twists])


def pose_errors(poses: Tensor, exact: Tensor) -> tuple[float, float]:
    """Compare poses with exact ones after the similarity that brings their positions closest together.

    Args:
        poses: Camera-to-world poses ``(n, 4, 4)``, at least three that do not stand on one line.
        exact: The exact ones ``(n, 4, 4)``.

    Returns:
        Mean angle, degrees, and mean distance, in the unit of ``exact``.
    """
    places, right = poses[:, :3, 3], exact[:, :3, 3]
    spread, wanted = places - places.mean(0), right - right.mean(0)
    left, stretch, back = torch.linalg.svd(wanted.T @ spread)
    sign = torch.ones_like(stretch)
    sign[2] = torch.det(left @ back)  # no mirror image
    turn = (left * sign) @ back
    scale = (stretch * sign).sum() / spread.square().sum()
    distances = (scale * spread @ turn.T - wanted).norm(dim=-1)
    off = turn @ poses[:, :3, :3] @ exact[:, :3, :3].mT - torch.eye(3, dtype=poses.dtype, device=poses.device)
    angles = 2 * torch.asin((off.flatten(1).norm(dim=-1) / math.sqrt(8)).clamp_max(1))  # exact for small angles too
    return float(torch.rad2deg(angles).mean()), float(distances.mean())
