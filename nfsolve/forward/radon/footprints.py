"""Share of each detector bin in the shadow of a square pixel or cubic voxel.

Inside one pixel the rays count as parallel, so that its shadow on the detector is a trapezium (exact for parallel
beams, of second order in pixel / source for diverging ones). A voxel's shadow is the product of two.
Source: Y. Long, J. A. Fessler, J. M. Balter, "3D forward and back-projection for X-ray CT using separable
footprints", IEEE Trans. Medical Imaging 29(11), 2010.
"""

import math

import torch
from torch import Tensor

Axis = tuple[int, float, float]  # number of bins, spacing, centre


def shares(position: Tensor, sides: tuple[Tensor, Tensor], axis: Axis) -> tuple[Tensor, Tensor]:
    """Split the shadows of pixels over the bins of one detector axis.

    Args:
        position: Middles of the shadows on the detector, (n,).
        sides: Projected lengths of the two pairs of sides of each pixel, both (n,); the shadow is as wide as their
            sum, and its plateau as their difference.
        axis: Number of bins, spacing and centre.

    Returns:
        Bins (n, taps), and the fractions of the shadows inside them, (n, taps), zero for bins off the detector.
    """
    n_bins, spacing, centre = axis
    wide, narrow = torch.maximum(*sides), torch.minimum(*sides)
    half = (wide + narrow) / 2
    left = centre - n_bins * spacing / 2
    first = torch.floor((position - half - left) / spacing).long()
    taps = math.ceil(float(2 * half.max()) / spacing) + 1
    bins = first[:, None] + torch.arange(taps)
    edges = left + (first[:, None] + torch.arange(taps + 1)) * spacing - position[:, None]
    fractions = _fraction_below(edges, narrow[:, None], wide[:, None]).diff(dim=1)
    return bins, torch.where((bins >= 0) & (bins < n_bins), fractions, 0.0)


def _fraction_below(u: Tensor, narrow: Tensor, wide: Tensor) -> Tensor:
    """Fraction of a shadow below u from its middle: the integral of a trapezium."""
    narrow = torch.maximum(narrow, 1e-7 * wide)  # a ramp this steep is a box to 1e-7, and 0 / 0 is avoided

    def ramp_integral(z: Tensor) -> Tensor:
        return torch.where(z < 1, 0.5 * z.clamp(min=0) ** 2, z - 0.5)

    above, below = ((u + sign * narrow / 2) / wide + 0.5 for sign in (1, -1))
    return (ramp_integral(above) - ramp_integral(below)) * wide / narrow
