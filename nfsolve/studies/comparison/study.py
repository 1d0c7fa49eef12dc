"""The protocol: tune every method on its own, then give all the same evaluations, and the same seconds."""

import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nfsolve._core.device import choose_device
from nfsolve._core.errors import InputError
from nfsolve.metrics import larger_is_better
from nfsolve.problem.registry import find
from nfsolve.studies.comparison.cells import Cell, grid
from nfsolve.studies.comparison.jobs import Job, Outcome, Workers
from nfsolve.studies.comparison.results import Comparison, Result

Budget = Literal["steps", "evaluations", "seconds"]
FACTORS = (10**-1.0, 10**-0.5, 1.0, 10**0.5, 10.0)  # of the optimizer's default learning rate
EXTENSIONS = 3  # times that the grid of rates grows where the best one lies at its edge
SCHEDULES = ("constant", "cosine")
SAME = 0.05  # budgets that differ by less share their runs


@dataclass
class Settings:
    """How methods are compared."""

    seeds: int = 3
    """seeds 0, 1, ... that are reported; the same ones for every method"""
    steps: int | None = None
    """optimizer steps of the baseline, the first method; default the recipe's"""
    tune: tuple[Literal["lr", "schedule"], ...] = ()
    """what is tuned for every method on its own: the learning rate, and whether it decays as a cosine"""
    rates: tuple[float, ...] = ()
    """learning rates to try first; default the optimizer's own times 0.1, 0.3, 1, 3, 10"""
    tune_seed: int = 100
    """seed of the tuning runs; it is not reported"""
    tune_steps: int | None = None
    """steps of a tuning run, which also shows what a step costs; default as many as are reported"""
    tune_with: str = ""
    """options of the tuning runs only, such as other data: "--image other.png" """
    score: str = ""
    """key of metrics.json by which methods are tuned and judged; default the problem's"""
    target: float | None = None
    """score whose time is reported; default what every seed of the baseline reaches"""
    budgets: tuple[Budget, ...] = ("evaluations", "seconds")
    """what all methods get the same of, a table for each: steps, evaluations or seconds"""
    seconds: float | None = None
    """seconds of training for each run of the budget "seconds"; default those of the baseline"""
    processes: int = 0
    """runs at the same time; 0 takes one for each core"""
    threads: int = 1
    """threads of a run"""
    out: Path | None = None
    """folder of the comparison; default comparisons/WHAT; what is done there is not done again"""

    def __post_init__(self) -> None:
        for name in ("seeds", "threads", "steps", "tune_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} = {value}", "at least 1")
        if not all(rate > 0 for rate in self.rates):
            raise InputError(f"rates {self.rates}", "positive learning rates")
        if 0 <= self.tune_seed < self.seeds:
            raise InputError(f"tune_seed = {self.tune_seed}", f"none of the reported seeds 0 to {self.seeds - 1}")
        if not self.budgets:
            raise InputError("a comparison without a budget", "some of steps, evaluations, seconds")


def compare(
    what: str,
    axes: Mapping[str, Sequence[Any]],
    settings: Settings | None = None,
    options: Sequence[str] = (),
    report: Callable[[str], None] | None = print,
) -> Comparison:
    """Compare all combinations of one-line swaps on a problem.

    In a script, call it below ``if __name__ == "__main__":``, as the runs are done in other processes::

        nf.compare("image", {"init": ["siren", "ws:alpha=2"], "field.width": [64, 128]}, Settings(tune=("lr",)))

    Args:
        what: The problem, as for ``nfsolve run``.
        axes: Axis -> its values, see `grid`; the first value of each is the baseline's.
        settings: How; None takes the defaults.
        options: Options of every run, as on the command line.
        report: Called with each line of progress, or None.

    Returns:
        The comparison, also written into its folder.

    Raises:
        InputError: A value, an option or a setting that is not known or does not fit; before anything is run.
    """
    return run_cells(what, grid(axes), settings, options, report)


def run_cells(
    what: str,
    cells: Sequence[Cell],
    settings: Settings | None = None,
    options: Sequence[str] = (),
    report: Callable[[str], None] | None = print,
) -> Comparison:
    """Compare methods that are spelled out one by one; arguments as for `compare`.

    Args:
        what: The problem.
        cells: The methods; the first one is the baseline.
        settings: How.
        options: Options of every run.
        report: Called with each line of progress, or None.

    Returns:
        The comparison.

    Raises:
        InputError: As for `compare`.
    """
    return _Study(what, list(cells), settings or Settings(), tuple(options), report or (lambda line: None)).go()


