"""Computed tomography of a measured scan, or of a slice in Hounsfield units that is projected first.

A scan is a fan-beam file of the Helsinki Tomography Challenge 2022, a synchrotron sinogram, or any .npz or .mat file
in the layout that `nfsolve.data.scans.scan.read_scan` describes. From few of its views the field is fitted, and
compared with filtered back-projection of all of them (or the image that comes with the file). A slice (``hu``,
``pixel_mm``; or a DICOM image or series) is projected at its own resolution, with Poisson noise, and reconstructed on
coarser pixels.
`problems.ct._tomography` says how the field is fitted.

``psnr_inside`` is the PSNR within the circle that every view sees, by the same peak as ``psnr``. Outside it a reference
by filtered back-projection is not the truth: that of 01a of the challenge has a haze of up to 0.007 / mm there, a
fifth of the acrylic's attenuation, and with it four fifths of the squared error of SIRT from 60 views. ``unseen`` is
the relative misfit of views of the file that were not used, which needs no reference image.

    nfsolve run ct_scan --data ct_htc2022_01a.npz --every 12
    nfsolve run ct_scan --data ct_abdomen_tcia_pancreas0001_512.npz --views 60 --counts 1e5
"""

import math
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from nfsolve import InputError, main
from nfsolve.data.scans.files import kind_of, open_arrays
from nfsolve.data.scans.scan import AngleUnit, Reading, Scan, scan_of
from nfsolve.data.slices import Slice, slice_of
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import psnr, relative_l2
from nfsolve.problem import Batch, FieldFunction
from nfsolve.reconstruct import filtered_back_projection
from problems.ct._coarsened import check_at_least
from problems.ct._plane import PlaneTomography

# options of one kind of file, and what to do with the other
OF_SCANS = (
    "every",
    "limited",
    "row",
    "axes",
    "axis",
    "find_axis",
    "angle_unit",
    "mask_bad",
    "air",
    "rings",
    "turn",
    "roll",
)
OF_SLICES = ("views", "counts", "noise_seed")
VIEWS, COUNTS = 60, 1e5
SMALLEST, USUAL, LARGEST = 16, 256, 512  # pixels along each side: at least, without a file, at most by default
BLOCK = 8  # pixels of which each side then is a multiple, since large images are merged
UNEXPLAINED = 0.25  # relative misfit, beyond the noise, that no sound reconstruction leaves
UNSEEN = 60  # of the views that were not used, at most, which the image is to predict
WIDEST_GAP = 6.0  # typical ones that a full turn may have between two views


