"""Rays of a scene, each with the part of it on which it is rendered."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.utils._pytree import register_dataclass


@dataclass(frozen=True)
class Rays:
    """Half lines o + t d on which a scene is rendered, from near to far.

    Attributes:
        origins: Where they begin, ``(n, 3)``.
        directions: Unit vectors ``(n, 3)``.
        viewing: Unit vectors ``(n, 3)`` on which colours depend: the directions in the world, from which
            ``directions`` differ in normalised device coordinates.
        near: Distances ``(n, 1)`` at which rendering begins.
        far: Distances ``(n, 1)`` at which it ends; both 0 on rays that miss the scene.
    """

    origins: Tensor
    directions: Tensor
    viewing: Tensor
    near: Tensor
    far: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, rows: slice | Tensor) -> "Rays":
        """Return some of the rays."""
        return Rays(*(getattr(self, field.name)[rows] for field in fields(self)))

    def split(self, size: int) -> Sequence["Rays"]:
        """Return the rays in pieces of at most this size."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Rays":
        """Move to a device and a type."""
        return Rays(*(getattr(self, field.name).to(device, dtype) for field in fields(self)))


register_dataclass(Rays)
