"""Parts of a measured scan, read from a file and checked against each other: layout, angles, line integrals, views."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfsolve._core.errors import InputError, unknown
from nfsolve.data.scans.files import check_keys, numbers
from nfsolve.forward.counts import air_normalised, line_integrals_of_counts

MEANING = {
    "sinogram": "line integrals -log(I / I0), (views, bins); or 'counts' with 'flat'",
    "angles_deg": "angle of each view, in degrees",
    "geometry": "'parallel' or 'fan'",
    "spacing": "width of a detector bin, in mm",
    "flat": "counts of the bare beam: a number, one for each bin, or like the counts",
}
DISTANCES = {
    "source_origin": "distance from the source to the rotation axis, in mm",
    "source_detector_distance": "distance from the source to the detector, in mm",
}
CHALLENGE = {
    "distanceSourceOrigin": ("source_origin", DISTANCES["source_origin"]),
    "distanceSourceDetector": ("source_detector_distance", DISTANCES["source_detector_distance"]),
    "pixelSizePost": ("spacing", "width of a detector bin after binning, in mm"),
    "effectivePixelSizePost": ("pixel", "width of a bin at the rotation axis, in mm"),
}
SAME_DEGREES = 1e-6
NOT_AIR = 0.05  # of the largest line integral, on average over the views: the object reaches into the bin


def general_layout(path: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of the known layouts the names of the general one; see `scans.read_scan`.

    Args:
        path: The file.
        arrays: What it holds.

    Returns:
        Name -> array, in the general layout; ``find_axis`` is there where the rotation axis is to be estimated,
        and ``bins`` where the file states the number of detector bins.

    Raises:
        InputError: A known layout lacks one of its keys.
    """
    for struct in ("CtDataFull", "CtDataLimited"):
        if struct in arrays:
            check_keys(path, arrays[struct], {"sinogram": MEANING["sinogram"], "parameters": "of the scanner"})
            given, prefix = dict(arrays[struct]["parameters"]), ""
            check_keys(path, given, {"angles": MEANING["angles_deg"]})
            angles = given["angles"]
            known = {"sinogram": arrays[struct]["sinogram"], "angles_deg": angles, "limited_angles_deg": angles}
            break
    else:
        given, prefix, known = arrays, "geom_", dict(arrays)
    if prefix + "distanceSourceOrigin" in given or prefix + "distanceSourceDetector" in given:
        check_keys(path, given, {prefix + key: text for key, (_, text) in CHALLENGE.items()})
        known.update({name: given[prefix + key] for key, (name, _) in CHALLENGE.items()}, geometry="fan")
        known["bins"] = given.get(prefix + "numDetectorsPost", np.shape(known.get("sinogram", 0))[-1:])
        if "fbp_512" in arrays:  # per width of a bin at the axis
            known["reference"] = arrays["fbp_512"] / arrays["geom_effectivePixelSizePost"]
        if "segmentation_512" in arrays:
            known["segmentation"] = arrays["segmentation_512"]
    elif "sino" in arrays:
        check_keys(path, arrays, {"theta_deg": MEANING["angles_deg"]})
        known.update(sinogram=arrays["sino"], angles_deg=arrays["theta_deg"], geometry="parallel", find_axis=True)
        known.update(spacing=1.0, unit="bin")
    return known


def angles_of(path: Path, known: dict[str, Any], unit: str) -> np.ndarray:
    """Return the angles of the views.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        unit: ``"degrees"``, ``"radians"``, or empty: degrees, unless they look like radians.

    Returns:
        Angles (views,), in degrees.

    Raises:
        InputError: They are not finite, beyond two turns, or look like radians.
    """
    if unit not in ("", "degrees", "radians"):
        raise unknown("angle unit", unit, ("degrees", "radians"))
    angles = numbers(path, known, "angles_deg").ravel()
    if not np.isfinite(angles).all():
        view = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise InputError(f"'angles_deg' of '{path}' is {angles[view]} in view {view}", "finite angles were expected")
    largest = float(np.abs(angles).max())
    if not unit and len(angles) > 8 and largest < 7:
        raise InputError(
            f"'angles_deg' of '{path}' holds {len(angles)} angles of at most {largest:.4g}",
            "degrees were expected, and these look like radians",
            "state their unit: angle_unit='radians' or angle_unit='degrees'",
        )
    degrees = np.degrees(angles) if unit == "radians" else angles
    if np.abs(degrees).max() > 720:
        raise InputError(
            f"'angles_deg' of '{path}' holds {largest:.6g}", "at most two turns were expected", "take them modulo 360"
        )
    return degrees


def once_around(degrees: np.ndarray) -> list[int]:
    """Return the indices of all views but a last one that repeats the first after a full turn."""
    again = len(degrees) > 1 and abs(abs(degrees[-1] - degrees[0]) - 360) < SAME_DEGREES
    return list(range(len(degrees) - again))


def arc_of(path: Path, known: dict[str, Any]) -> tuple[float, float] | None:
    """Return the ends of the limited arc that a file names, in degrees; None where it names none."""
    if "limited_angles_deg" not in known:
        return None
    arc = numbers(path, known, "limited_angles_deg")
    return float(arc.min()), float(arc.max())


