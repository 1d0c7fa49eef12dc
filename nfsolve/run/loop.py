"""The training loop, the only one: any problem, any field, any optimizer."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.problem import Objective, Problem, SamplerState, Stage, may_have_windows
from nfsolve.run.beginning import start_at_data, start_at_rest
from nfsolve.run.clock import Deadline, OutOfTime, Stopwatch
from nfsolve.run.estimate import affordable_estimate
from nfsolve.run.folder import METRICS, RunFolder, SaveError, check_same_problem, environment, load_weights
from nfsolve.run.heldout import diverged, held_out, rms, row_before, warnings
from nfsolve.run.interrupt import STOPPED, Interrupt
from nfsolve.run.memory import choices, needed_bytes, peak_bytes, said
from nfsolve.run.plan import Plan, check_finite, make_field
from nfsolve.run.posterior import places, posterior
from nfsolve.run.report import StopRun, note, reporter
from nfsolve.run.solution import Solution, doubtful, in_words

CHECKPOINT_SECONDS = 10.0
LOWER = 0.9  # factor by which the loss must fall to be lower
STALLED_STEPS = 5
QUICK_SCORES = "quick_scores"  # key of the sentence that scores are not those of all values
SCORED = ("metrics", "stopped", "failed", "interrupted", "seconds", "evaluations", "warnings")  # for all by one


class Run:
    """One run: the state that a checkpoint holds and the loop that moves it on.

    Args:
        problem: The problem.
        plan: Field, stages and options.
        folder: Where to save, or None.
        report: As for `solve`.
        checkpoint: State to resume from, or None for a new run.
        ranks: The processes that share the run; each makes one, the first with the folder and the report.
        coupled: Residuals that couple their points, where that is known; None finds them.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        folder: RunFolder | None = None,
        report: Any = None,
        checkpoint: dict[str, Any] | None = None,
        ranks: Ranks = ALONE,
        coupled: frozenset[str] | None = None,
    ):
        self.watch = Stopwatch()
        self.problem, self.plan, self.folder, self.ranks = problem, plan, folder, ranks
        self.field = make_field(problem, plan)
        first = next(self.field.parameters(), None)
        if first is None:
            raise InputError("A field needs at least one parameter that can be trained, but this one has none")
        dtype = first.real.dtype if first.is_complex() else first.dtype
        self.device, self._dtype = first.device, dtype
        self.data = problem.load(first.device, dtype)
        check_finite(self.data)
        points = generator(plan.run.seed, "points")
        self.objective = Objective(
            problem, self.field, self.data, points, plan.run.compile, plan.weighting, coupled=coupled, ranks=ranks
        )
        self.objective.check()
        total = sum(stage.steps for stage in plan.stages)
        self.report = reporter(report, total, plan.run.time_limit)
        self.stage = self.step = self.steps = 0
        self._began = 0.0  # seconds of the run at which its stage began
        self._heldout: tuple[Any, Any] | None = None  # sizes of the batch, and fresh points beside it
        self.history: list[dict[str, Any]] = []
        self.stopped = ""
        self.failed = self.interrupted = self._over = self._silent = False
        self._fresh = False  # whether points were resampled because the optimizer was done with those before
        self._lowest = math.inf, 0  # loss of the stage, and the step after which it was last a tenth lower
        self.peak = 0  # bytes that one process has had at the most
        self.parts: dict[str, float] = {}  # seconds by part of a step, of the optimizers before the current one
        self._optimizer: Any = None
        self._resumed: dict[str, Any] | None = None
        if checkpoint is not None:
            self._restore(checkpoint)
        else:
            start_at_rest(self.objective, plan.run.seed)
            start_at_data(self.objective)
        self._now = 0.0  # seconds since the start at which all ranks are, as the first one measured them
        if checkpoint is None:
            ranks.by_first(self._start_folder)

    def _start_folder(self) -> None:
        if self.folder is not None:
            self.folder.start(self.plan.config(self.problem), environment(self.device, self.ranks.count))

    def go(self) -> Solution:
        """Run to the end, unless a resumed run was there, save and score; Ctrl-C finishes the step and stops."""
        self.train()
        return self.end()

    def keep(self) -> None:
        """Start the folder of a run that goes on with what another one has left, and write its first checkpoint."""
        if self.folder is not None:
            self._start_folder()
            self._save()

    def finished(self, folder: RunFolder | None, report: Any, silent: bool = False) -> Solution:
        """Save and score a run that has come to its end without a folder, as if it had been made in one.

        Args:
            folder: Where to save, or None.
            report: As for `solve`.
            silent: Whether doubts and the error are left to who made it, as for `train`.

        Returns:
            The solution.
        """
        self.folder, self._silent = folder, self._silent or silent
        self.report = reporter(report, self.steps, self.plan.run.time_limit)
        self._start_folder()
        self._warn()
        self.log()
        return self.end()

    def train(self, silent: bool = False) -> None:
        """Run to the end without saving or scoring the result.

        Args:
            silent: Whether to leave out the history, which costs time, and what is told of the run.
        """
        self._silent = silent
        with Interrupt() as interrupt:
            self.watch.start()
            self._saved_at = time.perf_counter()
            if not (self.history or silent):
                self._warn()
                self._foretell()
                self.log()
            if not self._over:
                self._run_stages(interrupt)
        if self.interrupted and not silent:  # before saving and scoring, for which torchrun gives half a minute
            note(self.report, f"{self.stopped} after {self.steps} steps; saving and scoring what was trained")
        self.peak = int(self.ranks.largest(max(self.peak, peak_bytes(self.device)))[0])

    def _run_stages(self, interrupt: Interrupt) -> None:
        self.stopped = ""
        self._run_stage(interrupt)
        while not self.stopped and self.stage < self._last:
            self.stage, self.step, self._began = self.stage + 1, 0, self._elapsed
            self._lowest = math.inf, 0
            self._run_stage(interrupt)
        self.objective.choose("")
        self.stopped = self.stopped or f"step limit: {self.steps} steps done"

    def _warn(self) -> None:
        """Say before training what the user may not expect of the problem."""
        for text in self._cautions():
            self.report({"warning": text})
        for name in self.plan.unstored(self.problem) if self.folder is not None else ():
            self.report({"warning": f"parameter '{name}' cannot be stored: give nfsolve.load the problem itself"})
        for name in sorted(self.objective.coupled):
            text = f"residual '{name}' couples its points, so its Jacobian is evaluated as a whole, which takes longer"
            self.report({"warning": text})

    def _foretell(self) -> None:
        """Say before training who takes part, how much memory it takes, and what optimizers choose for lack of it."""
        if self.ranks:
            note(self.report, f"{self.ranks.count} processes share the points; rank 0 writes and reports")
        for text in choices(self.objective, self.plan.stages):
            note(self.report, text)
        shown, caution = said(needed_bytes(self.objective, self.plan.stages), self.device, self.ranks.count)
        if shown:
            note(self.report, shown)
        if caution:
            self.report({"warning": caution})

    def _cautions(self) -> list[str]:
        """Return what the problem may lack and how its field was made, in words."""
        text = "unknown scalar '{}' does not occur in any residual, so it keeps its start value"
        return [
            *self.problem.cautions(),
            *getattr(self.field, "remarks", ()),
            *(text.format(name) for name in self.objective.unused),
        ]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training, over all resumptions."""
        return self.watch.seconds

    def _run_stage(self, interrupt: Interrupt) -> None:
        stage = self.plan.stages[self.stage]
        optimizer = self._make_optimizer(stage)
        resample = self.problem.resample_every if stage.resample is None else stage.resample
        stalled, previous = 0, None
        if self._is_told_to_stop():  # by the row before the first step
            return
        while self.step < stage.steps:
            if resample and self.step and self.step % resample == 0:
                self.objective.resample()
                previous = None
            _set_rate(optimizer, stage, self.step, self._time_used())
            self.objective.reweigh(self.steps)
            loss = _value(optimizer.step(self.objective))
            self.step += 1
            self.steps += 1
            self.watch.lap()
            if loss < LOWER * self._lowest[0]:
                self._lowest = loss, self.step
            stalled = stalled + 1 if loss == previous else 0
            previous = loss
            asked, due = self._agreed(interrupt.asked)
            reason = self._reason(optimizer, loss, stalled, asked)
            if resample and reason and not self._fresh and reason == getattr(optimizer, "stop_reason", None):
                self.objective.resample()  # done with these points, not with the problem
                reason, self._fresh, previous = "", True, None
            elif not reason:
                self._fresh = False
            if not self._silent and (reason or self.steps % self.plan.run.log_every == 0 or self.step == stage.steps):
                self.log()
                self.watch.start()  # scores are not training
                reason = reason or self._overfit(stage)
            if reason and not self.stopped:
                self.stopped = reason if self._ends(reason) else ""
            if reason or self.stopped or self._is_told_to_stop():
                return
            if due:
                self._save()

    def _agreed(self, asked: int) -> tuple[int, bool]:
        """Let all ranks see the same clock; return the signal that asked any to stop, and if a checkpoint is due."""
        due = time.perf_counter() - self._saved_at > CHECKPOINT_SECONDS
        if not self.ranks:
            return asked, due
        clock = (due, self.watch.elapsed) if self.ranks.first else (False, 0.0)
        asked_by_any, due_to_all, self._now = self.ranks.largest(asked, *clock)
        return int(asked_by_any), bool(due_to_all)

    @property
    def _elapsed(self) -> float:
        """Seconds since the start, the same on all ranks."""
        return self._now if self.ranks else self.watch.elapsed

    def _is_told_to_stop(self) -> bool:
        """Return whether the report has asked for the end of the run, and it has no other reason to end."""
        if self.report.asked is not None and not self.stopped:
            why = str(self.report.asked)
            self.stopped, self.interrupted = f"stopped by report: {why}" if why else "stopped by report", True
        return self.interrupted

    def _time_used(self) -> float:
        """Return the share of the time limit that is used, from the start of the stage; 0 without a limit."""
        limit = self._stage_limit
        return 0.0 if limit is None else (self._elapsed - self._began) / max(limit - self._began, 1e-9)

    @property
    def _stage_limit(self) -> float | None:
        """Seconds of the run at which the stage must end; later stages have what is kept for them."""
        limit, later = self.plan.run.time_limit, self.plan.stages[self.stage + 1 :]
        return None if limit is None else limit * (1 - sum(stage.share for stage in later if stage.steps))

    @property
    def _last(self) -> int:
        return len(self.plan.stages) - 1

    def _ends(self, reason: str) -> bool:
        """Return whether a reason ends the run; the others end this stage, and the next one goes on."""
        hard = self.failed or self.interrupted or reason.startswith(("time limit", "converged: loss"))
        return hard or self.stage == self._last

    def _reason(self, optimizer: Any, loss: float, stalled: int, asked: int) -> str:
        """Say in words why to stop, or give an empty string."""
        if not math.isfinite(loss):
            self.failed = True
            return self._where_not_finite()
        if asked:
            self.interrupted = True
            return STOPPED[asked]
        if self.plan.run.tolerance is not None and loss <= self.plan.run.tolerance:
            return f"converged: loss {loss:.3e} is within the tolerance {self.plan.run.tolerance:g}"
        if self.plan.run.time_limit is not None and self._elapsed >= self.plan.run.time_limit:
            return f"time limit: {self.plan.run.time_limit:g} s"
        if self._stage_limit is not None and self._elapsed >= self._stage_limit:
            return "the rest of the time limit is for the next stage"
        if getattr(optimizer, "stop_reason", None):
            return str(optimizer.stop_reason)
        if stalled >= STALLED_STEPS:
            hint = "; float32 may be the limit, try dtype float64" if self._is_float32() else ""
            return f"no progress: the loss stayed at exactly {loss:.6e} for {stalled} steps{hint}"
        patience, since = self.plan.stages[self.stage].patience, self.step - self._lowest[1]
        if patience and since >= max(patience, self.step / 2):
            return f"no progress: the loss has not fallen by a tenth below {self._lowest[0]:.3e} in {since} steps"
        return ""

    def _overfit(self, stage: Stage) -> str:
        """Say that held-out residuals are too much larger than those at the points of a stage, or nothing."""
        left, seen = self.weighted("heldout/"), self.weighted("rms/")
        if not (stage.overfit and left > stage.overfit * seen):
            return ""
        return f"no progress: held-out residuals are {left / max(seen, 1e-300):.1f} times those at the trained points"

    def weighted(self, kind: str) -> float:
        """Return the root of the weighted squares of the latest residuals, ``rms/`` or ``heldout/``; 0 without any."""
        row = self.history[-1]
        found = {key.removeprefix(kind): value for key, value in row.items() if key.startswith(kind)}
        weights = self.objective.weights.means(list(found)) or self.problem.weights()
        return math.sqrt(sum(weights.get(name, 1.0) * value**2 for name, value in found.items()))

    def _is_float32(self) -> bool:
        return next(self.field.parameters()).dtype in (torch.float32, torch.complex64)

    def _where_not_finite(self) -> str:
        name, place = self.objective.not_finite()
        found = f"non-finite {f'residual {name!r}' if name else 'loss'} at step {self.steps}"
        return f"{found}: {place}" if place else found

    def _make_optimizer(self, stage: Stage) -> Any:
        """Make the optimizer of a stage, or restore it; later stages start on new points."""
        self.objective.choose(stage.only)
        self.parts, self._optimizer = self.clocked(), stage.make(list(self.objective.parameters))
        if self._resumed is not None:
            self._optimizer.load_state_dict(self._resumed)
            self._resumed = None
        elif self.stage or stage.points != 1.0 or stage.faces is not None or stage.coarsen > 1:
            self.objective.sample_as(SamplerState(points=stage.points, faces=stage.faces, coarsen=stage.coarsen))
            self.objective.resample()
        return self._optimizer

    def clocked(self) -> dict[str, float]:
        """Return the seconds by part of a step (Jacobian, Gram matrix ...), where optimizers count them."""
        clock = getattr(self._optimizer, "clock", None)
        now = clock.seconds if clock is not None else {}
        return {part: self.parts.get(part, 0.0) + now.get(part, 0.0) for part in {**self.parts, **now}}

    def log(self) -> None:
        """Add a row to the history, and report it."""
        trained = self._trained_scores()
        if self.steps and not self.failed and not math.isfinite(trained["loss"]):  # the latest step led there
            self.failed, self.stopped = True, self._where_not_finite()
        names = [key.removeprefix("rms/") for key in trained if key != "loss"]
        row: dict[str, Any] = {
            "step": self.steps,
            "seconds": round(self.seconds, 3),
            "evaluations": self.objective.evaluations,
            "loss": trained.pop("loss"),  # of the parameters to which the residuals belong
            "cpu_seconds": round(self.watch.cpu_seconds, 3),
            **trained,
            **{f"weight/{name}": weight for name, weight in self.objective.weights.means(names).items()},
            **{f"unknown/{name}": value for name, value in self.objective.unknown_values().items()},
        }
        row, asked = self.ranks.by_first(lambda: self._told(row))
        self.history.append(row)
        if asked is not None and not self.ranks.first:
            self.report.asked = StopRun(asked)

    def _told(self, row: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Add held-out residuals and scores to a row and report it; return it, and why to stop if that was asked."""
        row |= {} if self.failed else self._held_out()
        row |= self._speeds()
        scores = self._score(quick=True) if math.isfinite(row["loss"]) else {}
        row |= {k: v for k, v in scores.items() if not k.startswith("reference_floor")}
        self.report(row)
        return row, None if self.report.asked is None else str(self.report.asked)

    def _warnings(self, scores: dict[str, Any]) -> list[str]:
        """Say what is larger on fresh points, with windows of time as a cure where they can be had."""
        first, timed = row_before(self.history), may_have_windows(self.problem)
        if self._silent:  # a trial of the automatic recipe, of which the estimate of its error says more
            return []
        drawn = hasattr(self.problem, "n_points")
        return warnings(scores, self._dtype, first, self.objective.coupled, timed, drawn)

    def _speeds(self) -> dict[str, float]:
        """Say how much of what the problem counts is done a second."""
        counts, seconds = self.problem.done(self.objective.batch), self.seconds if self.steps else math.inf
        return {f"{name}_per_second": count / seconds for name, count in counts.items()}

    def _score(self, quick: bool) -> dict[str, Any]:
        with torch.no_grad():
            problem = self.objective.bound()
            return (problem.quick_metrics if quick else problem.metrics)(self.field, self.data)

    def _trained_scores(self) -> dict[str, float]:
        """Evaluate the loss and the residuals on the points of the latest step."""
        with torch.no_grad():
            residuals = self.objective.residuals()
            loss = float(self.objective.combine(residuals))
        return {"loss": loss, **{f"rms/{name}": rms(r) for name, r in residuals.items()}}

    def _held_out(self) -> dict[str, float]:
        """Evaluate the residuals on points that were never trained on, the same ones whenever it is asked for."""
        problem, batch = self.objective.bound(), self.objective.batch
        sizes = tuple(len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.dim())
        if self._heldout is None or self._heldout[0] != sizes:
            self._heldout = sizes, problem.fresh(self.data, generator(self.plan.run.seed, "heldout"), batch)
        return held_out(problem, self.field, self._heldout[1], self.objective.coupled, batch)

    def _save(self) -> None:
        """Write a checkpoint; a failure is reported and tried again later, the older one stays."""
        self._saved_at = time.perf_counter()
        if self.folder is None:
            return
        try:
            self.folder.write_history(self.history)
            self.folder.save_checkpoint(self.state())
        except SaveError as error:
            self.report({"warning": str(error)})

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "problem": type(self.problem).__name__,
            "stage": self.stage,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "cpu_seconds": self.watch.cpu_seconds,
            "elapsed": self.watch.elapsed,
            "began": self._began,
            "stopped": self.stopped,
            "failed": self.failed,
            "fresh": self._fresh,
            "lowest": self._lowest,
            "parts": self.clocked(),
            "peak_bytes": self.peak,
            "system": self.objective.system.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self._optimizer.state_dict() if self._optimizer is not None else self._resumed,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        check_same_problem(state, self.problem)
        load_weights(self.objective.system, state["system"])
        self.stage, self.step, self.steps = state["stage"], state["step"], state["steps"]
        self.watch = Stopwatch(state["seconds"], state["cpu_seconds"], state["elapsed"])
        self._began = state["began"]
        self.history = list(state["history"])
        self.stopped, self.failed = state["stopped"], state["failed"]
        self._over = bool(self.stopped) and not self.stopped.startswith("stopped by")
        self._fresh, self.parts = state.get("fresh", False), state.get("parts", {})
        self._lowest = state.get("lowest", self._lowest)
        self.peak = state.get("peak_bytes", 0)
        stage = self.plan.stages[self.stage]
        last = self.history[-1]["step"] if self.history else 0
        between = self.step not in (0, stage.steps) and last % self.plan.run.log_every
        if last == self.steps and between and not self._over:
            del self.history[-1]  # that of an interruption
        self.objective.sample_as(SamplerState(points=stage.points, faces=stage.faces, coarsen=stage.coarsen))
        self.objective.load_state_dict(state["objective"])
        self._resumed = state["optimizer"]

    def end(self) -> Solution:
        """Save what was trained, then score it and run the classical methods beside it."""

        def score() -> Solution:
            solution = self.reopen(self.interrupted)
            for message in solution.warnings:
                if message not in self._cautions():  # which were said before training
                    self.report({"warning": message})
            return solution

        return finish(self.folder, self._keep, score, self.report)

    def _keep(self, folder: RunFolder) -> None:
        """Save a training that has ended; of a failed one the last good checkpoint stays."""
        folder.write_history(self.history)
        if not self.failed:
            folder.save_checkpoint(self.state())
            folder.save_field(self.objective.system.state_dict())

    def _full_scores(self, bare: bool) -> dict[str, Any]:
        """Score the field and the classical methods beside it, as far as the time limit lets them.

        Args:
            bare: Whether to leave out the classical methods.
        """
        deadline = Deadline(self.plan.run.time_limit, self.watch.elapsed)
        methods, left = self.problem.baselines(self.data, deadline.check), []
        for name, compute in methods.items():
            self.data["classical"][name] = None
            try:
                deadline.check()
                if bare:
                    raise OutOfTime
                note(self.report, f"computing {name} for comparison")
                self.data["classical"][name] = compute()
            except OutOfTime:
                left.append(name)
        if left and self.folder is not None:
            why = "the run was stopped" if bare else f"the time limit of {self.plan.run.time_limit:g} s has passed"
            note(self.report, f"left out {', '.join(left)}: {why}; `nfsolve eval {self.folder.path}` computes them")
        if type(self.problem).quick_metrics is Problem.quick_metrics:  # nothing is quicker
            return self._score(quick=False)
        try:
            with deadline.within_grace(self.field):
                return self._score(quick=False)
        except OutOfTime:
            where = self.folder.path if self.folder else "DIR"
            said = "the time limit had passed, so scores are the quick ones of the progress line, which may see only a "
            said += f"part of what is held out; `nfsolve eval {where}` gives those of all"
            return self._score(quick=True) | {QUICK_SCORES: said}

    def reopen(self, bare: bool = False) -> Solution:
        """Score the field as it stands.

        Args:
            bare: Whether to leave out the classical methods beside it.

        Returns:
            The solution.
        """
        trained = {} if self.failed else self._trained_scores()
        if not self.ranks:
            return self._scored(trained, bare)
        solution: list[Solution] = []

        def scored() -> dict[str, Any]:
            solution.append(self._scored(trained, bare))
            return {name: getattr(solution[0], name) for name in SCORED}

        found = self.ranks.by_first(scored)
        if self.ranks.first:
            return solution[0]
        return Solution(self.problem, self.field, history=self.history, steps=self.steps, data=self.data, **found)

    def _scored(self, trained: dict[str, float], bare: bool) -> Solution:
        scores: dict[str, Any] = {} if self.failed else trained | self._held_out() | self._full_scores(bare)
        grown = "" if self.interrupted else diverged(row_before(self.history), scores, self.problem.weights())
        stopped = grown or self.stopped
        scores |= {f"unknown/{n}": v for n, v in self.objective.unknown_values().items()}
        estimate = None
        if not (grown or self.failed or bare or self._silent):  # a silent run is judged by who made it
            estimate = affordable_estimate(self.problem, self.field, self.data, self.plan.run.seed, self.seconds)
            scores |= estimate.metrics() if estimate else {}
        scores |= self._speeds()
        scores |= {f"seconds/{part}": round(seconds, 3) for part, seconds in self.clocked().items()}
        scores |= {
            "seconds": self.seconds,
            "cpu_seconds": self.watch.cpu_seconds,
            "evaluations": self.objective.evaluations,
            "steps": self.steps,
            "parameters": sum(p.numel() for p in self.objective.parameters),
            "peak_bytes": self.peak,
            "stopped": stopped,
        }
        quick = [scores[QUICK_SCORES]] if QUICK_SCORES in scores else []
        solution = Solution(
            problem=self.problem,
            field=self.field,
            metrics=scores,
            history=self.history,
            stopped=stopped,
            failed=self.failed or bool(grown),
            interrupted=self.interrupted,
            seconds=self.seconds,
            evaluations=self.objective.evaluations,
            steps=self.steps,
            data=self.data,
            warnings=[] if self.failed else self._cautions() + self._warnings(scores) + doubtful(scores) + quick,
            folder=self.folder.path if self.folder else None,
            estimate=estimate,
        )
        if self.plan.run.uncertainty and not (solution.failed or bare):
            solution.warnings += self._uncertainty(solution)
        return solution

    def _uncertainty(self, solution: Solution) -> list[str]:
        """Add standard errors and intervals to the scores; return what a user should know of them."""
        try:
            found = posterior(solution, seed=self.plan.run.seed)
        except InputError as error:  # the data do not allow it, and a training must not be lost
            return [f"no uncertainty: {error}"]
        solution.metrics |= found.metrics()
        points = places(self.problem, self.data)
        if self.folder is not None and points is not None:
            columns: dict[str, Any] = found.table(points)
            self.folder.write("uncertainty.npz", lambda path: np.savez(path, **columns))
        return found.warnings


