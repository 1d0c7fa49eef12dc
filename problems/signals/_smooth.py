"""Differences between neighbouring pixels of a field, as a penalty where the data do not determine it.

Of noise the first differences are penalised: total variation (Rudin, Osher & Fatemi, Physica D 60 (1992) 259), with
the colours of a pixel in one length, so that edges lie at the same place in all of them (Blomgren & Chan, IEEE Trans.
Image Process. 7 (1998) 304). Of missing pixels the second ones, which leave ramps alone (Lysaker, Lundervold & Tai,
IEEE Trans. Image Process. 12 (2003) 1579).
"""

from typing import Literal

from torch import Tensor

EDGE = 1e-3  # smaller differences of colours in [0, 1] count quadratically
PER_NOISE = 1.8  # weight of first differences over the standard deviation of the noise, for misfits summed over colours
MISSING = 0.005  # weight of second differences


def penalty(noise: float, colours: int) -> float:
    """Return the weight of the differences, beside a mean over pixels and colours; chosen on two pictures.

    Args:
        noise: Standard deviation of the noise, 0 where pixels are missing instead.
        colours: Number of colours.
    """
    return (PER_NOISE * noise if noise else MISSING) / colours


def root_variation(u: Tensor, order: Literal[1, 2]) -> Tensor:
    """Return residuals whose squares are the lengths of the differences at each pixel, ``(n, 1)``.

    Args:
        u: Picture ``(height, width, colours)``.
        order: 1 for first differences, 2 for the matrix of second ones.

    Returns:
        One for each pixel with neighbours on all sides that are needed.
    """
    down, right = u.diff(dim=0), u.diff(dim=1)
    if order == 1:
        squared = down[:, :-1].square() + right[:-1].square()
    else:
        twice = down.diff(dim=0)[:, 1:-1].square() + right.diff(dim=1)[1:-1].square()
        squared = twice + 2 * down.diff(dim=1)[1:, 1:].square()
    return (squared.sum(-1) + EDGE**2).pow(0.25).reshape(-1, 1)
