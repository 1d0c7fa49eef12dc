"""Trainable features on grids of several resolutions, interpolated between their points.

Mueller, Evans, Schied & Keller, Instant Neural Graphics Primitives with a Multiresolution Hash Encoding, ACM Trans.
Graph. 41(4), 2022 (arXiv 2201.05989), section 3.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.checks import check_counts, check_positive
from nfsolve.fields.encodings import Encoder, Encoding
from nfsolve.fields.init import uniform_

PRIMES = (1, 2654435761, 805459861, 3674653429)  # eq. 4; the fourth is that of the authors' code
SLACK = 1e-5  # rounding must not put points of the border, where derivatives are asked for, outside
LARGEST = 30  # exponent of a table's size


class GridEncoder(Encoder):
    """Interpolated values of several grids on [-1, 1]^d.

    One-dimensional gathers, feature by feature, are about five times faster on a CPU than gathers of rows
    (``embedding``), and unlike ``embedding_bag`` and ``grid_sample`` they and ``lerp`` have derivatives of every
    order in all versions of torch.

    Args:
        table: Values, ``(sum(sizes) * features,)``, level by level, in each level feature by feature. A vector,
            because optimizers that precondition matrices must not take it for one.
        resolutions: Points along each axis of a level that lie in the box, or half a cell beside it.
        sizes: Number of values of a feature of a level; a power of two where they are hashed.
        features: Features of each level.
        smooth: Whether weights are smoothsteps.
        gain: Factor on the features.
    """

    def __init__(
        self,
        table: Tensor,
        resolutions: Sequence[int],
        sizes: Sequence[int],
        features: int,
        smooth: bool,
        gain: float = 1.0,
    ):
        super().__init__(len(resolutions) * features)
        self.table = nn.Parameter(table)
        self.resolutions = tuple(resolutions)
        self.sizes = tuple(sizes)
        self.features = features
        self.smooth = smooth
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, d)`` to ``(n, levels * features)``."""
        columns = x.clamp(-1 - SLACK, 1 + SLACK).unbind(-1)
        parts = iter(self.table.split([size for size in self.sizes for _ in range(self.features)]))
        found = []
        for resolution, size in zip(self.resolutions, self.sizes, strict=True):
            index, weights = self.locate(columns, resolution, size)
            for _ in range(self.features):
                values = next(parts).index_select(0, index.reshape(-1)).reshape(index.shape)
                for weight in weights:
                    lower, upper = values.unbind(0)
                    values = torch.lerp(lower, upper, weight)
                found.append(values)
        features = torch.stack(found, -1)
        return features if self.gain == 1 else self.gain * features

    def locate(self, columns: Sequence[Tensor], resolution: int, size: int) -> tuple[Tensor, list[Tensor]]:
        """Find the cells that points lie in.

        Args:
            columns: Coordinates, ``(n,)`` each.
            resolution: Points of the level along each axis.
            size: Number of its values.

        Returns:
            Indices of the values at the corners of the cells, ``(2, ..., 2, n)`` with one axis for each coordinate,
            and the weight of the upper corner along each, ``(n,)``.
        """
        # half a cell aside, the border of the box is where smoothsteps are steepest, not where they are flat
        positions = [(column + 1) * ((resolution - 1) / 2) + 0.5 * self.smooth for column in columns]
        points = resolution + self.smooth
        cells = [position.floor().clamp(0, points - 2).long() for position in positions]
        # under torch.compile the operator finds no Taylor rule for a jet minus a tensor, the function does
        weights = [torch.sub(position, cell) for position, cell in zip(positions, cells, strict=True)]
        if self.smooth:
            weights = [weight * weight * (3 - 2 * weight) for weight in weights]
        if points ** len(columns) > size:
            return corners(cells, PRIMES, operator.xor) & (size - 1), weights
        return corners(cells, [points**axis for axis in range(len(columns))], operator.add), weights

    def extra_repr(self) -> str:
        """Show the levels."""
        said = f"resolutions={self.resolutions}, sizes={self.sizes}, features={self.features}, smooth={self.smooth}"
        return said if self.gain == 1 else f"{said}, gain={self.gain:g}"


