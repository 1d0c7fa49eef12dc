"""Marching in time with splines in space by the method of lines, on finer and finer cells.

Each march integrates the rates of the values of a spline in space (`nfsolve.run.semidiscrete`) from the first time to
the last one, and what it finds becomes a spline in time and space. The next march has more cells, which lie where the
one before changes fast; what it changes tells the error. Explicit methods in time need no matrices, so that two or
three coordinates of space cost little.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.device import choose_device
from nfsolve.domains import Box
from nfsolve.fields import Splines
from nfsolve.linalg.stabilized import Unstable
from nfsolve.optim import BandedLeastSquares
from nfsolve.problem import Recipe, RunOptions, Stage, may_have_windows
from nfsolve.run.estimate import ErrorEstimate, distance
from nfsolve.run.graded import Extrapolated, graded_to
from nfsolve.run.interrupt import Interrupt
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan
from nfsolve.run.semidiscrete import Lines, NotLines, sorted_conditions
from nfsolve.run.solution import Solution
from nfsolve.weighting import Constant

DEGREE = 5
FIRST = 12  # cells along each coordinate of space
FIRST_IN_TIME = 24
FINER = 1.5  # times the cells of the march before, along each coordinate
MUCH_FINER = 2.0  # the same where the solution was not seen yet
LITTLE = 1.15  # the same at least
SURE = 1.2  # times what a finer march is foretold to take
COARSE, FINE = 3e-5, 1e-12  # tolerances of steps, at most and at least
TIGHTER = 0.25  # part of the largest tolerance, for each march before
CLOSER = 0.003  # part of what finer cells are foretold to change, that the steps may be off
IN_TIME = 0.01  # part of it that interpolation in time may be off
ROUGHLY = 5.0  # times that, at which a march is made again with more cells in time
TURNS = 2  # times that this is done
CHECKS = 40  # times at which that is looked at
MOST = 2e7  # coefficients of a field
RESOLVED = 1e-11  # change, below which no finer march is made
STALLED = 0.8  # part of an earlier change, above which finer cells bring nothing
SLOWEST, FASTEST = 0.7, 0.3  # parts of a change that the next one is thought to be: errors in time fall no faster
VAGUE = 0.1  # change, above which nothing is known of the error
SEEN = 0.3  # change, below which cells follow what was found
WORSE = 3.0  # times the change before, that uneven cells may make
LARGEST = 10.0  # times the largest value of the march before, that values may have
BOUND = 4.0  # ratio of the numbers of cells along two coordinates, at most
ORDER = 4  # of the derivative that tells the scale
FLOOR = 0.3  # of the mean scale, that each place has at least
SLICES, PLACES = 30, 1500  # times and places at which the scale is looked at
UNKNOWN = 0.3  # part of the first change, that the second one is thought to be


@dataclass
class Level:
    """A march to the end of time.

    Attributes:
        field: What it found.
        ends: Ends of its cells in time, then in space.
        scales: For each coordinate of space places, and one over the length on which the solution changes there.
        off: How far interpolation in time is off, relative to the solution.
        seconds: What it took.
        stiff: Whether diffusion made plain explicit steps dear.
        largest: The largest value.
        change: Relative distance of the level before, for each unknown; empty in the first.
    """

    field: Splines
    ends: list[tuple[float, ...]]
    scales: list[tuple[np.ndarray, np.ndarray]]
    off: float
    seconds: float
    stiff: bool
    largest: float
    change: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def changed(self) -> float:
        """The largest change."""
        return max(self.change.values(), default=math.inf)

    @property
    def cells(self) -> list[int]:
        """Numbers of cells in space."""
        return [len(ends) - 1 for ends in self.ends[1:]]

    def __str__(self) -> str:
        method = "Runge-Kutta-Chebyshev steps" if self.stiff else "explicit steps of order 8"
        return f"splines on {_by(self.cells)} cells in space, {method} in time"


class LinesMarch:
    """Marches through time again and again, each time with finer cells, as far as the time allows.

    Args:
        problem: The problem, on a `Box` of a time and coordinates of space.
        plan: Seed and device.
        seconds: Time that it may take.
        tell: Called with a sentence for each march.
        accuracy: Relative change, below which no finer march is made.
    """

    method = "the method of lines"
    found = 0.5  # change by finer cells, below which networks hardly do better

    def __init__(
        self, problem: Any, plan: Plan, seconds: float, tell: Callable[[str], None], accuracy: float = RESOLVED
    ):
        self.problem, self.plan, self.tell, self.accuracy = problem, plan, tell, max(accuracy, RESOLVED)
        self.began, self.seconds = time.perf_counter(), seconds
        self.device = choose_device(plan.run.device)
        self.data = problem.load(self.device, torch.float64)
        self.t = problem.domain.index("t")
        self.space = [i for i in range(len(problem.domain.names)) if i != self.t]
        self.levels: list[Level] = []
        self.interrupted = False
        self._even = False  # whether all cells have the same width
        self._interrupt: Interrupt | None = None

    def left(self) -> float:
        """Return the seconds that are left, none after Ctrl-C."""
        if self._interrupt is not None and self._interrupt.asked:
            return -1.0
        return self.seconds - (time.perf_counter() - self.began)

    def go(self) -> bool:
        """March, and march again more finely; return whether something was found. Ctrl-C ends it."""
        with Interrupt() as self._interrupt:
            found = self._go()
        self.interrupted, self._interrupt = bool(self._interrupt.asked), None
        return found

    def _go(self) -> bool:
        bounds = self.problem.domain.bounds
        ends = [tuple(map(float, np.linspace(bounds[i][0], bounds[i][1], FIRST + 1))) for i in self.space]
        in_time = None
        while True:
            began = time.perf_counter()
            try:
                kept = self._keep(self._march(in_time, ends))
            except NotLines as error:
                self.tell(f"the method of lines does not apply: {error}")
                return False
            except Unstable as error:
                self.tell(f"splines on {_by([len(each) - 1 for each in ends])} cells: {error}")
                kept = False
            if not (kept or self._graded):
                took = time.perf_counter() - began
                if self.levels or self.left() < took * FINER ** (len(self.space) + 1):
                    return bool(self.levels)
                ends = [_spread(each, math.ceil(FINER * (len(each) - 1))) for each in ends]
                continue
            if not kept and self.left() > 0:
                self.tell("from now on all cells have the same width")
                self._even = True
            finer = self._finer()
            if finer <= 1:
                return True
            ends, in_time = self._cells(finer), self._times(finer)

    def _march(self, in_time: tuple[float, ...] | None, ends: list[tuple[float, ...]]) -> Level:
        """March once; the first time, find the cells in time too."""
        began, rtol = time.perf_counter(), self._tolerance()
        lines = Lines(self.problem, ends, DEGREE, self.device)
        if self.levels:
            lines.bound = LARGEST * max(self.levels[-1].largest, 1e-300)
        most = max(int(MOST / (lines.n * lines.k)) - DEGREE, FIRST_IN_TIME)
        goal, turns = IN_TIME * self._foretold(), TURNS
        track = None
        if in_time is None:
            track, stiff = lines.track(rtol, self.left)
            in_time, turns = _spread(track.times, FIRST_IN_TIME), len(track.times)
        while True:
            clock = _Clock(in_time := _spread(in_time, min(len(in_time) - 1, most)))
            if track is None:
                found, stiff = lines.march(clock.times, rtol, self.left)
            else:
                found = track.at(clock.times)
            at, off = clock.values(found)
            turns -= 1
            count = len(in_time) - 1
            if off <= ROUGHLY * goal or turns < 0 or count >= most:
                break
            more = max((off / goal) ** (1 / (DEGREE + 1)), LITTLE)
            in_time = _spread(track.times if track else in_time, math.ceil(min(more, 2.0) * count))
        field = self._field([in_time, *ends], at, lines)
        seconds, largest = time.perf_counter() - began, float(at.abs().max())
        return Level(field, [in_time, *ends], _scales(lines, at), off, seconds, stiff, largest)

    def _field(self, ends: list[tuple[float, ...]], at: Tensor, lines: Lines) -> Splines:
        field = self._build(ends)(self.problem, dtype=torch.float64, device=self.device)
        grid = at.reshape(len(at), *lines.counts, lines.k).movedim(0, self.t).flatten(0, -2)
        field.interpolate(lambda _: grid.to(self.device))
        return field.requires_grad_(False)

    def _build(self, ends: list[tuple[float, ...]]) -> Any:
        """Return what builds the field, with cells in the order of the coordinates."""
        order = [self.t, *self.space]
        cells = tuple(ends[order.index(i)] for i in range(len(order)))
        return partial(Splines.for_problem, cells=cells, degree=DEGREE)

    def _tolerance(self) -> float:
        """Return the tolerance of a step: by what is foretold to change, and closer in each march in any case."""
        return max(min(CLOSER * self._foretold(), COARSE * TIGHTER ** len(self.levels)), FINE)

    def _foretold(self) -> float:
        """Return about what the next march will change."""
        changes = [level.changed for level in self.levels[1:]]
        return min(changes[-1] * _rate(changes), COARSE / CLOSER) if changes else COARSE / CLOSER

    @property
    def _graded(self) -> bool:
        """Whether the cells of the next march follow what was found: it must have been seen."""
        return bool(self.levels) and not self._even and self.levels[-1].changed <= SEEN

    def _keep(self, level: Level) -> bool:
        """Keep a march, unless uneven cells made it worse; return whether it was kept."""
        if self.levels:
            level.change = distance(self.problem, self.levels[-1].field, level.field, self.data)
            if self._graded and not level.changed <= WORSE * self.levels[-1].changed:
                return False
        self.levels.append(level)
        told = f", which changes the solution by {level.changed:.1e}" if level.change else ""
        self.tell(f"{level}{told}")
        return True

    def _finer(self) -> float:
        """Return by how much the next march is finer, as far as the time allows; 0 where it would bring nothing."""
        last = self.levels[-1]
        possible = (max(self.left(), 0.0) / (SURE * last.seconds)) ** (1 / (len(self.space) + 1))
        changes = [level.changed for level in self.levels[1:]]
        done = bool(changes) and changes[-1] <= self.accuracy
        stalled = len(changes) > 2 and STALLED * changes[-3] < changes[-1] <= VAGUE
        most = FINER if changes and changes[-1] <= VAGUE else MUCH_FINER
        return 0.0 if done or stalled or possible < LITTLE else min(possible, most)

    def _cells(self, finer: float) -> list[tuple[float, ...]]:
        """Return the ends of finer cells in space, which follow what was found."""
        last = self.levels[-1]
        totals = [float(np.trapezoid(scale, at)) for at, scale in last.scales]
        middle = math.exp(sum(map(math.log, totals)) / len(totals))
        shares = [min(max(total / middle, BOUND**-0.5), BOUND**0.5) for total in totals]
        mean = math.prod(last.cells) ** (1 / len(last.cells))
        found = []
        for share, (at, scale) in zip(shares, last.scales, strict=True):
            count = max(math.ceil(finer * mean * share), FIRST)
            cells = graded_to(at, scale, count) if self._graded else np.linspace(at[0], at[-1], count + 1)
            found.append(tuple(map(float, cells)))
        return found

    def _times(self, finer: float) -> tuple[float, ...]:
        """Return the ends of cells in time of the next march, of which interpolation does not tell."""
        last = self.levels[-1]
        wanted = IN_TIME * self._foretold()
        more = max((last.off / max(wanted, 1e-14)) ** (1 / (DEGREE + 1)), 1.0) if last.off > 0 else 1.0
        return _spread(last.ends[0], math.ceil(min(more, 2 * finer) * (len(last.ends[0]) - 1)))

    def words(self) -> str:
        """Say in words what the solution is made of."""
        return str(self.levels[-1])

    def solution(self, folder: Any = None, report: Any = None) -> Solution:
        """Return the solution of the finest march, saved in a folder if there is one."""
        last, run = self.levels[-1], self.plan.run
        recipe = Recipe(
            field=partial(Splines, **self._build(last.ends).keywords),
            stages=(Stage(BandedLeastSquares, 1, resample=0),),
            weighting=Constant(),
            run=RunOptions(dtype="float64", log_every=1),
        )
        made = Run(self.problem, Plan.of(recipe, RunOptions(seed=run.seed, device=run.device)), coupled=frozenset())
        made.field.load_state_dict(last.field.state_dict())
        made.stopped = f"converged: {last}"
        return made.finished(folder, report, silent=True)

    def estimate(self) -> ErrorEstimate:
        """Estimate the error by what the last marches changed."""
        changes = [level.changed for level in self.levels[1:]]
        if not changes:
            return ErrorEstimate({}, False, "not available: there was no time for finer cells", math.nan)
        before, last = self.levels[-2:]
        rate = _rate(changes)
        part = rate / (1 - rate)
        found = {name: part * value for name, value in last.change.items()}
        better = Extrapolated(last.field, before.field, part)
        if last.changed > VAGUE or (len(changes) > 1 and changes[-1] > changes[-2]):
            reason = f"not to be trusted: finer cells still change the solution by {last.changed:.1e}"
            return ErrorEstimate(found, False, reason, part)
        return ErrorEstimate(found, True, "from what finer cells change", part, better)


class _Clock:
    """Cells in time, with the times at which values determine a spline, and some others at which it is checked.

    Args:
        ends: Their ends.
    """

    def __init__(self, ends: tuple[float, ...]):
        count = len(ends) - 1 + DEGREE
        outputs = tuple(f"u{i}" for i in range(count))
        made = {"cells": (ends,), "degree": DEGREE, "dtype": torch.float64}
        spline = Splines(Box(t=(ends[0], ends[-1])), outputs, **made)
        spline.interpolate(lambda _: torch.eye(count, dtype=torch.float64))
        [(places, _)] = spline.collocation(0)
        middles = torch.tensor(ends, dtype=torch.float64)
        middles = (middles[1:] + middles[:-1]) / 2
        checks = middles[torch.linspace(0, len(middles) - 1, min(CHECKS, len(middles))).round().long()].unique()
        with torch.no_grad():
            self._weights = spline(checks[:, None])
        both = torch.cat([places, checks]).clamp(ends[0], ends[-1])
        whole, where = both.unique(return_inverse=True)
        self.times: list[float] = whole.tolist()
        self._places, self._checks = where[: len(places)], where[len(places) :]

    def values(self, found: Tensor) -> tuple[Tensor, float]:
        """Return what determines the spline, and how far that is off at the checks, relative to each unknown.

        Args:
            found: Values at all times, ``(times, n, k)``.
        """
        at, known = found[self._places], found[self._checks]
        wrong = (self._weights @ at.flatten(1)).reshape(known.shape) - known
        size = known.square().mean((0, 1)).sqrt()
        size = size.clamp(min=1e-12 * float(size.max()) + 1e-300)
        return at, float((wrong.square().mean((0, 1)).sqrt() / size).max())


def _rate(changes: list[float]) -> float:
    """Return which part of a change the next one is likely to be."""
    if len(changes) < 2:
        return UNKNOWN
    return min(max(changes[-1] / changes[-2], FASTEST), SLOWEST)


def _scales(lines: Lines, at: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each coordinate of space places, and one over the length on which the solution changes there."""
    some = at[torch.linspace(0, len(at) - 1, min(SLICES, len(at))).round().long()].to(lines.points)
    size = (some.amax((0, 1)) - some.amin((0, 1))).clamp(min=1e-6 * float(some.abs().max()) + 1e-300)
    found = []
    for axis, places in enumerate(lines.places):
        orders = tuple(ORDER if i == axis else 0 for i in range(len(lines.counts)))
        slopes = torch.stack([(lines.derive(u, orders).abs() / size).amax(1) for u in some]).amax(0)
        others = [i for i in range(len(lines.counts)) if i != axis]
        scale = slopes.reshape(lines.counts).amax(others).cpu().numpy() ** (1 / ORDER)
        order = np.argsort(places.cpu().numpy())
        where, scale = places.cpu().numpy()[order], scale[order]
        low, high = lines.problem.domain.bounds[lines.columns[axis]]
        fine = np.linspace(low, high, PLACES)
        scale = np.interp(fine, where, scale)
        found.append((fine, np.maximum(scale, max(FLOOR * float(scale.mean()), 1 / (high - low)))))
    return found


def _by(cells: Sequence[int]) -> str:
    return " x ".join(map(str, cells))


def _spread(ends: Sequence[float], count: int) -> tuple[float, ...]:
    """Return the ends of about so many cells that lie where these do, the widths of neighbours being alike."""
    given = np.asarray(sorted(set(ends)))
    widths = np.diff(given)
    at = np.linspace(given[0], given[-1], PLACES)
    scale = 1 / widths[np.clip(np.searchsorted(given, at, side="right") - 1, 0, len(widths) - 1)]
    return tuple(map(float, graded_to(at, np.maximum(scale, FLOOR * float(scale.mean())), count)))


def may_have_lines(problem: Any) -> bool:
    """Return whether a problem has the form of one for the method of lines, in two or more coordinates of space."""
    if len(problem.domain.names) < 3 or not (problem.pointwise and may_have_windows(problem)):
        return False
    if problem.output_transform() is not None or problem.lives or problem.depends or problem.domain.parameters:
        return False
    try:
        sorted_conditions(problem)
    except NotLines:
        return False
    return True