def without_drift(path: Path, data: dict[str, Any], air: int) -> dict[str, Any]:
    """Take the beam of each view from the bins at both borders of the detector, which see only air.

    Args:
        path: The file.
        data: What `measured` gave.
        air: Number of bins at either border; those that are unknown in some view are passed over.

    Returns:
        The attributes sinogram and I0 of a `scans.Scan`, anew.

    Raises:
        InputError: More bins than there are, none that is known in every view, or the object reaches into them.
    """
    sinogram, weights, I0 = data["sinogram"], data["weights"], data.get("I0")
    n = sinogram.shape[1]
    if not 0 < 2 * air < n:
        raise InputError(f"air = {air} bins at either border of '{path}'", f"from 1 to {(n - 1) // 2}, of {n} bins")
    strip = [b for b in (*range(air), *range(n - air, n)) if weights is None or weights[:, b].all()]
    if not strip:
        raise InputError(f"no bin of the {2 * air} of air of '{path}' is known in every view", "at least one")
    corrected = air_normalised(torch.from_numpy(sinogram), strip).numpy()
    reach = float(np.abs(corrected[:, strip].mean(0)).max() / corrected.max())
    if not reach < NOT_AIR:
        raise InputError(
            f"line integrals of '{path}' in the {air} bins of air at either border reach {100 * reach:.0f} % of the "
            "largest",
            f"less than {100 * NOT_AIR:.0f} %, as beside the object",
            "give fewer bins",
        )
    if I0 is None:
        return {"sinogram": corrected}
    return {"sinogram": corrected, "I0": I0 * np.exp((corrected - sinogram)[:, :1])}


def measured(path: Path, known: dict[str, Any], row: int, n_views: int, mask_bad: bool) -> dict[str, Any]:
    """Return the line integrals, and the counts that they come from.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        row: Which detector row, of three axes.
        n_views: Number of angles.
        mask_bad: Whether to fill in unknown line integrals, with weight 0.

    Returns:
        The attributes sinogram, weights, counts and I0 of a `scans.Scan`.

    Raises:
        InputError: The array does not fit the angles or the detector, or holds values that cannot be used.
    """
    key = "counts" if "counts" in known else "sinogram"
    values = numbers(path, known, key)
    if values.ndim == 3:
        if not 0 <= row < len(values):
            raise InputError(f"row={row}", f"a detector row from 0 to {len(values) - 1} of '{path}' was expected")
        values = values[row]
    _check_shape(path, known, key, values.shape, n_views)
    if key == "sinogram":
        sinogram, weights = _filled(path, key, values, ~np.isfinite(values), mask_bad)
        return {"sinogram": sinogram, "weights": weights}
    negative = int((values < 0).sum())
    if negative:
        raise InputError(f"{negative} of {values.size} counts of '{path}' are negative", "numbers of photons, >= 0")
    flat, dark = (_like_counts(path, known, name, values.shape) for name in ("flat", "dark"))
    counts, I0 = np.maximum(values - dark, 0), flat - dark
    dead = ~np.isfinite(counts) | ~(I0 > 0)
    counts, I0 = np.where(dead, 0.0, counts), np.where(dead, 0.0, I0)
    none = counts == 0
    if (none & ~dead).any() and not mask_bad:
        raise InputError(
            f"{int((none & ~dead).sum())} of {values.size} counts of '{path}' are zero or below the dark field",
            "positive ones, whose logarithm exists",
            "give mask_bad=True, which fills in line integrals with weight 0 and keeps the counts for the likelihood",
        )
    safe = (torch.from_numpy(np.where(none, 1.0, z)) for z in (counts, I0))
    integrals = np.where(none, np.nan, line_integrals_of_counts(*safe).numpy())
    sinogram, weights = _filled(path, key, integrals, none, mask_bad)
    return {"sinogram": sinogram, "weights": weights, "counts": counts, "I0": I0}


def _check_shape(path: Path, known: dict[str, Any], key: str, shape: tuple[int, ...], n_views: int) -> None:
    bins = int(np.ravel(known["bins"])[0]) if "bins" in known else None
    if len(shape) == 2 and shape[0] == n_views and bins in (None, shape[1]):
        return
    fits = len(shape) == 2 and shape[1] == n_views and bins in (None, shape[0])
    stated = "" if bins is None else f" and {bins} detector bins"
    raise InputError(
        f"'{key}' of '{path}' has shape {shape}, but there are {n_views} angles{stated}",
        "(views, bins) was expected",
        f"transpose '{key}'" if fits else "give one angle for each row",
    )


def _like_counts(path: Path, known: dict[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    values = numbers(path, known, key) if key in known else np.zeros(())
    try:
        return np.broadcast_to(values, shape)
    except ValueError as error:
        raise InputError(
            f"'{key}' of '{path}' has shape {values.shape}, and the counts have {shape}", MEANING["flat"]
        ) from error


def _filled(
    path: Path, key: str, values: np.ndarray, bad: np.ndarray, mask_bad: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    if not bad.any():
        return values, None
    if not mask_bad:
        columns = np.flatnonzero(bad.any(0))
        listed = ", ".join(map(str, columns[:8])) + (", ..." if len(columns) > 8 else "")
        raise InputError(
            f"'{key}' of '{path}' is unknown in detector columns {listed} ({len(columns)} of {bad.shape[1]})",
            "finite numbers were expected",
            "give mask_bad=True, which fills them in along the detector with weight 0",
        )
    if bad.all(1).any():
        view = int(np.flatnonzero(bad.all(1))[0])
        raise InputError(f"'{key}' of '{path}' has no known bin in view {view}", "at least one", "remove this view")
    bins, filled = np.arange(bad.shape[1]), values.copy()
    for view in np.flatnonzero(bad.any(1)):
        good = ~bad[view]
        filled[view] = np.interp(bins, bins[good], values[view, good])
    return filled, 1.0 - bad
