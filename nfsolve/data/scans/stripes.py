"""Ring artefacts: bins of a detector that respond unlike their neighbours leave stripes in the sinogram.

Source: N. T. Vo, R. C. Atwood, M. Drakopoulos, "Superior techniques for eliminating ring artifacts in X-ray
micro-tomography", Optics Express 26(22), 2018, algorithm 3.
"""

import numpy as np

from nfsolve._core.errors import InputError


def without_stripes(sinogram: np.ndarray, width: int) -> np.ndarray:
    """Remove stripes along the views.

    Sorted by size, the line integrals of neighbouring bins are alike; a bin that is not is brought to the median of
    those about it, rank by rank.

    Args:
        sinogram: Line integrals (views, bins).
        width: Bins over which the median is taken; more than twice the width of the stripes.

    Returns:
        Line integrals (views, bins).

    Raises:
        InputError: The width is not that of a window about a bin.
    """
    from scipy.ndimage import median_filter  # slow to import

    n = sinogram.shape[1]
    if not 3 <= width <= n:
        raise InputError(
            f"rings are removed by a median over 3 to {n} bins, the width of the detector, got {width}",
            do="give about three times the width of the widest stripe, or 0 to leave them",
        )
    order = sinogram.argsort(0, kind="stable")
    ranked = median_filter(np.take_along_axis(sinogram, order, 0), (1, width), mode="nearest")
    found = np.empty_like(ranked)
    np.put_along_axis(found, order, ranked, 0)
    return found
