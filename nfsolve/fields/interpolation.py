"""Interpolation on a grid: the polynomial through the nearest points along each axis, or waves along periodic ones."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.field import Domain

NODES = 4  # of the polynomial along each axis between the points of the grid


class Interpolation(nn.Module):
    """Weights of the points of a grid, between which values are interpolated; Taylor jets pass through them.

    Args:
        domain: Bounds and periodicity of the coordinates.
        axes: Coordinates along each axis, ascending, ``(points,)`` each.
        nodes: Points along each axis through which a polynomial passes.
        waves: Whether values along a periodic coordinate, whose axis must be equidistant and without the upper end,
            are sums of waves instead, exact for all that the grid resolves, as are their derivatives.

    Raises:
        InputError: An axis of one point, or one that does not ascend.
    """

    def __init__(self, domain: Domain, axes: Sequence[Tensor], nodes: int = NODES, waves: bool = False):
        super().__init__()
        for name, axis in zip(domain.names, axes, strict=True):
            if len(axis) < 2 or not bool((axis.diff() > 0).all()):
                raise InputError(
                    f"The grid needs at least 2 points along {name}, in ascending order, got {len(axis)}"
                    + (" in another order" if len(axis) > 1 else ""),
                    do="sort them, and leave out repeated ones",
                )
            self.register_buffer(f"along_{name}", axis)
        self.names, self.bounds, self.periodic, self.nodes = domain.names, domain.bounds, domain.periodic, nodes
        self.waves = tuple(wraps and waves for wraps in domain.periodic)

    def axis(self, i: int) -> Tensor:
        """Return the coordinates along an axis."""
        return self.get_buffer(f"along_{self.names[i]}")

    def weigh(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find points of the grid, by their number in it, and their weights for points ``(..., d)``."""
        index, weights = self.locate(x, 0)
        for i in range(1, len(self.names)):
            further, factors = self.locate(x, i)
            index = (index[..., None] * len(self.axis(i)) + further[..., None, :]).flatten(-2)
            weights = (weights[..., None] * factors[..., None, :]).flatten(-2)
        return index, weights

    def locate(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Find the points along an axis that have a part in the value, and their weights: ``(..., nodes)`` each."""
        axis, (low, high) = self.axis(i), self.bounds[i]
        at, count = x[..., i : i + 1], min(self.nodes, len(axis))
        if self.waves[i]:
            weights = self._cardinal(at, axis, low, high - low)
            return torch.arange(len(axis), device=axis.device).expand(weights.shape), weights
        if self.periodic[i]:
            at = torch.sub(at, (high - low) * torch.floor((at - low) * (1 / (high - low))))
        start = ((at > axis).sum(-1, keepdim=True) - count // 2).clamp(0, len(axis) - count)
        index = start + torch.arange(count, device=axis.device)
        nodes = axis[index]
        gaps = torch.sub(at, nodes).unbind(-1)
        weights = []
        for j in range(count):
            first, *rest = (gaps[m] * (1 / (nodes[..., j] - nodes[..., m])) for m in range(count) if m != j)
            weights.append(math.prod(rest, start=first))
        return index, torch.stack(weights, -1)

    @staticmethod
    def _cardinal(at: Tensor, axis: Tensor, low: float, period: float) -> Tensor:
        """Return the waves that are 1 at one point of an equidistant axis and 0 at the others, ``(..., points)``."""
        n = len(axis)
        k = torch.arange(n // 2 + 1, dtype=axis.dtype, device=axis.device) * (2 * math.pi / period)
        size = torch.full_like(k, 2.0 / n)
        size[0] = 1.0 / n
        if n % 2 == 0:
            size[-1] = 1.0 / n
        phase = torch.nn.functional.linear(at, k[:, None], -low * k)
        nodes = (axis - low)[:, None] * k
        return torch.nn.functional.linear(torch.cos(phase), nodes.cos() * size) + torch.nn.functional.linear(
            torch.sin(phase), nodes.sin() * size
        )
