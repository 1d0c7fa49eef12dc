"""Cone-beam scans from files: stacks of projections with the geometry of the scanner."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.data.scans.angles import angles_of, once_around
from nfsolve.data.scans.doubts import Doubt, axis_estimated, doubts
from nfsolve.data.scans.files import kind_of, number, numbers, open_arrays
from nfsolve.data.scans.integrals import check_integrals, known_views, measured, without_drift
from nfsolve.data.scans.layout import DISTANCES, axes_of, check_known, general_layout, in_lower_case, unused
from nfsolve.data.scans.panel import straightened
from nfsolve.data.scans.scan import Reading, completed
from nfsolve.data.scans.stripes import without_stripes
from nfsolve.forward.radon import ConeBeam

MEASURED = ("sinogram", "weights", "counts", "I0")


@dataclass(frozen=True)
class ConeScan:
    """A measured cone-beam scan.

    Attributes:
        name: Of the file.
        projections: Line integrals (views, rows, columns), rows rising along z; bad bins are filled in.
        geometry: Views and panel, in `unit`.
        unit: Unit of length, ``"mm"`` or ``"bin"``.
        weights: 0 where the line integral is filled in, else 1; None if all are measured.
        counts: Counts above the dark field, if the file has them.
        I0: Counts of the bare beam, likewise.
    """

    name: str
    projections: np.ndarray
    geometry: ConeBeam
    unit: str = "mm"
    weights: np.ndarray | None = None
    counts: np.ndarray | None = None
    I0: np.ndarray | None = None

    @property
    def axis(self) -> float:
        """The rotation axis on the panel, in columns from the middle of the first."""
        return (self.geometry.n_bins[1] - 1) / 2 - self.geometry.centre[1] / self.geometry.spacing[1]

    def subset(self, views: Sequence[int]) -> "ConeScan":
        """Keep the views of the given indices, in this order."""
        arrays = ("projections", "weights", "counts", "I0")
        kept = {name: getattr(self, name)[list(views)] for name in arrays if getattr(self, name) is not None}
        return replace(self, geometry=self.geometry.subset(views), **kept)


@dataclass(frozen=True)
class Panel:
    """What else a file of a cone beam may not say.

    Attributes:
        merge: Bins that are merged along both sides of the panel.
        tilt: Degrees by which the upper edge of the panel leans away from the source; see `panel.straightened`.
        slant: Degrees by which the edge of its last columns does.
        source_origin: Distance from source to axis, in mm, where the file does not give it; 0 where it does.
        source_detector_distance: Distance from source to panel, likewise.
        pitch: Rise of source and panel in a full turn, in mm, likewise; 0 for a circle.
    """

    merge: int = 1
    tilt: float = 0.0
    slant: float = 0.0
    source_origin: float = 0.0
    source_detector_distance: float = 0.0
    pitch: float = 0.0


AS_STORED, UPRIGHT = Reading(), Panel()


def read_cone(path: str | Path, reading: Reading = AS_STORED, panel: Panel = UPRIGHT) -> ConeScan:
    """Read a cone-beam scan.

    The layout is that of `scan.read_scan` with ``geometry`` "cone" and three axes: ``sinogram`` (views, rows, bins), or
    ``counts`` with ``flat``. Row 0 is the upper edge of the panel. ``spacing`` is the side of a bin, or its height and
    width; ``centre`` the position of the panel's middle sideways, or upwards and sideways, from the foot of the central
    ray; ``pitch`` the rise of source and panel along the axis in a full turn, of a helix. Lengths are in mm. HDF5 files
    and stacks of images take the distances from ``panel``.

    Args:
        path: The file, or its name under ``$NFSOLVE_DATA``.
        reading: What the file does not say; ``row`` is not used.
        panel: What else it does not say.

    Returns:
        The scan.

    Raises:
        InputError: The file holds no such scan, lacks a key, or its parts do not fit each other.
    """
    found, arrays = open_arrays(path)
    if kind_of(arrays) != "scan":
        raise InputError(
            f"'{found}' holds a {kind_of(arrays)}, not projections",
            do="run ct_cone --data FILE, which projects a volume" if kind_of(arrays) == "volume" else "see read_cone",
        )
    known = _with_distances(found, completed(found, general_layout(found, arrays), reading), panel)
    needed = ("flat" if "counts" in known else "sinogram", "angles_deg", "geometry", "spacing")
    is_cone = "geometry" in known and in_lower_case(known["geometry"]) == "cone"
    check_known(found, known, needed + (tuple(DISTANCES) if is_cone else ()))
    beam = in_lower_case(known["geometry"])
    if beam != "cone":
        raise InputError(
            f"'{found}' is a scan with a {beam} beam, not a cone beam",
            do="run ct_scan --data FILE, and problems.ct.stack for further rows"
            if beam in ("parallel", "fan")
            else "give geometry 'cone', 'fan' or 'parallel'",
        )
    helix = "pitch" in known
    degrees = angles_of(found, known, reading.angle_unit, turns=helix)
    data, degrees = known_views(found, _whole(found, known, reading, panel.merge, len(degrees)), degrees)
    overexposed = data.pop("overexposed", None) is not None
    geometry = _geometry(found, known, np.radians(degrees), data["sinogram"].shape[1:], reading, panel.merge)
    if reading.roll or panel.tilt or panel.slant:
        data = _straight(data, geometry, reading.roll, panel)
    geometry = _about_its_axis(found, data["sinogram"], geometry, reading, known)
    scan = ConeScan(found.stem, data.pop("sinogram"), geometry, str(known.get("unit", "mm")), **data)
    middle = _middle(geometry)
    said = doubts(found.name, scan.projections[:, middle], geometry.fan, not reading.find_axis, overexposed)
    for sentence in [*unused(found, arrays), *said]:
        warnings.warn(sentence, Doubt, stacklevel=2)
    return scan if helix else scan.subset(once_around(degrees))


def _with_distances(path: Path, known: dict[str, Any], panel: Panel) -> dict[str, Any]:
    """Add the distances and the pitch that a user gives; a file may not contradict them."""
    given = {name: getattr(panel, name) for name in (*DISTANCES, "pitch") if getattr(panel, name)}
    stated = [name for name in given if name in known]
    if stated:
        raise InputError(f"'{path}' gives {' and '.join(stated)} already", do="leave out the options of these names")
    guessed = "stack" in known or "find_axis" in known  # layouts that know parallel beams only
    if given.keys() & DISTANCES.keys() and (guessed or "geometry" not in known):
        given["geometry"] = "cone"
    return known | given


def _whole(path: Path, known: dict[str, Any], reading: Reading, merge: int, views: int) -> dict[str, Any]:
    """Read all rows of the panel, the last of which is the first row of the result, and merge blocks of bins."""
    key = "counts" if "counts" in known else "sinogram"
    names, shape = axes_of(path, known, key, views, reading.axes or known.get("axes", ""))
    if "rows" not in names:
        raise InputError(
            f"'{key}' of '{path}' must have three axes, views, rows and bins, got shape {shape}",
            do="give the whole panel, or geometry 'fan' for its middle row",
        )
    rows, bins = shape[names.index("rows")], shape[names.index("bins")]
    if not 1 <= merge <= min(rows, bins):
        raise InputError(
            f"merge must be 1 to {min(rows, bins)}, the bins along the shorter side of the panel, got {merge}",
            do="give 2, say",
        )
    start = (rows % merge) // 2
    groups = [range(first, first + merge) for first in range(start, start + rows // merge * merge, merge)]
    parts: dict[str, list[np.ndarray]] = {}
    overexposed = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for group in reversed(groups):  # row 0 lies at the largest z
            each = [_row(path, known, row, views, reading, " ".join(names)) for row in group]
            overexposed |= any("overexposed" in row for row in each)
            for name, values in _merged(each, merge).items():
                parts.setdefault(name, []).append(values)
    _say_once(caught, rows)
    data = {name: np.stack(values, 1) for name, values in parts.items()}
    if "weights" in data and (data["weights"] == 1).all():
        del data["weights"]
    if overexposed:
        data["overexposed"] = np.ones(views, bool)
    flat = data["sinogram"].reshape(views, -1)
    check_integrals(path, flat, np.asarray(known[key]).dtype if key == "sinogram" else flat.dtype, key == "counts")
    return data


def _say_once(caught: list[warnings.WarningMessage], rows: int) -> None:
    """Say what is to be said of many rows in the words of the first of them."""
    alike: dict[tuple[str, int], list[warnings.WarningMessage]] = {}
    for said in caught:
        alike.setdefault((said.filename, said.lineno), []).append(said)
    for each in alike.values():
        where = f" (so in one row; likewise in {len(each)} of {rows})" if len(each) > 1 else ""
        warnings.warn(f"{each[0].message}{where}", each[0].category, stacklevel=4)


def _row(path: Path, known: dict[str, Any], row: int, views: int, reading: Reading, axes: str) -> dict[str, Any]:
    data = measured(path, known, row, views, reading.mask_bad, axes, check=False)
    if reading.air:
        data |= without_drift(path, data, reading.air)
    if reading.rings:
        data["sinogram"] = without_stripes(data["sinogram"], reading.rings)
    return data


def _merged(rows: list[dict[str, Any]], side: int) -> dict[str, np.ndarray]:
    """Average blocks of side^2 bins of some rows, those that are known; counts add up."""
    known = np.stack([np.ones_like(row["sinogram"]) if row.get("weights") is None else row["weights"] for row in rows])
    share = _blocks(known, side)
    of = {name: np.stack([row[name] for row in rows]) for name in ("sinogram", "counts", "I0") if name in rows[0]}
    found = {"weights": share, "sinogram": _blocks(known * of["sinogram"], side) / np.maximum(share, 1e-12)}
    if (share == 0).any():
        found["sinogram"] = np.where(share == 0, _blocks(of["sinogram"], side), found["sinogram"])
    found |= {name: side**2 * _blocks(values, side) for name, values in of.items() if name != "sinogram"}
    return {name: values.astype(np.float32) for name, values in found.items()}


def _blocks(rows: np.ndarray, side: int) -> np.ndarray:
    """Average (side rows, views, bins) over blocks, (views, bins // side)."""
    n = rows.shape[2] // side
    start = (rows.shape[2] - n * side) // 2
    return rows[:, :, start : start + n * side].reshape(side, -1, n, side).mean((0, 3))


def _geometry(
    path: Path, known: dict[str, Any], angles: np.ndarray, n_bins: Sequence[int], reading: Reading, merge: int
) -> ConeBeam:
    lengths = {name: number(path, known, name, True) for name in DISTANCES}
    if lengths["source_detector_distance"] < lengths["source_origin"]:
        raise InputError(
            f"the panel of '{path}' must lie beyond the rotation axis, but the source is "
            f"{lengths['source_detector_distance']:g} from it and {lengths['source_origin']:g} from the axis",
            do="give 'source_detector_distance' from the source, over the axis to the panel",
        )
    spacing = _pair(path, known, "spacing", "height and width of a bin, or its side")
    if "centre" not in known:
        centre = (0.0, 0.0)
    elif numbers(path, known, "centre").size == 1:
        centre = (0.0, number(path, known, "centre"))
    else:
        centre = _pair(path, known, "centre", "position of the panel's middle, upwards and sideways")
    rows, columns = n_bins
    if min(spacing) <= 0:
        raise InputError(f"the sides of a bin of '{path}' must be positive, got {spacing}", do="correct 'spacing'")
    if reading.axis is not None:
        middle = (columns * merge - 1) / 2
        centre = centre[0], (middle - reading.axis) * spacing[1]
    pitch = number(path, known, "pitch") if "pitch" in known else 0.0
    if pitch:  # whole turns are taken away, so that it passes the middle of the volume halfway
        angles = angles - 2 * math.pi * round(float(angles.min() + angles.max()) / (4 * math.pi))
    side = merge * spacing[0], merge * spacing[1]
    return ConeBeam(tuple(angles), (rows, columns), side, **lengths, centre=centre, pitch=pitch)


def _pair(path: Path, known: dict[str, Any], key: str, meaning: str) -> tuple[float, float]:
    values = numbers(path, known, key).ravel()
    if values.size not in (1, 2) or not np.isfinite(values).all():
        raise InputError(
            f"'{key}' of '{path}' must be one or two finite numbers, got {values.tolist()[:4]}", do=meaning
        )
    return float(values[0]), float(values[-1])


def _straight(data: dict[str, Any], geometry: ConeBeam, roll: float, panel: Panel) -> dict[str, Any]:
    """Undo the turns of a panel; bins beyond it, and those that take from unknown ones, have weight 0."""
    found, on_it = {}, np.ones(geometry.n_bins)
    for name in MEASURED:
        if data.get(name) is not None:
            found[name], on_it = straightened(data[name], geometry, roll, panel.tilt, panel.slant)
    known = np.broadcast_to(on_it, geometry.shape)
    if "weights" in found:
        known = np.where(found["weights"] > 1 - 1e-3, known, 0.0)
    return found | ({"weights": known.astype(np.float32)} if (known < 1).any() else {})


def _about_its_axis(
    path: Path, projections: np.ndarray, geometry: ConeBeam, reading: Reading, known: dict[str, Any]
) -> ConeBeam:
    """Estimate the axis from the row that lies in the plane of the source, which is a fan."""
    if reading.find_axis and reading.axis is not None:
        raise InputError(
            f"the rotation axis is either given or estimated, got axis = {reading.axis:g} and find_axis",
            do="leave one of them out",
        )
    if reading.axis is not None or not (reading.find_axis or known.get("find_axis", False)):
        return geometry
    if geometry.pitch:
        raise InputError(
            "the rotation axis is estimated from lines that are measured from both sides, which a helix has none of",
            do="give the axis in bins by axis= (--axis)",
        )
    axis = axis_estimated(path.name, projections[:, _middle(geometry)].astype(float), geometry.fan)
    sideways = ((geometry.n_bins[1] - 1) / 2 - axis) * geometry.spacing[1]
    return replace(geometry, centre=(geometry.centre[0], sideways))


def _middle(geometry: ConeBeam) -> int:
    """Return the row that is nearest to the plane of the source."""
    rows, height, centre = geometry.n_bins[0], geometry.spacing[0], geometry.centre[0]
    return int(min(max(math.floor((rows - 1) / 2 - centre / height + 0.5), 0), rows - 1))
