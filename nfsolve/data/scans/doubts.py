"""What speaks against a scan that was read: angles, axis, beam and bins that its own line integrals contradict.

Nothing is changed here; each doubt is a sentence for the user. Line integrals of one object are bound to each other: of
a parallel beam each view holds the same mass, and the centre of that mass moves as c + x cos t + y sin t about the axis
at c (F. Natterer, "The Mathematics of Computerized Tomography", 1986, section II.4, the first two of the range
conditions); and rays along one line measure the same, whatever the beam.
"""

import math

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.data.scans.axis import axis_by_mass, axis_of, circle_of_mass, disagreement
from nfsolve.forward.radon import FanBeam, ParallelBeam

OFF_AXIS = 0.3  # bins by which the estimate of the rotation axis may differ from what a file says
DOUBTFUL = 1e-3  # relative squared difference of rays on one line that a true axis hardly leaves
DISAGREE = 2e-3  # the same, whatever the axis: then it is not the axis that is wrong
OTHER_WAY, CLEARLY = 2e-4, 8.0  # how much rays differ, and how many times less if the turn is reversed
OPAQUE = 15.0  # a line integral of exp(-15) = 3e-7 of the beam: no detector tells it from larger ones
NOT_AIR = 0.04  # of the largest line integral, at the border of the detector
FLAT = 0.15  # of its level: air changes less over the bins at the border
OUTERMOST = 2  # bins at a border that an object reaches into which is wider than the detector
RATIO = 0.9, 1.1  # what air has where intensities are divided by those of the beam
ALIKE, FEWEST_DRIFT = 0.9, 8  # correlation of both borders of a beam that drifts, and views that tell it
UNLIKE = 0.1  # relative difference of the mass of a view, or of the mean of a bin, from its neighbours'
OUTLYING = 8.0  # typical deviations beyond which something does not belong to the others
SPIKE = 0.15  # of the largest line integral
LISTED = 6
MANY_VIEWS, MANY_BINS = 48, 64  # in fewer, sound objects are as sudden as faults
ROUGH, STAYS = 0.01, 0.7  # roughness of all views alike, of the largest line integral and of that which changes
BESIDE = 3.0  # bins from the axis
HALF_FANS = 2.5, 4.0, 6.0, 9.0, 13.0, 18.0, 25.0  # degrees
WIDER = 0.4, 0.5, 0.6, 0.7, 0.8, 1.25, 1.5, 1.75, 2.0, 2.5  # times as wide may a fan be
APART = 0.4  # of the squared difference of neighbours, by which views differ that should be alike
MISSED, LEAST_MISS = 0.6, 0.05  # of the movement of the centres of mass is not about an axis, and bins that matter
MEDIAN_OF_SQUARES = 0.4549  # of a normal variable of variance 1


class Doubt(UserWarning):
    """A scan was read, but something speaks against it."""


def doubts(
    name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, stated: bool, overexposed: bool = False
) -> list[str]:
    """Say what speaks against a scan.

    Args:
        name: Of the file.
        sinogram: Line integrals (views, bins).
        geometry: Views and detector, as they were read.
        stated: Whether the rotation axis is what the file or the user says, and not an estimate.
        overexposed: Whether it was said that the detector was, so that levels in air are known to be wrong.

    Returns:
        Sentences; none where all is well.
    """
    air, level = (True, "") if overexposed else _air(sinogram, geometry)
    beam_alike = air and not level and not overexposed
    found = [
        _of_size(name, sinogram),
        level and f"of '{name}' {level}",
        _of_views(name, sinogram, geometry, beam_alike),
    ]
    found += [
        _of_bins(name, sinogram, geometry),
        _of_spikes(name, sinogram),
        (air and not level and _of_the_order(name, sinogram, geometry))
        or _of_lines(name, sinogram, geometry, air, stated)
        or _of_the_ends(name, sinogram, geometry),
    ]
    return [sentence for sentence in found if sentence]


