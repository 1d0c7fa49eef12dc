"""The protocol: tune every method on its own, then give all the same evaluations, and the same seconds."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nfsolve._core.device import choose_device
from nfsolve._core.errors import InputError
from nfsolve._core.launch import launched
from nfsolve.metrics import larger_is_better
from nfsolve.problem import Problem
from nfsolve.problem.registry import find, names, where
from nfsolve.studies.comparison.executors import Kind
from nfsolve.studies.comparison.jobs import Job, Outcome, Workers
from nfsolve.studies.comparison.methods import Method, Tuned, method_of
from nfsolve.studies.comparison.results import Comparison, Result
from nfsolve.studies.comparison.words import Words

Budget = Literal["steps", "evaluations", "seconds"]
FACTORS = (10**-1.0, 10**-0.5, 1.0, 10**0.5, 10.0)  # of the optimizer's default learning rate
EXTENSIONS = 3  # times that the grid of rates grows where the best one lies at its edge
SCHEDULES = ("constant", "cosine")
SAME = 0.05  # budgets that differ by less share their runs


@dataclass
class Settings:
    """How methods are compared."""

    seeds: int = 3
    """number of seeds 0, 1, ... that are reported, the same ones for every method"""
    steps: int | None = None
    """optimizer steps of the baseline, the first method; default the recipe's"""
    tune: tuple[Literal["lr", "schedule"], ...] = ()
    """what to tune for every method on its own: the learning rate, and whether it decays as a cosine"""
    rates: tuple[float, ...] = ()
    """learning rates to try first; default the optimizer's own times 0.1, 0.3, 1, 3, 10"""
    tune_seed: int = 100
    """seed of the tuning runs; it is not reported"""
    tune_steps: int | None = None
    """steps of a tuning run, which also measures the cost of a step; default as many as are reported"""
    tune_with: str = ""
    """options of the tuning runs only, such as other data: "--image other.png"; from Python, give tune_on="""
    score: str = ""
    """key of metrics.json by which methods are tuned and compared; default the problem's"""
    target: float | None = None
    """score to reach, for which the time is reported; default the score that every seed of the baseline reaches"""
    budgets: tuple[Budget, ...] = ("evaluations", "seconds")
    """budgets that are equal for all methods, with a table for each: steps, evaluations or seconds"""
    seconds: float | None = None
    """seconds of training for each run of the budget "seconds"; default those of the baseline"""
    processes: int = 0
    """number of runs at the same time; 0 takes one for each core"""
    threads: int = 1
    """number of threads of each run"""
    executor: Kind = "processes"
    """where runs are done: processes of this machine, or workers of dask, ray or slurm, which must see the folder"""
    out: Path | None = None
    """folder of the comparison; default comparisons/WHAT; runs that are complete there are not repeated"""

    def __post_init__(self) -> None:
        for name in ("seeds", "threads", "steps", "tune_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}", do="choose a positive number")
        if not all(rate > 0 for rate in self.rates):
            raise InputError(f"learning rates must be positive, got {self.rates}", do="choose others")
        if 0 <= self.tune_seed < self.seeds:
            raise InputError(
                f"tune_seed must be none of the reported seeds 0 to {self.seeds - 1}, got {self.tune_seed}",
                do="choose a larger one",
            )
        if not self.budgets:
            raise InputError("a comparison needs a budget, got none", do="give some of steps, evaluations, seconds")


def compare(
    problem: Problem,
    methods: Mapping[str, Mapping[str, Any]],
    settings: Settings | None = None,
    *,
    common: Mapping[str, Any] | None = None,
    tune_on: Problem | None = None,
    executor: Any = None,
    report: Callable[[str], None] | None = print,
) -> Comparison:
    """Compare methods on a problem.

    Runs are done in other processes, so in a script call it below ``if __name__ == "__main__":``.

    Args:
        problem: The problem.
        methods: Name -> what the method changes: keyword arguments of `nfsolve.solve` (``field``, ``optimizer``,
            ``lr``, ``factorization``, ``weighting``, ``schedule``, ...), parameters of the problem, and ``rates``, the
            learning rates to try first. The first method is the baseline.
        settings: How; None takes the defaults.
        common: Changes of every run; those of a method come before these.
        tune_on: The same kind of problem with other data, on which learning rates are tuned; None takes the problem.
        executor: An executor as those of `concurrent.futures`, whose workers do the runs; None takes that of the
            settings.
        report: Called with each line of progress, or None.

    Returns:
        The comparison, also written into its folder.

    Raises:
        InputError: A change or a setting that is not known or does not fit; before anything is run.

    Examples:
        How a comparison of two networks, each with a tuned learning rate, is written::

            sines = {"siren": {"field": "siren"}, "ws": {"field": nf.preset("ws", width=128)}}
            nf.compare(ImageFit(size=128), sines, Settings(tune=("lr",)), common={"optimizer": "adam"})
    """
    if not isinstance(problem, Problem):
        raise InputError(
            f"compare takes a problem, such as Burgers(nu=0.01), got {problem!r}",
            do="build the problem; names and words belong to `nfsolve compare`",
        )
    settings = settings or Settings()
    if settings.tune_with:
        raise InputError(
            f"tune_with holds options of the command line, got '{settings.tune_with}' from Python", do="give tune_on="
        )
    made = [method_of(label, problem, changes, common or {}, tune_on) for label, changes in methods.items()]
    said = dataclasses.replace(settings, tune_with="" if tune_on is None else repr(tune_on))
    told = ", ".join(f"{name}={value}" for name, value in (common or {}).items())
    return _Study(_name(problem), made, said, told, report or _silent, executor).go()


