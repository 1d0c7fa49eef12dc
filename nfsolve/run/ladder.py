"""Trials of least squares on random features: how many, of which bandwidth, in how many windows of time.

The ladder goes from the cheapest to the dearest: few features with growing bandwidth, then a bandwidth for each
coordinate, then more features, then the same on the first of several windows of time. A trial is judged by the
residuals on points that it was not fitted to, relative to those of the zero field. What a trial may cost is foretold
from the ones before, so that the choice keeps to its share of the time.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from nfsolve._core.random import generator
from nfsolve._core.threads import threads_for
from nfsolve.fields import RandomFeatures
from nfsolve.optim import LinearLeastSquares
from nfsolve.problem import Recipe, RunOptions, Stage, cuts_of, may_have_windows, window_of
from nfsolve.run.alike import windows_are_alike
from nfsolve.run.beginning import places
from nfsolve.run.estimate import MANY
from nfsolve.run.heldout import rms
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan
from nfsolve.run.points import points_for
from nfsolve.run.relative import RelativeResidual, balance
from nfsolve.weighting import Evidence

NEEDS_WINDOWS = 1e-6  # held-out residual, relative to that of the zero field, above which windows of time are tried
WELL_SOLVED = 1e-10  # at which more windows are not worth their time
STARTED = 1e-3  # at which a march in windows finds the rest where there is space too
SEEN = 1e-2  # above this, few features in fewer windows are no beginning
UNSEEN = 0.2  # above this a trial has not seen the solution yet, so that nothing follows from it
GAIN = 2.0  # factor on the residual that a larger trial must bring for the next larger one
SPECTRAL = 30.0  # the same where windows of time can be tried instead
LINEAR = 3  # most steps that a linear problem takes
STEEP = 5.0  # factor that the last features brought, for which more of them are worth more time
COST = 2.4  # power of the number of features with which the time of a trial grows
CHEAP = 0.1  # of the time that is left, up to which trials need no reason
WELL_ENOUGH = 1e-9  # held-out residual, relative to that of zero, which neither windows nor such trials need lower
RESERVE = 16.0  # times what a trial took, that must be left for larger ones while each axis is tried for itself
ALIKE = 0.7  # of the time of all trials, where windows have one matrix
BEGINNING = 1600  # features that are tried there at first
COLUMNS = 5000  # most columns of a least-squares problem
WIDTHS = {
    1: (40, 80, 160, 320, 640),
    2: (200, 400, 800, 1600, 2400),
    3: (400, 800, 1600, 2400),
    MANY: (400, 800, 1600, 2400),
}
SCALES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
MORE_ON_A_LINE = (1280, 2560)  # features for thin layers, where there is one coordinate, which is not time
FINER_ON_A_LINE = (128.0, 256.0, 512.0, 1024.0, 2048.0)  # and their bandwidths
FEW = 4  # bandwidths that are tried where each feature depends on few coordinates
SCALES_OF_MANY = (0.5, 1.0, *SCALES)  # of so many coordinates that features of few are tried too
WINDOWS = (2, 4, 8, 16, 32, 64)
AT_CORNERS = 0.5  # share of features that are singular at corners, where some are
MOST_AT_CORNERS = 800  # features then, for derivatives of singular ones take memory: 2.5 GB of so many
CORNERS = (0.0, 0.5)  # shares of products among these
CORNER_TRIALS = 2  # trials of them that may bring nothing
MOST_ON_A_LINE = 80  # features in a window of time where there is no space: more windows are cheaper
LEAST = 0.1  # of the time of all trials, that one may take at least
DENSER = 2.0  # times the points, where equations that hold at these alone would bend numbers
NEGLIGIBLE = 2e-3  # part of what noise leaves of measurements, below which what the equations are off matters little
STEPS = 40  # Newton steps of a least-squares trial at most
TURNS = 8  # further stages where numbers are unknown, on points and with weights of their own


@dataclass(frozen=True)
class Trial:
    """A set of features that was tried.

    Attributes:
        width: Number of features.
        scales: Bandwidth for each coordinate.
        windows: Parts of the time interval; the first was tried.
        interactions: Number of coordinates that each feature depends on; 0 is all.
        relative: Held-out residual, relative to that of the zero field.
        steps: Newton steps.
        seconds: What it took.
        corners: Share of products among features that are singular at corners of the domain, which half of them are;
            None where there are no such features.
    """

    width: int
    scales: tuple[float, ...]
    windows: int
    interactions: int
    relative: float
    steps: int
    seconds: float
    corners: float | None = None

    def __str__(self) -> str:
        scales = {f"{s:g}" for s in self.scales}
        words = scales.pop() if len(scales) == 1 else ", ".join(f"{s:g}" for s in self.scales)
        of = f" of {self.interactions} coordinate{'s' * (self.interactions > 1)} each" if self.interactions else ""
        at = "" if self.corners is None else ", half of them singular at corners"
        first = f", first of {self.windows} windows" if self.windows > 1 else ""
        left = f"held-out residual {self.relative:.1e} times that of the zero field"
        return f"{self.width} features{of}{at}, bandwidth {words}{first}: {left}"

    @property
    def basis(self) -> dict[str, Any]:
        """The options of its `RandomFeatures`."""
        found = {"width": self.width, "scale": self.scales, "interactions": self.interactions}
        at_corners = {"at_corners": AT_CORNERS, "corner_products": self.corners}
        return found if self.corners is None else found | at_corners


class Ladder:
    """Trials of random features on a problem, judged by held-out residuals.

    Args:
        problem: The problem.
        seed: Seed of points and features.
        seconds: Time that the trials may take.
        device: Where they run.
        tell: Called with a sentence for each decision.
    """

    def __init__(
        self, problem: Any, seed: int, seconds: float, device: str = "cpu", tell: Callable[[str], None] = lambda _: None
    ):
        self.problem, self.seed, self.device, self.tell = problem, seed, device, tell
        self.started, self.seconds = time.perf_counter(), seconds
        self.d, self.k = len(problem.domain.names), len(problem.outputs)
        self.goal = 0.0
        self.interactions = 0  # of the features that are tried now
        self.corners: float | None = None  # share of products among those at corners, if there are such
        self._vain = 0 if problem.domain.sharp_corners() else CORNER_TRIALS  # trials of corners that brought nothing
        self.alike = False  # whether windows of time have one matrix
        self.tries = 2  # bandwidths for which there must be time
        self.trials: list[Trial] = []
        self.run: Run | None = None  # of the best trial of the whole problem
        self._best: Trial | None = None
        self._parts: dict[int, tuple[Any, RelativeResidual]] = {}

    def left(self) -> float:
        """Seconds that are left for trials."""
        return self.seconds - (time.perf_counter() - self.started)

    def measure(self) -> RelativeResidual:
        """Return the measure of fields on the whole problem."""
        return self._part(1)[1]

    def climb(self, goal: float) -> Trial | None:
        """Try features on the whole domain, then in windows, until the relative residual of one is ``goal``.

        Args:
            goal: Held-out residual, relative to that of the zero field.

        Returns:
            The best trial, or None where nothing was finite.
        """
        self.goal = goal
        may = may_have_windows(self.problem)
        self.alike = may and self.d > 2 and windows_are_alike(self.problem, self.seed, self.device)
        if self.alike:
            return self._for_alike()
        best = self._of_few() if self.d >= MANY else self._grow(1, cautious=may)
        if may and not (best and best.relative <= (NEEDS_WINDOWS if self.d == 1 else SEEN)):
            best = self._in_windows(best)
            seen = best is not None and (self.d < 3 or best.relative <= SEEN)  # in space, many features are dear
            if best is not None and seen and best.windows == 1 and best.relative > goal:
                more = self._grow(1)  # windows did not help: take as many features as fit
                best = more if more is not None and more.relative < best.relative else best
        return self._kept(best)

    def _for_alike(self) -> Trial | None:
        """Find features for windows that cost little once the first is solved: a beginning is enough."""
        self.seconds *= ALIKE
        best = self._grow(1, most=BEGINNING)
        if best is not None and best.relative <= STARTED:  # all times may be solved at once
            best = self._grow(1)
        return self._kept(best)

    def _kept(self, best: Trial | None) -> Trial | None:
        """Return the trial whose run is kept, where it is of the whole problem: the search may have passed it by."""
        return best if best is None or best.windows > 1 else self._best

    def more(self, best: Trial, seconds: float) -> Trial:
        """Go on with more features where the last ones brought much and the problem is linear.

        Where it is not, the time is better spent on a network.

        Args:
            best: The best trial so far.
            seconds: Time that further trials may take.

        Returns:
            The best trial now.
        """
        alike = [t for t in self.trials if (t.windows, t.interactions) == (best.windows, best.interactions)]
        fewer = [t.relative for t in alike if t.width < best.width]
        seen = best.relative <= (STARTED if self.alike else SEEN)
        if best.steps <= LINEAR and seen and fewer and min(fewer) >= STEEP * best.relative:
            self.started, self.seconds, self.tries = time.perf_counter(), seconds, 1
            found = self._grow(best.windows)
            best = found if found is not None and found.relative < best.relative else best
        return self._kept(best) or best

    def _of_few(self) -> Trial | None:
        """Try features of one coordinate each, of two, then of all, as long as that helps."""
        best: Trial | None = None
        for interactions in (1, 2, 0):
            self.interactions = interactions
            found = self._grow(1, cautious=interactions > 0)
            if found is not None and (best is None or found.relative < best.relative):
                best = found
            if best is not None and best.relative <= max(self.goal, WELL_SOLVED):
                break
        self.interactions = best.interactions if best is not None else 0
        return best

    def _in_windows(self, best: Trial | None) -> Trial | None:
        """Try the first of more and more windows, until it is solved or all of them would take too long."""
        found: Trial | None = best
        skip, vain = False, 0
        for windows in WINDOWS:
            if skip:  # half as long will not do either
                skip = False
                continue
            near = None if self.d == 1 or found is None or found.relative > UNSEEN else self._shorter(found, windows)
            trial = self._grow(windows, cautious=True, near=near, most=MOST_ON_A_LINE if self.d == 1 else math.inf)
            if trial is None:
                continue
            skip = trial.relative > UNSEEN
            if found is None or trial.relative < found.relative / GAIN:
                found, vain = trial, 0
            else:
                vain += self.d > 1
            enough = max(10 * self.goal, WELL_SOLVED) if self.d == 1 else STARTED
            if found.relative <= enough or self.left() < 2 * windows * trial.seconds or vain > 1:
                break
        return found

    def _shorter(self, trial: Trial, windows: int) -> Trial:
        """What a trial suggests for more windows: the same bandwidth in space, less in time."""
        factor = (trial.windows / windows) ** 0.5
        t = self.problem.domain.index("t")
        scales = tuple(s * factor if i == t else s for i, s in enumerate(trial.scales))
        return replace(trial, scales=scales, windows=windows)

    def _grow(
        self, windows: int, cautious: bool = False, near: Trial | None = None, most: float = math.inf
    ) -> Trial | None:
        """Find the bandwidth with few features, then take more as long as that helps.

        Args:
            windows: Parts of the time interval.
            cautious: Whether to leave it at one or two sizes where these see little of the solution.
            near: A trial that suggests the bandwidth.
            most: Number of features at most.
        """
        best: Trial | None = None
        few, gained_much = 2 if windows == 1 and not self.interactions else 1, False
        widths = WIDTHS.get(self.d, WIDTHS[MANY])
        for tried, width in enumerate((*widths, *MORE_ON_A_LINE) if self._is_on_a_line() else widths):
            many = most if self.corners is None else min(most, MOST_AT_CORNERS)
            if best is not None and (width * self.k > COLUMNS or width > many or not self._affordable(best, width)):
                break
            promising = gained_much or (best is not None and self._is_cheap(best, width))
            if best is not None and cautious and tried >= few and best.relative > SEEN and not promising:
                break
            found = self._bandwidth(width, windows, best or near)
            if found is not None and self._vain < CORNER_TRIALS and found.relative > self.goal:
                found = self._at_corners(found)
            if found is None:
                continue
            factor = GAIN
            if cautious and tried and self.d > 1 and not self.interactions:
                factor = SPECTRAL if found.relative <= SEEN else STEEP
            gained = best is None or found.relative < best.relative / factor
            gained_much = best is not None and found.relative < best.relative / STEEP
            if best is None or found.relative < best.relative:
                best = found
            if best.relative <= self.goal:
                break
            poor = best.relative > UNSEEN or (best.relative > WELL_ENOUGH and self._is_cheap(best, 2 * width))
            if not (gained or poor):
                break
        return best

    def _affordable(self, last: Trial, width: int) -> bool:
        """Whether the trials of a width fit, and all windows after them."""
        one = last.seconds * (width / last.width) ** COST
        return (self.tries + (last.windows if last.windows > 1 else 0)) * one < self.left()

    def _is_cheap(self, last: Trial, width: int) -> bool:
        """Whether the trials of a width take so little that they need no reason."""
        return last.windows == 1 and self.tries * last.seconds * (width / last.width) ** COST < CHEAP * self.left()

    def _bandwidth(self, width: int, windows: int, near: Trial | None) -> Trial | None:
        """Try bandwidths upwards from the smallest, or from that of a smaller trial, then each axis for itself."""
        if near is not None and near.relative < UNSEEN:
            candidates = [tuple(s * factor for s in near.scales) for factor in (1.0, 1.5, 2.2)]
            return self._first_minimum(candidates, width, windows, patience=1)
        scales = SCALES if self.d < MANY else SCALES_OF_MANY
        scales = (*scales, *FINER_ON_A_LINE) if self._is_on_a_line() else scales
        scales = scales[:FEW] if self.interactions else scales
        found = self._first_minimum([(s,) * self.d for s in scales], width, windows)
        if self.d == 1 or self.interactions:
            return found
        fewest = self.d > 2 and width == WIDTHS[self.d][0]  # which see little in space, whatever their bandwidth
        if (found is None or found.relative > UNSEEN) and not fewest:
            found = self._one_fine_axis(width, windows, found)
        return found if found is None or found.relative > UNSEEN else self._by_axis(found)

    def _at_corners(self, plain: Trial) -> Trial:
        """Try the same with functions that are singular at corners, which later trials have if they help."""
        best = plain
        for self.corners in CORNERS:
            found = self.trial(plain.width, plain.scales, plain.windows)
            best = found if found is not None and found.relative < best.relative else best
        self.corners = best.corners
        if best.relative > plain.relative / GAIN:
            self.corners, self._vain = plain.corners, self._vain + (plain.relative < UNSEEN)
            return plain
        self._vain = CORNER_TRIALS
        again = self._bandwidth(plain.width, plain.windows, None)  # what is left is smoother
        return again if again is not None and again.relative < best.relative else best

    def _is_on_a_line(self) -> bool:
        """Whether there is one coordinate, and no windows that could take the place of more features."""
        return self.d == 1 and not may_have_windows(self.problem)

    def _one_fine_axis(self, width: int, windows: int, best: Trial | None) -> Trial | None:
        """Try a large bandwidth along one coordinate only, where no common one sees the solution."""
        for axis in range(self.d):
            for scale in SCALES[2:]:
                if self.left() <= 0:
                    return best
                found = self.trial(width, tuple(scale if i == axis else SCALES[0] for i in range(self.d)), windows)
                if found is not None and (best is None or found.relative < best.relative):
                    best = found
        return best

    def _first_minimum(self, candidates: Any, width: int, windows: int, patience: int = 2) -> Trial | None:
        best, worse = None, 0
        for scales in candidates:
            found = self.trial(width, scales, windows)
            if found is None or (best is not None and found.relative >= best.relative and best.relative < UNSEEN):
                worse += 1
            if found is not None and (best is None or found.relative < best.relative):
                best, worse = found, 0
            if worse >= patience or self.left() <= 0 or (best is not None and best.relative <= self.goal):
                break
        return best

    def _by_axis(self, best: Trial) -> Trial:
        """Widen or narrow the bandwidth of one coordinate at a time, as long as that helps."""
        for axis in range(self.d):
            for factor in (2.0, 0.5):
                while best.relative > self.goal and RESERVE * best.seconds < self.left():
                    scales = tuple(s * factor if i == axis else s for i, s in enumerate(best.scales))
                    found = self.trial(best.width, scales, best.windows)
                    if found is None or found.relative > 0.8 * best.relative:
                        break
                    best = found
        return best

    def trial(self, width: int, scales: tuple[float, ...], windows: int) -> Trial | None:
        """Solve once; None where the result is not finite."""
        asked = (width, scales, windows, self.interactions, self.corners)
        tried = ((t.width, t.scales, t.windows, t.interactions, t.corners) for t in self.trials)
        known = next((t for t, what in zip(self.trials, tried, strict=True) if what == asked), None)
        if known is not None:
            return known
        with threads_for(width * self.k):
            return self._tried(*asked)

    def _tried(
        self, width: int, scales: tuple[float, ...], windows: int, interactions: int, corners: float | None
    ) -> Trial | None:
        begun = time.perf_counter()
        problem, measure = self._part(windows)
        one = Trial(width, scales, 1, interactions, 0.0, 0, 0.0, corners)
        recipe = recipe_of(self.problem, one, self.measure().entries)
        seconds = max(self.left(), LEAST * self.seconds)
        plan = Plan.of(recipe, RunOptions(seed=self.seed, device=self.device, time_limit=seconds))
        run = Run(problem, plan, coupled=measure.coupled)
        if problem.unknown_scalars() and self._best is not None and self._best.relative <= SEEN:
            self._go_on_from_best(run)
        run.train(silent=True)
        relative = math.inf if run.failed else measure(run.field, run.objective.bound())
        if not math.isfinite(relative):
            return None
        seconds = time.perf_counter() - begun
        found = Trial(width, scales, windows, interactions, relative, run.steps, seconds, corners)
        if windows == 1 and (self._best is None or relative < self._best.relative):
            self._best, self.run = found, run
        self.trials.append(found)
        self.tell(str(found))
        if relative * measure.zero <= NEGLIGIBLE * _misfit(run, measure.ignored):
            self.goal = max(self.goal, relative)
        return found

    def _go_on_from_best(self, run: Run) -> None:
        """Begin with the field and the numbers of the best trial, not with data of which features follow the noise."""
        assert self.run is not None
        points = places(self.problem, run.field, generator(self.seed, "going on")).to(run.data["like"])
        run.field.fit(points, self.run.field.raw(points))  # type: ignore[operator]
        run.objective.system.unknowns.load_state_dict(self.run.objective.system.unknowns.state_dict())

    def _part(self, windows: int) -> tuple[Any, RelativeResidual]:
        """The first of some windows, and the measure of fields on it."""
        if windows not in self._parts:
            problem = self.problem
            if windows > 1:
                start, end, *_ = cuts_of(problem, windows)
                problem = window_of(problem, start, end)
            data = problem.load(self.device, torch.float64)
            self._parts[windows] = problem, RelativeResidual(problem, data, self.seed)
        return self._parts[windows]


def _misfit(run: Run, names: Collection[str]) -> float:
    """Return the root mean square of some residuals at the points of a run; 0 without any."""
    if not names:
        return 0.0
    with torch.no_grad():
        residuals = run.objective.residuals()
    return rms(torch.cat([residuals[name].reshape(-1) for name in names]))


def recipe_of(problem: Any, trial: Trial, entries: Mapping[str, int]) -> Recipe:
    """Return the recipe that a trial stands for: least squares on its features, in its windows.

    Args:
        problem: The problem.
        trial: The trial.
        entries: Residual name -> its number of entries at each point.

    Returns:
        The recipe.
    """
    points, faces = points_for(problem, trial.width, entries, trial.corners is not None)
    unknown = bool(problem.unknown_scalars())
    points *= DENSER if unknown else 1.0
    stages = [Stage(LinearLeastSquares, STEPS, resample=0, points=points, faces=faces)]
    weighting = balance(problem)
    if unknown:  # with which it is not linear, and noise is told by what the first stage leaves
        stages += TURNS * [replace(stages[0], steps=1)] + [stages[0]]
        weighting = replace(weighting, every=1, after=1, settled=True) if isinstance(weighting, Evidence) else weighting
    return Recipe(
        field=partial(RandomFeatures, **trial.basis),
        stages=tuple(stages),
        weighting=weighting,
        run=RunOptions(dtype="float64", log_every=STEPS, windows=trial.windows, carry=False),
    )