def axis_estimated(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> float:
    """Estimate the rotation axis as `axis_of`; where that fails, say what the borders of the detector tell of why.

    Args:
        name: Of the file.
        sinogram: Line integrals (views, bins).
        geometry: Views and detector.

    Returns:
        The axis in bins from the middle of the first bin.

    Raises:
        InputError: It could not be estimated.
    """
    try:
        return axis_of(sinogram, geometry)
    except InputError as error:
        level = _air(sinogram, geometry)[1]
        if not level:
            raise
        raise InputError(
            f"the rotation axis of '{name}' is estimated from rays that run along one line, which must agree, but "
            + level,
            do="then the axis can be estimated, or give it in bins by axis= (--axis)",
        ) from error


def _of_size(name: str, sinogram: np.ndarray) -> str:
    largest = float(sinogram.max())
    if largest <= OPAQUE:
        return ""
    return (
        f"line integrals -log(I / I0) of '{name}' reach {largest:.4g}, and no detector measures exp(-{largest:.3g}) of "
        "its beam: if they were scaled, the image is scaled likewise"
    )


def _air(sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> tuple[bool, str]:
    """Tell whether the borders of the detector see air, and say it where they do not."""
    n, largest = sinogram.shape[1], float(sinogram.max())
    width = max(4, n // 16)
    if n < 4 * width:
        return True, ""
    borders = {1: sinogram[:, -width:], -1: sinogram[:, :width]}
    levels = {side: float(np.quantile(np.abs(strip.mean(1)), 0.9)) for side, strip in borders.items()}
    if max(levels.values()) < NOT_AIR * largest:
        return True, ""
    flat = [abs(np.ptp(np.median(strip, 0))) < FLAT * abs(np.median(strip)) for strip in borders.values()]
    level = float(np.median(np.concatenate(list(borders.values()), 1)))
    right, left = (strip.mean(1) for strip in borders.values())
    stays = all(flat) and min(levels.values()) > NOT_AIR * largest
    varies = np.ptp(left) > abs(level) / 2
    if (abs(level) < NOT_AIR * largest or (stays and varies)) and _alike(left, right):
        return True, (
            f"line integrals at both borders of the detector rise and fall together, by {np.ptp(left):.3g} from view "
            f"to view ({np.ptp(left) / largest:.0%} of the largest), as if the beam drifted or views were exposed "
            f"differently; if these bins see air, give air={width} (--air), which takes the beam from them"
            + ("; if they do not, the object is wider than what is seen" if stays else "")
        )
    if stays:
        ratio = RATIO[0] < level < RATIO[1]
        return True, (
            f"the line integrals stay at {level:.3g} at both borders of the detector ({abs(level) / largest:.0%} of "
            f"the largest), as if the beam were not that of the flat field; if these bins see air, give air={width} "
            "(--air), which takes the beam from them"
            + (", unless these are ratios of intensities, whose logarithms are wanted" if ratio else "")
            + "; if they do not, the object is wider than what is seen"
        )
    far = [side for side in borders if side * geometry.centre > -geometry.spacing / 2]  # the other is seen from there
    last = {side: strip[:, -OUTERMOST:] if side == 1 else strip[:, :OUTERMOST] for side, strip in borders.items()}
    reach = {side: float(np.quantile(np.abs(strip.mean(1)), 0.9)) for side, strip in last.items()}
    cut = max(reach[side] for side in (far if _whole(geometry) else borders))
    if cut < 2 * NOT_AIR * largest:
        return max(reach.values()) < 2 * NOT_AIR * largest, ""
    return False, (
        f"line integrals reach {cut:.3g} at the border of the detector ({cut / largest:.0%} of the largest): the "
        "object is wider than what is seen, so values near the border of the image are not to be trusted"
    )


def _alike(left: np.ndarray, right: np.ndarray) -> bool:
    """Return whether the levels of both borders (views,) change together from view to view, by the same."""
    if len(left) < FEWEST_DRIFT or min(left.std(), right.std()) == 0:
        return False
    return bool(np.corrcoef(left, right)[0, 1] > ALIKE and left.std() < 2 * right.std() < 4 * left.std())


def _whole(geometry: ParallelBeam | FanBeam) -> bool:
    turned = np.sort(np.asarray(geometry.angles) % (2 * math.pi))
    gaps = np.diff(turned, append=turned[0] + 2 * math.pi)
    return bool(gaps.max() < math.radians(40))


def _of_views(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, air: bool) -> str:
    """Say which views hold another mass than those beside them."""
    if len(sinogram) < MANY_VIEWS or not air:
        return ""
    period = math.pi if isinstance(geometry, ParallelBeam) else 2 * math.pi
    order = np.argsort(np.asarray(geometry.angles) % period, kind="stable")
    mass = sinogram.sum(1)[order]
    beside = _running_median(mass, 7)
    away = (mass - beside) / np.maximum(beside, UNLIKE * np.abs(mass).max())
    typical = 1.4826 * float(np.median(np.abs(away)))
    odd = np.flatnonzero(np.abs(away) > max(UNLIKE, OUTLYING * typical))
    if len(odd):
        views = _listed(sorted(order[odd].tolist()))
        return (
            f"the attenuation in some views of '{name}' is up to {np.abs(away[odd]).max():.0%} off that in those "
            f"beside them, as if the beam had changed: view {views}; leave them out, or give --air"
        )
    spread = float(np.std(mass) / np.mean(mass))
    if isinstance(geometry, ParallelBeam) and spread > UNLIKE / 2:
        return (
            f"every view of a parallel beam measures the same mass, but that of '{name}' changes by {spread:.0%} "
            "(standard deviation) from view to view: the beam may drift (--air), or the object not be seen whole"
        )
    return ""


def _of_bins(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> str:
    """Say which bins respond unlike their neighbours in all views: they leave rings.

    Near the axis what is small and does not move looks the same, so that nothing is said of bins there; nor where there
    are so few bins that objects are as sharp as rings.
    """
    if len(sinogram) < MANY_VIEWS or sinogram.shape[1] < MANY_BINS:
        return ""
    mean = np.median(sinogram, 0)
    away = np.abs(mean - _running_median(mean, 5))
    typical = 1.4826 * float(np.median(away[mean > 0.1 * mean.max()])) if (mean > 0).any() else 0.0
    axis = (geometry.n_bins - 1) / 2 - geometry.centre / geometry.spacing
    apart = np.abs(np.arange(len(mean)) - axis) > BESIDE
    odd = np.flatnonzero(apart & (away > max(UNLIKE * float(mean.max()), OUTLYING * typical)))
    if not len(odd):
        return _of_all_bins(name, sinogram, apart)
    return (
        f"some bins of '{name}' respond unlike their neighbours in most views, which leaves rings in the image: bin "
        f"{_listed(odd.tolist())}; give rings=9 (--rings), which removes them"
    )


def _of_all_bins(name: str, sinogram: np.ndarray, apart: np.ndarray) -> str:
    """Say where all bins respond a little unlike each other: what stays from view to view is rough along the bins."""
    rough = np.diff(sinogram, 2, 1)[:, apart[1:-1]]
    stays = np.median(rough, 0)
    size, changes = (1.4826 * float(np.median(np.abs(part))) / math.sqrt(6) for part in (stays, rough - stays))
    if size < max(ROUGH * float(sinogram.max()), STAYS * changes):
        return ""
    return (
        f"bins of '{name}' respond unlike each other, by {size:.2g} ({size / sinogram.max():.1%} of the largest line "
        "integral) in all views alike, which leaves rings in the image; give rings=9 (--rings), which removes them"
    )


def _of_spikes(name: str, sinogram: np.ndarray) -> str:
    """Say where single line integrals stand out of their view and of the views beside it."""
    if len(sinogram) < MANY_VIEWS or sinogram.shape[1] < MANY_BINS:
        return ""
    along = np.abs(sinogram - _running_median(sinogram, 5))
    across = np.abs(sinogram - _running_median(sinogram.T, 5).T)
    away = np.minimum(along, across)
    levels = np.quantile(sinogram, (0.25, 0.5, 0.75, 0.9))
    parts = [along[sinogram >= level] for level in levels]  # where less of the beam is left, there is more noise
    typical = 1.4826 * max(float(np.median(part)) for part in parts)
    odd = np.argwhere(away > max(SPIKE * float(np.quantile(sinogram, 0.99)), OUTLYING * typical))
    if not 0 < len(odd) < len(sinogram) / 2:  # a wire stands out in every view
        return ""
    places = _listed([f"{bin_} of view {view}" for view, bin_ in odd.tolist()])
    return (
        f"{len(odd)} line integrals of '{name}' stand out of all about them, such as bin {places}: a particle hit the "
        "detector there, or a mark for missing values; write NaN in their place, and give mask_bad=True (--mask-bad)"
    )


def _of_lines(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, air: bool, stated: bool) -> str:
    """Say where rays along one line, or the centres of mass of views, contradict axis or angles."""
    middle = (geometry.n_bins - 1) / 2
    here = middle - geometry.centre / geometry.spacing
    try:
        axis = axis_of(sinogram, geometry)
    except InputError:
        return ""  # no line is measured twice, and the arc is short: what the file says cannot be checked
    least = disagreement(sinogram, geometry, axis)
    if math.isnan(least):  # hardly any rays lie on one line; centres of mass tell of the axis alone
        by_mass = (
            axis_by_mass(sinogram, np.asarray(geometry.angles)) if isinstance(geometry, ParallelBeam) and air else None
        )
        if stated and by_mass is not None and abs(by_mass[0] - here) > max(OFF_AXIS, OUTLYING * by_mass[1]):
            return _axis_in_words(name, here, by_mass[0], "the centres of mass of the views move about")
        return ""
    noise = 2 * _variance(sinogram) / float(np.square(sinogram).mean())
    if air and least > OTHER_WAY + noise:
        turned = _of_the_turn(name, sinogram, geometry, least) if isinstance(geometry, FanBeam) else ""
        turned = turned or _of_the_fan(name, sinogram, geometry, axis, least)
        if turned:
            return turned
    if least > DISAGREE + 2 * noise and air:
        distances = ", and the distances of source and detector" if isinstance(geometry, FanBeam) else ""
        return (
            f"rays of '{name}' that run along one line differ by {math.sqrt(least):.0%}, wherever the axis is; check "
            f"the angles, their unit and order{distances}"
        )
    if not stated or abs(axis - here) <= OFF_AXIS:
        return ""
    if disagreement(sinogram, geometry, here) <= max(DOUBTFUL, 4 * least):
        return ""
    return _axis_in_words(name, here, axis, "opposite rays agree best about")


def _axis_in_words(name: str, here: float, axis: float, why: str) -> str:
    return (
        f"'{name}' puts the rotation axis on bin {here:.2f} (the middle of the detector, where it says nothing), but "
        f"{why} bin {axis:.2f}; give find_axis=True (--find-axis) to take that"
    )


def _of_the_turn(name: str, sinogram: np.ndarray, geometry: FanBeam, least: float) -> str:
    """Say that rays along one line differ less, were the turn the other way round."""
    flipped = sinogram[:, ::-1]
    try:
        other = disagreement(flipped, geometry, axis_of(flipped, geometry))
    except InputError:
        return ""
    if not other < least / CLEARLY:
        return ""
    return (
        f"rays of '{name}' that run along one line differ by {math.sqrt(least):.1%}, and by {math.sqrt(other):.1%} if "
        "the object turns the other way; negate the angles, or reverse the bins, if that is so"
    )


def _of_the_fan(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, axis: float, least: float) -> str:
    """Say that rays along one line differ less, were the fan wider or narrower, or the beam a fan."""
    half = geometry.n_bins * geometry.spacing / 2
    widths = [1 / math.tan(math.radians(angle)) * half for angle in HALF_FANS]  # distances from the source
    if isinstance(geometry, FanBeam):
        widths = [geometry.source_detector_distance / factor for factor in WIDER]
    costs = {}
    for distance in widths:
        fan = FanBeam(geometry.angles, geometry.n_bins, geometry.spacing, distance, distance, geometry.centre)
        costs[distance] = disagreement(sinogram, fan, axis)
    best = min(costs, key=lambda distance: math.inf if math.isnan(costs[distance]) else costs[distance])
    if not costs[best] < least / CLEARLY:
        return ""
    fan = f"a fan of about {2 * math.degrees(math.atan(half / best)):.0f} degrees"
    said = "'parallel' says"
    if isinstance(geometry, FanBeam):
        stated = 2 * math.degrees(math.atan(half / geometry.source_detector_distance))
        said = f"the distances and the spacing say, {stated:.0f}"
    return (
        f"rays of '{name}' that run along one line agree {math.sqrt(least / max(costs[best], 1e-300)):.0f} times "
        f"better with {fan} than with what {said}; check 'geometry', the distances and 'spacing'"
    )


def _of_the_ends(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> str:
    """Say where the last angle repeats the first, but the views do not: angles were spread with their end."""
    angles = np.asarray(geometry.angles)
    turn = math.pi if isinstance(geometry, ParallelBeam) else 2 * math.pi
    if len(angles) < FEWEST_DRIFT:
        return ""
    steps, span = np.diff(angles), angles[-1] - angles[0]
    turns = round(span / turn)
    if np.ptp(steps) > 1e-3 * abs(steps.mean()) or not turns or abs(span - turns * turn) > 0.1 * abs(steps.mean()):
        return ""
    first = sinogram[0]
    if turns % 2 and turn < 4:  # the opposite view is seen from the other side
        bins = np.arange(len(first))
        first = np.interp(len(first) - 1 - 2 * geometry.centre / geometry.spacing - bins, bins, first)
    noise = 2 * _variance(sinogram)
    beside = float(np.square(np.diff(sinogram, axis=0)).mean(1)[[0, -1]].mean()) - noise
    ends = float(np.square(sinogram[-1] - first).mean()) - noise
    if not (beside > 4 * noise and ends > APART * beside):
        return ""
    return (
        f"the last angle of '{name}' is {math.degrees(span):.5g} degrees from the first, where it measures the same, "
        "but these views differ as neighbours do: if the angles were spread evenly over all views, leave out the end "
        "(endpoint=False); a panel that is turned in its plane (--roll) does the same"
    )


def _of_the_order(name: str, sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> str:
    """Say where the centres of mass of the views do not move as c + x cos t + y sin t."""
    found = None
    if isinstance(geometry, ParallelBeam) and len(sinogram) >= MANY_VIEWS:
        found = circle_of_mass(sinogram, np.asarray(geometry.angles))
    if found is None:
        return ""
    misses, moves = found
    noise = math.sqrt(_variance(sinogram) * len(sinogram[0]) ** 3 / 12) / max(float(np.median(sinogram.sum(1))), 1e-300)
    if misses < max(MISSED * moves, LEAST_MISS, OUTLYING / 2 * noise):
        return ""
    return (
        f"the centres of mass of the views of '{name}' move by {moves:.2g} bins, but not as those of one object about "
        "an axis, as if views and angles were not in the same order; check the angles"
    )


def _variance(sinogram: np.ndarray) -> float:
    """Estimate the variance of the noise, from second differences along the bins, robustly."""
    return float(np.median(np.square(np.diff(sinogram, 2, 1)))) / (6 * MEDIAN_OF_SQUARES)


def _running_median(values: np.ndarray, width: int) -> np.ndarray:
    """Return the median of ``width`` neighbours along the last axis, reflected at the ends."""
    pad = [(0, 0)] * (values.ndim - 1) + [(width // 2, width // 2)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, pad, mode="reflect"), width, -1)
    return np.median(windows, -1)


def _listed(items: list) -> str:
    return ", ".join(map(str, items[:LISTED])) + (", ..." if len(items) > LISTED else "")
