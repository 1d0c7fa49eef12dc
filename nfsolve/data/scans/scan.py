"""Measured scans from files: sinogram, geometry, counts, and the reference that comes with them.

Three layouts are known: the files of the Helsinki Tomography Challenge 2022 (A. Meaney, F. S. de Moura, M. Juvonen,
S. Siltanen, "Helsinki Tomography Challenge 2022", Zenodo 7418878), synchrotron sinograms as ``sino`` and
``theta_deg``, and a general one; see `read_scan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.scans.axis import rotation_axis
from nfsolve.data.scans.files import check_keys, kind_of, numbers, open_arrays
from nfsolve.data.scans.parts import (
    DISTANCES,
    MEANING,
    SAME_DEGREES,
    angles_of,
    arc_of,
    general_layout,
    measured,
    once_around,
    without_drift,
)
from nfsolve.forward.counts import counted_anew
from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid

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
                    "it lacks 'limited_angles_deg' (angles of the limited arc, of which the ends are used)",
                )
            degrees, (low, high) = np.degrees(self.geometry.angles), self.arc
            views = views[(degrees >= low - SAME_DEGREES) & (degrees <= high + SAME_DEGREES)]
            if not len(views):
                raise InputError(
                    f"no view of '{self.name}' lies from {low:.4g} to {high:.4g} degrees", "views on its limited arc"
                )
        if not 1 <= every <= len(views):
            raise InputError(f"every={every}", f"a number from 1 to {len(views)}, that of the views, was expected")
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


def read_scan(
    path: str | Path,
    every: int = 1,
    limited: bool = False,
    row: int = 0,
    axis: float | None = None,
    angle_unit: AngleUnit = "",
    mask_bad: bool = False,
    air: int = 0,
) -> Scan:
    """Read a scan from a .npz or .mat file.

    The general layout has keys ``sinogram`` (views, bins), or ``counts`` with ``flat`` and optionally ``dark``;
    ``angles_deg``; ``geometry``, "parallel" or "fan"; ``spacing`` of the bins; for a fan ``source_origin`` and
    ``source_detector_distance``, the distances of the rotation axis and of the detector from the source; optionally
    ``centre``, the position of the detector's middle relative to the rotation axis (0), ``bins``, the number of bins,
    ``limited_angles_deg``, ``reference`` and ``segmentation`` (rows, columns) with ``pixel``, the side of their pixels.
    Lengths are in mm. Angles and the orientation of the detector are those of `ParallelBeam` and `FanBeam`. A last view
    that repeats the first after a full turn is left out.

    Args:
        path: The file, or its name under ``$NFSOLVE_DATA``.
        every: Keep every k-th view.
        limited: Keep only the views of the limited arc that the file names.
        row: Which detector row, of a sinogram (rows, views, bins).
        axis: Rotation axis in bins from the middle of the first bin, instead of ``centre``. Synchrotron sinograms
            do not say it: it is estimated from opposite views.
        angle_unit: Unit of ``angles_deg``; empty takes degrees, but refuses values that look like radians.
        mask_bad: Fill in bins whose line integral is unknown, with weight 0, instead of refusing the file.
        air: Number of bins at either border of the detector that see only air in every view: the beam through them
            is taken as that of the view, so that what drifts from view to view cancels.

    Returns:
        The scan.

    Raises:
        InputError: The file holds no scan, lacks a key, or its parts do not fit each other.
    """
    return scan_of(*open_arrays(path), row, axis, angle_unit, mask_bad, air).part(every, limited)


def scan_of(
    found: Path,
    arrays: dict[str, Any],
    row: int = 0,
    axis: float | None = None,
    angle_unit: AngleUnit = "",
    mask_bad: bool = False,
    air: int = 0,
) -> Scan:
    """Make a scan of all views from the arrays of a file that was opened; for the others see `read_scan`.

    Args:
        found: The file.
        arrays: What it holds.
        row: Which detector row.
        axis: Rotation axis in bins.
        angle_unit: Unit of the angles.
        mask_bad: Whether to fill in unknown line integrals.
        air: Bins at either border that see only air.

    Returns:
        The scan.

    Raises:
        InputError: As `read_scan`.
    """
    if kind_of(arrays) != "scan":
        kind = kind_of(arrays)
        raise InputError(
            f"'{found}' holds a {kind}", "a sinogram was expected", f"read it by read_{kind}, and project it"
        )
    known = general_layout(found, arrays)
    check_keys(found, known, {k: MEANING[k] for k in ("flat" if "counts" in known else "sinogram", "angles_deg")})
    degrees = angles_of(found, known, angle_unit)
    data = measured(found, known, row, len(degrees), mask_bad)
    if air:
        data |= without_drift(found, data, air)
    angles = np.radians(degrees)
    if axis is None and known.get("find_axis", False):
        axis = rotation_axis(data["sinogram"], angles)
    geometry = _geometry(found, known, angles, data["sinogram"].shape[1], axis)
    about = {"unit": str(known.get("unit", "mm")), "arc": arc_of(found, known), **_reference(found, known)}
    return Scan(found.stem, geometry=geometry, **data, **about).subset(once_around(degrees))


def _geometry(
    path: Path, known: dict[str, Any], angles: np.ndarray, n_bins: int, axis: float | None
) -> ParallelBeam | FanBeam:
    check_keys(path, known, {key: MEANING[key] for key in ("geometry", "spacing")})
    beam = str(known["geometry"])
    if beam not in ("parallel", "fan"):
        raise unknown("geometry", beam, ("parallel", "fan"))
    if beam == "fan":
        check_keys(path, known, DISTANCES)
    lengths = {key: _number(path, known, key) for key in ("spacing", *(DISTANCES if beam == "fan" else ()))}
    for key, length in lengths.items():
        if length <= 0:
            raise InputError(f"'{key}' of '{path}' is {length:g}", "a positive length in mm was expected")
    middle = (n_bins - 1) / 2
    if axis is None:
        centre = _number(path, known, "centre") if "centre" in known else 0.0
        axis = middle - centre / lengths["spacing"]
    if not -0.5 <= axis <= n_bins - 0.5:
        raise InputError(
            f"the rotation axis of '{path}' falls on bin {axis:.6g}",
            f"inside the detector, from 0 to {n_bins - 1}, was expected",
            "correct 'centre', the position of the detector's middle in mm, or give axis= in bins",
        )
    placed = {"angles": tuple(angles), "n_bins": n_bins, "centre": (middle - axis) * lengths["spacing"], **lengths}
    return FanBeam(**placed) if beam == "fan" else ParallelBeam(**placed)


def _reference(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    images = {key: numbers(path, known, key) for key in ("reference", "segmentation") if key in known}
    if not images:
        return {}
    check_keys(path, known, {"pixel": "side of the pixels of 'reference' and 'segmentation', in mm"})
    shapes = {image.shape for image in images.values()}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise InputError(f"images of '{path}' have shapes {sorted(shapes)}", "one shape (rows, columns) was expected")
    if "segmentation" in images:
        images["segmentation"] = images["segmentation"] != 0
    rows, columns = shapes.pop()
    return {**images, "grid": PixelGrid(rows, columns, _number(path, known, "pixel"))}


def _number(path: Path, known: dict[str, Any], key: str) -> float:
    value = numbers(path, known, key)
    if value.size != 1 or not np.isfinite(value).all():
        raise InputError(f"'{key}' of '{path}' is {value.tolist()}", "one finite number was expected")
    return float(value.item())
