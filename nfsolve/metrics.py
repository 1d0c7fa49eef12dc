"""Scores of a field against a reference: relative L2, maximum error, PSNR, SNR, SSIM, intersection over union.

Tensors go in, Python floats come out; different shapes and values that are not finite are errors, not scores.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve._core.errors import InputError

SSIM_SIGMA = 1.5  # Wang et al. 2004, section III-C: circular Gaussian window of 11 x 11 pixels, sd 1.5
SSIM_RADIUS = 5
SSIM_K1, SSIM_K2 = 0.01, 0.03
LITTLE = 0.1  # variation of a reference, relative to its size, below which a relative error says little
CONSTANT = 1e-14  # and below which it is rounding


def relative_l2(u: Tensor, reference: Tensor) -> float:
    """Return the relative error ||u - reference|| / ||reference|| in the Euclidean norm over all entries.

    Args:
        u: Values, any shape.
        reference: Reference values, the same shape.

    Returns:
        The relative error.

    Raises:
        InputError: Shapes differ, a value is not finite, or the reference is zero everywhere.
    """
    u, reference = _pair(u, reference)
    norm = _norm(reference)
    if norm == 0:
        raise InputError(
            "A relative error needs a reference that is not zero everywhere, but this one is",
            do="use max_error",
        )
    return _norm(u - reference) / norm


def relative_to_variation(u: Tensor, reference: Tensor) -> float:
    """Return the error ||u - reference|| / ||reference - mean||, which is 1 for the best constant.

    Args:
        u: Values, any shape.
        reference: Reference values, the same shape.

    Returns:
        The error; not a number where the reference is constant, and where it varies by more than a tenth of its size,
        so that its relative error says as much.

    Raises:
        InputError: Shapes differ or a value is not finite.
    """
    u, reference = _pair(u, reference)
    variation = _norm(reference - reference.double().mean())
    little = CONSTANT < variation / (_norm(reference) or 1.0) < LITTLE
    return _norm(u - reference) / variation if little else math.nan


def max_error(u: Tensor, reference: Tensor) -> float:
    """Return the largest absolute difference over all entries.

    Args:
        u: Values, any shape.
        reference: Reference values, the same shape.

    Returns:
        The largest absolute difference.

    Raises:
        InputError: Shapes differ or a value is not finite.
    """
    u, reference = _pair(u, reference)
    return float((u - reference).abs().max())


def psnr(image: Tensor, truth: Tensor, peak: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(peak^2 / mean squared error), in decibel.

    Args:
        image: Values, any shape.
        truth: True values, the same shape.
        peak: Largest possible value of the signal.

    Returns:
        The ratio in dB; infinity for identical values.

    Raises:
        InputError: Shapes differ or a value is not finite.
    """
    image, truth = _pair(image, truth)
    return _decibel(peak, _norm(image - truth) / math.sqrt(image.numel()))


def snr(signal: Tensor, truth: Tensor) -> float:
    """Return the signal-to-noise ratio, 10 log10(mean squared signal / mean squared error), in decibel.

    Args:
        signal: Values, any shape.
        truth: True values, the same shape; their mean is not removed.

    Returns:
        The ratio in dB: 0 for a signal of zeros, infinity for identical values, minus infinity for a true
        signal of zeros.

    Raises:
        InputError: Shapes differ or a value is not finite.
    """
    signal, truth = _pair(signal, truth)
    return _decibel(_norm(truth), _norm(signal - truth))


def ssim(image: Tensor, truth: Tensor, peak: float = 1.0) -> float:
    """Return the structural similarity with a Gaussian window (11 x 11, sd 1.5), in the mean over the image.

    Args:
        image: Image, (height, width) or (height, width, channels), at least 11 x 11 pixels.
        truth: True image, the same shape.
        peak: Largest possible value of the signal.

    Returns:
        The mean structural similarity, at most 1; channels are averaged.

    Raises:
        InputError: Shapes differ, a value is not finite, or the image is smaller than the window.

    Reference:
        Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility
        to structural similarity", IEEE Trans. Image Processing 13(4), 2004, equation (13).
    """
    image, truth = _pair(image, truth)
    size = 2 * SSIM_RADIUS + 1
    if image.dim() not in (2, 3) or min(image.shape[:2]) < size:
        raise InputError(
            f"SSIM needs images (height, width) or (height, width, channels) of at least {size} x {size} pixels, got "
            f"shape {tuple(image.shape)}",
            do="give the values as an image",
        )
    largest = float(torch.maximum(image.abs().max(), truth.abs().max()))
    if largest == 0:
        return 1.0
    image, truth, peak = image / largest, truth / largest, peak / largest  # squares of tiny values are none
    x, y = (z.reshape(*z.shape[:2], -1).movedim(-1, 0)[:, None] for z in (image, truth))  # (channels, 1, h, w)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    var_x = _window_mean(x * x) - mean_x**2
    var_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * peak) ** 2, (SSIM_K2 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean())


