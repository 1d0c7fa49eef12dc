"""Layouts of the arrays of a measured scan: the names that files give them, and which of their axes is which."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.data.scans.files import check_keys, number, numbers

MEANING = {
    "sinogram": "line integrals -log(I / I0), (views, bins); or 'counts' with 'flat'",
    "angles_deg": "angle of each view, in degrees",
    "geometry": "'parallel', 'fan' or 'cone'",
    "spacing": "width of a detector bin, in mm",
    "flat": "counts of the bare beam: a number, one for each bin or view, frames of the detector, or like the counts",
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
SYNONYMS = {"source": "source_origin", "detector": "source_detector_distance"}
SYNCHROTRON = {"sino": "sinogram", "theta_deg": "angles_deg"}
OTHER_NAMES = {  # that users and other programs give, and what they may mean here
    "angles_deg": ("theta", "thetas", "angles", "angle", "theta_deg", "angles_rad", "rotation_angle"),
    "sinogram": ("sino", "data", "projections", "proj", "p", "integrals"),
    "counts": ("data", "projections", "proj", "raw", "intensity"),
    "flat": ("flats", "white", "whites", "data_white", "open_beam", "i0", "flat_field"),
    "dark": ("darks", "data_dark", "dark_field"),
    "centre": (
        "center",
        "cor",
        "rotation_center",
        "rotation_centre",
        "centre_of_rotation",
        "center_of_rotation",
        "axis",
    ),
    "source_origin": ("dso", "sod", "distance_source_origin", "source_axis"),
    "source_detector_distance": ("dsd", "sdd", "distance_source_detector"),
    "spacing": ("pixel_size", "detector_pixel_size", "bin_width", "du", "det_spacing", "detector_spacing"),
    "geometry": ("beam", "type"),
    "limited_angles_deg": ("limited_angles", "arc"),
}
USED = {*MEANING, *DISTANCES, "counts", "dark", "centre", "axes", "unit", "bins", "pixel", "pitch"}
USED |= {"limited_angles_deg", "reference", "segmentation"}
OPTIONS = {"angles_deg": "--turn 180 (spread evenly over so many degrees)", "spacing": "--pixel 0.1 (mm)"}
IN_WORDS = {
    "centre": "the position of the middle of the detector, in mm from the axis; or give the axis in bins by axis= "
    "(--axis)",
}
STEADIER = 4.0  # times as steady as over views are the sums over bins of an array that lies on its side


def general_layout(path: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """Rename the arrays of the known layouts to those of the general one; see `scan.read_scan`.

    Returns:
        Name -> array, in the general layout; ``find_axis`` is there where the rotation axis is to be estimated,
        and ``bins`` where the file states the number of detector bins.

    Raises:
        InputError: A known layout lacks one of its keys.
    """
    arrays = _opened(arrays)
    for struct in ("CtDataFull", "CtDataLimited"):
        if isinstance(arrays.get(struct), dict):
            check_keys(path, arrays[struct], {"sinogram": MEANING["sinogram"], "parameters": "of the scanner"})
            given, prefix = arrays[struct]["parameters"], ""
            if not isinstance(given, dict):
                raise InputError(
                    f"'parameters' of '{path}' must be a structure, got {type(given).__name__}",
                    do="save the whole structure of the challenge",
                )
            check_keys(path, given, {"angles": MEANING["angles_deg"]})
            angles = given["angles"]
            known = {"sinogram": arrays[struct]["sinogram"], "angles_deg": angles, "limited_angles_deg": angles}
            break
    else:
        given, prefix = arrays, "geom_"
        known = {_general(name): values for name, values in arrays.items()} | {
            name: values for name, values in arrays.items() if _general(name) == name
        }
    if prefix + "distanceSourceOrigin" in given or prefix + "distanceSourceDetector" in given:
        check_keys(path, given, {prefix + key: text for key, (_, text) in CHALLENGE.items()})
        known.update({name: given[prefix + key] for key, (name, _) in CHALLENGE.items()}, geometry="fan")
        known["bins"] = given.get(prefix + "numDetectorsPost", np.shape(known.get("sinogram", 0))[-1:])
        if "fbp_512" in arrays:  # per width of a bin at the axis
            known["reference"] = numbers(path, arrays, "fbp_512") / number(path, known, "pixel", positive=True)
        if "segmentation_512" in arrays:
            known["segmentation"] = arrays["segmentation_512"]
    elif "sino" in arrays and "sinogram" not in arrays:  # of a synchrotron, where it says nothing else
        known = {"geometry": "parallel", **known}
        known |= {} if "centre" in known else {"find_axis": True}
        known |= {} if "spacing" in known else {"spacing": 1.0, "unit": "bin"}
    return known


def check_known(path: Path, known: dict[str, Any], keys: Iterable[str]) -> None:
    """Refuse a file without keys of `MEANING` and `DISTANCES`, and point to other names under which they may be there.

    Raises:
        InputError: Some are missing.
    """
    meaning = MEANING | DISTANCES
    missing = [key for key in keys if key not in known]
    if not missing:
        return
    also = {key: _may_be(key, known) for key in missing}
    named = [f"'{key}' ({meaning[key]}" + (f"; is it '{also[key]}'?)" if also[key] else ")") for key in missing]
    options = [f"{key} also by {OPTIONS[key]}" for key in missing if key in OPTIONS and not also[key]]
    raise InputError(
        f"'{path}' lacks {', '.join(named)}; it holds {', '.join(known) or 'nothing'}",
        do=f"store {'them' if len(missing) > 1 else 'it'} under {'these names' if len(missing) > 1 else 'this name'}"
        + (f", or give {' and '.join(options)}" if options else ""),
    )


def _may_be(key: str, known: dict[str, Any]) -> str:
    """Return the name of an array that may be the one that a key should name; empty where there is none."""
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in known if name not in USED}
    if key == "spacing" and "pixel" in known and not known.keys() & {"reference", "segmentation"}:
        return "pixel"
    others = [re.sub(r"[^a-z0-9]", "", name) for name in OTHER_NAMES.get(key, ())]
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", key), plain.values(), 1, 0.85)
    return next((name for name, short in plain.items() if short in others or short in near), "")


def unused(path: Path, arrays: dict[str, Any]) -> list[str]:
    """Say which arrays of a file in the general layout are not used, and what they may have been meant for.

    Args:
        path: The file.
        arrays: What it holds.

    Returns:
        At most one sentence; none for the known layouts of others, which hold more than is needed.
    """
    arrays = _opened(arrays)
    others = ("CtDataFull", "CtDataLimited", "stack", "find_axis", "geom_distanceSourceOrigin")
    if any(name in arrays for name in others):
        return []
    known, beam = {_general(name) for name in arrays}, in_lower_case(arrays.get("geometry", "parallel"))
    idle = {"sinogram"} if "counts" in known else {"flat", "dark"}
    idle |= set(DISTANCES) if beam == "parallel" else set()
    idle |= {"pitch"} if beam != "cone" else set()
    idle |= set() if known & {"reference", "segmentation"} else {"pixel"}

    def is_used(name: str) -> bool:
        general = _general(name)
        return general in USED - idle and (general == name or general not in arrays)

    left = [name for name in arrays if not name.startswith("__") and not is_used(name)]
    if not left:
        return []
    meant = [
        f"'{name}' may be '{key}', {IN_WORDS.get(key, (MEANING | DISTANCES).get(key, ''))}".rstrip(", ")
        for name in left
        for key, names in OTHER_NAMES.items()
        if name.lower() in names and key not in known
    ]
    if "counts" in known and "sinogram" in left:
        meant.append("line integrals are computed from 'counts'")
    listed = ", ".join(f"'{name}'" for name in left[:8])
    return [
        f"of '{path.name}' {listed} "
        + ("is" if len(left) == 1 else "are")
        + " not used"
        + "".join(f"; {m}" for m in meant)
    ]


def _opened(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return what is inside of a structure of MATLAB that holds all arrays of a scan."""
    inner = next(iter(arrays.values()), None) if len(arrays) == 1 else None
    if isinstance(inner, dict) and inner.keys() & {"sinogram", "counts"} and "parameters" not in inner:
        return inner
    return arrays