def finish(
    folder: RunFolder | None, keep: Callable[[RunFolder], None], score: Callable[[], Solution], report: Any
) -> Solution:
    """Save what was trained, then score it and save the scores.

    Args:
        folder: Where to save, or None.
        keep: Saves what was trained.
        score: Gives the solution.
        report: What is told about the run, to be closed.

    Returns:
        The solution.

    Raises:
        SaveError: Something could not be written; its ``solution`` is what was trained, so that nothing is lost.
    """
    trouble: SaveError | None = None
    try:
        if folder is not None:
            keep(folder)
    except SaveError as error:
        trouble = error
    solution = score()
    report.close()
    try:
        if folder is not None:
            folder.write_json(METRICS, in_words(solution.metrics))
    except SaveError as error:
        trouble = trouble or error
    if trouble is not None:
        trouble.solution = solution  # type: ignore[attr-defined]
        raise trouble
    return solution


def _value(loss: Any) -> float:
    return float(loss.detach()) if isinstance(loss, Tensor) else float(loss)


def _set_rate(optimizer: Any, stage: Stage, step: int, used: float = 0.0) -> None:
    """Set the learning rate of the step; optimizers without one have nothing to set."""
    if stage.schedule == "constant" and not stage.warmup:
        return
    for group in optimizer.param_groups:
        if "lr" in group:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * stage.rate(step, used)