def iou(prediction: Tensor, truth: Tensor, threshold: float = 0.5) -> float:
    """Return the intersection over union of the two sets where the values exceed the threshold.

    Args:
        prediction: Occupancies, any shape.
        truth: True occupancies, the same shape.
        threshold: A point belongs to the set where its value is larger.

    Returns:
        The ratio, in [0, 1]; 1 when both sets are empty.

    Raises:
        InputError: Shapes differ or a value is not finite.
    """
    prediction, truth = _pair(prediction, truth)
    a, b = prediction > threshold, truth > threshold
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def matthews(prediction: Tensor, truth: Tensor) -> float:
    """Return the correlation of two sets, from -1 to 1: that of their indicator functions.

    Args:
        prediction: Members, bool, any shape.
        truth: True members, the same shape.

    Returns:
        The coefficient; 0 where one of the sets is empty or everything.

    Raises:
        InputError: Shapes differ.

    Reference:
        B. W. Matthews, Biochim. Biophys. Acta 405 (1975) 442, equation 6.
    """
    a, b = _pair(prediction, truth)
    spread = float(((a - a.mean()).square().sum() * (b - b.mean()).square().sum()).sqrt())
    return float(((a - a.mean()) * (b - b.mean())).sum()) / spread if spread else 0.0


def otsu(values: Tensor, bins: int = 256) -> float:
    """Return the threshold between two classes with the largest variance between their means.

    Args:
        values: Any shape.
        bins: Number of equal bins of the histogram.

    Returns:
        The threshold, an edge between two bins.

    Reference:
        N. Otsu, IEEE Trans. Systems, Man, Cybernetics 9 (1979) 62, equation 14.
    """
    values, _ = _pair(values, values)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    share = torch.histc(values, bins, low, high).double() / values.numel()
    middles = low + (torch.arange(bins, dtype=torch.float64, device=values.device) + 0.5) * (high - low) / bins
    below, moment = share.cumsum(0), (share * middles).cumsum(0)
    between = (moment[-1] * below - moment).square() / (below * (1 - below)).clamp(min=1e-12)
    return low + (int(between[:-1].argmax()) + 1) * (high - low) / bins


def _norm(z: Tensor) -> float:
    """Return the Euclidean norm; squares of values near 1e-300 or 1e300 would leave the range of numbers."""
    largest = float(z.abs().max())
    return largest * float(torch.linalg.vector_norm(z / largest)) if 0 < largest < math.inf else largest


def _decibel(signal: float, noise: float) -> float:
    """Return 20 log10(signal / noise); infinite where one of them is zero."""
    if noise == 0:
        return math.inf
    return 20.0 * (math.log10(signal) - math.log10(noise)) if signal > 0 else -math.inf


def _window_mean(x: Tensor) -> Tensor:
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=x.dtype, device=x.device)
    window = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))


def _pair(u: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as float64, as sums of squares in float32 lose digits, once shapes and values are checked."""
    if u.shape != reference.shape:
        raise InputError(
            f"A score needs equal shapes, got values of shape {tuple(u.shape)} and a reference of shape "
            f"{tuple(reference.shape)}",
            do="reshape one of them; a column (n, 1) does not stand for (n,)",
        )
    if u.numel() == 0:
        raise InputError("There are no values to score", do="check the grid that the field was evaluated on")
    u, reference = u.detach().double(), reference.detach().double()
    for name, z in (("values", u), ("reference values", reference)):
        bad = int((~torch.isfinite(z)).sum())
        if bad:
            raise InputError(
                f"A score needs finite numbers, but {bad} of {z.numel()} {name} are not finite",
                do="look for NaN or inf in the data or a diverged field",
            )
    return u, reference


def larger_is_better(key: str) -> bool:
    """Return whether a larger score is better.

    Args:
        key: Key of ``metrics.json``.

    Returns:
        True for PSNR, SNR, SSIM, IoU and Matthews, whatever follows the name; False for errors, losses and seconds.
    """
    return key.startswith(("psnr", "snr", "ssim", "iou", "matthews"))
