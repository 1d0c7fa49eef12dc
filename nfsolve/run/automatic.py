"""The automatic recipe: least squares where that resolves the solution, else a network.

What is tried and chosen is said, and stored in ``decisions.json``; a run that was killed goes on with the recipe that
it had chosen, or chooses again.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from nfsolve._core.device import choose_device
from nfsolve._core.errors import InputError
from nfsolve.fields import MLP
from nfsolve.optim import GaussNewton
from nfsolve.problem import PDE, OperatorPDE, Problem, Recipe, RunOptions, Stage, is_starting_point, may_have_windows
from nfsolve.run.adaptive import HOPELESS, AdaptiveMarch
from nfsolve.run.estimate import (
    ErrorEstimate,
    can_estimate,
    default_width,
    error_estimate,
    foretold,
)
from nfsolve.run.folder import METRICS, RunFolder, environment
from nfsolve.run.growing import GrowingNetwork
from nfsolve.run.ladder import COST, LINEAR, UNSEEN, WELL_ENOUGH, Ladder, Trial
from nfsolve.run.lines import LinesMarch, may_have_lines
from nfsolve.run.plan import Plan
from nfsolve.run.relative import balance
from nfsolve.run.report import note, reporter
from nfsolve.run.solution import Solution
from nfsolve.run.splined import SplineMarch, may_have_splines

DECISIONS = "decisions.json"
COMPATIBLE = ("seed", "device", "time_limit", "tolerance", "accuracy", "recipe", "uncertainty")
SECONDS = 60.0  # of a run without a limit
SHARE = 0.4  # of the time limit that trials may take
MORE = 0.5  # and of what is left where more features bring much
GOAL = 1e-12  # held-out residual, relative to that of the zero field, at which nothing is left to gain
GOOD = 1e-6  # held-out residual, relative to that of the zero field, of a solution that needs no network
NOISY = 3e-3  # the same where it is told by noisy data, which make little of what the equations are off
ESTIMATE = 0.15  # of the time limit that the estimate may add
CORRECTIONS = (1.5, 1.2, 1.0)  # times the features of a window, that its correction has, where there is the time
SURE = 1.25  # times what a correction is foretold to take
NO_TIME = ErrorEstimate({}, False, "not available: there was no time for a second solution", math.nan)
PROBE = 0.3  # of what is left, that the first of several windows may take
POOR = 1e-5  # held-out residual of it, relative to that of the zero field, above which a network comes first
MARCH = 0.9  # of what is left, that all windows may take: a network needs more than the rest
NETWORK = 0.2  # of the time limit that must be left for a network to be tried
GOOD_NETWORK = 0.4  # the same where it must be good to be of use
FAIR = 1e-4  # held-out residual, relative to that of the zero field, below which it must
FEW_WINDOWS = 5.0  # times what a trial took, which windows take that may be better than one that is not good
MANY_WINDOWS = 12.0  # times what a trial took, which windows in its place may take
WORTHWHILE = 0.1  # of what it took, that more time for a network must be
TRIALS = 0.15  # of the time limit that trials may take where splines may do as well
UNKNOWN = 0.7  # the same where numbers are unknown, which networks find more slowly
UNRESOLVED = 1e-5  # held-out residual, relative to that of the zero field, above which splines come first
SPLINES = 0.9  # of what is left, that they may take
CONTRADICTION = 1e-2  # held-out residual, relative to that of the zero field, of a linear problem without a solution
HARDLY = 0.9  # part of it, that more features leave of what fewer did
KEPT = 3.0  # times what a trial took, for taking its features after all
NETWORK_POINTS = {1: 100, 2: 1500, 3: 3000}
NETWORK_WIDTH = {1: 16, 2: 24, 3: 28}
PATIENCE = 30  # steps of a network without progress, after which it grows
OVERFIT = 10.0  # times the residuals at trained points, that held-out ones may be until it does


def is_automatic(problem: Problem) -> bool:
    """Return whether a problem leaves the recipe to nfsolve: a PDE that brings none, or only a starting point."""
    return can_be_automatic(problem) and is_starting_point(type(problem))


def can_be_automatic(problem: Problem) -> bool:
    """Return whether nfsolve can find a recipe for a problem: a PDE on a domain with a volume, and no operator.

    Numbers that are unknown need measurements: what else determines them, such as a norm, has other solutions too.
    """
    if not isinstance(problem, PDE) or isinstance(problem, OperatorPDE) or not problem.domain.solid:
        return False
    return not problem.unknown_scalars() or (problem.pointwise and bool(problem.noisy_residuals()))


def wants_automatic(problem: Problem, run: RunOptions, others: dict[str, Any]) -> bool:
    """Decide whether the recipe is found by trials.

    Args:
        problem: The problem.
        run: Options as the user gave them.
        others: Field, optimizer and what else makes a recipe, by name; None is not given.

    Returns:
        Whether it is.

    Raises:
        InputError: It was asked for where it cannot be, or beside parts of a recipe; or an accuracy without it.
    """
    given = [name for name, value in (others | run.said()).items() if value is not None and name not in COMPATIBLE]
    if run.recipe == "auto":
        if not can_be_automatic(problem):
            raise InputError(
                f"the automatic recipe is made for PDEs on a domain with a volume, with unknown scalars only beside "
                f"measurements, got {type(problem).__name__}",
                do="leave recipe='auto' out",
            )
        if given:
            raise InputError(
                f"the automatic recipe chooses field, optimizer and windows, got {' and '.join(given)} as well",
                do="leave these out, or recipe='auto'",
            )
        return True
    automatic = run.recipe is None and not given and is_automatic(problem)
    if run.accuracy is not None and not automatic:
        raise InputError(
            f"accuracy is an option of the automatic recipe, got accuracy={run.accuracy:g} for another recipe",
            do="add recipe='auto', or give tolerance=, the loss at which a run ends",
        )
    return automatic


class Automatic:
    """Chooses a recipe by trials, runs it, and goes on with the next where its held-out residuals are not small.

    Args:
        problem: The problem.
        plan: Seed, device and time limit; its field and stages stand for those that are not chosen yet.
        folder: Where to save, or None.
        report: As for `solve`.
    """

    def __init__(self, problem: Any, plan: Plan, folder: RunFolder | None = None, report: Any = None):
        self.problem, self.plan, self.folder, self.kind = problem, plan, folder, report
        self.started = time.perf_counter()
        self.limit = plan.run.time_limit or SECONDS
        self.decisions: dict[str, Any] = {"trials": [], "chosen": []}
        self._growing: GrowingNetwork | None = None
        self._doubt = ""
        self.report = reporter(_without_bar(report), 0, None)
        self.even = problem
        if problem.adapts:
            self.even = problem.with_(adaptive="none")
            self._tell(f"adaptive={problem.adaptive} is for networks: points of least squares are drawn once, evenly")
        if said := _own_points(problem):
            verb = "is" if len(said) == 1 else "are"
            self._tell(f"{' and '.join(said)} {verb} for networks: least squares takes what its features need")
        self.cells = SplineMarch if may_have_splines(self.even) else LinesMarch if may_have_lines(self.even) else None
        share = TRIALS if self.cells else UNKNOWN if problem.unknown_scalars() else SHARE
        self.ladder = Ladder(self.even, plan.run.seed, share * self.limit, plan.run.device, self._tell)
        if folder is not None:
            folder.start(plan.config(problem), environment(choose_device(plan.run.device)))

    def left(self) -> float:
        """Seconds that are left of the limit."""
        return max(self.limit - (time.perf_counter() - self.started), 0.1)

    def go(self) -> Solution:
        """Choose, run, and choose again where the result is not good; return the best solution."""
        ladder = self.ladder
        trial = ladder.climb(GOAL if self.plan.run.accuracy is None else self.plan.run.accuracy / 100)
        windows = trial is not None and may_have_windows(self.problem)
        self.decisions["trials"] = [asdict(found) for found in ladder.trials]
        self._store()
        if self.cells and (trial is None or trial.relative > UNRESOLVED):
            solution = self._on_cells(self.cells)
            if solution is not None:
                return solution
        if trial is not None and trial.relative > max(ladder.goal, WELL_ENOUGH) and not (windows and trial.windows > 1):
            trial = ladder.more(trial, MORE * self.left())
            self.decisions["trials"] = [asdict(found) for found in ladder.trials]
            self._store()
        self._doubt = contradiction(ladder.trials)
        if trial is not None and windows and self._is_for_march(trial, max(ladder.goal, WELL_ENOUGH)):
            solution = self._in_windows(trial)
            if solution is not None:
                return solution
        good = NOISY if self.problem.unknown_scalars() else GOOD
        if trial is None or trial.windows > 1 or trial.relative > good:
            return self._with_network(trial, None)
        solution = self._features(trial)
        if self._relative(solution) > max(good, 100 * trial.relative) and not solution.interrupted:
            return self._with_network(trial, solution)
        return self._finish(solution, trial)

    def _is_for_march(self, trial: Trial, goal: float) -> bool:
        """Whether windows of time promise more than one set of features at all times, which may be good already."""
        if trial.windows > 1:
            return True
        many = self.left() > (MANY_WINDOWS if trial.relative <= GOOD else FEW_WINDOWS) * trial.seconds
        return (many or trial.relative > FAIR) and goal < trial.relative <= UNSEEN

    def _in_windows(self, trial: Trial) -> Solution | None:
        """March through time; train a network as well where that leaves much, and return the better one.

        Returns None where something else is better than marching.
        """
        self._tell("marching in windows of time that find their own features")
        left, entries = self.left(), self.ladder.measure().entries
        later = (MARCH - PROBE) * left
        march = AdaptiveMarch(self.even, trial, self.plan, PROBE * left, self._tell, entries, later)
        first = march.probe()
        network = None
        if first > (HOPELESS if march.alike else POOR):
            network = self._network(first, 0.5 * self.left() if first <= HOPELESS else 0.0)
            if self._relative(network) < first or network.interrupted:
                return self._finish(self._trained_on(network), None)
        kept = KEPT * trial.seconds if trial.windows == 1 else 0.0
        march.allow(MARCH * max(self.left() - kept, 0.0))
        solution = march.solution() if march.go() else None
        march, solution = self._finer(march, solution)
        reached, whole = self._relative(solution), trial.relative if trial.windows == 1 else math.inf
        after = march.costs() if solution is not None else 0.0
        if network is None and reached > GOOD and self._is_network_worthwhile(reached, after):
            network = self._network(min(reached, first), foretold(self.problem))
        trained = self._relative(network)
        if network is not None and (network.interrupted or trained <= min(reached, whole)):
            return self._finish(network, None)
        if solution is None or whole < reached:
            return None if network is None else self._finish(self._features(trial), trial)
        self._decide(f"least squares on {march.features()}")
        if self.folder is not None:  # which may hold a network that was tried
            self.folder.clear()
            solution = march.solution(self.folder, self.kind)
        return self._finish(solution, None, march)

    def _on_cells(self, kind: type[SplineMarch] | type[LinesMarch]) -> Solution | None:
        """March with splines on finer and finer cells; None where that finds nothing."""
        self._tell(f"marching with splines on cells that follow the solution, by {kind.method}")
        accuracy = self.plan.run.accuracy or 0.0
        march = kind(self.even, self.plan, SPLINES * self.left(), self._tell, accuracy)
        if not march.go() or not march.levels[-1].changed <= kind.found:
            if march.interrupted:
                raise KeyboardInterrupt  # nothing was found that is worth keeping
            return None
        self._decide(f"{kind.method} with {march.words()}")
        if self.folder is not None:
            self.folder.clear()
        solution = march.solution(self.folder, self.kind)
        solution.interrupted = march.interrupted
        solution.estimate = march.estimate()
        solution.metrics |= solution.estimate.metrics()
        return self._finish(solution, None)

    def _finer(self, march: AdaptiveMarch, solution: Solution | None) -> tuple[AdaptiveMarch, Solution | None]:
        """March again where there is the time and something to gain, and return the better one."""
        reached = self._relative(solution)
        if solution is None or solution.interrupted or reached <= max(self.ladder.goal, WELL_ENOUGH):
            return march, solution
        again = march.again(self.left() + ESTIMATE * self.limit)
        if again is None or not again.go():
            return march, solution
        finer = again.solution()
        return (again, finer) if self._relative(finer) < reached else (march, solution)

    def _with_network(self, trial: Trial | None, features: Solution | None) -> Solution:
        """Train a network, and take the features after all where they are better."""
        left = trial.relative if features is None and trial is not None else self._relative(features)
        known = features is not None or (trial is not None and trial.windows == 1)
        if trial is not None and known and left <= FAIR and not self._is_network_worthwhile(left, 2 * trial.seconds):
            return self._finish(features or self._features(trial), trial)
        network = self._network(left, 2 * trial.seconds if trial is not None and known else 0.0)
        reached = self._relative(network)
        if trial is None or network.interrupted or not known or reached <= left:
            return self._finish(network, None)
        self._decide(
            f"random features are better after all: with the network the held-out residual is {reached:.1e} times "
            "that of the zero field"
        )
        return self._finish(self._features(trial), trial)

    def _is_network_worthwhile(self, left: float, kept: float) -> bool:
        """Whether there is the time for a network that does better than what leaves so much, beside an estimate."""
        part = NETWORK if left > FAIR else GOOD_NETWORK
        return self.left() - kept > part * self.limit

    def _features(self, trial: Trial) -> Solution:
        """Save and score what the best trial on the whole problem has solved."""
        run = self.ladder.run
        assert run is not None
        self._decide(f"least squares on {trial.width} random features")
        if self.folder is not None:
            self.folder.clear()
        run.plan = run.plan.with_run(uncertainty=self.plan.run.uncertainty)
        return run.finished(self.folder, self.kind)

    def _network(self, left: float, kept: float) -> Solution:
        found = f"with random features the held-out residual is {left:.1e} times that of the zero field"
        limit = max(self.left() - kept - foretold(self.problem), 0.5 * self.left())
        self._decide(f"a network under Gauss-Newton for {limit:.0f} s: {found}")
        run = self.plan.run
        options = {"seed": run.seed, "device": run.device, "time_limit": limit, "tolerance": run.tolerance}
        options["uncertainty"] = run.uncertainty
        recipe = partial(network_recipe, self.problem)
        parts = (self.folder, self.kind, self.ladder.measure(), self._decide)
        self._growing = GrowingNetwork(self.problem, recipe, options, *parts)
        return self._growing.go()

    def _trained_on(self, network: Solution) -> Solution:
        """Train a network on where only its share of the time had ended, and return it."""
        seconds = self.left() - foretold(self.problem)
        if not network.stopped.startswith("time limit") or seconds < WORTHWHILE * network.seconds:
            return network
        assert self._growing is not None
        self._decide(f"the network is trained for another {seconds:.0f} s")
        return self._growing.go_on(seconds)

    def _relative(self, solution: Solution | None) -> float:
        """Held-out residual of a solution, relative to that of the zero field; infinite where there is none."""
        if solution is None:
            return math.inf
        if solution.failed or not any(key.startswith("heldout/") for key in solution.metrics):
            return math.inf
        measure = self.ladder.measure()
        return measure.of(solution.metrics) / measure.zero

    def _finish(self, solution: Solution, trial: Trial | None, march: AdaptiveMarch | None = None) -> Solution:
        """Add the estimate of the error and what choosing took."""
        told = "error_estimate" in solution.metrics  # by the run of a network, or by finer cells
        if not (told or solution.failed or can_estimate(self.problem)):
            found = self._estimate(solution, trial) if march is None else self._estimate_march(march)
            solution.metrics |= found.metrics()
            solution.estimate = found
        if self.problem.unknown_scalars() and not (solution.failed or self.plan.run.uncertainty):
            self._tell("--uncertainty, or nfsolve.posterior(solution), says how sure the unknown numbers are")
        if self._doubt and self._relative(solution) > CONTRADICTION:
            solution.warnings.append(self._doubt)
            self.report({"warning": self._doubt})
        took = time.perf_counter() - self.started
        solution.metrics["seconds/choosing"] = round(took - solution.seconds, 3)
        solution.metrics["seconds"] = solution.seconds = took
        solution.decisions = self.decisions["chosen"]
        if self.folder is not None:
            self.folder.write_json(METRICS, solution.metrics)
        self._store()
        return solution

    def _estimate(self, solution: Solution, trial: Trial | None) -> ErrorEstimate:
        problem, seed = self.problem, self.plan.run.seed
        if trial is None:
            if not self._is_time_for(foretold(problem)):
                return NO_TIME
            return error_estimate(problem, solution.field, solution.data, seed)
        width = max(default_width(problem), round(1.25 * trial.width))
        basis = trial.basis | {"width": width}
        one = SURE * trial.seconds / max(trial.steps, 1) * (width / trial.width) ** COST  # for it is one step
        if not self._is_time_for(one):
            return NO_TIME
        wider = tuple(1.5 * s for s in trial.scales)
        more = trial.relative > GOAL and self._is_time_for(2 * one)  # else there is only rounding to correct
        scales = (trial.scales, wider) if more else (trial.scales,)
        bases = [basis | {"scale": scale} for scale in scales]
        return error_estimate(problem, solution.field, solution.data, seed, bases)

    def _estimate_march(self, march: AdaptiveMarch) -> ErrorEstimate:
        more = next((factor for factor in CORRECTIONS if self._is_time_for(SURE * march.costs(factor))), None)
        if more is None:
            return NO_TIME
        march.seconds = time.perf_counter() - march.began + self.left() + ESTIMATE * self.limit
        return march.estimate(more)

    def _is_time_for(self, seconds: float) -> bool:
        """Whether an estimate fits in what is left of the limit, and what it may add to it."""
        return seconds <= self.left() + ESTIMATE * self.limit

    def _tell(self, text: str) -> None:
        note(self.report, text)

    def _decide(self, text: str) -> None:
        self.decisions["chosen"].append(text)
        self._tell(f"chosen: {text}")
        self._store()

    def _store(self) -> None:
        if self.folder is not None:
            self.folder.write_json(DECISIONS, self.decisions)


def contradiction(trials: Sequence[Trial]) -> str:
    """Return in words that more features do not lower what a linear problem leaves, empty where they do.

    The distance of the data from what smooth functions can satisfy is what remains. It is seen on all times at once.
    """
    whole = [trial for trial in trials if trial.windows == 1 and not trial.interactions]
    best = {
        width: min((t for t in whole if t.width == width), key=lambda t: t.relative)
        for width in {t.width for t in whole}
    }
    if len(best) < 2:
        return ""
    fewer, more = (best[width] for width in sorted(best)[-2:])
    left = min(trial.relative for trial in best.values())
    if more.steps > LINEAR or left <= CONTRADICTION or more.relative < HARDLY * fewer.relative:
        return ""
    return (
        f"{fewer.width} features leave {fewer.relative:.2g} of the residuals of the zero field and {more.width} leave "
        f"{more.relative:.2g}: equations and conditions contradict each other, or the solution has jumps or details "
        "that are finer than these features"
    )


def _without_bar(report: Any) -> Any:
    """Return a report in which lines stand for a bar, as the number of steps is not known yet."""
    if isinstance(report, tuple | list):
        return tuple(map(_without_bar, report))
    return "lines" if isinstance(report, str) and report != "auto" else report


def _own_points(problem: Any) -> list[str]:
    """Return what a problem says about the number of its points, if that is not the default."""
    numbers = {name: getattr(problem, name) for name in ("n_points", "n_face")}
    return [f"{name}={n}" for name, n in numbers.items() if n != getattr(PDE, name)]


def network_recipe(problem: Any, wider: float = 1.0, more: float = 1.0) -> Recipe:
    """Return a tanh network under Gauss-Newton, its size and points by the number of coordinates.

    Where a problem states a number of points, that is what a network begins with.

    Args:
        problem: The problem.
        wider: Factor on the width.
        more: Factor on the number of points.

    Returns:
        The recipe.
    """
    d = min(len(problem.domain.names), 3)
    conditions = [c for c in problem.conditions().values() if c.kind == "interior"]
    rows = max(sum(c.points or problem.n_points for c in conditions), 1) / max(len(conditions), 1)
    points = 1.0 if _own_points(problem) else NETWORK_POINTS[d] / rows
    return Recipe(
        field=partial(MLP, width=round(wider * NETWORK_WIDTH[d]), depth=3),
        stages=(Stage(GaussNewton, steps=2000, points=more * points, patience=PATIENCE, overfit=OVERFIT),),
        weighting=balance(problem),
        run=RunOptions(dtype="float64", log_every=20),
    )
