"""A grid that remembers where a field has density, so that rays are sampled only there.

Each cell keeps a decaying maximum of densities seen in it, and is occupied where that reaches the smaller of a
threshold and the mean (Mueller et al., "Instant neural graphics primitives", ACM TOG 41 (2022), appendix E.2; Li et
al., "NerfAcc", ICCV 2023). Rays march over the lattice near + k step; an interval stays if its midpoint lies in the
box and in an occupied cell.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering.contraction import Contraction
from nfsolve.forward.rendering.engines import engine
from nfsolve.forward.rendering.samples import Samples, box_intersection


class OccupancyGrid:
    """Equal cells of a box, occupied or empty; all occupied before the first update.

    Args:
        bounds: ``(low, high)`` of each coordinate, as in ``Box.bounds``.
        resolution: Cells along each coordinate.
        threshold: Density from which a cell counts as occupied, 1/length; 0.01 / step drops intervals that absorb
            less than a hundredth of the light.
        every: Calls of `update` from one look at the field to the next.
        warmup: First looks, which go to all cells; later ones go to half as many, see `update`.
        decay: Factor of what a cell remembers at each look.
        device: Where the grid lies.
        contraction: How space is drawn into the box, for scenes without end; None for straight rays in the box.

    Attributes:
        density: What each cell remembers, 1/length, float32, ``(cells, 1)``; the last coordinate runs fastest.
        occupied: ``(cells, 1)``, true or false.
        calls: Calls of `update` so far.
    """

    def __init__(
        self,
        bounds: tuple[tuple[float, float], ...],
        resolution: int,
        threshold: float,
        *,
        every: int = 16,
        warmup: int = 16,
        decay: float = 0.95,
        device: str | torch.device = "cpu",
        contraction: Contraction | None = None,
    ):
        if min(resolution, every) < 1 or not threshold > 0 or not 0 < decay <= 1:
            raise InputError(
                "an occupancy grid needs a resolution and every of at least 1, a positive threshold and a decay in "
                f"(0, 1], got resolution={resolution}, every={every}, threshold={threshold}, decay={decay}"
            )
        self.bounds, self.resolution, self.threshold = bounds, resolution, threshold
        self.every, self.warmup, self.decay = every, warmup, decay
        self.contraction = contraction
        cells = resolution ** len(bounds)
        self.density = torch.zeros(cells, 1, device=device)
        self.occupied = torch.ones(cells, 1, dtype=torch.bool, device=device)
        self.calls = 0

    @property
    def fraction(self) -> float:
        """Share of the cells that are occupied."""
        return float(self.occupied.float().mean())

    @torch.no_grad()
    def update(self, density: Callable[[Tensor], Tensor], generator: Generator) -> None:
        """Count a step and, on every `every`-th, look at the field at one random point of each chosen cell.

        After the warm-up a quarter as many cells as there are get chosen from all, and as many from the occupied.

        Args:
            density: Points ``(m, d)``, float32, -> density ``(m, 1)``, 1/length.
            generator: CPU generator; the only source of randomness.
        """
        look, rest = divmod(self.calls, self.every)
        self.calls += 1
        if rest:
            return
        cells = self._all() if look < self.warmup else self._some(generator)
        found = density(self._points_in(cells, generator))
        if found.shape != (len(cells), 1):
            raise InputError(
                f"densities at {len(cells)} points must have shape ({len(cells)}, 1), got {tuple(found.shape)}",
                do="return one column",
            )
        self.density[cells] *= self.decay
        self.density.scatter_reduce_(0, cells[:, None], found.to(self.density), "amax")
        # Where there is no density at all, every cell is at the mean (in float64 never above equal values) and stays
        # occupied: rays without samples could never teach the field anything. So does what is not a number.
        mean = self.density.mean(dtype=torch.float64)
        self.occupied = ~(self.density < mean.clamp_max(self.threshold).to(self.density))

    def sample_empty(self, n: int, generator: Generator) -> Tensor:
        """Return n random points of cells that are not occupied, ``(n, d)``; none where there is no such cell.

        Args:
            n: Number of points.
            generator: CPU generator.
        """
        empty = (~self.occupied[:, 0]).nonzero()[:, 0]
        chosen = torch.randint(max(len(empty), 1), (n if len(empty) else 0,), generator=generator)
        return self._points_in(empty[chosen.to(empty.device)], generator)

    def _points_in(self, cells: Tensor, generator: Generator) -> Tensor:
        """Return one random point of each of some cells, ``(m, d)``."""
        axes = torch.stack(torch.unravel_index(cells, (self.resolution,) * len(self.bounds)), -1)
        inside = torch.rand(axes.shape, generator=generator).to(self.density.device)
        low, high = self.density.new_tensor(self.bounds).unbind(-1)
        return low + (axes + inside) / self.resolution * (high - low)

    def occupied_at(self, points: Tensor) -> Tensor:
        """Tell whether points ``(n, d)`` of the box lie in occupied cells, ``(n, 1)``."""
        return self.occupied[self._cells(points.unbind(-1))]

    def remembered_at(self, points: Tensor) -> Tensor:
        """Return the density that the cells of points ``(n, d)`` of the box remember, ``(n, 1)``, 1/length."""
        return self.density[self._cells(points.unbind(-1))].to(points)

    def _cells(self, columns: Sequence[Tensor]) -> Tensor:
        """Return the numbers of the cells that points of the box lie in, from one tensor for each coordinate."""
        cells = torch.zeros_like(columns[0], dtype=torch.int32)
        for column, (low, high) in zip(columns, self.bounds, strict=True):
            place = ((column - low) / (high - low) * self.resolution).int().clamp_(0, self.resolution - 1)
            cells = cells * self.resolution + place
        return cells

    @torch.no_grad()
    def sample(
        self, origins: Tensor, directions: Tensor, step: float, generator: Generator | None = None, near: float = 0.0
    ) -> Samples:
        """Sample rays in the middle of those intervals of the lattice near + k step that are occupied.

        Needs memory for every interval inside the box, so many rays are best sampled in pieces.

        Args:
            origins: ``(n_rays, d)``, on the grid's device.
            directions: ``(n_rays, d)``, of unit length.
            step: Length of an interval.
            generator: CPU generator that shifts the lattice of each ray by a part of a step; None shifts none.
            near: Distance at which the lattice begins.

        Returns:
            The samples, without gradient; rays may have none.

        Raises:
            InputError: The step is not positive.
        """
        if not 0 < step < math.inf:
            raise InputError(f"step must be positive and finite, got {step}", do="give the length of an interval")
        if self.contraction is not None:
            return self._march_contracted(self.contraction, origins, directions, step, generator)
        start = torch.full_like(origins[:, :1], near)
        if generator is not None:
            start += step * torch.rand(start.shape, generator=generator, dtype=torch.float64).to(start)
        if len(self.bounds) == 3 and engine(packed=origins) == "nerfacc-cuda":
            return self._traverse(origins, directions, step, start)
        return self._march(origins, directions, step, start)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, tensors and one number."""
        return {"density": self.density, "occupied": self.occupied, "calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            InputError: It comes from a grid with another number of cells.
        """
        if state["density"].shape != self.density.shape:
            raise InputError(
                f"the state must be that of a grid of {len(self.density)} cells, but it has {len(state['density'])}",
                do="make the grid with the resolution of the run",
            )
        self.density = state["density"].to(self.density, copy=True)
        self.occupied = state["occupied"].to(self.occupied, copy=True)
        self.calls = int(state["calls"])

    def _march(self, origins: Tensor, directions: Tensor, step: float, start: Tensor) -> Samples:
        enter, leave = box_intersection(origins, directions, self.bounds)
        # First interval whose midpoint can lie in the box, one early because of rounding.
        first = ((enter - start) / step - 1.5).ceil().clamp_min(0)
        most = int(((leave - enter) / step).max()) + 4 if len(origins) else 0
        number = first + torch.arange(most, dtype=start.dtype, device=start.device)
        middle = start + (number + 0.5) * step
        axes = zip(origins.split(1, -1), directions.split(1, -1), strict=True)
        # Coordinate by coordinate, one ray in each row: several times faster than gathering points of rays.
        cells = self._cells([origin + middle * direction for origin, direction in axes])
        occupied = self.occupied[:, 0].index_select(0, cells.reshape(-1)).reshape(cells.shape)
        ray, column = (occupied & (middle >= enter) & (middle < leave)).nonzero().unbind(-1)
        number, middle = number[ray, column][:, None], middle[ray, column][:, None]
        t0, t1 = (start[ray] + (number + end) * step for end in (0, 1))
        return Samples(t0, t1, middle, ray, len(origins))

    def _march_contracted(
        self, contraction: Contraction, origins: Tensor, directions: Tensor, step: float, generator: Generator | None
    ) -> Samples:
        shift = origins.new_zeros(len(origins), 1)
        if generator is not None:
            shift = torch.rand(shift.shape, generator=generator, dtype=torch.float64).to(origins)
        edges = contraction.edges(origins, directions, step, shift)
        lengths = contraction.path(origins, directions, edges).diff(dim=1).norm(dim=-1)
        ends = lengths.cumsum(-1)
        middle = (edges[:, 1:] + edges[:, :-1]) / 2
        points = contraction.path(origins, directions, middle)
        occupied = self.occupied_at(points.reshape(-1, 3)).reshape(middle.shape)
        ray, column = (occupied & (lengths > 0)).nonzero().unbind(-1)
        t1, length, t = (rows[ray, column][:, None] for rows in (ends, lengths, middle))
        return Samples(t1 - length, t1, t, ray, len(origins))

    def _traverse(self, origins: Tensor, directions: Tensor, step: float, start: Tensor) -> Samples:
        low, high = origins.new_tensor(self.bounds).unbind(-1)
        intervals, middles, _ = importlib.import_module("nerfacc").traverse_grids(
            origins,
            directions,
            self.occupied.reshape(1, *(self.resolution,) * 3),
            torch.cat([low, high])[None],
            near_planes=start[:, 0],
            step_size=step,
        )
        t0, t1 = (intervals.vals[side][:, None] for side in (intervals.is_left, intervals.is_right))
        return Samples(t0, t1, (t0 + t1) / 2, middles.ray_indices, len(origins))

    def _all(self) -> Tensor:
        return torch.arange(len(self.density), device=self.density.device)

    def _some(self, generator: Generator) -> Tensor:
        cells = len(self.density)
        known = self.occupied[:, 0].nonzero()[:, 0]
        share = torch.rand(2, math.ceil(cells / 4), generator=generator, dtype=torch.float64).to(known.device)
        return torch.cat([(share[0] * cells).long(), known[(share[1] * len(known)).long()]])
