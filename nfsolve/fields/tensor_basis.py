"""Products of Chebyshev polynomials and of waves along the axes of a box, which Taylor jets pass through."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Side = tuple[float, float, bool]
"""Lower and upper bound of a coordinate, and whether it is periodic."""


def tensor_basis(x: Tensor, sides: Sequence[Side], sizes: Sequence[int]) -> Tensor:
    """Evaluate the basis at points.

    Args:
        x: Points ``(n, d)``, for which a Taylor jet may stand in.
        sides: The box.
        sizes: Functions along each coordinate; odd along periodic ones, for a constant and pairs of waves.

    Returns:
        Values ``(n, prod(sizes))``, those of the last coordinate next to each other.
    """
    found = None
    for i, (side, size) in enumerate(zip(sides, sizes, strict=True)):
        column = x[..., i : i + 1]
        along = _waves(column, side, size) if side[2] else _polynomials(column, side, size)
        found = along if found is None else (found[..., None] * along[..., None, :]).flatten(-2)
    assert found is not None
    return found


def nodes(sides: Sequence[Side], counts: Sequence[int]) -> Tensor:
    """Return the grid on which such functions are told apart best: zeros of Chebyshev polynomials, equidistant points.

    Args:
        sides: The box.
        counts: Points along each coordinate.

    Returns:
        Points ``(prod(counts), d)``, float64.
    """
    axes = []
    for (low, high, wraps), n in zip(sides, counts, strict=True):
        k = torch.arange(n, dtype=torch.float64)
        unit = (k + 0.5) / n if wraps else (1 - torch.cos(math.pi * (k + 0.5) / n)) / 2
        axes.append(low + (high - low) * unit)
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))


def _waves(column: Tensor, side: Side, size: int) -> Tensor:
    low, high, _ = side
    like = {"dtype": column.dtype, "device": column.device}
    k = torch.arange(size // 2 + 1, **like) * (2 * math.pi / (high - low))
    phase = F.linear(column, k[:, None], -low * k)
    return torch.cat([torch.cos(phase), torch.sin(F.linear(column, k[1:, None], -low * k[1:]))], -1)


def _polynomials(column: Tensor, side: Side, size: int) -> Tensor:
    """Return T_0 to T_(size - 1), in twice as many at a time: T_(m + j) = 2 T_m T_j - T_(m - j)."""
    low, high, _ = side
    like = {"dtype": column.dtype, "device": column.device}
    pair = torch.tensor([[0.0], [2 / (high - low)]], **like), torch.tensor([1.0, -(high + low) / (high - low)], **like)
    found, m = F.linear(column, *pair), 1
    while m + 1 < size:
        more = min(m, size - 1 - m)
        # columns m - 1, m - 2, ..., by a matrix, which jets pass through
        turned = F.linear(found, torch.eye(m + 1, **like)[torch.arange(m - 1, m - 1 - more, -1)])
        found, m = torch.cat([found, 2 * found[..., m : m + 1] * found[..., 1 : more + 1] - turned], -1), m + more
    return found[..., :size]
