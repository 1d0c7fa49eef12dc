"""Where the rotation axis of a parallel-beam scan falls on its detector, from views that look at each other.

A view and the one from the opposite side are mirror images, a(i) = b(2 c - i) with the axis at bin c, so that their
convolution peaks at 2 c.
"""

import numpy as np

from nfsolve._core.errors import InputError

WIDEST_GAP = np.radians(7)
PAIRS = 12


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


def _mirror(a: np.ndarray, b: np.ndarray) -> float:
    """Find c so that a(i) = b(2 c - i) fits best: the peak of the convolution, by a parabola between bins."""
    size = len(a) + len(b) - 1
    product = np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)
    peak = int(np.clip(product.argmax(), 1, len(product) - 2))
    left, top, right = product[peak - 1 : peak + 2]
    bend = left - 2 * top + right
    return (peak + (0.5 * (left - right) / bend if bend < 0 else 0.0)) / 2