@dataclass
class CTScan(PlaneTomography):
    """A measured scan, or a slice in Hounsfield units, compared with classical methods."""

    data: str = ""
    """file of the scan or slice, a path or a name under $NFSOLVE_DATA"""
    size: int = 0
    """pixels along each side of the image; 0 makes them about as wide as the bins are at the axis, but at most 512, and
    those of a slice as wide as two of its own"""
    every: int = 1
    """take every k-th view of a scan"""
    limited: bool = False
    """take only the limited arc that the scan names"""
    row: int = 0
    """detector row, of a sinogram with several, or slice of a DICOM series"""
    axes: str = ""
    """names of the axes of the sinogram, such as "views rows bins", if its shape does not determine them"""
    axis: float | None = None
    """position of the rotation axis, in bins from the first, if that of the scan is wrong"""
    find_axis: bool = False
    """estimate the rotation axis from lines that are measured from both sides"""
    angle_unit: AngleUnit = ""
    """unit of the angles, if it is ambiguous"""
    mask_bad: bool = False
    """leave out bins without a valid line integral, instead of refusing the scan"""
    air: int = 0
    """number of bins at each border of the detector that see only air, which measure the beam of each view"""
    rings: int = 0
    """width in bins of the median that removes ring artefacts, 0 for none"""
    pixel: float = 0.0
    """width of a bin, or side of a pixel of a slice, in mm, if the file does not say it"""
    turn: float = 0.0
    """degrees over which the views of a stack of images without angles are spread"""
    roll: float = 0.0
    """degrees by which the detector is turned in its own plane, counter-clockwise with row 0 on top"""
    views: int | None = None
    """views of a slice, spread over half a turn; default 60"""
    counts: float | None = None
    """photons sent to each bin of a slice, 0 for no noise; default 1e5"""
    noise_seed: int = 0
    """seed of that noise; the data do not depend on the seed of the run"""

    simulates = False  # whether the file holds a slice, whose views are made
    _others = None  # views of the file that are not used
    _all = 0  # pixels that are as wide as the bins, where there are less
    needs = "a scan or a slice, --data FILE"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name: low for name, low in {"views": 1, "counts": 0}.items() if getattr(self, name) is not None}
        check_at_least(self, **({"size": SMALLEST} if self.size else {}), **given)

    @property
    def has_data(self) -> bool:
        """Whether there is a file."""
        return bool(self.data)

    @property
    def resolution(self) -> int:
        """Number of pixels along each side."""
        return self.size or (self.grid.rows if self.has_data else USUAL)

    @property
    def _simulated(self) -> tuple[int, float]:
        """Views of a slice, and photons sent to each bin."""
        return VIEWS if self.views is None else self.views, COUNTS if self.counts is None else self.counts

    @property
    def steps(self) -> tuple[int, int]:
        """Optimizer steps at half the resolution, and at the full one; a short arc wants more."""
        short = (300, 150) if self.one_material else (600, 300)  # then the last steps are many
        return short if self.limited else super().steps

    def measure(self) -> Scan:
        """Read the file; project it if it is a slice."""
        if not self.data:
            raise InputError(
                "ct_scan needs a scan (sinogram, angles_deg, ...) or a slice (hu, pixel_mm)",
                do="give --data FILE; without a file of your own, run ct_phantom or ct_limited",
            )
        found, arrays = open_arrays(self.data)
        kind = kind_of(arrays)
        if kind == "volume":
            raise InputError(
                f"'{self.data}' holds a volume, not a scan or a slice",
                do="run ct_cone --data FILE; if these are projections, save them as an .npz with 'sinogram' or "
                "'counts', 'angles_deg', 'geometry' and 'spacing'",
            )
        if kind == "slice":
            names = tuple(name for name in OF_SCANS if name != "row" or "series" not in arrays)
            self.simulates = True
            self._refuse(names, "scans", "a slice", "its views are made: choose their number by --views")
            return self._projected(slice_of(found, arrays, self.row, self.pixel))
        self._refuse(OF_SLICES, "slices", "a scan", "its views were measured: choose among them by --every")
        return self._measured(found, arrays)

    def _refuse(self, names: tuple[str, ...], owners: str, kind: str, do: str) -> None:
        """Refuse options that the kind of the file would leave without effect."""
        defaults = {field.name: field.default for field in fields(self)}
        given = [f"{name} = {getattr(self, name)}" for name in names if getattr(self, name) != defaults[name]]
        if given:
            raise InputError(
                f"'{self.data}' is {kind}, and only {owners} have {' and '.join(given)}", do=f"leave that out: {do}"
            )

    def _projected(self, fine: Slice) -> Scan:
        rows, columns = fine.image.shape
        size = self.size or rows // 2
        if rows != columns or rows % size or size < SMALLEST:
            raise InputError(
                f"the slice must be square, with a side that is a multiple of size = {size}, got {rows} x {columns} "
                "pixels",
                do=_other_size(rows) if rows == columns else "cut the slice",
            )
        views, counts = self._simulated
        geometry = ParallelBeam.half_turn(views, size, rows * fine.pixel)
        columns_of_fine = torch.as_tensor(fine.image).reshape(-1, 1)
        sinogram = Projector(geometry, fine.grid)(columns_of_fine).reshape(geometry.shape).numpy()
        coarse = fine.coarsened(rows // size)
        exact = Scan(fine.name, sinogram, geometry, fine.unit, reference=coarse.image, grid=coarse.grid)
        return exact.counted(counts, self.noise_seed)

    def _measured(self, found: Path, arrays: dict[str, Any]) -> Scan:
        reading = Reading(**{option.name: getattr(self, option.name) for option in fields(Reading)})
        full = scan_of(found, arrays, reading)
        few = full.part(self.every, self.limited)
        few = few.subset(_distinct(few.geometry.angles, isinstance(few.geometry, ParallelBeam)))
        self._others = _others(full, few)
        width = seen(full.geometry)
        if full.grid is not None:
            if full.grid.rows != full.grid.columns:
                raise InputError(
                    f"the reference in '{self.data}' must have as many rows as columns, got {full.grid.rows} x "
                    f"{full.grid.columns} pixels",
                    do="pad or cut it about the rotation axis",
                )
            width = full.grid.rows * full.grid.pixel
        size = self.size or self._as_the_bins(full.geometry, width)
        grid = PixelGrid(size, size, width / size)
        reference = _resampled(full.reference, size)
        if reference is None:
            every_view = filtered_back_projection(torch.as_tensor(full.sinogram), full.geometry, grid, "hann").image
            reference = every_view.clamp(min=0).numpy()
        share = _resampled(full.segmentation, size)
        part = None if share is None else share > 0.5
        return replace(few, reference=reference, grid=grid, segmentation=part)

    def _as_the_bins(self, geometry: ParallelBeam | FanBeam, width: float) -> int:
        """Return how many pixels, about as wide as the bins are at the axis, make up an image of this width."""
        bins = width * geometry.magnification / geometry.spacing
        pixels = BLOCK * math.ceil(bins / BLOCK - 1e-6)
        self._all = pixels if pixels > LARGEST else 0
        return min(max(pixels, SMALLEST), LARGEST)

    def cautions(self) -> list[str]:
        """Say also where pixels are wider than bins."""
        grid, wider = self.grid, f"--size {self._all} makes them as wide as the bins"
        coarse = f"the image has {grid.rows} x {grid.columns} pixels; {wider}, and takes longer"
        return [*super().cautions(), *[coarse] * bool(self._all)]

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Make the data, what to compare with, and which pixels every view sees."""
        inside = self.grid.centres().norm(dim=1) < seen(self.scan.geometry) / 2
        data = super().load(device, dtype) | {"inside": inside.reshape(self.grid.shape).to(device)}
        others = self._others
        if others is not None:
            projector = Projector(others.geometry, self.grid, dtype, device, self.projector)
            data["unseen"] = projector, torch.as_tensor(others.sinogram).reshape(-1, 1).to(device, dtype)
        return data

    def scores(self, image: Tensor, data: Batch) -> dict[str, Any]:
        """Score an image, the part that every view sees where that is not all, and how it predicts other views."""
        found, inside = super().scores(image, data), data["inside"]
        if "unseen" in data:
            projector, sinogram = data["unseen"]
            found["unseen"] = relative_l2(projector(image.reshape(-1, 1).to(sinogram)), sinogram)
        if inside.any() and not inside.all():
            truth = data["reference"].to(image)
            found["psnr_inside"] = psnr(image[inside], truth[inside], float(truth.max()))
        return found

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field and the classical images, and warn where the field does not explain what was measured."""
        found, scan = super().metrics(field, data), data["coarsened"][1]
        found["axis_bin"] = self.scan.axis
        counts = scan.counts  # the variance of a counted line integral is 1 / counts
        noise = 0.0 if counts is None else float(counts.clamp(min=1).reciprocal().sum().sqrt() / scan.sinogram.norm())
        misfits = [value for name, value in found.items() if name.startswith("residual")]
        if misfits[0] > UNEXPLAINED + 2 * noise:
            better = min(misfits) < misfits[0] / 2
            why = (
                "the classical methods do better: train longer" if better else "check angles, centre, width and weights"
            )
            warnings.warn(f"the field leaves {misfits[0]:.0%} of the line integrals unexplained; {why}", stacklevel=2)
        return found


def _resampled(image: np.ndarray | None, size: int) -> np.ndarray | None:
    """Average an image over size x size pixels."""
    if image is None:
        return None
    return adaptive_avg_pool2d(torch.as_tensor(image, dtype=torch.float64)[None], size)[0].numpy()


def _other_size(rows: int) -> str:
    """Say which size a slice with so many rows can have."""
    sizes = [rows // factor for factor in range(2, rows) if rows % factor == 0 and rows // factor >= SMALLEST]
    return f"choose --size {sizes[0]}" if sizes else f"cut it to {rows - rows % 2} x {rows - rows % 2} pixels"


def _others(full: Scan, few: Scan) -> Scan | None:
    """Return up to `UNSEEN` views, evenly spread, of those that are not used; None where all are."""
    used = set(few.geometry.angles)
    left = [view for view, angle in enumerate(full.geometry.angles) if angle not in used]
    return full.subset(left[:: -(-len(left) // UNSEEN)]) if left else None


def seen(geometry: ParallelBeam | FanBeam) -> float:
    """Diameter of the circle that is seen: by every view, or, in a full turn, by every view or the one opposite."""
    turned = np.sort(np.degrees(geometry.angles) % 360)
    gaps = np.diff(turned, append=turned[0] + 360)
    whole = gaps.max() < WIDEST_GAP * np.median(gaps[gaps > 1e-3])
    half = geometry.n_bins * geometry.spacing / 2 + abs(geometry.centre) * (1 if whole else -1)
    if isinstance(geometry, FanBeam):
        half = geometry.source_origin * math.sin(math.atan(half / geometry.source_detector_distance))
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
