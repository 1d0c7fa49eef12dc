"""Share of each detector bin in the shadow of a square pixel or cubic voxel.

Inside one pixel the rays count as parallel, so that its shadow on the detector is a trapezium (exact for parallel
beams, of second order in pixel / source for diverging ones). A voxel's shadow is the product of two.
Source: Y. Long, J. A. Fessler, J. M. Balter, "3D forward and back-projection for X-ray CT using separable
footprints", IEEE Trans. Medical Imaging 29(11), 2010.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softshrink

Axis = tuple[int, float, float]  # number of bins, spacing, centre
Part = Tensor | float


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
    first = torch.floor((position - half - left) / spacing)
    taps = math.ceil(float(2 * half.max()) / spacing) + 1
    bins = first.long()[:, None] + torch.arange(taps)
    edges = left + (first[:, None] + torch.arange(taps + 1)) * spacing - position[:, None]
    parts = half, (wide - narrow) / 2, curve_of(narrow)
    fractions = (risen(edges, *(part[:, None] for part in parts)) / wide[:, None]).diff(dim=1)
    return bins, torch.where((bins >= 0) & (bins < n_bins), fractions, 0.0)


def risen(u: Tensor, half: Part, plateau: Part, curve: Part) -> Tensor:
    """Integrate a shadow of height 1 on its plateau from its middle to u.

    Its edges fall over the length of its shorter sides. With d = u beyond the plateau, the integral is
    u - d |d| / (2 narrow), a form without differences of large numbers, however narrow the edges are.

    Args:
        u: Places, from the middle of the shadow; overwritten.
        half: Half the width of the shadow, (wide + narrow) / 2.
        plateau: Half the width of the plateau, (wide - narrow) / 2.
        curve: 1 / (2 narrow), finite where narrow is 0; see `curve_of`.

    Returns:
        Integrals, from -wide / 2 to wide / 2.
    """
    if isinstance(half, Tensor) and isinstance(plateau, Tensor):
        torch.clamp(u, -half, half, out=u)
        d = u - torch.clamp(u, -plateau, plateau)
        return u.sub_(d.abs().mul_(d).mul_(curve))
    d = softshrink(u.clamp_(-half, half), plateau)  # type: ignore[arg-type]
    return u.addcmul_(d, d.abs(), value=-curve)  # type: ignore[arg-type]


def curve_of(narrow: Tensor) -> Tensor:
    """Return 1 / (2 narrow); finite where narrow is 0, since the edges of a box have no length to fall over."""
    return 0.5 / narrow.clamp(min=1e-30)
