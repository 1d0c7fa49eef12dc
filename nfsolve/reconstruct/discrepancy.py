"""The weight of a prior from the noise of counts: that with which line integrals are fitted as well as noise allows.

V. A. Morozov's principle: the squared misfit over its variance is about 1 on average. An image also fits a part of the
noise, so that the best one leaves less: on seven made scans of 1e3 to 1e5 photons and on the Shepp-Logan head of 256
pixels, the best weight left 0.65 to 1.15. `TARGET` lies between; read off curves of the error against the weight, it is
within 0.5 dB of the best on most of these, and 1.4 dB below it on one. It was not tried on other scans.
Source: P. C. Hansen, "Rank-Deficient and Discrete Ill-Posed Problems", SIAM 1998, section 7.2.
"""

import math

from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.reconstruct.held_out import LARGEST, SMALLEST
from nfsolve.reconstruct.reconstruction import Linear
from nfsolve.reconstruct.total_variation import PrimalDual, step_for

TARGET = 0.85  # of the mean squared misfit over its variance
SLOPE = 0.6  # of its logarithm over that of the weight, about
ROUNDS, FIRST, NEXT = 6, 150, 60  # of the search, and iterations in the first and in each other
CLOSE = 0.04  # of the logarithm of the mean
FARTHEST = math.log(8.0)  # of one round


def weight_by_noise(
    A: Linear,
    sinogram: Tensor,
    counts: Tensor,
    shape: tuple[int, ...],
    contrast: float,
    start: float,
    weights: Tensor | None = None,
    largest: float = math.inf,
) -> float:
    """Choose the weight of `total_variation` by the noise of counts.

    Pixels must be so small that what they cannot fit is less than the noise, else the weight comes out too small.

    Args:
        A: Map, images (n, k) -> line integrals (m, k), with its adjoint.
        sinogram: Line integrals (m, 1).
        counts: Photons counted in each ray (m, 1), whose inverses are the variances.
        shape: Shape of the image.
        contrast: A typical large attenuation.
        start: Weight at which the search begins.
        weights: Weight of each ray in the fit (m, 1); those of 0 are not judged either. None weights all alike.
        largest: Upper bound of the image.

    Returns:
        The weight, between the ends of `weight_by_views`.

    Raises:
        InputError: No ray has counts.
    """
    known = counts > 0 if weights is None else (counts > 0) & (weights > 0)
    if not known.any():
        raise InputError("the weight is chosen by the noise of counts, and no ray has any", do="give the weight")
    low, high = math.log(SMALLEST * contrast), math.log(LARGEST * contrast)
    at = min(max(math.log(start), low), high)
    method = PrimalDual(A, sinogram, shape, math.exp(at), weights, largest=largest)
    iterate, tried = method.start(), []
    for round_ in range(ROUNDS):
        method.weight, method.step = math.exp(at), step_for(math.exp(at) / contrast)
        iterate = method.advanced(iterate, NEXT if round_ else FIRST)
        misfit = (A(iterate.x.reshape(-1, 1)) - sinogram)[known]
        apart = math.log(float((counts[known] * misfit.square()).mean()) / TARGET)
        if abs(apart) < CLOSE or (tried and at in (low, high) and tried[-1][0] == at):
            break
        slope = SLOPE
        if tried and at != tried[-1][0]:
            slope = min(max((apart - tried[-1][1]) / (at - tried[-1][0]), SLOPE / 3), 3 * SLOPE)
        tried.append((at, apart))
        at = min(max(at - min(max(apart / slope, -FARTHEST), FARTHEST), low), high)
    return math.exp(at)