class _Study:
    def __init__(
        self, what: str, cells: list[Cell], settings: Settings, options: tuple[str, ...], report: Callable[[str], None]
    ):
        self.what, self.cells, self.settings, self.options, self.report = what, cells, settings, options, report
        self.problem = find(what)
        if not cells:
            raise InputError("a comparison without methods", "at least one, as in --axis optimizer adam esgd")
        names = [cell.slug for cell in cells]
        if len(set(names)) < len(names):
            raise InputError(f"methods named {', '.join(names)}", "different names")
        self.tuned_with = tuple(shlex.split(settings.tune_with))
        # every mistake shows before the first run
        first, *_ = [cell.request(self.problem, *options) for cell in cells]
        if self.tuned_with:
            for cell in cells:
                cell.request(self.problem, *options, *self.tuned_with)
        self.rates = {cell: cell.rate(self.problem, *options) for cell in cells} if "lr" in settings.tune else {}
        self.steps = settings.steps or sum(stage.steps for stage in first.options["stages"])
        self.score = settings.score or first.problem.score
        if not self.score:
            raise InputError(f"{self.what} does not say by which score methods are judged", "one", "give --score KEY")
        self.sign = 1 if larger_is_better(self.score) else -1
        self.out = settings.out or Path("comparisons") / Path(what).stem.replace(":", ".")
        # processor seconds of one thread do not depend on what else the machine does; a GPU works outside them
        plain = settings.threads == 1 and choose_device(first.options["device"]).type == "cpu"
        self.clock = "cpu_seconds" if plain else "seconds"
        self.processes = settings.processes or os.cpu_count() or 1

    def go(self) -> Comparison:
        """Tune, run, and write everything down."""
        self.out.mkdir(parents=True, exist_ok=True)
        results: list[Result] = []
        with Workers(self.out, self.processes, self.settings.threads) as self.workers:
            plain = not self.settings.tune and set(self.settings.budgets) == {"steps"}
            found = {} if plain else self._tuning()  # which also says what a step costs
            best = {cell: self._tuned(cell, found.get(cell, {})) for cell in self.cells}
            for budget in self.settings.budgets:
                results += self._reported(budget, best, results)
        comparison = Comparison(self.what, self.score, self.cells, results, self._settings(), self.settings.target)
        comparison.save(self.out)
        return comparison

    def _settings(self) -> dict[str, Any]:
        said = {name: getattr(self.settings, name) for name in ("seeds", "tune", "tune_seed", "tune_with", "threads")}
        tune_steps = self.settings.tune_steps or self.steps
        return {
            **said,
            "steps": self.steps,
            "tune_steps": tune_steps,
            "clock": self.clock,
            "options": " ".join(self.options),
        }

    def _do(self, jobs: list[Job]) -> dict[Job, Outcome]:
        outcomes: dict[Job, Outcome] = {}
        for job, outcome in self.workers.perform(jobs):
            outcomes[job] = outcome
            outcome.check(self.score)
            if outcome.earlier:
                continue
            words = " ".join(job.words[len(self.options) :])
            score = outcome.metrics.get(self.score)
            said = f"{self.score} {score:.4g}" if score is not None else f"failed: {outcome.why}"
            seconds = outcome.metrics.get(self.clock, 0.0)
            self.report(
                f"[{len(outcomes)}/{len(set(jobs))}] {job.cell.name} {words} seed {job.seed}, "
                f"{job.steps} steps: {said} ({seconds:.1f} s)"
            )
        return outcomes

    # -- tuning

    def _tuning(self) -> dict[Cell, dict[Job, Outcome]]:
        """Run every method with every candidate, and with more where the best one lies at the edge."""
        tried = {cell: self._candidates(cell) for cell in self.cells}
        found: dict[Cell, dict[Job, Outcome]] = {cell: {} for cell in self.cells}
        new = {cell: list(rates) for cell, rates in tried.items()}
        for _ in range(EXTENSIONS + 1):
            jobs = [self._pilot(cell, words) for cell, rates in new.items() for words in self._choices(rates)]
            for job, outcome in self._do(jobs).items():
                found[job.cell][job] = outcome
            new = {cell: self._beyond(cell, tried[cell], found[cell]) for cell in self.cells}
            if not any(new.values()):
                break
            for cell, rates in new.items():
                tried[cell] = [*tried[cell], *rates]
        return found

    def _candidates(self, cell: Cell) -> Sequence[float | None]:
        default = self.rates.get(cell)
        if default is None:  # nothing to tune
            return [None]
        given = cell.rates or self.settings.rates
        return sorted(given or (float(f"{default * factor:.3g}") for factor in FACTORS))

    def _choices(self, rates: Sequence[float | None]) -> list[tuple[str, ...]]:
        schedules = [("--schedule", s) for s in SCHEDULES] if "schedule" in self.settings.tune else [()]
        return [
            (*(() if rate is None else ("--optimizer.lr", f"{rate:g}")), *schedule)
            for rate in rates
            for schedule in schedules
        ]

    def _pilot(self, cell: Cell, words: tuple[str, ...]) -> Job:
        steps = self.settings.tune_steps or self.steps
        return Job(self.what, cell, (*self.options, *self.tuned_with, *words), self.settings.tune_seed, steps)

    def _beyond(self, cell: Cell, tried: Sequence[float | None], found: dict[Job, Outcome]) -> Sequence[float | None]:
        """Return the rate beyond the best one where that lies at the edge of those that were tried."""
        known = sorted(rate for rate in tried if rate is not None)
        job = self._best(found)
        if len(known) < 2 or job is None:
            return []
        best = float(_option(job.words, "--optimizer.lr"))
        if best >= known[-1] * 0.999:
            return [float(f"{known[-1] * known[-1] / known[-2]:.3g}")]
        if best <= known[0] * 1.001:
            return [float(f"{known[0] * known[0] / known[1]:.3g}")]
        return []

    def _best(self, found: dict[Job, Outcome]) -> Job | None:
        usable = {job: self._value(outcome) for job, outcome in found.items()}
        usable = {job: value for job, value in usable.items() if value > -math.inf}
        return max(usable, key=lambda job: usable[job]) if usable else None

    def _value(self, outcome: Outcome) -> float:
        score = outcome.metrics.get(self.score)
        return self.sign * score if isinstance(score, int | float) and math.isfinite(score) else -math.inf

    def _tuned(self, cell: Cell, found: dict[Job, Outcome]) -> "_Tuned":
        if not found:
            return _Tuned((), {"steps": 1.0}, math.nan)
        job = self._best(found) or next(iter(found))
        metrics = found[job].metrics
        words = job.words[len(self.options) + len(self.tuned_with) :]
        steps = max(metrics.get("steps", 0), 1)
        used = {"evaluations": "evaluations", "seconds": self.clock}
        costs = {budget: metrics.get(key, math.nan) / steps for budget, key in used.items()} | {"steps": 1.0}
        return _Tuned(words, costs, self.sign * self._value(found[job]))

    # -- reported runs

    def _reported(self, budget: Budget, best: dict[Cell, "_Tuned"], earlier: list[Result]) -> list[Result]:
        steps = {cell: self._steps(budget, best, cell) for cell in self.cells}
        shared = {result.cell: result.steps for result in earlier}
        for cell, n in steps.items():
            if cell in shared and abs(n / shared[cell] - 1) < SAME:
                steps[cell] = shared[cell]
        jobs = {
            (cell, seed): Job(self.what, cell, (*self.options, *best[cell].words), seed, steps[cell])
            for cell in self.cells
            for seed in range(self.settings.seeds)
        }
        outcomes = self._do(list(jobs.values()))
        return [
            Result(budget, cell, best[cell].words, best[cell].score, steps[cell], seed, outcomes[job])
            for (cell, seed), job in jobs.items()
        ]

    def _steps(self, budget: Budget, best: dict[Cell, "_Tuned"], cell: Cell) -> int:
        """Return the steps that cost a method what the baseline's cost, by what both cost when they were tuned."""
        baseline, own = best[self.cells[0]].costs[budget], best[cell].costs[budget]
        total = baseline * self.steps
        if budget == "seconds" and self.settings.seconds is not None:
            total = self.settings.seconds
        return max(1, round(total / own)) if own > 0 and math.isfinite(total) else self.steps


@dataclass(frozen=True)
class _Tuned:
    words: tuple[str, ...]
    costs: dict[str, float]
    score: float


def _option(words: Sequence[str], name: str) -> str:
    return words[len(words) - 1 - list(reversed(words)).index(name) + 1]
