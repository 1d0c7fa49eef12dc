"""Cone-beam tomography: find f >= 0 in a volume from its integrals along the rays from a point to a flat panel.

The source turns about the z axis (Feldkamp, Davis & Kress, J. Opt. Soc. Am. A 1(6), 1984). Lengths are in units of half
the longest side of the volume. Without --data the object is the Shepp-Logan head of ellipsoids, whose projections are
exact; a volume that is given is projected at its own resolution and reconstructed at a coarser one. Each step evaluates
the field at all voxels that no empty ray crosses, and compares all rays.

    nfsolve run ct_cone
    nfsolve run ct_cone --data head.npz --views 25 --counts 1e5
"""

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from nfsolve import InputError, main
from nfsolve.data.scans.scan import LARGEST, SMALLEST
from nfsolve.forward.counts import counted_anew
from nfsolve.forward.radon import ConeBeam, Projector, VoxelGrid
from problems.ct._coarsened import Measured, check_at_least
from problems.ct._cone_phantom import Body, Phantom, Sampled
from problems.ct._volume import VolumeTomography

TRUNCATED = 0.05  # of the largest line integral: a bin at the panel's border above it has seen a cut object


@dataclass
class CTCone(VolumeTomography):
    """A volume from few cone-beam projections, compared with FDK, SIRT and conjugate gradients."""

    data: str = ""
    """volume to scan, a path or a name under $NFSOLVE_DATA; default the Shepp-Logan head of ellipsoids"""
    views: int = 50
    """projections, spread over a full turn"""
    bins: int | None = None
    """detector bins along each side of the panel; default 5/4 of the voxels"""
    source_origin: float = 4.0
    """distance from the source to the axis of rotation"""
    source_detector_distance: float = 6.0
    """distance from the source to the panel"""
    panel: float = 4.0
    """side of the panel; 2 source_detector_distance / (source_origin - 1) sees the whole cylinder in the volume"""
    counts: float = 0.0
    """photons sent to each bin, for Poisson noise; 0 for no noise"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""
    pitch: float = 0.0
    """rise of source and panel in a full turn, for a helix about the middle of the volume; 0 for a circle"""
    turns: float = 1.0
    """full turns over which the views are spread"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, views=1, size=11, counts=0, turns=0)  # the window of SSIM has 11 voxels
        if not math.sqrt(2) < self.source_origin < math.inf:
            raise InputError(
                f"source_origin must be more than sqrt(2), where the edges of the volume turn, got "
                f"{self.source_origin:g}",
                do="give lengths in units of half the longest side of the volume",
            )
        if self.loss == "poisson" and not self.counts:
            raise InputError("the poisson loss compares counts, and counts = 0 makes none", do="give --counts 1e5, say")

    @property
    def geometry(self) -> ConeBeam:
        """Views and panel."""
        bins = round(1.25 * self.size) if self.bins is None else self.bins
        # a helix passes the middle of the volume halfway
        angles = tuple(
            2 * math.pi * self.turns * (i / self.views - (0.5 if self.pitch else 0)) for i in range(self.views)
        )
        spacing = self.panel / max(bins, 1)
        distances = self.source_origin, self.source_detector_distance
        return ConeBeam(angles, (bins, bins), (spacing, spacing), *distances, pitch=self.pitch)

    @cached_property
    def body(self) -> Body:
        """What is scanned."""
        return Sampled.read(self.data, self.size) if self.data else Phantom(self.size)

    @property
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""
        return self.body.grid

    @property
    def length(self) -> float:
        """Length of a unit: half the longest side of the volume, in mm where it is known."""
        return self.body.unit

    @property
    def unit(self) -> str:
        """Unit of length of files."""
        return "" if self.body.unit == 1.0 else "mm"

    def truth(self) -> Tensor:
        """Return the attenuation of the body, averaged over each voxel."""
        return self.body.truth()

    @cached_property
    def clean(self) -> Tensor:
        """Line integrals without noise, (views, rows, columns)."""
        projections = self.body.project(self.geometry)
        if not SMALLEST < float(projections.max()) < LARGEST:
            raise InputError(
                f"line integrals are of order one, but the largest here is {float(projections.max()):.3g}",
                do="scale the volume: its values are attenuations per mm, or per half of its longest side",
            )
        border = projections[:, :, [0, -1]].flatten()
        if not self.pitch:  # on a helix views end above and below
            border = torch.cat([projections[:, [0, -1]].flatten(), border])
        cut = float(border.max() / projections.max())
        if cut > TRUNCATED:
            reach = f"line integrals at its border reach {100 * cut:.0f} % of the largest"
            do = f"views are truncated. Give a larger --panel than {self.panel:g}"
            warnings.warn(f"the panel is too small: {reach}, so that {do}", stacklevel=2)
        return projections

    def twin(self, image: Tensor, seed: int) -> Self:
        """Scan a known volume anew."""
        other = replace(self, noise_seed=self.noise_seed + seed)
        table = image.double().reshape(-1, 1)
        projector = Projector(self.geometry, self.body.grid, torch.float64, "cpu", self.projector)
        vars(other)["clean"] = projector(table).reshape(self.geometry.shape).to(self.clean)
        return other

    @cached_property
    def counted(self) -> tuple[Tensor, Tensor]:
        """Line integrals measured by counting photons, and their numbers, both (views, rows, columns)."""
        return counted_anew(self.clean, self.counts, self.noise_seed)

    @property
    def projections(self) -> Tensor:
        """Measured line integrals, (views, rows, columns)."""
        return self.counted[0] if self.counts else self.clean

    @property
    def measured(self) -> Measured:
        """Projections, and counts where there is noise."""
        counts = self.counted[1] if self.counts else None
        I0 = None if counts is None else torch.full_like(counts, self.counts)
        return Measured(self.projections, self.geometry, self.body.grid, None, counts, I0)


if __name__ == "__main__":
    main(CTCone)
