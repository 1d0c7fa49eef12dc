"""Fan-beam tomography: line integrals along the rays from a point to a flat detector, turning together.

In view t the source lies at D (sin t, -cos t), D = source_origin, and the detector, across the central ray, on the
other side of the axis. The ray to position u on the detector has the fan angle g = atan(u / source_detector_distance)
and is the line x . n = D sin g of a parallel beam at the angle t - g.
Source: A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", 1988, section 3.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nfsolve.forward.radon.views import axes, bin_centres, check_detector, check_distances, checked_angles, merged_bins


@dataclass(frozen=True)
class FanBeam:
    """Rays from a point source onto a flat detector of equal bins, from many directions.

    With the source far away it tends to the `ParallelBeam` of the same angles, magnified.

    Attributes:
        angles: Angle t of the detector axis (cos t, sin t) for each view, in radians.
        n_bins: Number of detector bins; their positions u rise along the detector axis.
        spacing: Width of a bin on the detector, in units of length.
        source_origin: Distance from the source to the axis of rotation, in units of length.
        source_detector_distance: Distance from the source to the detector, in units of length.
        centre: Position u of the middle of the detector; 0 lies on the ray through the axis of rotation.
    """

    angles: tuple[float, ...]
    n_bins: int
    spacing: float
    source_origin: float
    source_detector_distance: float
    centre: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "angles", checked_angles(self.angles))
        check_detector(self.n_bins, self.spacing, self.centre)
        check_distances(self.source_origin, self.source_detector_distance)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a sinogram, (views, bins)."""
        return len(self.angles), self.n_bins

    @property
    def magnification(self) -> float:
        """Length on the detector of a unit of length at the axis."""
        return self.source_detector_distance / self.source_origin

    def offsets(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> Tensor:
        """List the positions u of the bin centres on the detector, (n_bins,), in units of length."""
        return bin_centres(self.n_bins, self.spacing, self.centre, dtype, device)

    def refined(self, factor: int) -> "FanBeam":
        """Split each bin into `factor` narrower ones."""
        return replace(self, n_bins=self.n_bins * factor, spacing=self.spacing / factor)

    def coarsened(self, side: int) -> "FanBeam":
        """Merge groups of bins; see `views.merged_bins`."""
        n_bins, spacing, centre = merged_bins(self.n_bins, self.spacing, self.centre, side)
        return replace(self, n_bins=n_bins, spacing=spacing, centre=centre)

    def subset(self, views: Sequence[int]) -> "FanBeam":
        """Keep the views of the given indices, in this order."""
        return replace(self, angles=tuple(self.angles[i] for i in views))

    def rays(self, dtype: torch.dtype = torch.float64, device: Any = "cpu") -> tuple[Tensor, Tensor]:
        """Return each ray's nearest point to the axis and its unit direction, both (views * bins, 2)."""
        across, along = (axis[:, None] for axis in axes(self.angles))
        fan = torch.atan(self.offsets() / self.source_detector_distance)[:, None]
        directions = fan.cos() * along + fan.sin() * across
        feet = self.source_origin * fan.sin() * (fan.cos() * across - fan.sin() * along)
        return feet.reshape(-1, 2).to(device, dtype), directions.reshape(-1, 2).to(device, dtype)

    def project(self, points: Tensor, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cast points (n, 2) onto the detector.

        Returns:
            Positions u on the detector (n,), the magnification there (n,), and the way along each ray per unit of depth
            (n, 2), where depth is the distance from the source across the detector.
        """
        across, along = (axis.to(points)[0] for axis in axes(self.angles[view : view + 1]))
        away = points + self.source_origin * along
        depth = away @ along
        magnification = self.source_detector_distance / depth
        return magnification * (away @ across), magnification, away / depth[:, None]
