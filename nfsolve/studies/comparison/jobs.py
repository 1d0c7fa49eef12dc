"""Runs of a comparison: each in a folder of its own, in parallel processes, done once."""

import csv
import hashlib
import json
import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.spec import describe
from nfsolve.problem import Problem
from nfsolve.problem.registry import find, where
from nfsolve.run.folder import CHECKPOINT, CONFIG, FIELD, HISTORY, METRICS, RunFolder
from nfsolve.run.interrupt import STOPPED
from nfsolve.run.solve import resume, solve
from nfsolve.studies.comparison.executors import executor_of
from nfsolve.studies.comparison.methods import Method, Start, Tuned

CURVE_ROWS = 40  # about, of the history of each run
ERROR = "error.txt"
LOST = ("KilledWorker", "WorkerCrashedError", "OutOfMemoryError", "UncompletedJobError", "FailedJobError")
COUNTS = (
    "seconds",
    "cpu_seconds",
    "evaluations",
    "steps",
    "parameters",
    "peak_bytes",
    "stopped",
)  # what a failed run has as well


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        method: The method.
        tuned: What tuning chose for it, or tries.
        seed: Seed of weights and points.
        steps: Optimizer steps.
        pilot: Whether this is a tuning run.
    """

    method: Method
    tuned: Tuned
    seed: int
    steps: int
    pilot: bool = False

    def start(self) -> Start:
        """Return the run that it asks for."""
        method = self.method
        return (method.pilot if self.pilot and method.pilot is not None else method.run).of(self.tuned, self.steps)

    def folder(self, out: Path) -> Path:
        """Return its run folder: the same for the same run, another one for any other."""
        start = self.start()
        said = json.dumps([where(start.problem), describe(start.problem), describe(start.options)])
        digest = hashlib.sha256(said.encode()).hexdigest()[:10]
        return out / "runs" / self.method.slug / f"seed{self.seed}-{digest}"


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Attributes:
        metrics: Its ``metrics.json``; without scores where it failed.
        history: Rows of numbers.
        error: Why it failed, or empty.
        earlier: Whether it had been done before.
    """

    metrics: dict[str, Any]
    history: list[dict[str, float]]
    error: str = ""
    earlier: bool = False

    @property
    def why(self) -> str:
        """Say how it ended."""
        return self.error or str(self.metrics.get("stopped", "no score"))

    def check(self, score: str) -> None:
        """Refuse a score that a run without failure does not have.

        Args:
            score: Key of the metrics.

        Raises:
            InputError: There are scores, and this one is not among them.
        """
        known = [key for key in self.metrics if key not in COUNTS and "/" not in key]
        if known and score not in self.metrics:
            raise unknown("score", score, known)


