"""Rays of a scene, each with the part of it on which it is rendered."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import overload

import torch
from torch import Tensor
from torch.utils._pytree import register_dataclass

from nfsolve._core.errors import unknown


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

    @overload
    def __getitem__(self, rows: str) -> Tensor: ...
    @overload
    def __getitem__(self, rows: slice | Tensor) -> "Rays": ...
    def __getitem__(self, rows: str | slice | Tensor) -> "Rays | Tensor":
        """Return some of the rays; or one of their attributes by its name, as when rays were a dict of tensors."""
        if isinstance(rows, str):
            if rows not in (known := [field.name for field in fields(self)]):
                raise unknown("attribute of rays", rows, known)
            warnings.warn(f'rays["{rows}"] is now rays.{rows}', DeprecationWarning, stacklevel=2)
            return getattr(self, rows)
        return Rays(*(getattr(self, field.name)[rows] for field in fields(self)))

    def split(self, size: int) -> Sequence["Rays"]:
        """Return the rays in pieces of at most this size."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Rays":
        """Move to a device and a type."""
        return Rays(*(getattr(self, field.name).to(device, dtype) for field in fields(self)))


register_dataclass(Rays)
