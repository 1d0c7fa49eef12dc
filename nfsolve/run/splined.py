"""Marching in time with splines on cells that follow the solution, finer and finer.

Cells are narrow where a solution changes fast: their width is in proportion to a root of the fourth derivative,
relative to the range of the solution (de Boor, A Practical Guide to Splines, 1978, chapter XII). In the first march
each window is solved again until its cells fit what is found on them, and in halves where that lowers the residual a
lot. In each further one all windows and cells are narrower by a common factor and placed by what the march before
found, where Newton's method begins. The error falls by a large factor each time, so what a march changes tells the
error of the one before.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.diff import partials
from nfsolve.domains import Box
from nfsolve.fields import Splines, Windows
from nfsolve.optim import BandedLeastSquares
from nfsolve.problem import Marched, Recipe, RunOptions, Stage, may_have_windows, orders_along, window_of
from nfsolve.run.estimate import ErrorEstimate, distance
from nfsolve.run.graded import Extrapolated, graded
from nfsolve.run.heldout import held_out
from nfsolve.run.loop import Run
from nfsolve.run.march import March
from nfsolve.run.plan import Plan
from nfsolve.run.relative import RelativeResidual, balance
from nfsolve.run.solution import Solution

DEGREE = 9
IN_TIME = 2  # cells along the time of a window
FIRST_WINDOWS, FIRST_CELLS = 8, 16
COARSE = 3.0  # cells of the first march for each length on which the solution changes
STEPS = 12  # of Newton's method in a window
ROWS = 2.5  # for each unknown, inside
ROWS_ON_SIDES = 3.0
DENSE = 4  # times as many points, that the cells at both sides get
TURNS = 12  # changes of one window
EXCESS = 1.5  # times the width that they should have, that cells may have
LOOKS = 3  # windows, of which one is tried in halves
WORSE = 5.0  # times the residual of the window before, above which one is as well
EARLY, SLOW = 0.3, 2.0  # of its time, and times its part of all times, that the first march may take
HELPED = 20.0  # part of the residual that half a window must leave to be worth it
LONGER = 1.5  # factor on the length of a window after one that could not be shorter
FINER = 1.4  # times the cells of the march before, along each coordinate
LITTLE = 1.15  # the same at least
SURE = 1.3  # times what a finer march is foretold to take
FEWEST = 16  # cells in space
ORDER = 4  # of the derivative that tells the scale
FLOOR = 0.3  # of the mean scale, that each place has at least
SLICES, PLACES = 6, 1200  # times in a window, and places in space, at which the scale of the solution is looked at
RESOLVED = 1e-11  # change, below which no finer march is made
STALLED = 0.5  # part of an earlier change, above which finer cells bring nothing
VAGUE = 0.1  # change, above which nothing is known of the error


@dataclass
class Piece:
    """A window that was solved, with its cells."""

    cells: tuple[int, tuple[float, ...]]
    start: float
    end: float
    run: Run
    residual: float
    seconds: float


@dataclass
class Level:
    """A march to the end of time.

    Attributes:
        pieces: Its windows.
        field: What they make together.
        density: Cells for each length on which the solution changes.
        seconds: What they took.
        change: Relative distance of the level before, for each unknown; empty in the first.
    """

    pieces: list[Piece]
    field: Windows
    density: float
    seconds: float
    change: dict[str, float]

    @property
    def changed(self) -> float:
        """The largest change."""
        return max(self.change.values(), default=math.inf)


class SplineMarch:
    """Marches through time again and again, each time with finer cells, as far as the time allows.

    Args:
        problem: The problem, of time and one coordinate of space.
        plan: Seed and device.
        seconds: Time that it may take.
        tell: Called with a sentence for each march.
        accuracy: Relative change, below which no finer march is made.
    """

    method = "least squares"
    found = 1e-2  # change by finer cells, below which the solution is found

    def __init__(
        self, problem: Any, plan: Plan, seconds: float, tell: Callable[[str], None], accuracy: float = RESOLVED
    ):
        self.plan, self.tell, self.accuracy = plan, tell, max(accuracy, RESOLVED)
        self.began, self.seconds = time.perf_counter(), seconds
        self.data = problem.load(plan.run.device, torch.float64)
        self.whole = problem
        self.problem = problem.with_(load=lambda *_: {**self.data, "measured": dict(self.data["measured"])})
        names = problem.domain.names
        self.t = names.index("t")
        self.x = 1 - self.t
        self.levels: list[Level] = []
        self.interrupted = False
        self.entries: dict[str, int] = {}
        self.inner = [name for name, c in problem.conditions().items() if c.kind == "interior"]

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.perf_counter() - self.began)

    def go(self) -> bool:
        """March, and march again more finely; return whether the end of time was reached."""
        level = self._feel(COARSE)
        if level is None:
            return False
        self.levels.append(level)
        while not self.interrupted and (finer := self._finer()) > 1:
            last, density = self.levels[-1], finer * self.levels[-1].density
            level = self._march(self._cuts(finer), density, last.field)
            if level is None:
                break
            self.levels.append(level)
        return True

    def _feel(self, density: float) -> Level | None:
        """March for the first time: each window is made again until its cells fit what is found on them."""
        low, high = self.whole.domain.bounds[self.t]
        pieces: list[Piece] = []
        at, length = low, (high - low) / FIRST_WINDOWS
        left, right = self.whole.domain.bounds[self.x]
        cells = np.linspace(left, right, FIRST_CELLS + 1)
        while at < high:
            if pieces:
                cells = self._scales(pieces[-1:]).cells(density, at, at)
            found, cells = self._fitted(at, length, density, cells, pieces)
            worse = found is not None and pieces and found.residual > WORSE * pieces[-1].residual
            shorter, looks = 0, len(pieces) % LOOKS == 0 or worse
            while looks and found is not None and shorter < TURNS and self.left() > 0:
                half, finer = self._fitted(at, (found.end - at) / 2, density, cells, pieces)
                if half is None or half.residual > found.residual / HELPED:
                    break
                found, cells, shorter = half, finer, shorter + 1
            if found is None or self.left() < 0:
                return None
            pieces.append(found)
            part = (found.end - low) / (high - low)
            if self.seconds - self.left() > max(EARLY, SLOW * part) * self.seconds:
                return None
            at, length = found.end, (found.end - at) * (LONGER if looks and not shorter else 1.0)
        return self._level(pieces, density)

    def _fitted(
        self, start: float, length: float, density: float, cells: np.ndarray, before: list[Piece]
    ) -> tuple[Piece | None, np.ndarray]:
        """Solve a window until its cells fit what is found on them; shorter where nothing is found."""
        high = self.whole.domain.bounds[self.t][1]
        for _ in range(TURNS):
            end = high if start + 1.3 * length > high else start + length
            piece = self._window(start, end, tuple(map(float, cells)), before, None)
            if self.left() < 0 or self.interrupted:
                return None, cells
            if piece is None:
                length /= 4
                continue
            scales = self._scales([piece])
            wanted = scales.cells(density, start, end)
            excess = scales.excess(density, cells)
            if excess <= EXCESS:
                return piece, cells
            if excess > EXCESS**3:
                length /= 2
            cells = wanted
        return None, cells

    def _finer(self) -> float:
        """Return by how much the next march is finer, as far as the time allows; 0 where it would bring nothing."""
        last = self.levels[-1]
        possible = math.sqrt(max(self.left(), 0.0) / (SURE * last.seconds))
        changes = [level.changed for level in self.levels[1:]]
        done = bool(changes) and changes[-1] <= self.accuracy
        stalled = len(changes) > 2 and changes[-1] > STALLED * changes[-3]
        return 0.0 if done or stalled or possible < LITTLE else min(possible, FINER)

    def _march(self, cuts: list[float], density: float, guess: nn.Module) -> Level | None:
        """March with cells that follow what is known; None where a window is not solved or the time ends."""
        scales, pieces = self._scales(self.levels[-1].pieces), []
        for start, end in zip(cuts[:-1], cuts[1:], strict=True):
            cells = tuple(map(float, scales.cells(density, start, end)))
            piece = self._window(start, end, cells, pieces, guess)
            if piece is None or self.left() < 0:
                return None
            pieces.append(piece)
        return self._level(pieces, density)

    def _level(self, pieces: list[Piece], density: float) -> Level:
        field, change = _joined(pieces, self.t), {}
        if self.levels:
            change = distance(self.whole, self.levels[-1].field, field, self.data)
        level = Level(pieces, field, density, sum(piece.seconds for piece in pieces), change)
        told = f", which changes the solution by {level.changed:.1e}" if change else ""
        self.tell(f"{_words(pieces)}{told}")
        return level

    def _window(
        self, start: float, end: float, cells: tuple[float, ...], before: list[Piece], guess: nn.Module | None
    ) -> Piece | None:
        begun = time.perf_counter()
        previous = before[-1].run.field if before else None
        view = window_of(self.problem, start, end, previous, cells=self._graded(start, end, cells))
        if not self.entries:
            measure = RelativeResidual(view, view.load(self.plan.run.device, torch.float64), self.plan.run.seed)
            self.entries = measure.entries
        plan = Plan.of(self._recipe((IN_TIME, cells)), self._options())
        run = Run(view, plan, coupled=frozenset())
        field: Any = run.field
        if guess is not None:
            field.interpolate(partial(_raw, guess))
        elif previous is not None:
            at = torch.tensor(start)
            field.interpolate(lambda points: _raw(previous, _still(points, self.t, at)))
        run.train(silent=True)
        self.interrupted = self.interrupted or run.interrupted
        if run.failed or run.interrupted:
            return None
        run.field.requires_grad_(False)
        data = view.load(self.plan.run.device, torch.float64)
        left = held_out(view, run.field, view.fresh(data, generator(self.plan.run.seed, "splines"), {}))
        inside = [left[f"heldout/{name}"] for name in self.inner]
        return Piece((IN_TIME, cells), start, end, run, math.hypot(*inside), time.perf_counter() - begun)

    def _graded(self, start: float, end: float, cells: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
        """Return cells that get as many points each: more of them at the ends, where polynomials grow."""
        times = start + (end - start) * (1 - np.cos(np.linspace(0, math.pi, 2 * DENSE + 1))) / 2
        times[-1] = end
        rim = [np.linspace(cells[i], cells[i + 1], DENSE + 1) for i in (0, len(cells) - 2)]
        places = np.concatenate([rim[0][:-1], cells[1:-2], rim[1]]) if not self.whole.domain.periodic[self.x] else cells
        return tuple(tuple(map(float, places if i == self.x else times)) for i in range(2))

    def _options(self) -> RunOptions:
        run = self.plan.run
        return RunOptions(seed=run.seed, device=run.device, time_limit=max(self.left(), 0.1))

    def _recipe(self, cells: tuple[int, tuple[float, ...]]) -> Recipe:
        """Return the recipe of a window: points by the number of unknowns, Newton's method."""
        problem, conditions = self.problem, self.problem.conditions()
        count, k = len(cells[1]) - 1, len(problem.outputs)
        rows = sum(self.entries.get(name, 1) * (conditions[name].points or problem.n_points) for name in self.inner)
        unknowns = (count + DEGREE) * (IN_TIME + DEGREE) * k
        along = cells if self.t == 0 else (cells[1], cells[0])
        stage = Stage(
            BandedLeastSquares,
            STEPS,
            resample=0,
            points=ROWS * unknowns / max(rows, 1),
            faces=ROWS_ON_SIDES * (count + DEGREE) / problem.n_face,
        )
        return Recipe(
            field=partial(Splines, cells=along, degree=DEGREE),
            stages=(stage,),
            weighting=balance(problem),
            run=RunOptions(dtype="float64", log_every=STEPS),
        )

    def _scales(self, pieces: list[Piece]) -> "_Scales":
        return _Scales(self.whole, pieces, self.t, self.x)

    def _cuts(self, factor: float) -> list[float]:
        """Return the ends of windows that are shorter by a factor, their lengths as in the last march."""
        pieces = self.levels[-1].pieces
        ends = np.array([pieces[0].start, *(piece.end for piece in pieces)])
        count = math.ceil(factor * len(pieces))
        return list(map(float, np.interp(np.linspace(0, len(pieces), count + 1), np.arange(len(ends)), ends)))

    def solution(self, folder: Any = None, report: Any = None) -> Solution:
        """Return the solution of the finest march, saved in a folder if there is one."""
        pieces = self.levels[-1].pieces
        recipes = [self._recipe(piece.cells) for piece in pieces]
        each = Marched(
            ends=tuple(piece.end for piece in pieces[:-1]),
            fields=tuple(recipe.field for recipe in recipes),
            points=tuple(recipe.stages[0].points for recipe in recipes),
            faces=tuple(recipe.stages[0].faces for recipe in recipes),
            cells=tuple(self._graded(piece.start, piece.end, piece.cells[1]) for piece in pieces),
        )
        run = self.plan.run
        plan = Plan.of(recipes[-1], RunOptions(seed=run.seed, device=run.device))
        plan = dataclasses.replace(plan, field=each).with_run(windows=len(pieces))
        return March(self.whole, plan, folder, report).finished([piece.run for piece in pieces])

    def estimate(self) -> ErrorEstimate:
        """Estimate the error by what the last marches changed."""
        if len(self.levels) < 2:
            return ErrorEstimate({}, False, "not available: there was no time for finer cells", math.nan)
        before, last = self.levels[-2:]
        orders = [DEGREE + 1 - order for order in self._orders()]
        factor = (before.density / last.density) ** max(min(orders), 1)
        if len(self.levels) > 2 and last.changed > STALLED * before.changed:
            factor = min(last.changed / before.changed, 1.0)
        found = {name: factor * value for name, value in last.change.items()}
        better = Extrapolated(last.field, before.field, factor)
        if last.changed > VAGUE:
            reason = f"not to be trusted: finer cells still change the solution by {last.changed:.1e}"
            return ErrorEstimate(found, False, reason, factor)
        return ErrorEstimate(found, True, "from what finer cells change", factor, better)

    def _orders(self) -> list[int]:
        """Return the highest order of derivatives in space of each equation."""
        return [max(orders_along(self.whole, name, self.x).values(), default=0) for name in self.inner]

    def words(self) -> str:
        """Say in words what the solution is made of."""
        return _words(self.levels[-1].pieces)


