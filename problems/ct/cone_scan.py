"""Cone-beam tomography of measured projections.

A file holds projections (views, rows, bins) of a panel, or counts with flat fields, and the geometry of the scanner;
`nfsolve.data.scans.cone.read_cone` describes the layout. Lengths are in mm. Panels that are turned or leaning, and
helical scans, are taken as they are measured. Views that are left over by --every judge the result: ``unseen`` is
the relative misfit of up to eight of them.

    nfsolve run ct_cone_scan --data scan.npz --size 128
    nfsolve run ct_cone_scan --data scan.h5 --source-origin 300 --source-detector-distance 500 --pixel 0.2 --merge 4
"""

import math
import warnings
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from nfsolve import InputError, main
from nfsolve.data.scans.cone import ConeScan, Panel, read_cone
from nfsolve.data.scans.scan import AngleUnit, Reading
from nfsolve.forward.counts import counted_anew
from nfsolve.forward.radon import ConeBeam, Projector, VoxelGrid
from nfsolve.metrics import relative_l2
from nfsolve.problem import Batch, FieldFunction
from problems.ct._coarsened import Measured, check_at_least
from problems.ct._volume import WINDOW, VolumeTomography
from problems.ct.scan import UNEXPLAINED, seen

UNSEEN = 8  # of the views that are left over, at most, which the volume is to predict
BLOCK = 16  # voxels of which each side has a multiple, where the size has: large volumes are merged


