"""Parallel-beam tomography: p(t, s) = integral of f along the line x . n = s, with n = (cos t, sin t).

Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, section 3.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.radon.views import axes, bin_centres, check_detector, checked_angles, merged_bins


@dataclass(frozen=True)
class ParallelBeam:
    """Parallel rays onto a flat detector of equal bins, from many directions.

    Attributes:
        angles: Angle t of the detector axis n = (cos t, sin t) for each view, in radians.
        n_bins: Number of detector bins; their positions s rise along n.
        spacing: Width of a bin, in units of length.
        centre: Position s of the middle of the detector (the shift of the rotation axis, negated).
    """

    angles: tuple[float, ...]
    n_bins: int
    spacing: float
    centre: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "angles", checked_angles(self.angles))
        check_detector(self.n_bins, self.spacing, self.centre)

    @staticmethod
    def half_turn(n_views: int, n_bins: int, width: float = 2.0) -> "ParallelBeam":
        """Spread views evenly over [0, pi), on a centred detector of the given width."""
        if n_views < 1 or n_bins < 1:
            raise InputError(
                f"a scan needs at least one view and one bin, got {n_views} views of {n_bins} bins",
                do="choose positive numbers",
            )
        return ParallelBeam(tuple(i * math.pi / n_views for i in range(n_views)), n_bins, width / n_bins)

    @property
    def magnification(self) -> float:
        """Length on the detector of a unit of length at the axis: one."""
        return 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a sinogram, (views, bins)."""
        return len(self.angles), self.n_bins

    def offsets(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List the positions s of the bin centres, (n_bins,), in units of length."""
        return bin_centres(self.n_bins, self.spacing, self.centre, dtype, device)

    def refined(self, factor: int) -> "ParallelBeam":
        """Split each bin into `factor` narrower ones."""
        return replace(self, n_bins=self.n_bins * factor, spacing=self.spacing / factor)

    def coarsened(self, side: int) -> "ParallelBeam":
        """Merge groups of bins; see `views.merged_bins`."""
        n_bins, spacing, centre = merged_bins(self.n_bins, self.spacing, self.centre, side)
        return replace(self, n_bins=n_bins, spacing=spacing, centre=centre)

    def subset(self, views: Sequence[int]) -> "ParallelBeam":
        """Keep the views of the given indices, in this order."""
        return replace(self, angles=tuple(self.angles[i] for i in views))

    def rays(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """Return the foot point s n and unit direction (-sin t, cos t) of each ray, both (views * bins, 2)."""
        across, along = axes(self.angles)
        feet = self.offsets()[:, None] * across[:, None]
        directions = along[:, None].expand_as(feet)
        return feet.reshape(-1, 2).to(device, dtype), directions.reshape(-1, 2).to(device, dtype)

    def project(self, points: Tensor, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cast points (n, 2) onto the detector.

        Returns:
            Positions s on the detector (n,), the magnification (n,) (one), and the direction of the rays (n, 2).
        """
        across, along = (axis.to(points)[0] for axis in axes(self.angles[view : view + 1]))
        position = points @ across
        return position, torch.ones_like(position), along.expand_as(points)
