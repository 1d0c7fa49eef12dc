"""Line integrals of a measured scan, from the sinogram or the counts of a file, checked for being what they claim."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nfsolve._core.errors import InputError
from nfsolve.data.scans.doubts import OPAQUE, Doubt
from nfsolve.data.scans.files import numbers
from nfsolve.data.scans.layout import MEANING, axes_of, like_counts
from nfsolve.forward.counts import air_normalised, line_integrals_of_counts

NOT_AIR = 0.05  # of the largest line integral, on average over the views: the object reaches into the bin
TRANSMITTED = 0.9, 1.1  # I / I0 of air
WEAK, WEAKER = 0.5, 2.0  # transmissions of little absorption are above that, and darken by so many deviations of noise
BRIGHTER = 1.05  # times as bright as in its middle is what a detector sees at its ends, of transmissions
SATURATED = 1e-3  # of the counts that are the largest number that their type can hold
CLIPPED, BELOW = 0.01, 0.9  # of the counts are the largest of them, and of the flat field at most that large
DEPTHS = 8, 10, 12, 14, 16  # bits of a detector, whose largest number is that of an overexposed bin
FEWEST = 4  # views of which a bin that has not moved is stuck
MARK = 100.0, 20.0  # a mark for missing values is at least that large, and so many times as large as others
SILENT = 0.02  # of the largest line integral: a bin of zeros between two that have measured more


def measured(
    path: Path,
    known: dict[str, Any],
    row: int,
    n_views: int,
    mask_bad: bool,
    axes: str = "",
    check: bool = True,
    air: bool = False,
) -> dict[str, Any]:
    """Return the line integrals, and the counts that they come from.

    Args:
        path: The file.
        known: The file's arrays in the general layout.
        row: Which detector row, of three axes.
        n_views: Number of angles.
        mask_bad: Whether to fill in unknown line integrals.
        axes: Names of the axes, in order, where the shape does not tell.
        check: Whether to call `check_integrals`, which a row of a panel that sees only air does not pass.
        air: Whether the beam is yet to be taken from bins of air, so that it may differ from that of the flat field.

    Returns:
        The attributes sinogram, weights, counts and I0 of a `scan.Scan`, and ``overexposed``, where the detector was
        (views, bins), if it was.

    Raises:
        InputError: The array does not fit the angles or the detector, or holds values that cannot be used.
    """
    key = "counts" if "counts" in known else "sinogram"
    names, shape = axes_of(path, known, key, n_views, axes or known.get("axes", ""))
    values, rows = known[key], 1
    if "rows" in names:
        axis = names.index("rows")
        rows = shape[axis]
        if not 0 <= row < rows:
            raise InputError(f"'{path}' has detector rows 0 to {rows - 1}, got row={row}", do="choose one of them")
        values = (values if hasattr(values, "take") else np.asarray(values)).take(row, axis)
    values = np.asarray(values)
    stored = values.dtype
    if stored.kind == "b":
        raise InputError(f"'{key}' of '{path}' holds only true and false", do=f"give {MEANING['sinogram']}")
    values = without_marks(path, key, numbers(path, {key: values}, key))
    if names.index("views") > names.index("bins"):
        values = values.T
    if key == "sinogram":
        if check:
            check_integrals(path, values, stored, sign=not air)
        sinogram, weights = _filled(path, key, values, ~np.isfinite(values) | stuck(values) | silent(values), mask_bad)
        return {"sinogram": sinogram, "weights": weights}
    negative = int((values < 0).sum())
    if negative and not mask_bad:
        raise InputError(
            f"counts are numbers of photons, and {negative} of {values.size} of '{path}' are negative",
            do="give the counts before the dark field is taken away, and the dark field as 'dark'; or mask_bad=True, "
            "which takes negative counts for no photon",
        )
    flat, dark = (like_counts(path, known, name, names, values.shape, (row, rows)) for name in ("flat", "dark"))
    overexposed = _overexposed(path, values, stored, flat)
    counts, I0 = np.maximum(values - dark, 0), flat - dark
    if not (I0 > 0).any():
        raise InputError(
            f"the flat field of '{path}', {np.nanmedian(flat):.4g} on average, is nowhere above the dark field, "
            f"{np.nanmedian(dark):.4g}",
            do="exchange 'flat' and 'dark', if one was taken for the other",
        )
    dead = ~np.isfinite(counts) | ~(I0 > 0) | stuck(values)
    counts, I0 = np.where(dead, 0.0, counts), np.where(dead, 0.0, I0)
    none = counts == 0
    if (none & ~dead).any() and not mask_bad:
        raise InputError(
            f"{int((none & ~dead).sum())} of {values.size} counts of '{path}' are zero or below the dark field, and "
            "have no logarithm",
            do="give mask_bad=True, which fills in line integrals with weight 0 and keeps the counts",
        )
    safe = (torch.from_numpy(np.where(none, 1.0, z)) for z in (counts, I0))
    integrals = np.where(none, np.nan, line_integrals_of_counts(*safe).numpy())
    if check:
        check_integrals(path, integrals, integrals.dtype, counted=True, sign=not air)
    sinogram, weights = _filled(path, key, integrals, none, mask_bad)
    found = {"sinogram": sinogram, "weights": weights, "counts": counts, "I0": I0}
    return found if overexposed is None else found | {"overexposed": overexposed}


def without_marks(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    """Return numbers with NaN in the place of marks such as -999 for missing values, of which the user is told.

    Args:
        path: The file.
        key: Name of the array.
        values: The array, of any shape.
    """
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size or sizes.max() < max(MARK[0], MARK[1] * float(np.quantile(sizes, 0.9))):
        return values
    mark = next(v for v in (np.nanmin(values), np.nanmax(values)) if abs(v) == sizes.max())
    found = values == mark
    if found.sum() < 2 or (key == "counts" and mark > 0):
        return values
    warnings.warn(
        f"{found.sum()} values in '{key}' of '{path.name}' are {mark:g}, which is taken as a mark for missing values",
        Doubt,
        stacklevel=2,
    )
    return np.where(found, np.nan, values)


def stuck(values: np.ndarray) -> np.ndarray:
    """Return where bins (views, bins) do not answer: one value other than 0 in all views, between bins that vary."""
    known = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    still = (np.ptp(known, 0) <= 1e-9 * np.abs(values).max(initial=0, where=np.isfinite(values))) & (values[0] != 0)
    moves = ~still & (np.ptp(np.quantile(known, (0.1, 0.9), axis=0), 0) > 0)  # not by single views
    beside = np.zeros_like(still)
    beside[1:-1] = moves[:-2] & moves[2:]
    return np.broadcast_to(still & beside & (len(values) >= FEWEST), values.shape)


def silent(integrals: np.ndarray) -> np.ndarray:
    """Return where bins (views, bins) of a sinogram hold zeros in all views, between bins that have measured more."""
    sizes = np.median(np.abs(np.nan_to_num(integrals)), 0)
    zero = (np.nan_to_num(integrals) == 0).all(0)
    found = np.zeros(integrals.shape[1], bool)
    found[1:-1] = zero[1:-1] & (np.minimum(sizes[:-2], sizes[2:]) > SILENT * sizes.max(initial=0))
    return np.broadcast_to(found, integrals.shape)


def _overexposed(path: Path, counts: np.ndarray, stored: np.dtype, flat: np.ndarray) -> np.ndarray | None:
    """Warn where many counts are the largest that the detector can give, and return where; None where they are few."""
    known = counts[np.isfinite(counts)]
    most = float(known.max(initial=0))
    share, depth = float((known == most).mean()) if known.size else 0.0, {2.0**bits - 1: bits for bits in DEPTHS}
    reason = ""
    if stored.kind in "iu" and most == np.iinfo(stored).max:
        reason = f"the largest number of {stored}"
    elif most in depth:
        reason = f"the largest number of {depth[most]} bits"
    elif share > CLIPPED and 0 < most < BELOW * float(np.nanmedian(flat)):
        reason = "and none is larger, though the flat field is"
    if not (reason and share > SATURATED):
        return None
    warnings.warn(
        f"{share:.1%} of the counts of '{path.name}' are {most:g}, {reason}: the detector was overexposed there, "
        "and line integrals come out too large; measure with less beam",
        Doubt,
        stacklevel=2,
    )
    return counts == most


def check_integrals(path: Path, values: np.ndarray, stored: np.dtype, counted: bool = False, sign: bool = True) -> None:
    """Refuse numbers that are not line integrals: intensities, transmissions, or logarithms of the wrong sign.

    Args:
        path: The file.
        values: Line integrals (views, bins); NaN where they are unknown.
        stored: The type in which they were stored.
        counted: Whether they come from counts and a flat field.
        sign: Whether their sign tells anything, as it does not before the beam is taken from bins of air.

    Raises:
        InputError: They are not line integrals.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return  # the next check says where
    largest, mean = float(known.max()), float(known.mean())
    store = "store counts as 'counts', with 'flat' beside them"
    if stored.kind in "iub" and largest > 1:
        raise InputError(
            f"'sinogram' of '{path}' holds whole numbers up to {largest:g}, which look like counts, not line integrals",
            do=store,
        )
    border = float(np.nanmedian(values[:, [0, -1]]))
    if known.min() >= 0 and mean < 0.98 * border and border > 0.8 * largest:  # it is brightest beside the object
        if TRANSMITTED[0] < border < TRANSMITTED[1]:
            raise InputError(
                f"'sinogram' of '{path}' is {border:.3g} at the ends of the detector and less behind the object, like "
                "transmissions I / I0, not line integrals",
                do="store them as 'counts' with flat=1, or store -log(I / I0)",
            )
        if border > OPAQUE:
            raise InputError(
                f"'sinogram' of '{path}' is {border:.4g} at the ends of the detector and less behind the object, like "
                "intensities, not line integrals",
                do=store,
            )
    inside = float(np.nanmedian(values[:, values.shape[1] // 4 : -(values.shape[1] // 4) or None]))
    ends = values[:, [0, -1]]
    noise = float(np.std(ends[np.isfinite(ends)])) if np.isfinite(ends).any() else 0.0
    if TRANSMITTED[0] < border < TRANSMITTED[1] and known.min() > WEAK and inside < border - WEAKER * noise:
        raise InputError(
            f"'sinogram' of '{path}' is {border:.3g} at the ends of the detector and {inside:.3g} in its middle, like "
            "transmissions I / I0 of an object that absorbs little, not line integrals",
            do="store them as 'counts' with flat=1, or store -log(I / I0)",
        )
    if known.min() > 0 and largest < TRANSMITTED[1] and border > BRIGHTER * inside:
        warnings.warn(
            f"'sinogram' of '{path.name}' is larger at the ends of the detector than in its middle, and between 0 and "
            "1, as are transmissions I / I0 of an object wider than the detector; if they are, store them as 'counts' "
            "with flat=1",
            Doubt,
            stacklevel=2,
        )
    if mean < 0 and sign and counted and border < 0:
        raise InputError(
            f"line integrals are -log(I / I0), and those of '{path}' are negative on average ({mean:.3g}), also at the "
            f"ends of the detector ({border:.3g}), as if its beam were brighter than that of the flat field",
            do=f"give air={max(4, values.shape[1] // 16)} (--air) if the ends see air, which takes the beam from them, "
            "or correct the flat field",
        )
    if mean < 0 and sign:
        raise InputError(
            f"line integrals are -log(I / I0), and those of '{path}' are negative on average ({mean:.3g})",
            do="change their sign, or correct the flat field",
        )


def known_views(path: Path, data: dict[str, Any], degrees: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Leave out views of which no bin is known.

    Args:
        path: The file.
        data: What `measured` gave, arrays (views, ...) or None.
        degrees: Angles of the views.

    Returns:
        Both, for the other views.
    """
    weights = data.get("weights")
    if weights is None:
        return data, degrees
    kept = weights.reshape(len(degrees), -1).any(1)
    if kept.all():
        return data, degrees
    left = ", ".join(map(str, np.flatnonzero(~kept).tolist()))
    warnings.warn(f"no bin of '{path.name}' is known in view {left}, which is left out", Doubt, stacklevel=2)
    return {name: None if values is None else values[kept] for name, values in data.items()}, degrees[kept]


def without_drift(path: Path, data: dict[str, Any], air: int) -> dict[str, Any]:
    """Take the beam of each view from the bins at both borders of the detector, which see only air.

    Args:
        path: The file.
        data: What `measured` gave.
        air: Number of bins at either border; those that are unknown in some view are passed over.

    Returns:
        The attributes sinogram and I0 of a `scan.Scan`, anew.

    Raises:
        InputError: More bins than there are, none that is known in every view, or the object reaches into them; or
            line integrals are negative.
    """
    sinogram, weights, I0 = data["sinogram"], data["weights"], data.get("I0")
    n = sinogram.shape[1]
    if not 0 < 2 * air < n:
        raise InputError(
            f"air must be 1 to {(n - 1) // 2} of the {n} bins of '{path}' at either border, got {air}",
            do="give fewer bins, or 0 for a beam that does not drift",
        )
    strip = [b for b in (*range(air), *range(n - air, n)) if weights is None or weights[:, b].all()]
    if not strip:
        raise InputError(f"none of the {2 * air} bins of air of '{path}' is known in every view", do="give more bins")
    corrected = air_normalised(torch.from_numpy(sinogram), strip).numpy()
    if corrected.mean() < 0:
        raise InputError(
            f"line integrals are -log(I / I0), and those of '{path}' are negative on average ({corrected.mean():.3g}), "
            "with the beam of its bins of air",
            do="change their sign",
        )
    reach = float(np.abs(corrected[:, strip].mean(0)).max() / corrected.max())
    if not reach < NOT_AIR:
        raise InputError(
            f"the {air} bins of air at either border of '{path}' must stay below {100 * NOT_AIR:.0f} % of the largest "
            f"line integral, and they reach {100 * reach:.0f} %",
            do="give fewer bins",
        )
    if I0 is None:
        return {"sinogram": corrected}
    return {"sinogram": corrected, "I0": I0 * np.exp((corrected - sinogram)[:, :1])}


def _filled(
    path: Path, key: str, values: np.ndarray, bad: np.ndarray, mask_bad: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    if not bad.any():
        return values, None
    blank = bad.all(1)
    if blank.all() or (blank.any() and not mask_bad):
        view = int(np.flatnonzero(blank)[0])
        raise InputError(
            f"'{key}' of '{path}' has no known bin in view {view}",
            do="correct it" if blank.all() else "leave this view out, or give mask_bad=True, which leaves it out",
        )
    if not mask_bad:
        columns = np.flatnonzero(bad.any(0))
        listed = ", ".join(map(str, columns[:8])) + (", ..." if len(columns) > 8 else "")
        raise InputError(
            f"'{key}' of '{path}' is unknown in detector columns {listed} ({len(columns)} of {bad.shape[1]})",
            do="give mask_bad=True, which fills them in along the detector with weight 0",
        )
    bins, filled = np.arange(bad.shape[1]), values.copy()
    filled[blank] = 0.0
    for view in np.flatnonzero(bad.any(1) & ~blank):
        good = ~bad[view]
        filled[view] = np.interp(bins, bins[good], values[view, good])
    return filled, 1.0 - bad