def _general(name: str) -> str:
    """Return the name in the general layout of an array that has another one in a known layout."""
    return SYNCHROTRON.get(name, SYNONYMS.get(name, name))


def in_lower_case(text: Any) -> str:
    """Return a text, which files may keep as an array of texts or letters."""
    return "".join(np.ravel(text).astype(str)).strip().lower()


def axes_of(
    path: Path, known: dict[str, Any], key: str, n_views: int, stated: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Find out which axis of an array is which, from what was stated, or from the numbers of views and bins.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        key: The array's name.
        n_views: Number of angles.
        stated: The names of its axes, of "views", "bins" and "rows", in order; empty where they are to be found.

    Returns:
        The names of the axes in order, and the shape.

    Raises:
        InputError: No axis, or more than one, could be that of the views.
    """
    shape, stated = np.shape(known[key]), " ".join(np.ravel(stated).astype(str))  # of files, an array of texts
    bins = int(number(path, known, "bins")) if "bins" in known else None
    if stated:
        names: tuple[str, ...] = tuple(stated.replace(",", " ").split())
        if sorted(names) != sorted(("views", "bins", "rows")[: len(shape)]):
            raise InputError(
                f"axes must name the {len(shape)} axes of '{key}' of '{path}', got '{stated}'",
                do="give 'views bins', or 'views rows bins' in their order",
            )
        orders = [names]
    elif len(shape) == 3:
        orders = [("views", "rows", "bins"), ("rows", "views", "bins"), ("rows", "bins", "views")]
        orders += [("views", "bins", "rows"), ("bins", "views", "rows"), ("bins", "rows", "views")]
    else:
        orders = [("views", "bins"), ("bins", "views")]
    fits: list[tuple[str, ...]] = [
        names for names in orders if len(names) == len(shape) and _fits(names, shape, n_views, bins)
    ]
    if not stated and len(shape) == 3 and len(fits) > 1:
        fits = _of_rows_and_bins(known[key], shape, fits)
    if len(shape) == 2 and len(fits) == 2 and not _on_its_side(known[key]):
        fits = fits[:1]
    if len(fits) == 1:
        return fits[0], shape
    if fits:
        raise InputError(
            f"'{key}' of '{path}' has shape {shape} for {n_views} views, and its axes could be "
            + " or ".join(f"({', '.join(names)})" for names in fits),
            do=f"state them: axes='{' '.join(fits[0])}', say",
        )
    if stated and shape[orders[0].index("views")] != n_views:
        raise InputError(
            f"'{key}' of '{path}' has shape {shape}, and with the axes ({', '.join(orders[0])}) it has "
            f"{shape[orders[0].index('views')]} views for {n_views} angles",
            do="give one angle for each view"
            + (", or the axes in their order: axes='rows views bins' (--axes), say" if n_views in shape else ""),
        )
    raise InputError(
        f"'{key}' of '{path}' has shape {shape}, and no axis of it fits {n_views} angles"
        + ("" if bins is None else f" and {bins} detector bins"),
        do="give one angle for each view, and line integrals as (views, bins)",
    )


def _fits(names: tuple[str, ...], shape: tuple[int, ...], n_views: int, bins: int | None) -> bool:
    sizes = dict(zip(names, shape, strict=True))
    return sizes["views"] == n_views and bins in (None, sizes["bins"])


def _of_rows_and_bins(values: Any, shape: tuple[int, ...], fits: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Choose between orders that differ in rows and bins: a detector has more than one bin, and views alike in mass."""
    fits = [names for names in fits if shape[names.index("bins")] > 1]
    usual = [names for names in fits if names.index("rows") < names.index("bins")]
    if len(usual) != 1 or len(fits) != 2:
        return usual or fits
    other = fits[1 - fits.index(usual[0])]
    whole = np.asarray(values, np.float64)
    if whole.min() > 1:  # counts
        whole = -np.log(whole / whole.max())
    spreads = {}
    for names in fits:
        mass = np.nansum(whole, names.index("bins"))  # over views and rows
        views = names.index("views") - (names.index("views") > names.index("bins"))
        spreads[names] = float(np.std(mass, views).mean() / max(abs(float(mass.mean())), 1e-300))
    if spreads[other] * STEADIER < spreads[usual[0]]:
        return [other]
    if spreads[usual[0]] * STEADIER < spreads[other] or shape[usual[0].index("rows")] <= shape[usual[0].index("bins")]:
        return usual
    return fits


def _on_its_side(values: Any) -> bool:
    """Return whether a square array looks like (bins, views): all views of an object measure the same mass."""
    sums = (np.nansum(np.asarray(values, np.float64), axis) for axis in (1, 0))
    views, bins = (float(np.std(each) / max(abs(np.mean(each)), 1e-300)) for each in sums)
    return views > STEADIER * bins


def like_counts(
    path: Path, known: dict[str, Any], key: str, axes: tuple[str, ...], shape: tuple[int, int], row: tuple[int, int]
) -> np.ndarray:
    """Bring a flat or a dark field to the shape of the counts of one detector row.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        key: ``"flat"`` or ``"dark"``; a field that is not there is zero.
        axes: Names of the axes of the counts, as `axes_of` gives them.
        shape: Numbers of (views, bins).
        row: Which row, and of how many.

    Returns:
        Counts (views, bins); of several frames of the detector the mean.

    Raises:
        InputError: The shape is none of `MEANING`, or could be two of them.
    """
    values = numbers(path, known, key) if key in known else np.zeros(())
    (views, bins), (index, rows) = shape, row
    readings = []
    for order in _orders_of_field(values.ndim, axes):
        sizes = dict(zip(order, values.shape, strict=True))
        whole = values.transpose([order.index(name) for name in ("rows", "views", "bins") if name in order])
        for axis, name in enumerate(("rows", "views", "bins")):
            whole = whole if name in order else np.expand_dims(whole, axis)
        if sizes.get("rows", 1) not in (1, rows) or sizes.get("bins", 1) not in (1, bins):
            continue
        one = whole[index if len(whole) > 1 else 0]
        if len(one) not in (1, views):
            if one.shape[1] != bins or (readings and sizes.get("rows", 1) < rows):
                continue
            one = one.mean(0, keepdims=True)  # frames
        readings.append(np.broadcast_to(one, shape))
    if any(not np.allclose(readings[0], other, equal_nan=True) for other in readings[1:]):
        raise InputError(
            f"'{key}' of '{path}' has shape {values.shape}, which can be read in two ways for {views} views of {rows} "
            f"rows of {bins} bins",
            do="give it all the axes of the counts, with length 1 along those where it stays the same",
        )
    if not readings:
        raise InputError(
            f"'{key}' of '{path}' has shape {values.shape}, which does not fit counts of {views} views of {bins} bins",
            do=f"give {MEANING['flat']}",
        )
    return readings[0]


def _orders_of_field(ndim: int, axes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the names that the axes of a field can have, beside counts whose axes have these names."""
    if ndim == 0:
        return [()]
    if ndim == 1:
        return [("bins",), ("views",)]
    if ndim == 2 and len(axes) == 3:
        return [tuple(name for name in axes if name != "views"), ("views", "bins")]
    usual = ("views", "rows", "bins") if ndim == 3 else ("views", "bins")
    return list(dict.fromkeys([axes, usual])) if ndim == len(axes) else []