class Workers:
    """Processes that do runs; those that are done already not again, and interrupted ones from where they stopped.

    A problem that only this process knows, as in a notebook, is run in it.

    Args:
        out: Folder of the comparison.
        processes: Runs at the same time.
        threads: Threads of each.
        problem: The problem of the runs.
        executor: Where they are done, as for `executor_of`; one that is given stays open.
    """

    def __init__(self, out: Path, processes: int, threads: int, problem: Problem, executor: Any = "processes"):
        self.out, self.processes, self.threads, self.problem = out.absolute(), processes, threads, problem
        self.executor = executor
        self._pool: Executor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None and self._pool is not self.executor:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def perform(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Do runs.

        Args:
            jobs: The runs; the same one twice is done once.

        Yields:
            Run and outcome, in the order in which they end.

        Raises:
            InputError: A process ended, or a method cannot be sent to one.
        """
        waiting = []
        for job in dict.fromkeys(jobs):
            found = read(job.folder(self.out))
            if found is None:
                waiting.append(job)
            else:
                yield job, replace(found, earlier=True)
        if self._pool is None and waiting:
            self._pool = self._started(waiting)
        module = sys.modules[type(self.problem).__module__]
        file = where(self.problem) if getattr(module, "loaded_from_file", False) else ""
        here = isinstance(self._pool, ThreadPoolExecutor)  # this process stays as the user made it
        prepared = (self.out, 0, "") if here else (self.out, self.threads, file)
        # another process must load the file before it can read a job whose problem is defined there
        packed = {job: job if here else pickle.dumps(job) for job in waiting}
        futures = {self._pool.submit(_do, packed[job], *prepared): job for job in waiting if self._pool}
        for future in as_completed(futures):
            try:
                outcome = future.result()
            except BrokenProcessPool as error:
                raise InputError(
                    "a process ended before its run was done: all runs at the same time must fit into memory, and a "
                    'script must call compare below if __name__ == "__main__":',
                    do="start fewer processes; what is done is kept",
                ) from error
            except Exception as error:
                if type(error).__name__ not in LOST:
                    raise
                raise InputError(
                    f"a worker ended again and again before run '{futures[future].method.name}' was done ({error})",
                    do="give workers more memory; what is done is kept, and the same command goes on",
                ) from error
            yield futures[future], outcome

    def _started(self, jobs: Sequence[Job]) -> Executor:
        module = sys.modules[type(self.problem).__module__]
        if module.__name__ == "__main__" and not hasattr(module, "__file__"):
            return ThreadPoolExecutor(1)
        for job in jobs:
            try:
                pickle.dumps(job)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise InputError(
                    f"method '{job.method.name}' holds what another process cannot be given ({error})",
                    do="use classes and functions that are defined at the top of a module, or partials of them",
                ) from error
        return executor_of(self.executor, self.processes, self.threads, self.out)


def read(folder: Path) -> Outcome | None:
    """Read what a finished run left, or None where there is none."""
    if (folder / ERROR).is_file():
        return Outcome({}, [], (folder / ERROR).read_text())
    try:
        metrics = json.loads((folder / METRICS).read_text())
        with (folder / HISTORY).open(newline="") as file:
            history = [{k: float(v) for k, v in row.items() if _number(v)} for row in csv.DictReader(file)]
    except (OSError, ValueError):
        return None
    return None if metrics.get("stopped") in STOPPED.values() else Outcome(metrics, history)


def _number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _prepare(threads: int, file: str) -> None:
    """Prepare a process for runs, once, unless there are 0 threads to set; ``file`` defines what can't be imported."""
    if "prepared" in _PROCESS or not threads:
        return
    _PROCESS.add("prepared")
    torch.set_num_threads(threads)
    # the tails of Gaussians and wavelets are subnormal numbers, on which a processor is up to five times slower: no
    # method should pay for that
    torch.set_flush_denormal(True)
    if file:
        find(file)


def _do(packed: Job | bytes, out: Path, threads: int, file: str) -> Outcome:
    """Do one run and keep its numbers; the weights would fill the disk."""
    _prepare(threads, file)
    job: Job = pickle.loads(packed) if isinstance(packed, bytes) else packed  # of the process that asks
    folder = job.folder(out)
    try:
        if not _continued(job, folder):
            _run(job, folder)
    except InputError as error:  # of this method: the others go on
        shutil.rmtree(folder, ignore_errors=True)
        said = str(error)
        RunFolder(folder).write(ERROR, lambda path: path.write_text(said))
    found = read(folder)
    if found is None:
        raise KeyboardInterrupt
    for name in (CHECKPOINT, FIELD):
        (folder / name).unlink(missing_ok=True)
    return found


def _continued(job: Job, folder: Path) -> bool:
    """Continue an interrupted run; remove it where that cannot be done."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        resume(folder, report=None, problem=job.start().problem)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _run(job: Job, folder: Path) -> None:
    start = job.start()
    run = replace(start.options["run"], seed=job.seed, log_every=max(1, job.steps // CURVE_ROWS))
    options = {**start.options, "run": run, "report": None}
    if "warm" not in _PROCESS:  # imports and first calls are slow, and would count for the first method only
        _PROCESS.add("warm")
        solve(start.problem, **{**options, "run": replace(run, time_limit=0.01)})
    solve(start.problem, **options, out=folder)


_PROCESS: set[str] = set()  # what has happened in this process
