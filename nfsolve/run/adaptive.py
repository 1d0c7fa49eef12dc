"""Marching in time where each window finds its own length, number of features and bandwidth.

A front that forms, a wave that steepens or a transient that dies out need other features later than at the start. A
window is tried with the choice of the one before and judged by its held-out residual. Where that is too large, more
bandwidth in space, a shorter window and more features are tried, in this order; where it is far smaller than need be,
the next window is longer. This is step-size control as in solvers of ordinary differential equations (Hairer, Norsett
& Wanner, Solving Ordinary Differential Equations I, 1993, II.4), with the residual in the place of the local error.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from nfsolve._core.random import generator
from nfsolve.domains import Front
from nfsolve.fields import Windows
from nfsolve.linalg.qr import ScaledQR
from nfsolve.optim import LinearLeastSquares
from nfsolve.problem import Marched, Recipe, RunOptions, hands_over_slopes, window_of
from nfsolve.run.alike import windows_are_alike
from nfsolve.run.beginning import initial_state
from nfsolve.run.estimate import ErrorEstimate, correct, correctable, default_width, distance, judged
from nfsolve.run.ladder import COLUMNS, COST, GAIN, MOST_AT_CORNERS, MOST_ON_A_LINE, UNSEEN, WIDTHS, Trial, recipe_of
from nfsolve.run.loop import Run
from nfsolve.run.march import March
from nfsolve.run.plan import Plan
from nfsolve.run.relative import RelativeResidual
from nfsolve.run.solution import Solution
from nfsolve.run.steep import CLOSE, State

BEST = 1e-10  # held-out residual of a window, relative to that of zero, that is asked for at first
ENOUGH = 4.0  # times the tolerance, that a window may leave before something else is tried
RELAXED = 10.0  # factor by which more is allowed where there is no time for less
HOPELESS = 1e-3  # a window that leaves more is better left to a network
EARLY = 0.5  # of the time of the march, that must be left for that
WIDER = 1.5  # factor on the bandwidth in space
RICHER = 1.2  # factor on the bandwidth of corrections, which have WIDER times as many features
SLOWER = 0.5  # factor on the bandwidth in time
SHORTER = 0.7  # factor on the bandwidth in time of half a window
FILLED = 0.8  # of the number of features, that the bandwidth of a longer window on a line is at most
LONGER = 1.5  # factor on the length of a window after one that left far less than allowed
EASY = 20.0  # factor by which it must, squared where there is no space, so that a shorter window costs little
HELPED = 5.0  # factor that half a window must bring to be worth twice as many of them
SHARE = 0.7  # of the time that is left, that all further windows may take with another choice
PLENTY = 0.5  # of the time that is left, below which all further windows leave some for a smaller residual
GRACE = 0.3  # of the time that it may take, that a march may go on for where it ends with that
TOO_LONG = 4.0  # times what is left, that all further windows would take
AGAIN = 0.3  # part of the time of a window, that another one of the same matrix takes
MANY = 10  # windows that have one matrix, above which fewer longer ones are worth another
CHEAP = 800  # columns, up to which the time of a window grows no faster than they do
NOISE = 0.1  # times what the window before leaves, that a state need not be resolved better than
UNLIKE = 100.0  # factor by which the state must be fitted better for other coordinates than in the window before
STATED = 1e-4  # error of a fit of the initial state, up to which it says something of the first window
ANOTHER = 0.6  # of the time that is left, that a second march and the estimate of its error may take
CORRECTED = 1.2  # times the features of a window, that its correction is to have
LITTLE = 1.2  # times the features, that it must have at least
TURNS = 8  # changes of one window
TINY = 1e-4  # shortest window, as a part of all times
LOW = 1e-3  # part of the largest zero residual of the windows so far, to which residuals are related at least


@dataclass(frozen=True)
class Choice:
    """What a window is solved with.

    Attributes:
        length: Its length in time.
        width: Number of features.
        scales: Bandwidth for each coordinate.
        fronts: By which the coordinates of space are stretched.
    """

    length: float
    width: int
    scales: tuple[float, ...]
    fronts: tuple[Front, ...] = ()


@dataclass
class Piece:
    """A window that was solved: its choice, its run, and its held-out residual relative to that of zero."""

    choice: Choice
    start: float
    end: float
    run: Run
    relative: float
    seconds: float
    factors: ScaledQR


@dataclass(frozen=True)
class Planned:
    """A window of a second march.

    Attributes:
        choices: What may be better than the choice of the first march, in the order of their trials.
        relative: What the first march left.
    """

    choices: tuple[Choice, ...]
    relative: float


class AdaptiveMarch:
    """Marches through time with random features, as far as the time allows.

    Args:
        problem: The problem on its whole time interval.
        first: The trial from which the first window begins.
        plan: Seed and device.
        seconds: Time that it may take.
        tell: Called with a sentence for each window.
        entries: Residual name -> its number of entries at each point, where that is not 1.
        later: Seconds that it may be allowed after the first window.
    """

    def __init__(
        self,
        problem: Any,
        first: Trial,
        plan: Plan,
        seconds: float,
        tell: Callable[[str], None],
        entries: Mapping[str, int] = {},  # never changed
        later: float = 0.0,
    ):
        self.entries = entries
        self.problem, self.plan, self.tell = problem, plan, tell
        self.began, self.seconds = time.perf_counter(), seconds
        self.later = later
        self.column = problem.domain.index("t")
        self.start, self.end = problem.domain.bounds[self.column]
        self.tolerance = BEST
        self._trial, self._lengthens = first, False
        self.pieces: list[Piece] = []
        length = (self.end - self.start) / max(first.windows, 1)
        self.choice = Choice(length, first.width, first.scales)
        if first.windows == 1:  # which was not good enough
            self.choice = self._halved(self._halved(self.choice))
        self._slopes = hands_over_slopes(problem)
        self._view: tuple[tuple[float, float, tuple[Front, ...]], Any, RelativeResidual] | None = None
        self._zero = 0.0
        self._plain = False  # whether plain coordinates did better where both kinds were tried
        self._took = 0.0  # seconds of the last window with all that was tried
        self._first: Piece | None = None
        self._planned: list[Planned] = []
        self._passed = 0  # choices of a plan that brought nothing
        self.alike = windows_are_alike(problem, plan.run.seed, plan.run.device)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.perf_counter() - self.began)

    def allow(self, seconds: float) -> None:
        """Set the time that the march may take from now on."""
        self.began, self.seconds, self.later = time.perf_counter(), seconds, 0.0

    def probe(self) -> float:
        """Solve the first window, with which `go` begins, and return its held-out residual relative to that of zero."""
        self._first = self._window(self.start)
        return self._first.relative

    def go(self) -> bool:
        """March to the end of time; return whether that was reached."""
        at = self.start
        while at < self.end - 1e-12 * (self.end - self.start):
            begun = time.perf_counter()
            piece, self._first = self._first or self._window(at), None
            self._took = time.perf_counter() - begun
            much = self.left() > EARLY * self.seconds  # of its time, for something else
            hopeless = piece.relative > (HOPELESS if much else RELAXED * HOPELESS)
            late = self.left() < min(self._rest(piece) - GRACE * self.seconds, 0.0)
            if hopeless or piece.run.failed or piece.run.interrupted or late:
                self.tell(f"gave up marching at t = {at:g}: {_words(piece)}")
                return False
            self._accept(piece)
            at = piece.end
            if self._is_too_slow(piece):
                self.tell(f"gave up marching at t = {at:g}: such windows would take far longer than there is time")
                return False
        return True

    def again(self, seconds: float) -> "AdaptiveMarch | None":
        """Return a march like this one with more features, or windows half as long, whichever helps its start more.

        Args:
            seconds: Time that it may take.

        Returns:
            A march that has begun, for `go`; None where there is no time for one, or it would bring little.
        """
        finer = copy.copy(self)
        finer.pieces, finer._view, finer._first = [], None, None
        finer.allow(seconds)
        mean = sum(piece.seconds for piece in self.pieces) / len(self.pieces)
        part = 1 + self.costs(CORRECTED) / (mean * len(self.pieces))  # with the estimate
        best: Piece | None = None
        for planned in self._finer(ANOTHER * seconds / (part * mean * len(self.pieces))):
            piece = finer._solve(self.start, planned[0].choices[0])
            rest = part * piece.seconds / self.pieces[0].seconds * mean * (len(planned) - 1)
            helps = piece.relative < self.pieces[0].relative / HELPED
            if helps and rest < finer.left() and (best is None or piece.relative < best.relative):
                best, finer._planned = piece, planned
        if best is None:
            return None
        finer._first, finer.choice = best, best.choice
        self.tell("there is time for a finer march")
        return finer

    def _finer(self, factor: float) -> Iterator[list[Planned]]:
        """Yield plans of windows that may take so many times as long in all: with more features, and half as long."""
        widest = max(piece.choice.width for piece in self.pieces)
        more = min(factor ** (1 / COST) * widest, COLUMNS / len(self.problem.outputs)) / widest
        if more > LITTLE:
            wider = min(more, WIDER) ** (1 / (len(self.problem.domain.names) - 1) if len(self.choice.scales) > 1 else 1)
            richer = [dataclasses.replace(p.choice, width=round(more * p.choice.width)) for p in self.pieces]
            scales = [self._scaled(p.choice.scales, 1.0, wider) for p in self.pieces]
            yield [
                Planned((dataclasses.replace(choice, scales=each), choice), piece.relative)
                for choice, each, piece in zip(richer, scales, self.pieces, strict=True)
            ]
        if factor > 2:
            yield [Planned((self._halved(p.choice),), p.relative) for p in self.pieces for _ in range(2)]

    def _as_planned(self, at: float, planned: Planned) -> Piece:
        """Solve a window as planned; what brings nothing in it is not tried in later ones."""
        first, *others = planned.choices[self._passed :]
        piece = self._solve(at, first)
        if others and piece.relative > planned.relative / GAIN and self.left() > 0:
            other = self._solve(at, others[0])
            if other.relative < piece.relative:
                piece, self._passed = other, self._passed + 1
        return piece

    def _is_too_slow(self, piece: Piece) -> bool:
        """Return whether windows like the last one, of which no more can be allowed, would take far too long."""
        return self.tolerance >= HOPELESS / RELAXED and self._rest(piece) > TOO_LONG * max(
            self.left(), GRACE * self.seconds
        )

    def _rest(self, piece: Piece) -> float:
        """Return the seconds that windows like one take to the end of time."""
        windows = (self.end - piece.end) / self.choice.length
        if self._lengthens:
            windows = _lengthening(windows)
        if self.alike:
            last = self.pieces[-1] if self.pieces else None
            known = last is not None and last.factors is piece.factors
            return windows * min(self._took, piece.seconds) if known else self._of_all(piece.seconds, windows)
        return windows * (self._took if self.pieces else piece.seconds)

    def _of_all(self, seconds: float, windows: float) -> float:
        """Return the seconds that some windows take, of which the first takes so many."""
        return seconds * (1 + AGAIN * max(windows - 1, 0.0) if self.alike else windows)

    def _accept(self, piece: Piece) -> None:
        factor = EASY if len(piece.choice.scales) > 1 else EASY**2
        easy = factor * piece.relative < self.tolerance and piece.choice.width <= self.choice.width
        if self.alike and (self.end - piece.end) / piece.choice.length < MANY:
            easy = False  # another length has another matrix
        self.tell(_words(piece))
        if self.pieces and self.pieces[-1].factors is not piece.factors:
            self.pieces[-1].factors.forget()
        self.pieces.append(piece)
        piece.run.field.requires_grad_(False)
        self.choice = piece.choice
        self._lengthens = easy and len(piece.choice.scales) == 1  # as after a fast start, to which slow times follow
        if easy:
            scales = self._scaled(piece.choice.scales, LONGER**0.5, 1.0)
            if len(scales) == 1:
                scales = (min(scales[0], FILLED * piece.choice.width),)
            self.choice = dataclasses.replace(piece.choice, length=LONGER * piece.choice.length, scales=scales)
        rest = self._rest(piece)
        if rest > self.left() and self.tolerance < HOPELESS / RELAXED:
            self.tolerance *= RELAXED  # or the end is not reached
        elif rest < PLENTY * self.left():
            largest = max(done.relative for done in self.pieces)
            self.tolerance = min(self.tolerance, max(self.tolerance / RELAXED, largest, BEST))

    def _window(self, at: float) -> Piece:
        """Solve the next window, with other choices where its residual is too large and no choices are planned."""
        if self._planned:
            return self._as_planned(at, self._planned[min(len(self.pieces), len(self._planned) - 1)])
        last = self.pieces[-1] if self.pieces else None
        steady = self.alike and last is not None and last.relative <= self.tolerance and not last.choice.fronts
        plain = steady or len(self.choice.scales) == 1
        choices = [self.choice] if plain else self._resolving(at, self.choice)
        best = self._solve(at, choices[0])
        for choice in choices[1:]:
            if best.relative > ENOUGH * self.tolerance and self.left() > 0:
                best = min(best, self._solve(at, choice), key=lambda piece: piece.relative)
                self._plain = not best.choice.fronts
        for _ in range(TURNS):
            if best.relative <= ENOUGH * self.tolerance or self.left() <= 0 or best.run.interrupted:
                break
            better = self._better(at, best)
            if better is None:
                break
            best = better
        if best.relative > self.tolerance:
            self.tolerance = min(GAIN * best.relative, HOPELESS)
        return best

    def _resolving(self, at: float, choice: Choice) -> list[Choice]:
        """Return choices whose features resolve the state at the start: in plain coordinates, and in stretched ones.

        Where a front becomes steeper, stretched ones come first, unless plain ones did better where both were tried;
        else the kind of the window before, except where the other one fits the state far better. What has done well for
        the window before is kept where nothing is stretched or becomes steeper.
        """
        last, chance = self.pieces[-1] if self.pieces else None, generator(self.plan.run.seed, "state")
        field = last.run.field if last else self._initial(at, choice)
        if field is None:
            return [choice]
        state = State(self.problem, field, at, at + choice.length, chance, self._slopes)
        if last and last.relative <= self.tolerance and not (state.steepens or last.choice.fronts):
            return [choice]
        relative, fronts = (last.relative, last.choice.fronts) if last else (BEST, ())
        wanted = max(BEST, NOISE * relative)
        fits = state.fits(choice.width, choice.scales, wanted)
        while (left := min(fit.error for fit in fits)) > max(wanted, CLOSE * self.tolerance):
            more = self._more(choice.width)
            if more is None or not self._is_time_for(
                self._cost(last or self._trial, more), at, choice.length, relative
            ):
                break
            finer = state.fits(more, choice.scales, wanted)
            if min(fit.error for fit in finer) > left / HELPED:
                break
            fits, choice = finer, dataclasses.replace(choice, width=more)
        if not last and min(fit.error for fit in fits) > STATED:  # as it is for few features
            return [choice]
        steepens = state.steepens and not self._plain  # unless that did not help in the window before
        like, unlike = steepens or bool(fronts), math.inf if steepens else UNLIKE
        fits.sort(key=lambda fit: max(fit.error, CLOSE * wanted) * (1 if bool(fit.fronts) == like else unlike))
        found = [dataclasses.replace(choice, fronts=fit.fronts, scales=fit.scales) for fit in fits]
        return found if last else [*found, self.choice]

    def _initial(self, at: float, choice: Choice) -> nn.Module | None:
        """Return what the initial conditions say of the first state, where space has one dimension."""
        if len(choice.scales) != 2:
            return None
        view, _ = self._on(at, at + choice.length, ())
        return initial_state(view, view.load(self.plan.run.device, torch.float64), self.plan.run.seed, choice.scales)

    def _better(self, at: float, now: Piece) -> Piece | None:
        """Return the first change of a window that helps, or None."""
        choice = now.choice
        may = self._is_time_for(now.seconds, at, choice.length, now.relative)
        if may and now.relative < UNSEEN and len(choice.scales) > 1:
            wider = self._solve(at, dataclasses.replace(choice, scales=self._wider(choice.scales)))
            if wider.relative < now.relative / GAIN:
                return wider
            now = min(now, wider, key=lambda piece: piece.relative)
            if choice.fronts:  # whose many modes in space leave few for time
                slower = self._solve(at, dataclasses.replace(choice, scales=self._scaled(choice.scales, SLOWER, 1.0)))
                if slower.relative < now.relative / GAIN:
                    return slower
        more = self._more(choice.width)
        cheap = more is not None and more * len(self.problem.outputs) <= CHEAP and len(choice.scales) > 1
        cheap = cheap or (self.alike and len(choice.scales) > 2)  # for they are paid for once
        if cheap and now.relative < UNSEEN and (found := self._larger(at, now)) is not None:
            return found
        shorter, last = self._halved(now.choice), now.relative
        while shorter.length > TINY * (self.end - self.start) and self._is_time_for(
            2 * now.seconds, at, now.choice.length, now.relative
        ):
            half = self._solve(at, shorter)
            enough = GAIN if self.alike else HELPED
            helped = half.relative < now.relative / (enough if now.relative <= HOPELESS else 1.0)
            if helped or half.relative <= self.tolerance:
                return half
            if now.relative <= HOPELESS or (self.pieces and half.relative > GAIN * max(last, now.relative)):
                break  # a shorter window still would be no better
            shorter, last = self._halved(shorter), half.relative
        if (found := self._larger(at, now)) is not None:
            return found
        return None if now.choice == choice else now

    def _larger(self, at: float, now: Piece) -> Piece | None:
        """Return a window with more features where these fit and help, or None."""
        more = self._more(now.choice.width)
        if more is None or not self._is_time_for(self._cost(now, more), at, now.choice.length, now.relative):
            return None
        larger = [self._solve(at, dataclasses.replace(now.choice, width=more))]
        if larger[0].relative > self.tolerance and self._is_time_for(
            larger[0].seconds, at, now.choice.length, now.relative
        ):
            scales = self._wider(now.choice.scales)
            larger.append(self._solve(at, dataclasses.replace(now.choice, width=more, scales=scales)))
        found = min(larger, key=lambda piece: piece.relative)
        return found if found.relative < now.relative / GAIN else None

    def _more(self, width: int) -> int | None:
        """Return the next larger number of features that fits, or None."""
        sizes = WIDTHS.get(len(self.problem.domain.names), WIDTHS[max(WIDTHS)])
        limit = MOST_ON_A_LINE if len(self.problem.domain.names) == 1 else COLUMNS // len(self.problem.outputs)
        if self._trial.corners is not None:
            limit = min(limit, MOST_AT_CORNERS)
        return next((size for size in (*sizes, 2 * sizes[-1]) if 1.4 * width < size <= limit), None)

    def _is_time_for(self, seconds: float, at: float, length: float, relative: float) -> bool:
        """Return whether all windows left could take so long each; one that does not work yet may take most of it."""
        windows = max((self.end - at) / length, 1.0) if relative <= HOPELESS else 2.0
        if at == self.start and len(self.problem.domain.names) == 1:  # after a fast start they become longer
            windows = _lengthening(windows)
        return seconds < self.left() and self._of_all(seconds, windows) < SHARE * (self.left() + self.later)

    def _cost(self, piece: Piece | Trial, width: int) -> float:
        """Return about how many seconds a window with another number of features takes."""
        k, before = len(self.problem.outputs), piece.choice.width if isinstance(piece, Piece) else piece.width
        columns, now = width * k, before * k
        return piece.seconds * min(columns, max(CHEAP, now)) / now * (max(columns, CHEAP) / max(now, CHEAP)) ** COST

    def _scaled(self, scales: tuple[float, ...], in_time: float, in_space: float) -> tuple[float, ...]:
        return tuple(s * (in_time if i == self.column else in_space) for i, s in enumerate(scales))

    def _wider(self, scales: tuple[float, ...]) -> tuple[float, ...]:
        """Return more bandwidth in space, or in time where there is no space."""
        return self._scaled(scales, WIDER if len(scales) == 1 else 1.0, WIDER)

    def _halved(self, choice: Choice) -> Choice:
        factor = 1.0 if len(choice.scales) == 1 else SHORTER
        return dataclasses.replace(choice, length=choice.length / 2, scales=self._scaled(choice.scales, factor, 1.0))

    def _solve(self, at: float, choice: Choice) -> Piece:
        """Solve a window that begins at a time."""
        begun = time.perf_counter()
        end = at + choice.length
        if end + 0.3 * choice.length > self.end:
            end = self.end
        choice = dataclasses.replace(choice, length=end - at)
        view, measure = self._on(at, end, choice.fronts)
        plan = self._plan_of(choice, max(self.left() + GRACE * self.seconds, 0.1))
        factors = self._factors_for(choice)
        solver = partial(LinearLeastSquares, factors=factors)
        plan = dataclasses.replace(plan, stages=tuple(dataclasses.replace(s, optimizer=solver) for s in plan.stages))
        run = Run(view, plan, coupled=measure.coupled)
        run.train(silent=True)
        relative = measure.size(run.field) / max(measure.zero, LOW * self._zero) if not run.failed else math.inf
        relative = relative if math.isfinite(relative) else math.inf
        return Piece(choice, at, end, run, relative, time.perf_counter() - begun, factors)

    def _factors_for(self, choice: Choice) -> ScaledQR:
        """Return the factors of the window before where they may serve again, else none yet."""
        last = self.pieces[-1] if self.pieces else None
        if last is None or not math.isclose(choice.length, last.choice.length, rel_tol=1e-9):
            return ScaledQR()
        same = dataclasses.replace(choice, length=last.choice.length) == last.choice
        return last.factors if same else ScaledQR()

    def _on(self, start: float, end: float, fronts: tuple[Front, ...]) -> tuple[Any, RelativeResidual]:
        """Return the problem on a window, and its measure."""
        if self._view is None or self._view[0] != (start, end, fronts):
            previous = self.pieces[-1].run.field if self.pieces else None
            view = window_of(self.problem, start, end, previous, fronts)
            data = view.load(self.plan.run.device, torch.float64)
            self._view = (start, end, fronts), view, RelativeResidual(view, data, self.plan.run.seed)
            self._zero = max(self._zero, self._view[2].zero)
        return self._view[1], self._view[2]

    def features(self) -> str:
        """Say in words what the windows were solved with."""
        widths = sorted({piece.choice.width for piece in self.pieces})
        few, many = widths[0], widths[-1]
        return f"{few if few == many else f'{few} to {many}'} random features in {len(self.pieces)} windows"

    def _recipe(self, choice: Choice) -> Recipe:
        return recipe_of(self.problem, self._trial_of(choice.width, choice.scales), self.entries)

    def _trial_of(self, width: int, scales: tuple[float, ...]) -> Trial:
        """Return the first trial with other features, of one window."""
        return dataclasses.replace(self._trial, width=width, scales=scales, windows=1)

    def _plan_of(self, choice: Choice, seconds: float | None) -> Plan:
        run = self.plan.run
        return Plan.of(self._recipe(choice), RunOptions(seed=run.seed, device=run.device, time_limit=seconds))

    def solution(self, folder: Any = None, report: Any = None) -> Solution:
        """Return the solution that all windows make together, saved in a folder if there is one."""
        recipes = [self._recipe(piece.choice) for piece in self.pieces]
        each = Marched(
            ends=tuple(piece.end for piece in self.pieces[:-1]),
            fields=tuple(recipe.field for recipe in recipes),
            points=tuple(recipe.stages[0].points for recipe in recipes),
            faces=tuple(recipe.stages[0].faces for recipe in recipes),
            fronts=tuple(piece.choice.fronts for piece in self.pieces),
        )
        plan = dataclasses.replace(self._plan_of(self.pieces[-1].choice, None), field=each)
        plan = plan.with_run(windows=len(self.pieces))
        return March(self.problem, plan, folder, report).finished([piece.run for piece in self.pieces])

    def costs(self, more: float = WIDER) -> float:
        """Return about how many seconds an estimate takes: one step with more features in each window."""
        found, known = 0.0, None
        for piece in self.pieces:
            power = 1.0 if piece.factors is known else COST
            found += piece.seconds / max(piece.run.steps, 1) * more**power
            known = piece.factors
        return found

    def estimate(self, more: float = WIDER) -> ErrorEstimate:
        """Estimate the error of the whole by a linearised correction in each window, handed over to the next.

        Args:
            more: How many times the features of a window its correction has; 1.5 or less.
        """
        boths: list[nn.Module] = []
        factors = ScaledQR()
        before = after = zero = 0.0
        for piece in self.pieces:
            before_it = boths[-1] if boths else None
            view = window_of(self.problem, piece.start, piece.end, before_it, piece.choice.fronts)
            data = view.load(self.plan.run.device, torch.float64)
            measure = RelativeResidual(view, data, self.plan.run.seed, "estimate")
            width = max(default_width(self.problem) // 2, round(more * piece.choice.width))
            scales = self._scaled(piece.choice.scales, RICHER, RICHER)
            basis = self._trial_of(width, scales).basis
            both = correctable(view, piece.run.field, data, self.plan.run.seed, basis)
            before += measure.size(piece.run.field) ** 2
            correct(view, both, data, self.plan.run.seed, measure, factors)
            after += measure.size(both) ** 2
            zero = max(zero, measure.zero)
            boths.append(both.requires_grad_(False))
            if self.left() < 0:
                return ErrorEstimate({}, False, "not available: there was no time to correct all windows", math.nan)
        cuts = tuple(piece.end for piece in self.pieces[:-1])
        plain = Windows([piece.run.field for piece in self.pieces], cuts, self.column)
        better = Windows(boths, cuts, self.column)
        data = self.problem.load(self.plan.run.device, torch.float64)
        found = distance(self.problem, plain, better, data)
        return judged(found, math.sqrt(before), math.sqrt(after), zero, better, " in each window")


def _lengthening(windows: float) -> float:
    """Return how many windows, each longer than the one before by a common factor, fill the time of some equal ones."""
    return math.log1p((LONGER - 1) * windows) / math.log(LONGER)


def _words(piece: Piece) -> str:
    choice = piece.choice
    scales = ", ".join(f"{s:.3g}" for s in choice.scales)
    fronts = len(choice.fronts)
    stretched = f", stretched at {fronts} front{'s' * (fronts > 1)}" if fronts else ""
    return (
        f"window to t = {piece.end:g}: {choice.width} features, bandwidth {scales}{stretched}: held-out residual "
        f"{piece.relative:.1e} times that of the zero field"
    )
