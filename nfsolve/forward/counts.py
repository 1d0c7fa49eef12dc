"""From counts of photons to line integrals and back, and the residuals that match their noise.

A ray with line integral p of the attenuation is counted n ~ Poisson(I0 exp(-p)) times (Beer-Lambert). The Poisson
residual is the signed square root of the deviance, whose half is the negative log-likelihood up to a constant.
Source: P. McCullagh, J. A. Nelder, "Generalized Linear Models", 1989, section 2.3; H. Erdogan, J. A. Fessler, "Ordered
subsets algorithms for transmission tomography", 1999, equation 2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nfsolve._core.errors import InputError

# 2 (exp(d) - 1 - d) / d^2 = sum of 2 d^k / (k + 2)!; with 13 terms exact to 1e-15 below 1/2.
SERIES = tuple(2 / math.factorial(k + 2) for k in range(13))
SERIES_BELOW = 0.5


def line_integrals_of_counts(counts: Tensor, flat: Tensor, dark: Tensor | float = 0.0) -> Tensor:
    """Correct counts by flat and dark fields, and take the logarithm.

    Args:
        counts: Counts behind the object, (views, bins).
        flat: Counts without an object, of a shape that broadcasts against ``counts``.
        dark: Counts without a beam, likewise.

    Returns:
        Line integrals -log((counts - dark) / (flat - dark)), (views, bins).

    Raises:
        InputError: Counts do not exceed the dark field, or the flat field does not.
    """
    beam, rest = torch.as_tensor(flat - dark), counts - dark
    if not (beam > 0).all():
        raise InputError(
            "the flat field must be above the dark field in every bin", do="check which is which, and mask dead bins"
        )
    bad = int((~(rest > 0)).sum())
    if bad:
        raise InputError(
            f"{bad} of {rest.numel()} counts are zero or below the dark field, and have no logarithm",
            do="mask these bins, or fit the counts themselves by their Poisson likelihood",
        )
    return -torch.log(rest / beam)


def air_normalised(sinogram: Tensor, air: Sequence[int]) -> Tensor:
    """Remove the drift of the beam: divide the transmission of each view by its mean in bins that see only air.

    Args:
        sinogram: Line integrals (views, bins).
        air: Numbers of the bins beside the object; negative ones count from the end.

    Returns:
        Line integrals (views, bins), about zero in these bins.

    Raises:
        InputError: No bins, or a bin outside the detector.
    """
    bins = sinogram.shape[1]
    if not air or not all(-bins <= b < bins for b in air):
        raise InputError(
            f"the bins of air must be at least one of the detector's {bins}, got {list(air)}",
            do="number bins from 0, or from -1 backwards",
        )
    return sinogram + sinogram[:, list(air)].neg().exp().mean(1, keepdim=True).log()


def poisson_counts(p: Tensor, I0: Tensor | float, generator: torch.Generator) -> Tensor:
    """Draw counts behind an object.

    Args:
        p: Line integrals, any shape.
        I0: Mean counts without an object, of a shape that broadcasts against ``p``.
        generator: Source of randomness, on the CPU.

    Returns:
        Counts n ~ Poisson(I0 exp(-p)), like ``p``.
    """
    mean = I0 * torch.exp(-p)
    # in double precision: above 2^24 single precision skips integers
    return torch.poisson(mean.double().cpu(), generator=generator).to(p)


def counted_anew(p: Tensor, I0: float, seed: int) -> tuple[Tensor, Tensor]:
    """Measure line integrals by counting photons.

    Args:
        p: Line integrals without noise, any shape.
        I0: Mean counts without an object.
        seed: Seed of the noise.

    Returns:
        Line integrals -log(n / I0), as if of one photon where none is counted; and the counts n. Both like ``p``.
    """
    counts = poisson_counts(p, I0, torch.Generator().manual_seed(seed))
    return line_integrals_of_counts(counts.clamp(min=1), torch.full_like(counts, I0)), counts


def gaussian_residual(q: Tensor, p: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Weigh a misfit of line integrals by its noise; half the squared sum is the negative log-likelihood.

    Args:
        q: Predicted line integrals, (n, 1).
        p: Measured line integrals, (n, 1).
        weights: Inverse variances, (n, 1) or a number; for counts n of photons the variance of p is about 1 / n.

    Returns:
        Residuals sqrt(weights) (q - p), (n, 1); of unit variance at the truth.
    """
    return torch.as_tensor(weights, dtype=q.dtype, device=q.device).sqrt() * (q - p)


def poisson_residual(q: Tensor, counts: Tensor, I0: Tensor | float) -> Tensor:
    """Take the signed square root of the Poisson deviance; half the squared sum is the negative log-likelihood.

    With d = log(I0 / n) - q the deviance is 2 n (exp(d) - 1 - d), and 2 I0 exp(-q) for n = 0. Near d = 0 this tends to
    `gaussian_residual` with weights n, so that a predicted line integral above the measured one gives a positive sign.

    Args:
        q: Predicted line integrals, (n, 1).
        counts: Measured counts n >= 0, (n, 1).
        I0: Mean counts without an object, (n, 1) or a number.

    Returns:
        Residuals (n, 1); of mean square about 1 at the truth where more than a few counts are expected.
    """
    none = counts <= 0
    n = torch.where(none, 1.0, counts)
    ratio = torch.as_tensor(I0, dtype=q.dtype, device=q.device) / n
    d = ratio.log() - q
    near = d.abs() < SERIES_BELOW
    small = torch.where(near, d, 0.0)
    series = torch.full_like(d, SERIES[-1])
    for coefficient in reversed(SERIES[:-1]):
        series = series * small + coefficient
    large = torch.where(near | none, 1.0, d)  # each branch of `where` must have finite derivatives everywhere
    closed = torch.sign(large) * (2 * (torch.expm1(large) - large)).sqrt()
    misfit = torch.where(near, small * series.sqrt(), closed)
    empty = (2 * ratio).sqrt() * torch.exp(-q / 2)
    return -torch.where(none, empty, n.sqrt() * misfit)
