"""Computed tomography of a measured scan, or of a slice in Hounsfield units that is projected first.

A scan is a fan-beam file of the Helsinki Tomography Challenge 2022, a synchrotron sinogram, or any .npz or .mat file
in the layout that `nfsolve.problem.scans.read_scan` describes. From few of its views the field is fitted, and compared
with filtered back-projection of all of them (or the image that comes with the file). A slice (``hu``, ``pixel_mm``; or
DICOM) is projected at its own resolution, with Poisson noise, and reconstructed on coarser pixels.
`problems.tomography` says how the field is fitted.

    nfsolve run ct_scan --data ct_htc2022_01a.npz --every 12
    nfsolve run ct_scan --data ct_abdomen_tcia_pancreas0001_512.npz --views 60 --counts 1e5
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from nfsolve import main
from nfsolve._core.errors import InputError
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.problem.scan_files import kind_of, open_arrays
from nfsolve.problem.scans import AngleUnit, Scan, read_scan
from nfsolve.problem.slices import read_slice
from nfsolve.reconstruct import filtered_back_projection
from problems.tomography import Tomography


@dataclass
class CTScan(Tomography):
    """A measured scan, or a slice in Hounsfield units, beside the classical methods."""

    data: str = ""
    """file of the scan or slice, a path or a name under $NFSOLVE_DATA"""
    every: int = 1
    """take every k-th view of a scan"""
    limited: bool = False
    """take only the limited arc that the scan names"""
    row: int = 0
    """detector row, of a sinogram with several"""
    axis: float | None = None
    """rotation axis in bins from the first, where the scan's own is not right"""
    angle_unit: AngleUnit = ""
    """unit of the angles, where they could be taken for radians"""
    mask_bad: bool = False
    """leave out bins without a valid line integral, instead of refusing the scan"""
    views: int = 60
    """views of a slice, spread over half a turn"""
    counts: float = 1e5
    """photons sent to each bin of a slice; 0 is without noise"""
    noise_seed: int = 0
    """seed of that noise; the data do not depend on the seed of the run"""

    needs = "a scan or a slice, --data FILE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 16 or self.views < 1 or not 0 <= self.counts < math.inf:
            raise InputError(
                f"size = {self.size}, views = {self.views}, counts = {self.counts:g}",
                "at least 16 pixels, 1 view, and counts that are not negative",
            )

    @property
    def steps(self) -> tuple[int, int]:
        """Optimizer steps at half the resolution, and at the full one; a short arc wants more."""
        return (600, 300) if self.limited else super().steps

    def measure(self) -> Scan:
        """Read the file; project it if it is a slice."""
        if not self.data:
            raise InputError(
                "ct_scan without data",
                "a scan (sinogram, angles_deg, ...) or a slice (hu, pixel_mm)",
                "give --data FILE; without a file of your own, run ct_phantom or ct_limited",
            )
        kind = kind_of(open_arrays(self.data)[1])
        if kind == "volume":
            raise InputError(
                f"'{self.data}' holds a volume", "a scan or a slice was expected", "run ct_cone --data FILE"
            )
        return self._projected() if kind == "slice" else self._measured()

    def _projected(self) -> Scan:
        if self.every != 1 or self.limited:
            raise InputError(
                f"every = {self.every}, limited = {self.limited} for a slice, '{self.data}'",
                "options of scans; the views of a slice are made",
                "choose their number by --views",
            )
        fine = read_slice(self.data)
        rows, columns = fine.image.shape
        if rows != columns or rows % self.size:
            raise InputError(
                f"a slice of {rows} x {columns} pixels for an image of {self.size} x {self.size}",
                "a square slice whose side is a multiple",
                f"choose --size {rows // 2}" if rows == columns else "cut the slice",
            )
        geometry = ParallelBeam.half_turn(self.views, self.size, rows * fine.pixel)
        columns_of_fine = torch.as_tensor(fine.image).reshape(-1, 1)
        sinogram = Projector(geometry, fine.grid)(columns_of_fine).reshape(geometry.shape).numpy()
        coarse = fine.coarsened(rows // self.size)
        exact = Scan(fine.name, sinogram, geometry, fine.unit, reference=coarse.image, grid=coarse.grid)
        return exact.counted(self.counts, self.noise_seed)

    def _measured(self) -> Scan:
        options = {"row": self.row, "axis": self.axis, "angle_unit": self.angle_unit, "mask_bad": self.mask_bad}
        full = read_scan(self.data, **options)
        all_views = self.every == 1 and not self.limited
        few = full if all_views else read_scan(self.data, every=self.every, limited=self.limited, **options)
        few = few.subset(_distinct(few.geometry.angles, isinstance(few.geometry, ParallelBeam)))
        width = _seen(full.geometry)
        if full.grid is not None:
            if full.grid.rows != full.grid.columns:
                raise InputError(
                    f"a reference of {full.grid.rows} x {full.grid.columns} pixels in '{self.data}'",
                    "as many rows as columns were expected",
                    "pad or cut it about the rotation axis",
                )
            width = full.grid.rows * full.grid.pixel
        grid = PixelGrid(self.size, self.size, width / self.size)
        reference = _resampled(full.reference, self.size)
        if reference is None:
            every_view = filtered_back_projection(torch.as_tensor(full.sinogram), full.geometry, grid, "hann").image
            reference = every_view.clamp(min=0).numpy()
        return replace(few, reference=reference, grid=grid, segmentation=self._part(full))

    def _part(self, full: Scan) -> np.ndarray | None:
        share = _resampled(full.segmentation, self.size)
        return None if share is None else share > 0.5


def _resampled(image: np.ndarray | None, size: int) -> np.ndarray | None:
    """Average an image over size x size pixels."""
    if image is None:
        return None
    return adaptive_avg_pool2d(torch.as_tensor(image, dtype=torch.float64)[None], size)[0].numpy()


def _seen(geometry: ParallelBeam | FanBeam) -> float:
    """Diameter of the circle that every view sees."""
    half = geometry.n_bins * geometry.spacing / 2 - abs(geometry.centre)
    if isinstance(geometry, FanBeam):
        half = geometry.source * math.sin(math.atan(half / geometry.detector))
    return 2 * half


def _distinct(angles: tuple[float, ...], opposite: bool) -> list[int]:
    """Leave out a last view that nearly repeats the first, from the other side where opposite views are alike."""
    turn = math.pi if opposite else 2 * math.pi
    if len(angles) < 3:
        return list(range(len(angles)))
    step = float(np.median(np.diff(np.sort(np.asarray(angles) % turn))))  # the views may come in any order
    gap = (angles[-1] - angles[0]) % turn
    return list(range(len(angles) - (min(gap, turn - gap) < 0.5 * step)))


if __name__ == "__main__":
    main(CTScan)