def corners(cells: Sequence[Tensor], factors: Sequence[int], combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine the multiples of a cell's indices, for each of its corners.

    Args:
        cells: Index of the lower corner along each axis, ``(n,)`` each.
        factors: What indices are multiplied by, axis by axis.
        combine: Addition, or exclusive or.

    Returns:
        ``(2, ..., 2, n)``, one axis for each coordinate.
    """
    index = torch.zeros_like(cells[0])
    for cell, factor in reversed(list(zip(cells, factors, strict=False))):
        index = torch.stack([combine(index, (cell + side) * factor) for side in (0, 1)])
    return index


@dataclass(frozen=True)
class FeatureGrid(Encoding):
    """Trainable values at the points of grids of several resolutions, interpolated multilinearly.

    The resolutions grow geometrically (eq. 2 and 3, with points instead of cells, and rounded); a single level has
    the finest. Points outside the domain have the features of the nearest point of its border. One to four
    coordinates; a periodic one is two, its cosine and its sine.

    Multilinear features have jumps in their first derivatives and no second derivative along an axis: for equations
    with second derivatives take ``smooth``.

    Attributes:
        levels: Number of grids.
        coarsest: Points along each axis of the first grid.
        finest: Points along each axis of the last grid.
        features: Features of each grid.
        hash_size: Binary logarithm of the largest table: a grid with more points shares 2^hash_size values by a
            spatial hash (eq. 4). None never does.
        smooth: Interpolate by smoothsteps w^2 (3 - 2 w), whose first derivatives are continuous (appendix A); such a
            grid is moved by half a cell and has one point more along each axis.
        initial: Half width of the uniform distribution of the initial values; the paper's is 1e-4.
        gain: Factor on the features. Adam's steps do not depend on the scale of a gradient, so that a gain of 10
            trains the grids as a tenfold learning rate would, and leaves the network its own.
    """

    levels: int = 8
    coarsest: int = 8
    finest: int = 256
    features: int = 2
    hash_size: int | None = 18
    smooth: bool = False
    initial: float = 1e-4
    gain: float = 1.0

    def __post_init__(self) -> None:
        counts = {"levels": self.levels, "coarsest": self.coarsest, "finest": self.finest, "features": self.features}
        check_counts("FeatureGrid", **counts)
        check_positive("FeatureGrid", initial=self.initial, gain=self.gain)
        if not 2 <= self.coarsest <= self.finest:
            raise InputError(
                "FeatureGrid needs at least 2 points along an axis, and in the finest grid no fewer than in the "
                "coarsest, got "
                f"coarsest = {self.coarsest}, finest = {self.finest}",
                do="choose finest >= coarsest >= 2",
            )
        if self.hash_size is not None:
            check_counts("FeatureGrid", hash_size=self.hash_size)
            if self.hash_size > LARGEST:
                raise InputError(
                    f"hash_size is the binary logarithm of a table's size, at most {LARGEST}, got {self.hash_size}",
                    do="write hash_size=19 for a table of 2^19 values, or None for no hashing",
                )

    def resolutions(self) -> list[int]:
        """Return the number of points along an axis for each level, the coarsest first."""
        steps = max(self.levels - 1, 1)
        ratio = self.coarsest / self.finest
        return [round(self.finest * ratio ** (level / steps)) for level in reversed(range(self.levels))]

    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module.

        Raises:
            InputError: More than four coordinates.
        """
        if len(names) > len(PRIMES):
            raise InputError(
                f"FeatureGrid reads at most {len(PRIMES)} features, where a periodic coordinate has a cosine and a "
                "sine for each "
                f"harmonic, got {len(names)} ({', '.join(names)})",
                do="take GaussianFourier, or one harmonic",
            )
        resolutions = self.resolutions()
        sizes = [(resolution + self.smooth) ** len(names) for resolution in resolutions]
        if self.hash_size is not None:
            sizes = [min(size, 2**self.hash_size) for size in sizes]
        table = torch.empty(sum(sizes) * self.features, dtype=torch.float64)
        uniform_(table, self.initial, generator)
        return GridEncoder(table, resolutions, sizes, self.features, self.smooth, self.gain)
