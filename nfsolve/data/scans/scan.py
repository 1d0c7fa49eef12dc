"""Measured scans from files: sinogram, geometry, counts, and the reference that comes with them.

Three layouts are known: the files of the Helsinki Tomography Challenge 2022 (A. Meaney, F. S. de Moura, M. Juvonen,
S. Siltanen, "Helsinki Tomography Challenge 2022", Zenodo 7418878), synchrotron sinograms as ``sino`` and
``theta_deg``, and a general one; see `read_scan`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.scans.angles import angles_of, arc_of, in_arc, once_around
from nfsolve.data.scans.doubts import Doubt, axis_estimated, doubts
from nfsolve.data.scans.files import check_keys, kind_of, number, numbers, open_arrays
from nfsolve.data.scans.integrals import known_views, measured, without_drift
from nfsolve.data.scans.layout import DISTANCES, axes_of, check_known, general_layout, in_lower_case, unused
from nfsolve.data.scans.roll import unrolled
from nfsolve.data.scans.stripes import without_stripes
from nfsolve.forward.counts import counted_anew
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid

SMALLEST, LARGEST = 1e-8, 1e8  # line integrals: far beyond these no detector measures
AngleUnit = Literal["", "degrees", "radians"]


@dataclass(frozen=True)
class Scan:
    """A measured scan of one slice.

    Attributes:
        name: Of the file.
        sinogram: Line integrals (views, bins); bad bins are filled in along the detector.
        geometry: Views and detector, in `unit`.
        unit: Unit of length, ``"mm"`` or ``"bin"``.
        weights: 0 where the line integral is filled in, else 1, (views, bins); None if all are measured.
        counts: Counts above the dark field (views, bins), if the file has them.
        I0: Counts of the bare beam, likewise; 0 in bins whose counts are unknown.
        reference: Image (rows, columns) that comes with the scan, per `unit`.
        segmentation: Image (rows, columns) of bool, likewise.
        grid: Pixels of reference and segmentation.
        arc: Ends of the limited arc that the file names, in degrees.
    """

    name: str
    sinogram: np.ndarray
    geometry: ParallelBeam | FanBeam
    unit: str = "mm"
    weights: np.ndarray | None = None
    counts: np.ndarray | None = None
    I0: np.ndarray | None = None
    reference: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    grid: PixelGrid | None = None
    arc: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("sinogram", "weights", "counts", "I0"):
            values = getattr(self, name)
            if values is not None and np.shape(values) != self.geometry.shape:
                raise InputError(
                    f"the {name} of '{self.name}' must have the shape {self.geometry.shape} = (views, bins), got "
                    f"{np.shape(values)}",
                    do="transpose it, or correct the angles",
                )
            if values is not None and not (np.isfinite(values).all() and (name == "sinogram" or np.min(values) >= 0)):
                raise InputError(
                    f"the {name} of '{self.name}' must be finite"
                    + ("" if name == "sinogram" else ", and not negative"),
                    do="give unknown bins the weight 0 and a line integral between those of their neighbours",
                )
        largest = float(np.abs(self.sinogram).max())
        if not SMALLEST < largest < LARGEST:
            raise InputError(
                f"line integrals are of order one, but the largest of '{self.name}' is {largest:.3g}",
                do="check that it is not empty" if largest == 0 else "scale them to -log(I / I0)",
            )

    @property
    def axis(self) -> float:
        """The rotation axis on the detector, in bins from the middle of the first bin."""
        return (self.geometry.n_bins - 1) / 2 - self.geometry.centre / self.geometry.spacing

    def part(self, every: int = 1, limited: bool = False) -> "Scan":
        """Keep some of the views.

        Args:
            every: Keep every k-th view, of those that are left.
            limited: Keep only the views of the limited arc that the file names.

        Returns:
            The scan of these views.

        Raises:
            InputError: The file names no limited arc, no view lies there, or there are less than ``every`` views.
        """
        views = np.arange(len(self.geometry.angles))
        if limited:
            if self.arc is None:
                raise InputError(
                    f"'{self.name}' names no limited arc",
                    do="add 'limited_angles_deg', the angles of the arc or its two ends, to the file",
                )
            views = views[in_arc(np.degrees(self.geometry.angles), self.arc)]
            if not len(views):
                raise InputError(
                    f"no view of '{self.name}' lies from {self.arc[0]:.4g} to {self.arc[1]:.4g} degrees, on its arc",
                    do="correct 'limited_angles_deg'",
                )
        if not 1 <= every <= len(views):
            raise InputError(
                f"every must be 1 to {len(views)}, the number of views, got {every}", do="choose a smaller one"
            )
        return self.subset(views[::every].tolist())

    def subset(self, views: Sequence[int]) -> "Scan":
        """Keep the views of the given indices, in this order."""
        measured = {name: getattr(self, name) for name in ("sinogram", "weights", "counts", "I0")}
        kept = {name: values[list(views)] for name, values in measured.items() if values is not None}
        return replace(self, geometry=self.geometry.subset(views), **kept)

    def counted(self, I0: float, seed: int) -> "Scan":
        """Measure line integrals anew by counting photons (Beer-Lambert, Poisson).

        Args:
            I0: Mean counts of the bare beam in each bin; 0 leaves the scan without noise.
            seed: Seed of the noise.

        Returns:
            The scan with counts; bins without a photon have weight 0.
        """
        if not I0:
            return self
        p, n = counted_anew(torch.as_tensor(self.sinogram), I0, seed)
        counts = n.numpy()
        return replace(
            self,
            sinogram=p.numpy(),
            weights=(counts > 0).astype(float) if (counts == 0).any() else None,
            counts=counts,
            I0=np.full_like(counts, I0),
        )


@dataclass(frozen=True)
class Reading:
    """How to read a scan, where its file does not say it.

    Attributes:
        row: Which detector row, of a sinogram with several.
        axes: Names of the axes of the sinogram or the counts, in order, of "views", "bins" and "rows"; empty finds
            them from the numbers of views and bins, where these tell.
        axis: Rotation axis in bins from the middle of the first bin, instead of ``centre``. Synchrotron sinograms
            do not say it: it is estimated from opposite views.
        find_axis: Estimate the rotation axis from lines that are measured from both sides, whatever the file says.
        angle_unit: Unit of ``angles_deg``; empty takes degrees, but refuses values that look like radians.
        mask_bad: Fill in bins whose line integral is unknown, with weight 0, instead of refusing the file.
        air: Number of bins at either border of the detector that see only air in every view: the beam through them
            is taken as that of the view, so that what drifts from view to view cancels.
        rings: Width in bins of the median that removes ring artefacts (`without_stripes`); 0 leaves them.
        pixel: Width of a bin in mm, where the file does not say it; 0 counts in bins.
        turn: Degrees over which the views of a stack without angles are spread evenly, the first at 0; 0 where it has
            angles.
        roll: Degrees by which the panel is turned in its own plane, counter-clockwise; see `roll.unrolled`.
    """

    row: int = 0
    axes: str = ""
    axis: float | None = None
    find_axis: bool = False
    angle_unit: AngleUnit = ""
    mask_bad: bool = False
    air: int = 0
    rings: int = 0
    pixel: float = 0.0
    turn: float = 0.0
    roll: float = 0.0


def read_scan(path: str | Path, reading: Reading = Reading()) -> Scan:
    """Read a scan of all views from a .npz, .mat or HDF5 file; `Scan.part` takes some of them.

    The general layout has keys ``sinogram`` (views, bins), or ``counts`` with ``flat`` and optionally ``dark``;
    ``angles_deg``; ``geometry``, "parallel" or "fan"; ``spacing`` of the bins; for a fan ``source_origin`` and
    ``source_detector_distance``, the distances of the rotation axis and of the detector from the source; optionally
    ``centre``, the position of the detector's middle relative to the rotation axis (0), ``bins``, the number of bins,
    ``limited_angles_deg``, ``reference`` and ``segmentation`` (rows, columns) with ``pixel``, the side of their pixels.
    Lengths are in mm. Angles and the orientation of the detector are those of `ParallelBeam` and `FanBeam`. A last view
    that repeats the first after a full turn is left out. Sinogram and counts may have a third axis, of detector rows,
    and their axes any order that the numbers of views and ``bins`` tell. ``flat`` and ``dark`` are numbers, one for
    each bin or view, frames of the detector, whose mean is taken, or like the counts. Of HDF5 files, Data Exchange and
    NXtomo are known (`hdf5`), and stacks of TIFF images (`stacks`); their axis is estimated.

    Args:
        path: The file, or its name under ``$NFSOLVE_DATA``.
        reading: What the file does not say.

    Returns:
        The scan.

    Raises:
        InputError: The file holds no scan, lacks a key, or its parts do not fit each other.
    """
    return scan_of(*open_arrays(path), reading)


def scan_of(found: Path, arrays: dict[str, Any], reading: Reading = Reading()) -> Scan:
    """Make a scan from the arrays of a file that was opened; as `read_scan`.

    Args:
        found: The file.
        arrays: What it holds.
        reading: What the file does not say.

    Returns:
        The scan.

    Raises:
        InputError: As `read_scan`.
    """
    if kind_of(arrays) != "scan":
        kind = kind_of(arrays)
        raise InputError(f"'{found}' holds a {kind}, not a sinogram", do=f"read it by read_{kind}, and project it")
    known = completed(found, general_layout(found, arrays), reading)
    needed = ("flat" if "counts" in known else "sinogram", "angles_deg", "geometry", "spacing")
    distances = tuple(DISTANCES) if "geometry" in known and in_lower_case(known["geometry"]) == "fan" else ()
    check_known(found, known, needed + distances)
    degrees = angles_of(found, known, reading.angle_unit)
    data, degrees = known_views(found, _row(found, known, reading, len(degrees)), degrees)
    if reading.air:
        data |= without_drift(found, data, reading.air)
    if reading.rings:
        data["sinogram"] = without_stripes(data["sinogram"], reading.rings)
    if reading.find_axis and reading.axis is not None:
        raise InputError(
            f"the rotation axis is either given or estimated, got axis = {reading.axis:g} and find_axis",
            do="leave one of them out",
        )
    overexposed = data.pop("overexposed", None) is not None
    geometry = _geometry(found, known, np.radians(degrees), data["sinogram"].shape[1], reading.axis)
    find = reading.axis is None and bool(reading.find_axis or known.get("find_axis", False))
    geometry = _about_its_axis(found, data["sinogram"], geometry, find)
    about = {
        "unit": str(known.get("unit", "mm")),
        "arc": arc_of(found, known, reading.angle_unit),
        **_reference(found, known),
    }
    scan = Scan(found.stem, geometry=geometry, **data, **about)
    for sentence in [*unused(found, arrays), *doubts(found.name, scan.sinogram, geometry, not find, overexposed)]:
        warnings.warn(sentence, Doubt, stacklevel=3)
    return scan.subset(once_around(degrees))


def _row(path: Path, known: dict[str, Any], reading: Reading, views: int) -> dict[str, Any]:
    """Return what was measured in the row that is asked for, of a panel that may be turned."""
    key = "counts" if "counts" in known else "sinogram"
    names, shape = axes_of(path, known, key, views, reading.axes or known.get("axes", ""))
    rows = shape[names.index("rows")] if "rows" in names else 1
    how = {"axes": reading.axes, "air": reading.air > 0}
    read = lambda row: measured(path, known, row, views, reading.mask_bad, **how)  # noqa: E731
    return unrolled(path, read, reading.row, rows, reading.roll)


def completed(path: Path, known: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """Add the width of a bin and the angles of a stack of images, as a user gives them."""
    if reading.pixel:
        if known.get("unit") != "bin" and "spacing" in known:
            raise InputError(
                f"'{path}' gives the width of a bin already, got pixel = {reading.pixel:g}", do="leave out --pixel"
            )
        known = known | {"spacing": reading.pixel, "unit": "mm"}
    if "angles_deg" in known and reading.turn:
        raise InputError(f"'{path}' gives its angles already, got turn = {reading.turn:g}", do="leave out --turn")
    if "stack" not in known and reading.turn:
        known = known | {"angles_deg": np.arange(views := _views(path, known, reading)) * reading.turn / views}
    if "stack" not in known:
        return known
    if "angles_deg" not in known and not reading.turn:
        raise InputError(
            f"the angles of the {known['stack']} projections of '{path}' must be given once, but they are not given",
            do="give angles.txt (NAME_angles.txt beside a file of many pages; 'exchange/theta' in an HDF5 file), in "
            "degrees, or --turn 180 for views spread evenly over half a turn",
        )
    if reading.turn:
        known = known | {"angles_deg": np.arange(known["stack"]) * reading.turn / known["stack"]}
    return known if "spacing" in known else known | {"spacing": 1.0, "unit": "bin"}


def _views(path: Path, known: dict[str, Any], reading: Reading) -> int:
    """Return the number of views of a file without angles: views come first, where the axes are not named."""
    key = "counts" if "counts" in known else "sinogram"
    check_known(path, known, (key,))
    shape = np.shape(known[key])
    names = (reading.axes or str(known.get("axes", ""))).replace(",", " ").split()
    return shape[names.index("views") if "views" in names and len(names) == len(shape) else 0]


def _geometry(
    path: Path, known: dict[str, Any], angles: np.ndarray, n_bins: int, axis: float | None
) -> ParallelBeam | FanBeam:
    beam = in_lower_case(known["geometry"])
    if beam == "cone":
        raise InputError(
            f"'{path}' is a scan with a cone beam, whose rows are not slices", do="run ct_cone_scan --data FILE"
        )
    if beam not in ("parallel", "fan"):
        raise unknown("geometry", beam, ("parallel", "fan", "cone"))
    lengths = {key: number(path, known, key, True) for key in ("spacing", *(DISTANCES if beam == "fan" else ()))}
    if beam == "fan" and lengths["source_detector_distance"] < lengths["source_origin"]:
        raise InputError(
            f"the detector of '{path}' must lie beyond the rotation axis, but the source is "
            f"{lengths['source_detector_distance']:g} from it and {lengths['source_origin']:g} from the axis",
            do="give 'source_detector_distance' from the source: the distance from source to axis and that from there "
            "to the detector together",
        )
    middle = (n_bins - 1) / 2
    if axis is None:
        centre = number(path, known, "centre") if "centre" in known else 0.0
        axis = middle - centre / lengths["spacing"]
    if not -0.5 <= axis <= n_bins - 0.5:
        raise InputError(
            f"the rotation axis of '{path}' must lie on the detector, on bin 0 to {n_bins - 1}, got {axis:.6g}",
            do="correct 'centre', the position of the detector's middle in mm, or give axis= in bins",
        )
    placed = {"angles": tuple(angles), "n_bins": n_bins, "centre": (middle - axis) * lengths["spacing"], **lengths}
    return FanBeam(**placed) if beam == "fan" else ParallelBeam(**placed)


def _about_its_axis(
    path: Path, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, find: bool
) -> ParallelBeam | FanBeam:
    """Estimate the rotation axis where that is asked for or the file does not say it."""
    if not find:
        return geometry
    axis = axis_estimated(path.name, sinogram, geometry)
    return replace(geometry, centre=((geometry.n_bins - 1) / 2 - axis) * geometry.spacing)


def _reference(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    images = {key: numbers(path, known, key) for key in ("reference", "segmentation") if key in known}
    if not images:
        return {}
    check_keys(path, known, {"pixel": "side of the pixels of 'reference' and 'segmentation', in mm"})
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise InputError(
            f"the images of '{path}' must have one shape (rows, columns), got {sorted(shapes)}",
            do="resample one of them",
        )
    if not all(np.isfinite(image).all() for image in images.values()):
        raise InputError(f"images of '{path}' must be finite, but they have NaN or infinite values", do="fill them in")
    if "reference" in images and not images["reference"].any():
        raise InputError(
            f"'reference' of '{path}' must show something to compare with, but it is 0 everywhere", do="leave it out"
        )
    if "segmentation" in images:
        images["segmentation"] = images["segmentation"] != 0
    rows, columns = shapes.pop()
    return {**images, "grid": PixelGrid(rows, columns, number(path, known, "pixel", positive=True))}
