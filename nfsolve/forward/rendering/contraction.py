"""All of space in a cube: near things keep their places, and what lies beyond is drawn in to twice its size.

Barron et al., "Mip-NeRF 360", CVPR 2022, eq. 10, with the largest coordinate in the place of the length, so that grids
fill the space (Tancik et al., "Nerfstudio", SIGGRAPH 2023): y -> (2 - 1 / r) y / r where r = max |y_i| is above 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering.samples import box_intersection

REACH = 0.999  # how far into the outer shell rays are sampled: a thousand times the half side


@dataclass(frozen=True)
class Contraction:
    """The map that keeps a cube and draws in the rest.

    Args:
        centre: Middle of the cube.
        half: Half of its side.

    Raises:
        InputError: The side is not positive.
    """

    centre: tuple[float, float, float]
    half: float

    def __post_init__(self) -> None:
        if not self.half > 0:
            raise InputError(f"half must be positive, got {self.half:g}", do="give half the side of the inner cube")

    @property
    def inner(self) -> tuple[tuple[float, float], ...]:
        """The cube in which nothing moves, ``(low, high)`` of each coordinate."""
        return tuple((c - self.half, c + self.half) for c in self.centre)

    @property
    def outer(self) -> tuple[tuple[float, float], ...]:
        """The cube that holds everything."""
        return tuple((c - 2 * self.half, c + 2 * self.half) for c in self.centre)

    @property
    def far(self) -> float:
        """Distance up to which rays are sampled, about."""
        return self.half / (1 - REACH)

    def __call__(self, points: Tensor) -> Tensor:
        """Map points of the world ``(n, 3)`` into the outer cube."""
        middle = points.new_tensor(self.centre)
        offset = (points - middle) / self.half
        radius = offset.abs().amax(-1, keepdim=True).clamp_min(1.0)
        return middle + self.half * offset * (2 - 1 / radius) / radius

    def length(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return the lengths ``(n, 1)`` of rays as they are sampled: in the inner cube, and one half side beyond."""
        return box_intersection(origins, directions, self.inner)[1] + REACH * self.half

    def edges(self, origins: Tensor, directions: Tensor, step: float, shift: Tensor | float = 0.0) -> Tensor:
        """Cut rays so that the contracted intervals are about equal, whichever way a ray leaves the inner cube.

        A first, finer cut has one step in the inner cube, and beyond it equal steps of 1 / distance; the final one is
        equal along the contracted path of that, interpolated linearly. Rays should begin inside the inner cube.

        Args:
            origins: ``(n, 3)``.
            directions: Unit vectors ``(n, 3)``.
            step: Length of a contracted interval.
            shift: By which part of a step the cut is moved, ``(n, 1)`` or a number.

        Returns:
            Rising distances ``(n, m)``; intervals beyond the farthest one have no length.
        """
        leave = box_intersection(origins, directions, self.inner)[1]
        share = torch.linspace(0, REACH, int(4 * self.half / step) + 2, dtype=origins.dtype, device=origins.device)
        first = torch.cat([torch.zeros_like(leave), leave + self.half * share / (1 - share)], -1)
        path = self.path(origins, directions, first).diff(dim=1).norm(dim=-1)
        along = torch.cat([torch.zeros_like(leave), path.cumsum(-1)], -1)
        most = int((along[:, -1].amax() / step).ceil()) + 1 if len(along) else 1
        wanted = (torch.arange(most, dtype=origins.dtype, device=origins.device) + shift) * step
        wanted = torch.minimum(wanted.expand(len(along), most), along[:, -1:])
        upper = torch.searchsorted(along, wanted.contiguous()).clamp(1, along.shape[1] - 1)
        (t0, t1), (s0, s1) = ([rows.gather(1, upper - 1), rows.gather(1, upper)] for rows in (first, along))
        return torch.lerp(t0, t1, ((wanted - s0) / (s1 - s0).clamp_min(1e-12)).clamp(0, 1))

    def path(self, origins: Tensor, directions: Tensor, distances: Tensor) -> Tensor:
        """Return the contracted points ``(n, m, 3)`` of rays at distances ``(n, m)``."""
        points = origins[:, None] + distances[..., None] * directions[:, None]
        return self(points.reshape(-1, 3)).unflatten(0, distances.shape)
