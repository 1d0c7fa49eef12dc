"""Products with projectors that keep no matrix: footprints are computed view after view, and used at once.

The shadow of a pixel that begins in bin j lies in the bins j, ..., j + T. With E_k the integral of the shadow from its
middle to the k-th edge of a bin in it, over the whole, its shares are 1/2 + E_1, E_2 - E_1, ..., 1/2 - E_T; so that a
pixel sees of a view y, with differences of y as tables,

    1/2 (y_j + y_(j + T)) + sum over k of E_k (y_(j + k - 1) - y_(j + k)),

and gives to it by the transpose: the adjoint is exact. The T + 1 numbers 1, E_1, ..., E_T, times the area of the
shadow, are called moments here. Views a quarter turn apart share them, since the image turns onto itself, and so do
mirror images. Footprints: see `footprints`; the numbers are those of the sparse matrix, to rounding.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nfsolve.forward.radon.fan import FanBeam
from nfsolve.forward.radon.footprints import Part, curve_of, risen
from nfsolve.forward.radon.grids import PixelGrid
from nfsolve.forward.radon.parallel import ParallelBeam

BLOCK, BLOCK_OF_GPU = 2**16, 2**24  # pixels at once; on a processor they stay in its cache
SAME_ANGLE = 1e-12  # radians by which quarter turns may differ
MARGIN = 2  # bins beyond the outermost shadow, for rounding


@dataclass(frozen=True)
class Turn:
    """How an image is turned for a view: flipped from left to right first, if so, then by quarter turns.

    Attributes:
        quarters: Quarter turns of the view, against which the image is turned.
        flipped: Whether the image is flipped.
        reversed: Whether the bins of the view are then in reverse order.
    """

    quarters: int
    flipped: bool = False
    reversed: bool = False

    def of(self, images: Tensor) -> Tensor:
        """Turn images (..., rows, columns)."""
        return (images.flip(-1) if self.flipped else images).rot90(-self.quarters, (-2, -1))

    def back(self, images: Tensor) -> Tensor:
        """Turn images (..., rows, columns) back."""
        images = images.rot90(self.quarters, (-2, -1))
        return images.flip(-1) if self.flipped else images


@dataclass(frozen=True)
class Views:
    """Views of which each sees, of a turned image, what the first octant sees of the image.

    Attributes:
        angle: Angle from 0 to 45 degrees, in radians; of a view that is alone, its own.
        members: Index of each view, and its turn.
    """

    angle: float
    members: tuple[tuple[int, Turn], ...]


def octants(geometry: ParallelBeam | FanBeam, grid: PixelGrid, lifts: Sequence[float] = ()) -> list[Views]:
    """Put views together that see the same of a turned image, if the grid turns onto itself; else each is alone.

    A parallel beam sees at pi - t of a flipped image what it sees at t of the image itself; a fan that is centred sees
    at -t the same in reverse. Views of a helix must lie at one height too, which ``lifts`` gives for each view.
    """
    if grid.rows != grid.columns or grid.centre != (0.0, 0.0):
        return [Views(angle, ((view, Turn(0)),)) for view, angle in enumerate(geometry.angles)]
    fan, quarter = isinstance(geometry, FanBeam), math.pi / 2
    flips = not fan or geometry.centre == 0
    found: dict[tuple[int, float], list[tuple[int, Turn]]] = {}
    base: dict[tuple[int, float], float] = {}
    for view, angle in enumerate(geometry.angles):
        turns = math.floor(angle / quarter + SAME_ANGLE)
        rest, turn = angle - turns * quarter, Turn(turns % 4)
        if flips and rest > quarter / 2 + SAME_ANGLE:
            rest, turn = quarter - rest, Turn((-(turns + 1) if fan else 1 - turns) % 4, True, fan)
        key = round(rest / SAME_ANGLE), lifts[view] if lifts else 0.0
        base.setdefault(key, rest)
        found.setdefault(key, []).append((view, turn))
    return [Views(base[key], tuple(members)) for key, members in found.items()]


@dataclass(frozen=True)
class Shadows:
    """Shadows of a block of pixels in one view, in widths of a bin; numbers where they are the same for all.

    Attributes:
        left: Places of their left ends, from a bin before all of them, (rows, columns).
        half: Half their widths, that of the longer sides of a pixel and of its shorter ones together.
        plateau: Half the widths of their plateaus, the difference of both.
        curve: 1 / 2 over the width of the shorter sides.
        area: Sum of the entries of the matrix for each pixel; None counts as one.
    """

    left: Tensor
    half: Part
    plateau: Part
    curve: Part
    area: Tensor | None = None

    def integrals(self) -> tuple[Tensor, list[Tensor]]:
        """Return the first bins of the shadows, and E_1, ..., E_T times their areas, all (n,)."""
        half = self.half
        widest = 2 * float(half.max() if isinstance(half, Tensor) else half)
        first = self.left.int()  # places are not negative
        middle = self.left.frac().add_(half)  # from the left end of the first bin
        scale = (1.0 if self.area is None else self.area) / (half + self.plateau)
        found = [
            risen(k - middle, half, self.plateau, self.curve).mul_(scale).reshape(-1)
            for k in range(1, math.ceil(widest - SAME_ANGLE) + 1)
        ]
        return first.reshape(-1).long(), found

    def shares(self) -> tuple[Tensor, list[Tensor]]:
        """Return the first bins of the shadows, and their shares in this and the next bins times their areas, (n,)."""
        first, below = self.integrals()
        half = torch.full_like(below[0], 0.5) if self.area is None else self.area.reshape(-1) / 2
        return first, [below[0] + half, *(b - a for a, b in itertools.pairwise(below)), half - below[-1]]

    def moments(self) -> "Moments":
        """Return the moments of the shadows."""
        first, found = self.integrals()
        area = None if self.area is None else self.area.reshape(-1)
        return Moments(first, area, len(found), pairs(found))


@dataclass(frozen=True)
class Moments:
    """What n shadows have in common with bins.

    Attributes:
        first: Their first bins, (n,).
        area: Their areas, (n,); None counts as one.
        edges: T, the number of edges between bins that a shadow can hold.
        packed: E_1, ..., E_T times the areas, (n,) each, two by two as complex numbers; a last one alone.
    """

    first: Tensor
    area: Tensor | None
    edges: int
    packed: list[Tensor]


class ParallelShadows:
    """Shadows of the pixels of an image in parallel beams.

    Args:
        geometry: Detector.
        grid: Pixels.
        angles: Angles of the views, in radians.
        dtype: Type of the shadows.
        device: Their device.

    Attributes:
        before: Bins before the first one of the detector that shadows reach.
        behind: Bins behind the last one.
        factor: What the areas of shadows are to be multiplied by.
        meets: Whether any shadow may reach the detector.
    """

    def __init__(self, geometry: ParallelBeam, grid: PixelGrid, angles: list[float], dtype: torch.dtype, device: Any):
        t = torch.tensor(angles, dtype=torch.float64)[:, None]
        x, y = _sides_of(grid)
        columns, rows = t.cos() * x / geometry.spacing, t.sin() * y / geometry.spacing
        sides = grid.pixel / geometry.spacing * torch.cat([t.cos(), t.sin()], 1).abs()
        start = geometry.n_bins / 2 - geometry.centre / geometry.spacing
        half = float(sides.sum(1).max()) / 2
        low = start + float((columns.amin(1) + rows.amin(1)).min()) - half
        high = start + float((columns.amax(1) + rows.amax(1)).max()) + half
        self.before, self.behind = margins(low, high, geometry.n_bins)
        self.meets = low < geometry.n_bins and high > 0
        self.rows, self.columns = (z.to(device, dtype) for z in (rows + start + self.before, columns))
        self.wide, self.narrow = sides.amax(1).tolist(), sides.amin(1).tolist()
        self.factor = grid.pixel**2 / geometry.spacing

    def block(self, group: int, rows: slice) -> Shadows:
        """Return the shadows of the pixels of some rows, in one group of views."""
        wide, narrow = self.wide[group], self.narrow[group]
        half, plateau, curve = (wide + narrow) / 2, (wide - narrow) / 2, 0.5 / max(narrow, 1e-30)
        return Shadows((self.rows[group, rows] - half)[:, None] + self.columns[group], half, plateau, curve)


class FanShadows:
    """Shadows of the pixels of an image in fan beams; arguments and attributes are those of `ParallelShadows`.

    In each view x and y are the way from the source to a pixel, and depth its part along the central ray.
    """

    def __init__(self, geometry: FanBeam, grid: PixelGrid, angles: list[float], dtype: torch.dtype, device: Any):
        t = torch.tensor(angles, dtype=torch.float64)[:, None]
        x, y = _sides_of(grid)
        source = geometry.source_origin
        self.scale = grid.pixel * geometry.source_detector_distance / geometry.spacing
        scale = geometry.source_detector_distance / geometry.spacing  # bins for a unit of slope
        depths = -t.sin() * x, t.cos() * y + source
        asides = scale * t.cos() * x, scale * t.sin() * y
        start = geometry.n_bins / 2 - geometry.centre / geometry.spacing
        corners = [(i, j) for i in (0, -1) for j in (0, -1)]
        depth, aside = (torch.stack([z[0][:, i] + z[1][:, j] for i, j in corners], 1) for z in (depths, asides))
        widest = grid.pixel * scale * math.sqrt(2) * (source + math.hypot(*map(_largest, (x, y)))) / depth.min() ** 2
        place, half = start + aside / depth, float(widest) / 2
        low, high = float(place.min()) - half, float(place.max()) + half
        self.before, self.behind = margins(low, high, geometry.n_bins)
        self.meets = low < geometry.n_bins and high > 0
        self.depth, self.aside = ([z.to(device, dtype) for z in pair] for pair in (depths, asides))
        ways = grid.pixel * scale * (x - source * t.sin()).abs(), grid.pixel * scale * (y + source * t.cos()).abs()
        self.ways = [z.to(device, dtype) for z in ways]
        self.start, self.factor = start + self.before, grid.pixel

    def nearness(self, group: int, rows: slice) -> Tensor:
        """Return the inverse depth of the pixels of some rows, (rows, columns)."""
        return (self.depth[0][group] + self.depth[1][group, rows, None]).reciprocal_()

    def block(self, group: int, rows: slice) -> Shadows:
        """Return the shadows of the pixels of some rows, in one group of views."""
        nearness = self.nearness(group, rows)
        middle = (self.aside[0][group] + self.aside[1][group, rows, None]).mul_(nearness).add_(self.start)
        x, y = self.ways[0][group], self.ways[1][group, rows, None]
        size = nearness.square()
        half, plateau = (x + y).mul_(size).mul_(0.5), (x - y).abs_().mul_(size).mul_(0.5)
        area = (x.square() + y.square()).sqrt_().mul_(size)
        return Shadows(middle.sub_(half), half, plateau, curve_of(torch.minimum(x, y).mul_(size)), area)


class PlaneProducts:
    """Products of images with the projector of a parallel or fan beam.

    Args:
        geometry: Views and detector.
        grid: Pixels.
        dtype: Type of images and data.
        device: Their device.

    Attributes:
        bytes: Expected memory of a product of one image, beside the image.
        meets: Whether any shadow may reach the detector.
    """

    def __init__(self, geometry: ParallelBeam | FanBeam, grid: PixelGrid, dtype: torch.dtype, device: Any):
        self.geometry, self.grid = geometry, grid
        self.groups = octants(geometry, grid)
        turns = dict(member for group in self.groups for member in group.members)
        self.turns = set(turns.values())
        self.backwards = torch.tensor([turns[view].reversed for view in range(len(turns))], device=device)
        angles = [group.angle for group in self.groups]
        if isinstance(geometry, ParallelBeam):
            self.shadows = ParallelShadows(geometry, grid, angles, dtype, device)
        else:
            self.shadows = FanShadows(geometry, grid, angles, dtype, device)
        self.length = self.shadows.before + geometry.n_bins + self.shadows.behind
        self.rows = max(1, pixels_at_once(device) // grid.columns)
        numbers = 3 * (len(self.turns) + 1) * grid.rows * grid.columns + 8 * len(geometry.angles) * self.length
        self.bytes = (numbers + 24 * self.rows * grid.columns) * torch.finfo(dtype).bits // 8
        self.meets = self.shadows.meets

    def forward(self, x: Tensor) -> Tensor:
        """Apply A to images (pixels, k), giving data (views * bins, k)."""
        images = x.T.reshape(-1, *self.grid.shape)
        turned = {turn: Pixels.of(turn.of(images)).blocks(self.rows) for turn in self.turns}
        sums = Sums(x, (len(images), len(self.geometry.angles), self.length))
        for group, block in self._blocks():
            moments = self._moments(group, block)
            for view, turn in self.groups[group].members:
                for column, pixels in enumerate(turned[turn][block]):
                    sums.add((column, view), pixels, moments)
        before, n_bins = self.shadows.before, self.geometry.n_bins
        data = self.shadows.factor * sums.spread()[:, :, before : before + n_bins]
        return self._reversed(data).reshape(len(images), -1).T

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply A^T to data (views * bins, k), giving images (pixels, k)."""
        data = y.T.reshape(-1, *self.geometry.shape)
        tables = Tables(torch.nn.functional.pad(self._reversed(data), (self.shadows.before, self.shadows.behind)))
        sums = {turn: Pixels.of(data.new_zeros(len(data), *self.grid.shape)) for turn in self.turns}
        blocks = {turn: pixels.blocks(self.rows) for turn, pixels in sums.items()}
        for group, block in self._blocks():
            moments = self._moments(group, block)
            for view, turn in self.groups[group].members:
                for column, pixels in enumerate(blocks[turn][block]):
                    tables.add((column, view), pixels, moments)
        images = torch.stack([turn.back(pixels.sum()) for turn, pixels in sums.items()]).sum(0)
        return self.shadows.factor * images.reshape(len(data), -1).T

    def _reversed(self, data: Tensor) -> Tensor:
        """Reverse the bins of the views (k, views, bins) that are seen so."""
        return torch.where(self.backwards[:, None], data.flip(-1), data) if self.backwards.any() else data

    def _moments(self, group: int, block: int) -> "Moments":
        return self.shadows.block(group, slice(block * self.rows, (block + 1) * self.rows)).moments()

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for block in range(-(-self.grid.rows // self.rows)):  # outermost, so that pixels stay in the cache
            for group in range(len(self.groups)):
                yield group, block


def pixels_at_once(device: Any) -> int:
    """Return how many pixels a block may have."""
    return BLOCK if torch.device(device).type == "cpu" else BLOCK_OF_GPU


def pairs(moments: list[Tensor]) -> list[Tensor]:
    """Put moments together two by two, as complex numbers: both are moved at the cost of one."""
    return [
        torch.complex(*moments[k : k + 2]) if k + 1 < len(moments) else moments[k] for k in range(0, len(moments), 2)
    ]


@dataclass(frozen=True)
class Pixels:
    """Values of pixels, once alone and once in pairs, as partners of moments alone and in pairs.

    Attributes:
        single: Values, (..., n).
        double: The same, or what is to be added to them, in pairs, (..., n, 2).
    """

    single: Tensor
    double: Tensor

    @staticmethod
    def of(values: Tensor) -> "Pixels":
        """Take values (..., n)."""
        return Pixels(values.contiguous(), values[..., None].expand(*values.shape, 2).contiguous())

    def blocks(self, rows: int) -> list[list["Pixels"]]:
        """Split images (k, rows, columns) into blocks of rows, of which each holds the pixels of k images."""
        singles, doubles = (values.split(rows, 1) for values in (self.single, self.double))
        return [
            [Pixels(one.view(-1), two.view(-1, 2)) for one, two in zip(single, double, strict=True)]
            for single, double in zip(singles, doubles, strict=True)
        ]

    def times(self, moment: Tensor) -> Tensor:
        """Return products with moments, alone or in pairs."""
        if moment.is_complex():
            return torch.view_as_complex(torch.view_as_real(moment) * self.double)
        return moment * self.single

    def add_product(self, found: Tensor, moment: Tensor) -> None:
        """Add products of moments, alone or in pairs, with what was found for them."""
        if moment.is_complex():
            self.double.addcmul_(torch.view_as_real(found), torch.view_as_real(moment))
        else:
            self.single.addcmul_(found, moment)

    def sum(self) -> Tensor:
        """Return what was added, (..., n)."""
        return self.single + self.double.sum(-1)


class Sums:
    """Sums of moments times values over the pixels whose shadows begin in each bin, of several views.

    Args:
        like: A tensor of their type and device.
        shape: (..., length), of the views with their margins.
    """

    def __init__(self, like: Tensor, shape: tuple[int, ...]):
        self.zeros = partial(like.new_zeros, shape)
        self.whole: dict[int, Tensor] = {}
        self.parts: dict[int, list[Tensor]] = {}

    def add(self, view: tuple[int, ...], pixels: Pixels, moments: Moments) -> None:
        """Add the values of a block of pixels times moments to one view, or to several at once, one after the other."""
        edges = moments.edges
        if edges not in self.whole:
            self.whole[edges] = self.zeros()
            self.parts[edges] = [self.zeros(dtype=part.dtype) for part in moments.packed]
        self.whole[edges][view].view(-1).scatter_add_(
            0, moments.first, pixels.single if moments.area is None else pixels.single * moments.area
        )
        for table, part in zip(self.parts[edges], moments.packed, strict=True):
            table[view].view(-1).scatter_add_(0, moments.first, pixels.times(part))

    def spread(self) -> Tensor:
        """Return the views, by the transpose of `Tables`."""
        total = self.zeros()
        for edges, whole in self.whole.items():
            total += whole / 2
            total[..., edges:] += whole[..., : whole.shape[-1] - edges] / 2
            sums = [z for part in self.parts[edges] for z in ((part.real, part.imag) if part.is_complex() else (part,))]
            for k, moment in enumerate(sums, 1):
                total[..., k - 1 :] += moment[..., : moment.shape[-1] - k + 1]
                total[..., k:] -= moment[..., : moment.shape[-1] - k]
        return total


class Tables:
    """What the moments of a shadow that begins in each bin are multiplied by, for several views.

    Args:
        views: Views with margins, (..., length).
    """

    def __init__(self, views: Tensor):
        self.views = views
        self.whole: dict[int, Tensor] = {}
        self.parts: dict[int, list[Tensor]] = {}

    def add(self, view: tuple[int, ...], pixels: Pixels, moments: Moments) -> None:
        """Add moments times the tables of one view to the values of a block of pixels."""
        edges = moments.edges
        if edges not in self.whole:
            self.whole[edges], self.parts[edges] = self._made(edges)
        whole = torch.index_select(self.whole[edges][view].view(-1), 0, moments.first)
        pixels.single.add_(whole if moments.area is None else whole.mul_(moments.area))
        for table, part in zip(self.parts[edges], moments.packed, strict=True):
            pixels.add_product(torch.index_select(table[view].view(-1), 0, moments.first), part)

    def _made(self, edges: int) -> tuple[Tensor, list[Tensor]]:
        n = self.views.shape[-1]
        wide = torch.nn.functional.pad(self.views, (0, edges))
        steps = wide[..., :-1] - wide[..., 1:]
        return (wide[..., :n] + wide[..., edges:]) / 2, pairs(
            [steps[..., k : k + n].contiguous() for k in range(edges)]
        )


def _sides_of(grid: PixelGrid) -> tuple[Tensor, Tensor]:
    """List x of the columns and y of the rows, (columns,) and (rows,)."""
    centres = grid.centres().reshape(grid.rows, grid.columns, 2)
    return centres[0, :, 0], centres[:, 0, 1]


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def margins(low: float, high: float, n_bins: int) -> tuple[int, int]:
    """Count the bins that shadows between two places reach before and behind a detector."""
    return max(0, math.ceil(-low)) + MARGIN, max(0, math.ceil(high - n_bins)) + MARGIN
