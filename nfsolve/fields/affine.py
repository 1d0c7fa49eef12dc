"""The affine map nearest to an operator, by ridge regression: exact for linear operators, where networks start from it.

The damping is the one of the least leave-one-out error, which costs nothing beside the decomposition: P. Craven &
G. Wahba, Numerische Mathematik 31 (1979) 377.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 1e-7  # of the inputs, in float32: smaller dampings would amplify it
DAMPINGS = 24  # that are tried
MOST = 2**24  # numbers in the matrix


class Affine(NamedTuple):
    """y = x W + b, with the error that it leaves on functions that it has not seen.

    Attributes:
        weight: W ``(m, p)``, float64.
        bias: b ``(p,)``.
        error: Root mean square of y - x W - b over functions that were left out, in units of the deviation of y.
        size: The same in units of y.
    """

    weight: Tensor
    bias: Tensor
    error: float
    size: float


def affine(x: Tensor, y: Tensor) -> Affine | None:
    """Fit an affine map.

    Args:
        x: Input functions ``(n, m)``, float64.
        y: Output functions ``(n, p)``, float64.

    Returns:
        The map; None where functions are too few, values are missing, or the matrix would be too large.
    """
    n, m, p = *x.shape, y.shape[1]
    if n < 4 or m * p > MOST or not bool(x.isfinite().all() and y.isfinite().all()):
        return None
    middle, mean = x.mean(0), y.mean(0)
    u, s, vt = torch.linalg.svd(x - middle, full_matrices=False)
    centred = u.T @ (y - mean)
    total = float((y - mean).square().mean().sqrt())
    least = n * (ROUNDING * float(x.square().mean().sqrt())) ** 2
    if total == 0 or least == 0:
        return None
    best = (math.inf, 0.0)
    for damping in torch.logspace(
        math.log10(least), math.log10(float(s[0] ** 2)), DAMPINGS, dtype=torch.float64
    ).tolist():
        kept = s**2 / (s**2 + damping)
        gap = (y - mean) - (u * kept) @ centred
        leverage = (u.square() * kept).sum(1, keepdim=True) + 1 / n
        best = min(best, (float((gap / (1 - leverage).clamp_min(1e-6)).square().mean().sqrt()), damping))
    size, damping = best
    weight = vt.T @ ((s / (s**2 + damping))[:, None] * centred)
    return Affine(weight, mean - middle @ weight, size / total, size)