def compare_words(
    what: str,
    methods: Sequence[Words],
    settings: Settings | None = None,
    options: Sequence[str] = (),
    report: Callable[[str], None] | None = print,
) -> Comparison:
    """Compare methods that are spelled as on the command line.

    Args:
        what: The problem, as for ``nfsolve run``.
        methods: The methods, such as those of `grid`; the first one is the baseline.
        settings: How; None takes the defaults.
        options: Options of every run.
        report: Called with each line of progress, or None.

    Returns:
        The comparison, also written into its folder.

    Raises:
        InputError: As for `compare`.
    """
    settings, problem = settings or Settings(), find(what)
    made = [words.method(what, problem, options, settings.tune_with) for words in methods]
    return _Study(what, made, settings, " ".join(options), report or _silent).go()


def _silent(line: str) -> None:
    """Say nothing."""


def _name(problem: Problem) -> str:
    path = where(problem)
    return next((name for name, target in names().items() if target == path), type(problem).__name__)


class _Study:
    def __init__(
        self,
        what: str,
        methods: list[Method],
        settings: Settings,
        options: str,
        report: Callable[[str], None],
        executor: Any = None,
    ):
        if launched():
            raise InputError("compare starts processes of its own, got those of torchrun", do="leave torchrun out")
        self.executor = settings.executor if executor is None else executor
        self.what, self.methods, self.settings, self.options, self.report = what, methods, settings, options, report
        if not methods:
            raise InputError("a comparison needs at least one method, got none", do="name them, as in docs/contract.md")
        slugs = [method.slug for method in methods]
        if len(set(slugs)) < len(slugs):
            raise InputError(f"methods must have different names, got {', '.join(slugs)}", do="rename one")
        self.rates = {method: method.rate() for method in methods} if "lr" in settings.tune else {}
        first = methods[0].run
        self.steps = settings.steps or first.steps
        self.score = settings.score or first.problem.score
        if not self.score:
            raise InputError(f"{what} does not say by which score methods are judged", do="give score=, or --score KEY")
        self.sign = 1 if larger_is_better(self.score) else -1
        self.out = settings.out or Path("comparisons") / Path(what).stem.replace(":", ".")
        # processor seconds of one thread do not depend on what else the machine does; a GPU works outside them
        plain = settings.threads == 1 and choose_device(first.options["run"].device).type == "cpu"
        self.clock = "cpu_seconds" if plain else "seconds"
        self.processes = settings.processes or os.cpu_count() or 1

    def go(self) -> Comparison:
        """Tune, run, and write everything down."""
        self.out.mkdir(parents=True, exist_ok=True)
        results: list[Result] = []
        problem = self.methods[0].run.problem
        with Workers(self.out, self.processes, self.settings.threads, problem, self.executor) as self.workers:
            plain = not self.settings.tune and set(self.settings.budgets) == {"steps"}
            found = {} if plain else self._tuning()  # which also says what a step costs
            best = {method: self._tuned(method, found.get(method, {})) for method in self.methods}
            for budget in self.settings.budgets:
                results += self._reported(budget, best, results)
        comparison = Comparison(self.what, self.score, self.methods, results, self._settings(), self.settings.target)
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
            "options": self.options,
        }

    def _do(self, jobs: list[Job]) -> dict[Job, Outcome]:
        outcomes: dict[Job, Outcome] = {}
        for job, outcome in self.workers.perform(jobs):
            outcomes[job] = outcome
            outcome.check(self.score)
            if outcome.earlier:
                continue
            tried = "".join(f" {name} {value}" for name, value in job.tuned)
            score = outcome.metrics.get(self.score)
            said = f"{self.score} {score:.4g}" if score is not None else f"failed: {outcome.why}"
            seconds = outcome.metrics.get(self.clock, 0.0)
            self.report(
                f"[{len(outcomes)}/{len(set(jobs))}] {job.method.name}{tried} seed {job.seed}, "
                f"{job.steps} steps: {said} ({seconds:.1f} s)"
            )
        return outcomes

    # -- tuning

    def _tuning(self) -> dict[Method, dict[Job, Outcome]]:
        """Run every method with every candidate, and with more where the best one lies at the edge."""
        tried = {method: self._candidates(method) for method in self.methods}
        found: dict[Method, dict[Job, Outcome]] = {method: {} for method in self.methods}
        new = {method: list(rates) for method, rates in tried.items()}
        for _ in range(EXTENSIONS + 1):
            jobs = [self._pilot(method, tuned) for method, rates in new.items() for tuned in self._choices(rates)]
            for job, outcome in self._do(jobs).items():
                found[job.method][job] = outcome
            new = {method: self._beyond(method, tried[method], found[method]) for method in self.methods}
            if not any(new.values()):
                break
            for method, rates in new.items():
                tried[method] = [*tried[method], *rates]
        return found

    def _candidates(self, method: Method) -> Sequence[float | None]:
        default = self.rates.get(method)
        if default is None:  # nothing to tune
            return [None]
        given = method.rates or self.settings.rates
        return sorted(given or (float(f"{default * factor:.3g}") for factor in FACTORS))

    def _choices(self, rates: Sequence[float | None]) -> list[Tuned]:
        schedules: list[Tuned] = [(("schedule", s),) for s in SCHEDULES] if "schedule" in self.settings.tune else [()]
        return [(*(() if rate is None else (("lr", rate),)), *schedule) for rate in rates for schedule in schedules]

    def _pilot(self, method: Method, tuned: Tuned) -> Job:
        return Job(method, tuned, self.settings.tune_seed, self.settings.tune_steps or self.steps, pilot=True)

    def _beyond(
        self, method: Method, tried: Sequence[float | None], found: dict[Job, Outcome]
    ) -> Sequence[float | None]:
        """Return the rate beyond the best one where that lies at the edge of those that were tried."""
        known = sorted(rate for rate in tried if rate is not None)
        job = self._best(found)
        if len(known) < 2 or job is None:
            return []
        best = dict(job.tuned)["lr"]
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

    def _tuned(self, method: Method, found: dict[Job, Outcome]) -> "_Best":
        if not found:
            return _Best((), {"steps": 1.0}, math.nan)
        job = self._best(found) or next(iter(found))
        metrics = found[job].metrics
        steps = max(metrics.get("steps", 0), 1)
        used = {"evaluations": "evaluations", "seconds": self.clock}
        costs = {budget: metrics.get(key, math.nan) / steps for budget, key in used.items()} | {"steps": 1.0}
        return _Best(job.tuned, costs, self.sign * self._value(found[job]))

    # -- reported runs

    def _reported(self, budget: Budget, best: dict[Method, "_Best"], earlier: list[Result]) -> list[Result]:
        steps = {method: self._steps(budget, best, method) for method in self.methods}
        shared = {result.method: result.steps for result in earlier}
        for method, n in steps.items():
            if method in shared and abs(n / shared[method] - 1) < SAME:
                steps[method] = shared[method]
        jobs = {
            (method, seed): Job(method, best[method].tuned, seed, steps[method])
            for method in self.methods
            for seed in range(self.settings.seeds)
        }
        outcomes = self._do(list(jobs.values()))
        return [
            Result(budget, method, best[method].tuned, best[method].score, steps[method], seed, outcomes[job])
            for (method, seed), job in jobs.items()
        ]

    def _steps(self, budget: Budget, best: dict[Method, "_Best"], method: Method) -> int:
        """Return the steps that cost a method what the baseline's cost, by what both cost when they were tuned."""
        baseline, own = best[self.methods[0]].costs[budget], best[method].costs[budget]
        total = baseline * self.steps
        if budget == "seconds" and self.settings.seconds is not None:
            total = self.settings.seconds
        return max(1, round(total / own)) if own > 0 and math.isfinite(total) else self.steps


@dataclass(frozen=True)
class _Best:
    tuned: Tuned
    costs: dict[str, float]
    score: float
