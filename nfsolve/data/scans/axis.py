"""Where the rotation axis of a scan falls on its detector, from lines that are measured from both sides.

Of a parallel beam, a view and the one from the opposite side are mirror images, a(i) = b(2 c - i) with the axis at bin
c, so that their convolution peaks at 2 c. Of a fan, or where the detector does not hold the whole object, the axis is
that about which each ray agrees best with the one that runs along the same line: the ray at the fan angle g of view t,
and that at -g of view t + pi - 2 g (Kak & Slaney 1988, section 3.4.3).
"""

import math

import numpy as np

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import FanBeam, ParallelBeam

WIDEST_GAP = np.radians(7)
PAIRS = 12
CUT = 0.05  # of the largest line integral, at a border of the detector: the object reaches over it
FEWEST = 0.02  # of the rays that must have a partner
IN_AIR = 0.05  # of the mean square of all rays: those that are compared must have met the object
SEARCHED = 120  # views that are compared
SPAN = np.radians(150)  # of views, below which their centres of mass do not tell the axis
FEWEST_VIEWS = 8  # whose centres of mass are compared


def axis_of(sinogram: np.ndarray, geometry: ParallelBeam | FanBeam) -> float:
    """Estimate the position of the rotation axis on the detector of a scan; that of the geometry is not used.

    Args:
        sinogram: Line integrals (views, bins).
        geometry: Views and detector.

    Returns:
        The axis in bins from the middle of the first bin.

    Raises:
        InputError: Too few lines are measured from both sides.
    """
    border = float(np.median(np.maximum(sinogram[:, 0], sinogram[:, -1])))
    if isinstance(geometry, ParallelBeam) and border < CUT * sinogram.max():
        angles = np.asarray(geometry.angles)
        try:
            return rotation_axis(sinogram, angles)
        except InputError:
            by_mass = axis_by_mass(sinogram, angles)
            if by_mass is None:
                raise
            return by_mass[0]
    order = np.argsort(np.asarray(geometry.angles) % (2 * math.pi), kind="stable")
    turned, views = (np.asarray(geometry.angles) % (2 * math.pi))[order], sinogram[order]
    n = sinogram.shape[1]
    coarse = np.arange(1.0, n - 1.0, max(1.0, n / 200))
    costs = [_disagreement(views, turned, geometry, axis) for axis in coarse]
    if not np.isfinite(costs).any():
        raise InputError(
            "the rotation axis is estimated from lines that are measured from both sides, but hardly any line is",
            do="give the axis in bins, counted from the middle of the first bin",
        )
    best, step = float(coarse[int(np.nanargmin(costs))]), float(coarse[1] - coarse[0]) if len(coarse) > 1 else 1.0
    while step > 0.01:
        step /= 2
        near = best + step * np.arange(-2, 3)
        best = float(near[int(np.nanargmin([_disagreement(views, turned, geometry, axis) for axis in near]))])
    return best


def disagreement(sinogram: np.ndarray, geometry: ParallelBeam | FanBeam, axis: float) -> float:
    """Return how far rays that run along one line differ, were the axis on this bin.

    Args:
        sinogram: Line integrals (views, bins).
        geometry: Views and detector.
        axis: Bins from the middle of the first bin.

    Returns:
        Mean squared difference over the mean square of these rays; NaN where too few of them met the object.
    """
    turned = np.asarray(geometry.angles) % (2 * math.pi)
    order = np.argsort(turned, kind="stable")
    return _disagreement(sinogram[order], turned[order], geometry, axis)


