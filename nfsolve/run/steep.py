"""What the state at the start of a window tells about its features: where it is steep, and what resolves it.

A state is a function of space alone, so that a fit of it takes milliseconds where a window takes seconds. No shorter
window, and no larger bandwidth in time, helps features that cannot represent even the state.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.diff import partials
from nfsolve.domains import Front
from nfsolve.fields import RandomFeatures
from nfsolve.sampling import sobol

POINTS = 2**12  # at which slopes are compared
BINS = {1: 1024, 2: 128}  # along each coordinate, by the number of coordinates of space
FEW_BINS = 64
MOST = 4  # fronts along a coordinate
NARROW = 0.25  # half-width of a front at most, in normalised coordinates
STEEP = 1.5  # times the mean slope, that the largest of a front is at least
PART = 0.1  # of all changes along a coordinate, that a front has at least
STEEPENS = 0.05  # growth of the slopes in a window, with which a front becomes steeper
MOST_STEEPER = 0.5  # growth that is allowed for
AROUND = 2.0  # times its half-width, that a front reaches to either side
SHARPER = (1.0, 0.65)  # factors on the widths of fronts that are tried, for one may become steeper in the window
TIMES = 8  # features of a window for one that a fit of the state has
FEWEST = 20
LOWEST, RUNG, RUNGS = 2.0, 1.3, 20  # bandwidths that are tried
MODES = 0.5  # of a window, for each of its features at most
WORSE = 100.0  # times the best error, at which larger bandwidths are not tried any more
ENOUGH = 2.0  # times the best error, that a smaller bandwidth may leave
CLOSE = 1e-2  # part of the error that is asked for, that a fit may leave
ROWS = 4  # points for each feature of a fit, half of them held out
RIDGE = 1e-14


@dataclass(frozen=True)
class Fit:
    """Features that fit a state.

    Attributes:
        fronts: By which coordinates are stretched.
        scales: Bandwidth for each coordinate.
        error: Largest relative L2 error of an unknown, on points held out.
    """

    fronts: tuple[Front, ...]
    scales: tuple[float, ...]
    error: float


class State:
    """The values of a field at a time, and its slopes in time where these are handed over as well.

    Args:
        problem: Has the domain.
        field: The field.
        start: The time, at which a window begins.
        end: Where that ends, for the speed of the fronts.
        generator: Draws the points.
        slopes: Whether slopes are handed over: the equations are of second order in time.

    Attributes:
        fronts: Where the state is steep, at most four fronts along each coordinate of space; the width of a front is
            the one that it has at the end of the window if its slopes grow as at the start.
        steepens: Whether a front becomes steeper in the window, which a fit of the state does not see.
    """

    def __init__(
        self,
        problem: Any,
        field: nn.Module,
        start: float,
        end: float,
        generator: torch.Generator,
        slopes: bool = False,
    ):
        self.domain, self.field, self.start, self.generator = problem.domain, field, start, generator
        self.slopes = slopes
        self.length = end - start
        self.t = self.domain.index("t")
        self.space = tuple(i for i in range(len(self.domain.names)) if i != self.t)
        self.fronts, self.steepens = self._fronts()

    def fits(self, width: int, scales: tuple[float, ...], error: float) -> list[Fit]:
        """Find bandwidths in space with which features of plain coordinates, and of stretched ones, fit the state.

        Args:
            width: Number of features of a window; a fit has an eighth of them.
            scales: Bandwidth for each coordinate, of which those in space are changed by a common factor.
            error: Relative error that a window is to have.

        Returns:
            The fit in plain coordinates and, where there are fronts, the one in stretched ones: each with the
            smallest bandwidth that leaves a hundredth of that error, or twice what the best leaves.
        """
        kinds = [tuple(replace(f, width=sharper * f.width) for f in self.fronts) for sharper in SHARPER if self.fronts]
        plain = self._rungs((), width, scales)
        stretched = [fit for kind in kinds for fit in self._rungs(kind, width, scales)]
        found = []
        for tried in (plain, stretched):
            best = min((fit.error for fit in tried), default=math.inf)
            found += [fit for fit in tried if fit.error <= max(ENOUGH * best, CLOSE * error)][:1]
        return found

    def _rungs(self, fronts: tuple[Front, ...], width: int, scales: tuple[float, ...]) -> list[Fit]:
        """Fit the state with growing bandwidth, as long as that helps and the window has the features for it."""
        few = max(width // TIMES, FEWEST)
        middle = math.exp(sum(math.log(scales[i]) for i in self.space) / len(self.space))
        domain = self.domain.stretched(tuple(replace(front, speed=0.0) for front in fronts))
        points = domain.interior(ROWS * few, lambda n, d: sobol(n, d, self.generator))
        points[:, self.t] = self.start
        (values,) = self._values(points, ())
        tried: list[Fit] = []
        for rung in range(RUNGS):
            factor = LOWEST * RUNG**rung / middle
            each = tuple(s if i == self.t else factor * s for i, s in enumerate(scales))
            modes = math.prod(2 * scale / math.pi + 2 for scale in each)
            if tried and (modes > MODES * width or tried[-1].error > WORSE * min(fit.error for fit in tried)):
                break
            tried.append(Fit(fronts, each, self._error(domain, few, each, points, values)))
        return tried

    @torch.no_grad()
    def _values(self, points: Tensor, *along: tuple[int, ...]) -> list[Tensor]:
        """Return derivatives of the state along columns at points ``(n, d)``: of raw outputs, then of their slopes."""
        orders = [tuple(sorted((*more, *each))) for each in along for more in ((), (self.t,))[: 1 + self.slopes]]
        device = next((p.device for p in self.field.parameters()), points.device)
        found = partials(getattr(self.field, "raw", self.field), points.to(device), set(orders))
        parts = [found[order].double().cpu() for order in orders]
        return [torch.cat(parts[i : i + 1 + self.slopes], 1) for i in range(0, len(parts), 1 + self.slopes)]

    @torch.no_grad()
    def _error(self, domain: Any, width: int, scales: tuple[float, ...], points: Tensor, values: Tensor) -> float:
        """Fit features to the values at half of some points, and return the error at the others."""
        outputs = tuple(f"u{i}" for i in range(values.shape[1]))
        flat = tuple(s if i in self.space else 1e-6 for i, s in enumerate(scales))
        made = {"width": width, "scale": flat, "around_holes": 0.0, "dtype": torch.float64}
        features = RandomFeatures(domain, outputs, **made)
        half = len(points) // 2
        features.fit(points[:half], values[:half], RIDGE)
        left = (features.raw(points[half:]) - values[half:]).square().mean(0).sqrt()
        size = (values - values.mean(0)).square().mean(0).sqrt()
        error = float((left / size.clamp(min=1e-6 * float(values.abs().max()) + 1e-300)).max())
        return error if math.isfinite(error) else math.inf

    def _fronts(self) -> tuple[tuple[Front, ...], bool]:
        """Return where the state is steep, and whether one of these becomes steeper."""
        low, high = torch.tensor(self.domain.bounds, dtype=torch.float64).T
        half = (high - low) / 2
        points = self.domain.interior(POINTS, lambda n, d: sobol(n, d, self.generator))
        points[:, self.t] = self.start
        d = len(low)
        values, *rows = self._values(points, (), *((i,) for i in range(d)))
        size = (values.amax(0) - values.amin(0)).clamp(min=1e-6 * float(values.abs().max()) + 1e-300)
        slopes = torch.stack(rows, 2) / size[:, None] * half  # (n, k, d), in normalised coordinates
        z = (points - low) / half - 1
        bins = BINS.get(len(self.space), FEW_BINS)
        along = [i for i in self.space if i in self.domain.space]
        if not any(_peaks(i, z, slopes, bins, self.domain.periodic) for i in along):
            return (), False
        mixed = self._values(points, *((self.t, i) for i in range(d)))
        growth = torch.stack(mixed, 2) / size[:, None] * half * self.length  # of the slopes in the window
        ends = rows[self.t].gather(0, torch.stack([values.argmax(0), values.argmin(0)]))
        rate = (ends[0] - ends[1]) / size * self.length
        growth = growth - rate[:, None] * slopes  # what only becomes larger does not become steeper
        drift = slopes[:, :, self.t] / half[self.t] * self.length / 2
        found = [
            _along(i, z[:, i], slopes[:, :, i], drift, growth[:, :, i], bins, self.domain.periodic[i]) for i in along
        ]
        both = [each for fronts in found for each in fronts]
        return tuple(front for front, _ in both), any(steeper for _, steeper in both)


def _peaks(column: int, z: Tensor, slopes: Tensor, bins: int, periodic: tuple[bool, ...]) -> bool:
    """Return whether a state is steep anywhere along a coordinate, before it is asked where that goes."""
    still = torch.zeros_like(slopes[:, :, column])
    return bool(_along(column, z[:, column], slopes[:, :, column], still, still, bins, periodic[column]))


def _along(
    column: int, z: Tensor, slopes: Tensor, drift: Tensor, growth: Tensor, bins: int, wraps: bool
) -> list[tuple[Front, bool]]:
    """Find where the mean slope over the other coordinates has a narrow peak, and whether that becomes steeper.

    Args:
        column: Column of the coordinate.
        z: The coordinate, normalised, ``(n,)``.
        slopes: Derivatives of the unknowns along it ``(n, k)``.
        drift: The same along the normalised time of the window.
        growth: How much the slopes change in the window, if they go on as they do at its start.
        bins: Number of intervals in which slopes are averaged.
        wraps: Whether the coordinate is periodic.
    """
    where = ((z + 1) / 2 * bins).long().clamp(0, bins - 1)
    count = torch.zeros(bins, dtype=z.dtype).index_add_(0, where, torch.ones_like(z)).clamp(min=1)
    mean = torch.zeros(bins, dtype=z.dtype).index_add_(0, where, slopes.abs().mean(1)) / count
    middles = (torch.arange(bins, dtype=z.dtype) + 0.5) * 2 / bins - 1
    total, left, found = float(mean.sum()), mean.clone(), []
    for _ in range(MOST):
        top = int(left.argmax())
        peak = float(left[top])
        after, before = _reach(left, top, 1, wraps), _reach(left, top, -1, wraps)
        width = (after + before + 1) / bins
        if peak < STEEP * total / bins or width > NARROW:
            break
        centre = float(middles[top]) + (after - before) / bins
        near = _away(middles, centre, wraps).abs() <= AROUND * width
        mass = float(left[near].sum())
        left[near] = 0
        shoulder = peak < max(float(mean[(top + 1) % bins]), float(mean[top - 1]))  # of a front that was found before
        if shoulder or mass < PART * total:
            continue
        here = _away(z, centre, wraps).abs() <= AROUND * width
        square = slopes[here].square().sum().clamp(min=1e-300)
        speed = -float((slopes[here] * drift[here]).sum() / square)
        steeper = float((slopes[here] * growth[here]).sum() / square)
        width *= math.exp(-min(max(steeper, 0.0), MOST_STEEPER))
        found.append((Front(column, centre, width, speed), steeper > STEEPENS))
    return found


def _away(z: Tensor, centre: float, wraps: bool) -> Tensor:
    return (z - centre + 1) % 2 - 1 if wraps else z - centre


def _reach(values: Tensor, top: int, step: int, wraps: bool) -> int:
    """Count the bins beside the highest, in one direction, that are at least half as high."""
    order = torch.arange(1, len(values)) * step + top
    order = order % len(values) if wraps else order[(order >= 0) & (order < len(values))]
    below = (values[order] < values[top] / 2).nonzero()
    return int(below[0]) if len(below) else len(order)