def _joined(pieces: list[Piece], column: int) -> Windows:
    """Return the fields of windows as one."""
    return Windows([piece.run.field for piece in pieces], tuple(piece.end for piece in pieces[:-1]), column)


def _words(pieces: list[Piece]) -> str:
    cells = sorted({len(piece.cells[1]) - 1 for piece in pieces})
    many = f"{cells[0]}" if len(cells) == 1 else f"{cells[0]} to {cells[-1]}"
    return f"splines on {many} cells in {len(pieces)} windows"


class _Scales:
    """The local scale of a solution: one over the width of what a polynomial of low degree can follow."""

    def __init__(self, problem: Any, pieces: list[Piece], t: int, x: int):
        self.t, self.x = t, x
        low, high = problem.domain.bounds[x]
        wide = [piece.cells[1] for piece in pieces]
        ends = np.unique(np.concatenate([np.asarray(each) for each in wide]))
        inner = np.interp(np.linspace(0, len(ends) - 1, PLACES), np.arange(len(ends)), ends)
        self.places = np.unique(np.concatenate([inner, np.linspace(low, high, PLACES // 4)]))
        times = []
        for piece in pieces:
            times.append(np.linspace(piece.start, piece.end, SLICES + 1)[:-1])
        self.times = np.append(np.concatenate(times), pieces[-1].end)
        self.along_x = self._look(_joined(pieces, t))

    @torch.no_grad()
    def _look(self, field: nn.Module) -> np.ndarray:
        """Return the scale along x at ``(times, places)``."""
        grid = torch.stack(
            torch.meshgrid(torch.from_numpy(self.times), torch.from_numpy(self.places), indexing="ij"), -1
        ).flatten(0, 1)
        points = grid if self.t == 0 else grid.flip(1)
        high = (self.x,) * ORDER
        rows: dict[tuple[int, ...], list[Tensor]] = {(): [], high: []}
        for part in points.split(20000):
            found = partials(field, part, set(rows))
            for index, values in rows.items():
                values.append(found[index].double().cpu())
        u, slopes = (torch.cat(rows[index]).reshape(len(self.times), len(self.places), -1) for index in rows)
        size = (u.amax((0, 1)) - u.amin((0, 1))).clamp(min=1e-6 * float(u.abs().max()) + 1e-300)
        return ((slopes.abs() / size) ** (1 / ORDER)).amax(2).numpy()

    def _floored(self, at: np.ndarray, scale: np.ndarray) -> np.ndarray:
        mean = np.trapezoid(scale, at) / (at[-1] - at[0])
        return np.maximum(scale, max(FLOOR * mean, 1.0 / (at[-1] - at[0])))

    def excess(self, density: float, ends: np.ndarray) -> float:
        """Return how much wider than they should be cells are, at most."""
        scale = np.interp((ends[1:] + ends[:-1]) / 2, self.places, self.along_x.max(0))
        return float((np.diff(ends) * density * scale).max())

    def cells(self, density: float, start: float, end: float) -> np.ndarray:
        """Return the ends of cells in space for a window."""
        slack = 1e-9 * (self.times[-1] - self.times[0])
        inside = (self.times >= start - slack) & (self.times <= end + slack)
        first, last = np.searchsorted(self.times, (start, end))
        inside[max(first - 1, 0) : last + 1] = True
        scale = self.along_x[inside].max(0)
        return graded(self.places, self._floored(self.places, scale), density, FEWEST)


def _raw(field: Any, points: Tensor) -> Tensor:
    """Return what a field gives before hard constraints, window by window."""
    if not isinstance(field, Windows):
        return field.raw(points)
    result = points.new_empty(len(points), len(field.outputs))
    for rows, part in field.pieces(points):
        result[rows] = part.raw(points[rows])  # type: ignore[operator, union-attr]
    return result


def _still(points: Tensor, column: int, at: Tensor) -> Tensor:
    points = points.clone()
    points[:, column] = at
    return points


def may_have_splines(problem: Any) -> bool:
    """Return whether a problem is one of time and one coordinate of space, whose equations hold point by point."""
    domain = problem.domain
    if not (isinstance(domain, Box) and len(domain.names) == 2 and may_have_windows(problem)):
        return False
    try:
        field = Splines.for_problem(problem, cells=FEWEST + DEGREE, dtype=torch.float64)
    except InputError:
        return False
    kinds = {condition.kind for condition in problem.conditions().values()}
    return field.is_local and problem.pointwise and not kinds & {"integral", "paired", "interface", "measured"}
