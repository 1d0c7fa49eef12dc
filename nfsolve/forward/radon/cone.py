"""Cone-beam tomography: line integrals along the rays from a point to a flat panel, turning about the z axis.

In view t the source lies at source_origin * (sin t, -cos t, 0); the panel's columns run along (cos t, sin t, 0), its
rows along z. The middle row (v = 0) is the `FanBeam` of the same numbers. In a helical scan source and panel rise
together, in proportion to t.
Source: L. A. Feldkamp, L. C. Davis, J. W. Kress, "Practical cone-beam algorithm", J. Opt. Soc. Am. A 1(6), 1984.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.views import axes, bin_centres, check_detector, check_distances, checked_angles, merged_bins

MOST_TURNS = 1000.0  # of a helix


@dataclass(frozen=True)
class ConeBeam:
    """Rays from a point source onto a flat panel of equal bins, from many directions about z.

    Attributes:
        angles: Angle t of the panel's horizontal axis (cos t, sin t, 0) for each view, in radians.
        n_bins: Number of (rows, columns); their positions v and u rise along z and the horizontal axis.
        spacing: Height and width (dv, du) of a bin on the panel, in units of length.
        source_origin: Distance from the source to the axis of rotation, in units of length.
        source_detector_distance: Distance from the source to the panel, in units of length.
        centre: Position (v, u) of the panel's middle; (0, 0) lies on the ray through the origin.
        pitch: Rise of source and panel along z in a full turn, in units of length; they lie at z = 0 at t = 0.
    """

    angles: tuple[float, ...]
    n_bins: tuple[int, int]
    spacing: tuple[float, float]
    source_origin: float
    source_detector_distance: float
    centre: tuple[float, float] = (0.0, 0.0)
    pitch: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "angles", checked_angles(self.angles, MOST_TURNS if self.pitch else 2.0))
        for axis in zip(self.n_bins, self.spacing, self.centre, strict=True):
            check_detector(*axis)
        check_distances(self.source_origin, self.source_detector_distance)
        if not math.isfinite(self.pitch):
            raise InputError(f"the pitch of a helix must be finite, got {self.pitch}", do="give 0 for a circle")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a stack of projections, (views, rows, columns)."""
        return len(self.angles), *self.n_bins

    @property
    def fan(self) -> FanBeam:
        """The fan of rays in the plane z = 0, onto the panel's columns."""
        distances = self.source_origin, self.source_detector_distance
        angles = tuple(t % (2 * math.pi) for t in self.angles) if self.pitch else self.angles
        return FanBeam(angles, self.n_bins[1], self.spacing[1], *distances, self.centre[1])

    @property
    def lifts(self) -> tuple[float, ...]:
        """Height z of the source in each view, in units of length."""
        return tuple(self.pitch * t / (2 * math.pi) for t in self.angles)

    @property
    def magnification(self) -> float:
        """Length on the panel of a unit of length at the axis."""
        return self.source_detector_distance / self.source_origin

    def offsets(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """List the positions v of the rows, (rows,), and u of the columns, (columns,), on the panel."""
        v = bin_centres(self.n_bins[0], self.spacing[0], self.centre[0], dtype, device)
        return v, self.fan.offsets(dtype, device)

    def refined(self, factor: int) -> "ConeBeam":
        """Split each bin into factor x factor smaller ones."""
        (rows, columns), (dv, du) = self.n_bins, self.spacing
        return replace(self, n_bins=(rows * factor, columns * factor), spacing=(dv / factor, du / factor))

    def coarsened(self, side: int) -> "ConeBeam":
        """Merge blocks of side x side bins; see `views.merged_bins`."""
        (rows, dv, cv), (columns, du, cu) = (
            merged_bins(*axis, side) for axis in zip(self.n_bins, self.spacing, self.centre, strict=True)
        )
        return replace(self, n_bins=(rows, columns), spacing=(dv, du), centre=(cv, cu))

    def subset(self, views: Sequence[int]) -> "ConeBeam":
        """Keep the views of the given indices, in this order."""
        return replace(self, angles=tuple(self.angles[i] for i in views))

    def rays(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """Return each ray's nearest point to the origin and its unit direction, both (views * rows * columns, 3)."""
        across, along = (torch.nn.functional.pad(a, (0, 1))[:, None, None] for a in axes(self.angles))
        up = across.new_tensor([0.0, 0.0, 1.0])
        v, u = self.offsets()
        aside = u[:, None] * across + v[:, None, None] * up  # from the panel's foot to the bin
        aside = aside / self.source_detector_distance
        slope = aside.square().sum(-1, keepdim=True)
        directions = (along + aside) / (1 + slope).sqrt()
        lift = torch.tensor(self.lifts, dtype=torch.float64)[:, None, None, None]
        feet = self.source_origin / (1 + slope) * (aside - slope * along)
        feet = feet + lift * (
            up - directions[..., 2:] * directions
        )  # the point of the lifted ray nearest to the origin
        return feet.reshape(-1, 3).to(device, dtype), directions.reshape(-1, 3).to(device, dtype)
