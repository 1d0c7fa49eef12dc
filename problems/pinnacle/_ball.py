"""The ball in five dimensions, which the library has in two and three."""

import math

import torch
from torch import Tensor

from nfsolve.domains.pieces import Piece
from nfsolve.domains.shapes import Ball


class Ball5(Ball):
    """All points within a radius of a centre in five dimensions: ``Ball5(a=0, b=0, c=0, d=0, e=0, radius=1)``."""

    dimension = 5
    part = "surface"

    def own_pieces(self) -> list[Piece]:
        """Return the whole surface, of size 8 pi^2 r^4 / 3."""
        return [Piece((self.part,), 8 / 3 * math.pi**2 * self.radius**4, self._on_surface)]

    def _on_surface(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Place unit points ``(n, 4)`` uniformly; Archimedes: the first three coordinates are uniform in a ball."""
        r = unit[:, :1] ** (1 / 3)
        z = 2 * unit[:, 1:2] - 1
        around, last = 2 * math.pi * unit[:, 2:3], 2 * math.pi * unit[:, 3:4]
        flat, rest = (1 - z**2).clamp(min=0).sqrt(), (1 - r**2).clamp(min=0).sqrt()
        first = r * torch.cat([flat * around.cos(), flat * around.sin(), z], 1)
        normals = torch.cat([first, rest * last.cos(), rest * last.sin()], 1)
        return normals.new_tensor(self.centre) + self.radius * normals, normals