def _disagreement(views: np.ndarray, turned: np.ndarray, geometry: ParallelBeam | FanBeam, axis: float) -> float:
    """Return the squared difference of rays on one line over their squares; NaN where hardly any has met the object."""
    n = views.shape[1]
    away = np.arange(n) - axis
    fan = np.zeros(n)
    if isinstance(geometry, FanBeam):
        fan = np.arctan(away * geometry.spacing / geometry.source_detector_distance)
    some = slice(None, None, max(1, len(turned) // SEARCHED))
    angle = (turned[some, None] + math.pi - 2 * fan) % (2 * math.pi)
    column = np.broadcast_to(axis - away, angle.shape)
    closed = np.concatenate([turned, [turned[0] + 2 * math.pi]])
    above = np.searchsorted(closed, angle).clip(1, len(turned))
    gap = closed[above] - closed[above - 1]
    share = (angle - closed[above - 1]) / np.maximum(gap, 1e-12)
    known = (gap < WIDEST_GAP) & (angle >= turned[0]) & (column >= 0) & (column <= n - 1)
    if known.mean() < FEWEST:
        return math.nan
    left = np.floor(column).astype(int).clip(0, n - 2)
    right_share = column - left

    def along(view: np.ndarray) -> np.ndarray:
        return (1 - right_share) * views[view, left] + right_share * views[view, left + 1]

    partner = (1 - share) * along(above - 1) + share * along(above % len(turned))
    own = views[some]
    energy = np.square(own[known]).mean()
    if energy <= IN_AIR * np.square(views).mean():
        return math.nan
    return float(np.square((own - partner)[known]).mean() / energy)


def rotation_axis(sinogram: np.ndarray, angles: np.ndarray) -> float:
    """Estimate the position of the rotation axis on the detector of a parallel-beam scan.

    Args:
        sinogram: Line integrals (views, bins), of an object inside the detector in every view.
        angles: Angle of each view, (views,), in radians.

    Returns:
        The axis in bins from the middle of the first bin; accurate to a tenth of a bin or better.

    Raises:
        InputError: No two views are opposite to within 7 degrees.
    """
    order = np.argsort(angles, kind="stable")  # the first of a pair decides the sign of its gap
    first, second = (order[k] for k in np.triu_indices(len(angles), 1))
    gaps = (angles[second] - angles[first]) % (2 * np.pi) - np.pi
    nearest = np.argsort(np.abs(gaps), kind="stable")[:PAIRS]
    nearest = nearest[np.abs(gaps[nearest]) < WIDEST_GAP]
    if not len(nearest):
        raise InputError(
            "the rotation axis is estimated from opposite views, but no two views are opposite to within 7 degrees",
            do="give the axis in bins, counted from the middle of the first bin",
        )
    axes = np.array([_mirror(sinogram[first[k]], sinogram[second[k]]) for k in nearest])
    # views that are not quite opposite have rotated meanwhile: the estimate moves in proportion to the gap
    gap = gaps[nearest]
    if np.ptp(gap) < 1e-6:
        return float(axes.mean())
    return float(np.polynomial.polynomial.polyfit(gap, axes, 1)[0])


def axis_by_mass(sinogram: np.ndarray, angles: np.ndarray) -> tuple[float, float] | None:
    """Estimate the axis of a parallel-beam scan by the centres of mass of its views, c + x cos t + y sin t.

    Args:
        sinogram: Line integrals (views, bins), of an object inside the detector in every view.
        angles: Angle of each view, (views,), in radians.

    Returns:
        The axis in bins from the middle of the first bin, and its standard error; None where the views span less than
        `SPAN` or are too few, so that a sine and a constant can hardly be told apart.
    """
    mass = sinogram.sum(1)
    turned = np.sort(angles % np.pi)
    gaps = np.diff(turned, append=turned[0] + np.pi)
    if len(angles) < FEWEST_VIEWS or np.pi - gaps.max() < SPAN or not (mass > 0).all():
        return None
    centres = sinogram @ np.arange(sinogram.shape[1]) / mass
    columns = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], 1)
    found, *_ = np.linalg.lstsq(columns, centres, rcond=None)
    variance = np.square(columns @ found - centres).sum() / (len(angles) - 3)
    return float(found[0]), float(np.sqrt(variance * np.linalg.inv(columns.T @ columns)[0, 0]))


def circle_of_mass(sinogram: np.ndarray, angles: np.ndarray) -> tuple[float, float] | None:
    """Return how far the centres of mass of the views of a parallel beam miss c + x cos t + y sin t, and move at all.

    Args:
        sinogram: Line integrals (views, bins), of an object inside the detector in every view.
        angles: Angle of each view, (views,), in radians.

    Returns:
        Root mean squares of what is left, and of the distances from the mean, in bins; None where a view has no mass.
    """
    mass = sinogram.sum(1)
    if not (mass > 0).all():
        return None
    centres = sinogram @ np.arange(sinogram.shape[1]) / mass
    columns = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], 1)
    left = centres - columns @ np.linalg.lstsq(columns, centres, rcond=None)[0]
    return float(np.sqrt(np.square(left).mean())), float(centres.std())


def _mirror(a: np.ndarray, b: np.ndarray) -> float:
    """Find c so that a(i) = b(2 c - i) fits best: the peak of the convolution, by a parabola between bins."""
    size = len(a) + len(b) - 1
    product = np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)
    peak = int(np.clip(product.argmax(), 1, len(product) - 2))
    left, top, right = product[peak - 1 : peak + 2]
    bend = left - 2 * top + right
    return (peak + (0.5 * (left - right) / bend if bend < 0 else 0.0)) / 2
