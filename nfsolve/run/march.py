"""Marching in time: one `Run` for each window, each of which goes on from the field of the one before."""

import dataclasses
from typing import Any

import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.fields import Windows
from nfsolve.problem import PDE, Marched, Problem, check_windows, cuts_of, window_of
from nfsolve.run.folder import RunFolder, SaveError, check_same_problem, environment, load_weights
from nfsolve.run.heldout import diverged, held_out, mean_rms, row_before, warnings
from nfsolve.run.loop import Run, finish
from nfsolve.run.plan import Plan, make_field
from nfsolve.run.report import reporter
from nfsolve.run.solution import Solution, doubtful

COUNTED = ("steps", "seconds", "cpu_seconds", "evaluations")


class March:
    """The runs of all windows, as one run: a history, a checkpoint, a field.

    Each window runs the stages of the plan on its own part of the time interval, with a field built for that part.
    A limit of time is shared: a window may take what is left divided by the number of windows that are left.

    Args:
        problem: The problem on its whole time interval.
        plan: Field, stages and options, with ``windows`` above 1.
        folder: Where to save, or None.
        report: As for `solve`.
        checkpoint: State to resume from, or None for a new run.
        ranks: As for `Run`.

    Raises:
        InputError: The problem has no time, or the field is built already.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        folder: RunFolder | None = None,
        report: Any = None,
        checkpoint: dict[str, Any] | None = None,
        ranks: Ranks = ALONE,
    ):
        self.ranks = ranks
        pde = check_windows(problem)
        if isinstance(plan.field, nn.Module):
            raise InputError(
                f"windows={plan.run.windows} needs a class of fields, since each window builds its own, got a field "
                "that is built",
                do="give a class or a partial of one, such as nfsolve.MLP",
            )
        self.problem = pde
        self.plan, self.folder = plan, folder
        self.cuts = cuts_of(self.problem, plan.run.windows)
        if isinstance(plan.field, Marched):
            self.cuts = (self.cuts[0], *plan.field.ends, self.cuts[-1])
        total = plan.run.windows * sum(stage.steps for stage in plan.stages)
        self.report = reporter(report, total, plan.run.time_limit)
        self.done: list[dict[str, Any]] = []  # what the checkpoint holds of each finished window
        self.past: list[dict[str, Any]] = []  # the history of the finished windows
        self.fields: list[nn.Module] = []
        self._current: dict[str, Any] | None = None
        if checkpoint is not None:
            self._restore(checkpoint)

    def go(self) -> Solution:
        """Run the windows that are left; Ctrl-C, or a failure, ends the march."""
        while True:
            run = self._run()
            if not self._is_over():
                try:
                    run.go()
                except SaveError as error:
                    error.solution = self._solution(run)  # type: ignore[attr-defined]  # so that nothing is lost
                    raise
            if run.failed or run.interrupted or len(self.done) == self.plan.run.windows - 1:
                return self._finish(run)
            self._close(run)

    def reopen(self, bare: bool = False) -> Solution:  # a problem with windows has no classical methods
        """Score the field as it stands; as for `Run`."""
        return self._solution(self._run())

    def state(self, current: dict[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint holds: the finished windows and the state of the run of the current one."""
        return {"problem": type(self.problem).__name__, "windows": self.done, "current": current}

    def shifted(self, row: dict[str, Any]) -> dict[str, Any]:
        """Count a row of the current window from the start of the march."""
        return {**row, **self._counts_of(row, 1), "window": len(self.done) + 1}

    def _counts_of(self, row: dict[str, Any], sign: int) -> dict[str, Any]:
        """Add what the finished windows took to the counts of a row, or subtract it."""
        before = {key: sign * sum(window[key] for window in self.done) for key in COUNTED}
        return {
            "step": row["step"] + before["steps"],
            "seconds": round(row["seconds"] + before["seconds"], 3),
            "evaluations": row["evaluations"] + before["evaluations"],
            "cpu_seconds": round(row["cpu_seconds"] + before["cpu_seconds"], 3),
        }

    def rows(self, current: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the history of the finished windows and of the current one."""
        return [*self.past, *map(self.shifted, current)]

    def _run(self) -> Run:
        """Make the run of the current window, new or restored."""
        w = len(self.done)
        previous = self.fields[-1] if self.fields else None
        view = self._view(w, previous)
        plan, used = self._plan_of(w), sum(window["elapsed"] for window in self.done)
        field = make_field(view, plan)
        if previous is not None and plan.run.carry and self._current is None:
            _carry(previous, field)
        limit = plan.run.time_limit and max((plan.run.time_limit - used) / (plan.run.windows - w), 1e-9)
        limit = self.ranks.by_first(lambda: limit)
        part = dataclasses.replace(plan, field=field).with_run(windows=1, time_limit=limit)
        folder = _Part(self, self.folder) if self.folder is not None else None
        return Run(view, part, folder, self._tell, self._current, self.ranks)

    def _view(self, w: int, previous: nn.Module | None = None) -> PDE:
        """Return the problem on a window."""
        each = self.plan.field
        fronts = each.fronts[w] if isinstance(each, Marched) and each.fronts else ()
        cells = each.cells[w] if isinstance(each, Marched) and each.cells else ()
        return window_of(self.problem, self.cuts[w], self.cuts[w + 1], previous, fronts, cells)

    def _plan_of(self, w: int) -> Plan:
        """Return the plan of a window."""
        each = self.plan.field
        if not isinstance(each, Marched):
            return self.plan
        counts = {"points": each.points[w], "faces": each.faces[w] if each.faces else None}
        stages = tuple(dataclasses.replace(stage, **counts) for stage in self.plan.stages)
        return dataclasses.replace(self.plan, field=each.fields[w], stages=stages)

    def finished(self, runs: list[Run]) -> Solution:
        """Save and score runs of all windows that have come to their ends, as if they had been made here.

        Args:
            runs: One run for each window, in the order of time.

        Returns:
            The solution.
        """
        for run in runs:
            if not run.history:
                run.log()
        for run in runs[:-1]:
            self._close(run)
        if self.folder is not None:
            self.folder.start(self.plan.config(self.problem), environment(runs[-1].device))
            self.folder.write_history(self.rows(runs[-1].history))
            self.folder.save_checkpoint(self.state(runs[-1].state()))
        return self._finish(runs[-1])

    def _tell(self, row: dict[str, Any]) -> None:
        self.report(row if "warning" in row else {**self.shifted(row), "windows": self.plan.run.windows})
        if self.report.asked is not None:
            raise self.report.asked

    def _is_over(self) -> bool:
        """Return whether the window that was restored had ended; the last one may go on, as a single run may."""
        stopped = self._current["stopped"] if self._current is not None else ""
        return bool(stopped) and not stopped.startswith("stopped by") and len(self.done) < self.plan.run.windows - 1

    def _close(self, run: Run) -> None:
        """Freeze the field of a finished window and move on to the next."""
        self.fields.append(run.field.requires_grad_(False))
        self.past = self.rows(run.history)
        self.done.append(
            {
                "field": run.field.state_dict(),
                **_counts(run),
                "elapsed": run.watch.elapsed,
                "parts": run.clocked(),
            }
        )
        self._current = None

    def _restore(self, state: dict[str, Any]) -> None:
        check_same_problem(state, self.problem)
        for w, window in enumerate(state["windows"]):
            field = make_field(self._view(w), self._plan_of(w))
            load_weights(field, window["field"])
            self.fields.append(field.requires_grad_(False))
            self.done.append(window)
        n = len(self.done)
        self.past = [row for row in state["history"] if row["window"] <= n]
        own = [row | self._counts_of(row, -1) for row in state["history"] if row["window"] > n]
        self._current = state["current"] | {"history": [{k: v for k, v in r.items() if k != "window"} for r in own]}

    def _finish(self, run: Run) -> Solution:
        """Save the windows as one run, and score them."""

        def keep(folder: RunFolder) -> None:
            folder.write_history(self.rows(run.history))
            if not run.failed:
                state = self._joined(run).state_dict()
                folder.save_field({f"field.{name}": value for name, value in state.items()})

        return finish(self.folder, keep, lambda: self._solution(run), self.report)

    def _joined(self, run: Run) -> Windows:
        """Return the fields of all windows so far as one."""
        fields = [*self.fields, run.field]
        return Windows(fields, self.cuts[1 : len(fields)], self.problem.domain.index("t"))

    def _residual_scores(self, run: Run, field: Windows, data: Any) -> dict[str, float]:
        """Evaluate the residuals of the joined field at fresh points of all windows so far.

        The loss is that of the last window; the trained residuals are those of all windows together.
        """
        rows = [*{row["window"]: row for row in self.past}.values(), *run.history[-1:]]
        view = window_of(self.problem, self.cuts[0], self.cuts[len(self.done) + 1])
        points = view.fresh(data, generator(self.plan.run.seed, "heldout"), {})
        fresh = held_out(view, field, points, run.objective.coupled, run.objective.batch)
        loss = {"loss": run.history[-1]["loss"]} if run.history else {}
        return loss | mean_rms(rows) | fresh

    def _solution(self, run: Run) -> Solution:
        """Put the fields of all windows so far together and score them on the whole problem."""
        field = self._joined(run)
        first = next(run.field.parameters())
        dtype = first.real.dtype if first.is_complex() else first.dtype
        data = self.problem.load(first.device, dtype)
        with torch.no_grad():
            scores = {} if run.failed else self._residual_scores(run, field, data) | self.problem.metrics(field, data)
        counts = {key: value + sum(window[key] for window in self.done) for key, value in _counts(run).items()}
        parts = [*(window["parts"] for window in self.done), run.clocked()]
        scores |= {f"seconds/{name}": round(sum(part[name] for part in parts), 3) for name in parts[-1]}
        begun = row_before(self.rows(run.history))
        said = self.problem.cautions()
        if begun:  # windows without a history are trials of the automatic recipe, which estimates their error
            said += warnings(scores, dtype, begun, run.objective.coupled, timed=True)
        grown = "" if run.interrupted else diverged(begun, scores, self.problem.weights())
        stopped = f"window {len(self.fields) + 1}/{self.plan.run.windows}: {grown or run.stopped}"
        parameters = sum(p.numel() for p in field.parameters())
        return Solution(
            problem=self.problem,
            field=field,
            metrics={**scores, **counts, "parameters": parameters, "peak_bytes": run.peak, "stopped": stopped},
            history=self.rows(run.history),
            stopped=stopped,
            failed=run.failed or bool(grown),
            interrupted=run.interrupted,
            data=data,
            warnings=[] if run.failed else said + doubtful(scores),
            folder=self.folder.path if self.folder else None,
            steps=counts["steps"],
            seconds=counts["seconds"],
            evaluations=counts["evaluations"],
        )


def run_or_march(
    problem: Problem,
    plan: Plan,
    folder: RunFolder | None,
    report: Any,
    checkpoint: dict[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Run | March:
    """Return the run of a plan, or the march where it has several windows; arguments as for `Run`."""
    return (Run if plan.run.windows == 1 else March)(problem, plan, folder, report, checkpoint, ranks)


def going_on(checkpoint: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return a checkpoint from which a run trains on though it had ended; of a march, its last window."""
    if "current" not in checkpoint:
        return checkpoint | {"stopped": ""}
    last = len(checkpoint["windows"]) == plan.run.windows - 1
    return checkpoint | {"current": checkpoint["current"] | {"stopped": ""}} if last else checkpoint


class _Part(RunFolder):
    """The run folder as the run of one window sees it: what it saves is a part of what the march saves."""

    def __init__(self, march: March, folder: RunFolder):
        super().__init__(folder.path)
        self.march, self.folder = march, folder

    def start(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Start the folder of the march with its first window."""
        if not self.march.done:
            self.folder.start(self.march.plan.config(self.march.problem), environment)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the checkpoint of the march."""
        self.folder.save_checkpoint(self.march.state(state))

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Write the history of the march."""
        self.folder.write_history(self.march.rows(rows))

    def save_field(self, state: dict[str, Any]) -> None:
        """Leave the field to the march."""

    def write_json(self, name: str, value: Any) -> None:
        """Leave the metrics to the march."""


def _counts(run: Run) -> dict[str, Any]:
    used = run.steps, run.seconds, run.watch.cpu_seconds, run.objective.evaluations
    return dict(zip(COUNTED, used, strict=True))


def _carry(previous: nn.Module, field: nn.Module) -> None:
    """Start from the weights of the previous field; buffers stay, they normalise the window's own times."""
    trained = dict(field.named_parameters())
    with torch.no_grad():
        for name, value in previous.named_parameters():
            trained[name].copy_(value)