@dataclass
class CTConeScan(VolumeTomography):
    """A volume from measured cone-beam projections, compared with FDK, SIRT and conjugate gradients."""

    data: str = ""
    """file of the scan, a path or a name under $NFSOLVE_DATA"""
    width: float = 0.0
    """width of the reconstruction across the axis, in mm; by default what every view sees"""
    height: float = 0.0
    """its height along the axis, in mm; by default what the panel sees at the axis"""
    every: int = 1
    """take every k-th view"""
    merge: int = 1
    """bins of the panel that are merged along both sides"""
    axes: str = ""
    """names of the axes of the projections, such as "views rows bins", if their shape does not determine them"""
    axis: float | None = None
    """position of the rotation axis, in bins from the first, if that of the scan is wrong"""
    find_axis: bool = False
    """estimate the rotation axis from the row in the plane of the source"""
    angle_unit: AngleUnit = ""
    """unit of the angles, if it is ambiguous"""
    mask_bad: bool = False
    """leave out bins without a valid line integral, instead of refusing the scan"""
    air: int = 0
    """number of bins at both ends of each row that see only air, which measure the beam of each view"""
    rings: int = 0
    """width in bins of the median that removes ring artefacts, 0 for none"""
    pixel: float = 0.0
    """side of a bin in mm, if the file does not say it"""
    turn: float = 0.0
    """degrees over which the views of a file without angles are spread"""
    roll: float = 0.0
    """degrees by which the panel is turned in its own plane, counter-clockwise with row 0 on top"""
    tilt: float = 0.0
    """degrees by which the upper edge of the panel leans away from the source"""
    slant: float = 0.0
    """degrees by which the edge of its last bins leans away from the source"""
    source_origin: float = 0.0
    """distance from the source to the axis in mm, if the file does not say it"""
    source_detector_distance: float = 0.0
    """distance from the source to the panel in mm, if the file does not say it"""
    pitch: float = 0.0
    """rise of source and panel in a full turn in mm, of a helix, if the file does not say it"""

    needs = "a cone-beam scan, --data FILE"
    unit = "mm"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, size=WINDOW, every=1, merge=1, width=0, height=0)

    @property
    def has_data(self) -> bool:
        """Whether there is a file."""
        return bool(self.data)

    @cached_property
    def full(self) -> ConeScan:
        """The scan of all views."""
        if not self.data:
            raise InputError(
                "ct_cone_scan needs projections of a cone beam (sinogram, angles_deg, geometry, distances)",
                do="give --data FILE; without a file of your own, run ct_cone",
            )
        reading = Reading(**{o.name: getattr(self, o.name) for o in fields(Reading) if o.name != "row"})
        return read_cone(self.data, reading, Panel(**{o.name: getattr(self, o.name) for o in fields(Panel)}))

    @cached_property
    def scan(self) -> ConeScan:
        """The views that are used."""
        if self.loss == "poisson" and self.full.counts is None:
            raise InputError(
                f"the poisson loss compares counts, and '{self.data}' has none",
                do="give --loss gaussian, or a scan with counts",
            )
        views = range(0, len(self.full.geometry.angles), self.every)
        return self.full if self.every == 1 else self.full.subset(views)

    @property
    def geometry(self) -> ConeBeam:
        """Views and panel."""
        return self.scan.geometry

    @cached_property
    def grid(self) -> VoxelGrid:
        """Voxels of the reconstruction."""
        geometry = self.full.geometry
        width = self.width or seen(geometry.fan)
        half = geometry.n_bins[0] * geometry.spacing[0] / 2 + abs(geometry.centre[0])
        height = self.height or (
            2 * max(map(abs, geometry.lifts)) if geometry.pitch else 2 * half / geometry.magnification
        )
        voxel = max(width, height) / self.size
        block = math.gcd(BLOCK, self.size)
        across, up = (block * max(1, math.ceil(length / voxel / block - 1e-6)) for length in (width, height))
        return VoxelGrid((up, across, across), voxel)

    @property
    def per_length(self) -> str:
        """Unit of attenuation in pictures."""
        return f"1 / {self.scan.unit}"

    @cached_property
    def measured(self) -> Measured:
        """The scan as tensors."""
        scan = self.scan
        arrays = (scan.projections, scan.weights, scan.counts, scan.I0)
        projections, known, counts, I0 = (None if values is None else torch.as_tensor(values) for values in arrays)
        assert projections is not None
        return Measured(projections, scan.geometry, self.grid, known, counts, I0)

    def twin(self, image: Tensor, seed: int) -> Self:
        """Scan a known volume anew: with photons where they were counted, else with the misfit's size of noise."""
        scan, table = self.scan, image.float().reshape(-1, 1)
        projector = Projector(scan.geometry, self.grid, torch.float32, "cpu", self.projector)
        exact = projector(table).reshape(scan.geometry.shape)
        if scan.counts is not None and scan.I0 is not None:
            beam = float(scan.I0[scan.I0 > 0].mean())
            projections, counts = counted_anew(exact, beam, seed)
            again = {"projections": projections, "counts": counts, "I0": torch.full_like(exact, beam)}
        else:
            spread = (torch.as_tensor(scan.projections) - exact).square().mean().sqrt()
            noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(seed))
            again = {"projections": exact + spread * noise}
        other = replace(self)
        vars(other)["full"] = vars(other)["scan"] = replace(
            scan, name=f"twin of {scan.name}", **{name: values.numpy() for name, values in again.items()}
        )
        vars(other)["grid"] = self.grid
        vars(other)["known_truth"] = image
        return other

    def truth(self) -> Tensor | None:
        """Return the volume of a twin; that of a measured scan is not known."""
        return vars(self).get("known_truth")

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, and the views to predict."""
        data = super().load(device, dtype)
        if self.every > 1:
            left = [view for view in range(len(self.full.geometry.angles)) if view % self.every]
            others = self.full.subset(left[:: -(-len(left) // UNSEEN)])
            projector = Projector(others.geometry, self.grid, dtype, device, self.projector)
            data["unseen"] = projector, torch.as_tensor(others.projections).reshape(-1, 1).to(device, dtype)
        return data

    def scores(self, volume: Tensor, data: Batch) -> dict[str, Any]:
        """Score a volume by its fit, by how it predicts other views, and against the truth of a twin."""
        found = super().scores(volume, data)
        if "unseen" in data:
            projector, projections = data["unseen"]
            found["unseen"] = relative_l2(projector(volume.reshape(-1, 1).to(projections)), projections)
        return found

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field and the classical volumes, and warn where the field does not explain what was measured."""
        found = super().metrics(field, data) | {"axis_bin": self.scan.axis}
        if found["residual"] > UNEXPLAINED:
            warnings.warn(
                f"the field leaves {found['residual']:.0%} of the line integrals unexplained; check the distances, "
                "angles, centre and width, and that row 0 is the upper edge of the panel",
                stacklevel=2,
            )
        return found


if __name__ == "__main__":
    main(CTConeScan)
