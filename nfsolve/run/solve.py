"""Solving a problem, and continuing or reopening a run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nfsolve._core.device import choose_device, choose_dtype
from nfsolve._core.errors import InputError
from nfsolve.problem import Problem, Stage
from nfsolve.problem.names import by_name
from nfsolve.run.folder import RunFolder
from nfsolve.run.loop import Run
from nfsolve.run.march import March
from nfsolve.run.plan import Plan, make_stages
from nfsolve.run.report import note
from nfsolve.run.solution import Solution
from nfsolve.weighting import Weighting


def solve(
    problem: Problem,
    field: nn.Module | Callable[..., nn.Module] | str | None = None,
    optimizer: Callable[..., Any] | str | None = None,
    *,
    lr: float | None = None,
    steps: int | None = None,
    stages: tuple[Stage, ...] | None = None,
    factorization: Any = None,
    schedule: str | None = None,
    warmup: float | None = None,
    resample: int | None = None,
    weighting: Weighting | str | None = None,
    windows: int | None = None,
    carry: bool | None = None,
    seed: int = 0,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "auto",
    time_limit: float | None = None,
    tolerance: float | None = None,
    compile: bool = False,
    log_every: int | None = None,
    out: str | Path | None = None,
    report: Callable[[dict[str, Any]], None] | str | None = "auto",
) -> Solution:
    """Train a field to solve a problem.

    Everything that is not given comes from the problem's recipe.

    Args:
        problem: The problem.
        field: A field, or a class of fields (or partial of one) that is built for the problem, or its name as on the
            command line.
        optimizer: Takes parameters and returns a `torch.optim.Optimizer`: a class, a partial of one, or its name.
        lr: Learning rate of ``optimizer``.
        steps: Optimizer steps, in each window; those of a recipe with several
            stages are shared in proportion, at least one for each as long as there are enough.
        stages: Several optimizers one after the other, instead of ``optimizer`` and ``steps``.
        factorization: Factorization of a field that is built here, or its name; the recipe's where it builds the field.
        schedule: Learning-rate schedule: constant, cosine or exponential.
        warmup: Fraction of the steps of each stage over which the learning rate first rises linearly.
        resample: Steps between draws of new points; 0 keeps the first ones.
        weighting: Scheme of `nfsolve.weighting` that adapts the weights of the residuals, or its name.
        windows: Parts into which the time interval is cut. Each trains a field of its own with all the stages and
            steps, and goes on from the field before.
        carry: Whether the field of a window starts from the weights of the one before.
        seed: Seed of weights and points.
        dtype: ``float32`` or ``float64``; a field that is given keeps its own.
        device: ``cpu``, ``cuda`` or ``auto``; a field that is given stays where it is.
        time_limit: Seconds after which the training stops, loading and scores included; schedules end there, and
            classical methods beside the field have what is left.
        tolerance: Loss at which the run has converged.
        compile: Compile the residuals with `torch.compile`.
        log_every: Steps between rows of the history.
        out: Run folder to write; None writes nothing.
        report: Called with each row of the history; ``"auto"`` is a progress bar on a terminal, None is silent.

    Returns:
        The solution; how it ended is in words in ``solution.stopped``.

    Raises:
        InputError: Something given does not fit; the message says what to do.
        SaveError: The result could not be written; the solution is its attribute ``solution``.
    """
    recipe = problem.recipe()
    of_stages = {
        "optimizer": optimizer,
        "steps": steps,
        "schedule": schedule,
        "resample": resample,
        "warmup": warmup,
    }
    _refuse_contradictions(field, factorization, stages, of_stages)
    if lr is not None and optimizer is None:
        raise InputError(f"lr belongs to an optimizer, got lr={lr:g} alone", do="name it, as in optimizer='adam'")
    field, maker = by_name("field", field), by_name("optimizer", optimizer, lr)
    if isinstance(weighting, str):
        weighting = by_name("weighting", weighting)()
    if isinstance(factorization, str):
        factorization = by_name("factorization", factorization)()
    plan = Plan.of(
        recipe,
        field=recipe.field if field is None else field,
        factorization=recipe.factorization if field is None and factorization is None else factorization,
        stages=stages or make_stages(recipe, maker, steps, schedule, resample, warmup),
        dtype=recipe.dtype if dtype is None else str(choose_dtype(dtype)).removeprefix("torch."),
        device=str(choose_device(device)),
        log_every=recipe.log_every if log_every is None else log_every,
        weighting=recipe.weighting if weighting is None else weighting,
        windows=recipe.windows if windows is None else windows,
        carry=recipe.carry if carry is None else carry,
        seed=seed,
        time_limit=time_limit,
        tolerance=tolerance,
        compile=compile,
    )
    folder = RunFolder(out) if out is not None else None
    try:
        runner = _runner(problem, plan, folder, report)
        if folder is not None:
            note(runner.report, f"run folder: {folder.path}")
        _tell_skipped(plan, runner)
        return runner.go()
    except InputError:
        if folder is not None:
            folder.forget()  # so that the corrected run can take its place
        raise


def _refuse_contradictions(field: Any, factorization: Any, stages: Any, of_stages: dict[str, Any]) -> None:
    """Raise where one argument would make another one unheard."""
    if factorization is not None and isinstance(field, nn.Module):
        raise InputError(
            "factorization= applies to a field that solve builds, got one that is built",
            do="call nfsolve.factorize(field, factorization) before, and leave the argument out",
        )
    given = [name for name, value in of_stages.items() if value is not None]
    if stages and given:
        raise InputError(
            f"stages= says everything about the optimizers, got {' and '.join(f'{name}=' for name in given)} as well",
            do="put these into the stages, or leave stages= out",
        )


def resume(
    folder: str | Path,
    *,
    time_limit: float | None = None,
    steps: int | None = None,
    report: Callable[[dict[str, Any]], None] | str | None = "auto",
    problem: Problem | type[Problem] | None = None,
    trust: bool = False,
) -> Solution:
    """Continue a run where its last checkpoint left it, bit-identically.

    Args:
        folder: The run folder.
        time_limit: New limit in seconds over all resumptions; None keeps the run's own.
        steps: New number of steps of the last stage; None keeps the run's own.
        report: As for `solve`.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        trust: Whether the recorded file or module may be run to find the problem.

    Returns:
        The solution.

    Raises:
        InputError: The folder holds no run, or its files are damaged or of another problem.
    """
    runs = RunFolder(folder, resumed=True)
    known, plan = Plan.from_config(runs.config(), problem, trust)
    if steps is not None:
        plan.stages = (*plan.stages[:-1], dataclasses.replace(plan.stages[-1], steps=steps))
    plan.time_limit = time_limit or plan.time_limit
    checkpoint = runs.load_checkpoint()
    runner = _runner(known, plan, runs, report, checkpoint)
    if checkpoint is None:
        runner.report({"warning": "no checkpoint yet: starting again"})
    return runner.go()


def load(folder: str | Path, *, problem: Problem | type[Problem] | None = None, trust: bool = False) -> nn.Module:
    """Return the trained field of a run folder.

    Args:
        folder: The run folder.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        trust: Whether the recorded file or module may be run to find the problem.

    Returns:
        The field, on the CPU; of an operator problem a `nfsolve.problem.TrainedOperator` around it.

    Raises:
        InputError: The folder holds no run, or its files are damaged or of another problem.
    """
    return _reopened(folder, problem, trust, None).reopen(bare=True).trained


def reopen(
    folder: str | Path,
    *,
    problem: Problem | type[Problem] | None = None,
    trust: bool = False,
    report: Callable[[dict[str, Any]], None] | str | None = None,
) -> Solution:
    """Rebuild a run's solution from its folder and score it again, with the classical methods beside it.

    Args:
        folder: The run folder.
        report: As for `solve`; of what takes long it says what is going on.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        trust: Whether the recorded file or module may be run to find the problem.

    Returns:
        The solution, with the metrics computed anew and the history as it was recorded.

    Raises:
        InputError: The folder holds no run, or its files are damaged or of another problem.
    """
    return _reopened(folder, problem, trust, report).reopen()


def _reopened(folder: str | Path, problem: Any, trust: bool, report: Any) -> Run | March:
    """Restore the last checkpoint of a folder, on the CPU and without a limit of time."""
    runs = RunFolder(folder)
    known, plan = Plan.from_config(runs.config(), problem, trust)
    plan.device, plan.time_limit = "cpu", None
    state = runs.load_checkpoint()
    if state is None:
        raise InputError(
            f"run '{folder}' has no checkpoint yet", "a run that was saved", f"start it: --resume {folder}"
        )
    return _runner(known, plan, runs, report, state)


def _tell_skipped(plan: Plan, runner: Run | March) -> None:
    """Say in one line which stages are left without steps; where no stage has any, nobody asked for training."""
    total, skipped = sum(stage.steps for stage in plan.stages), [i for i, s in enumerate(plan.stages, 1) if not s.steps]
    if total and skipped:
        which = f"stage{'s' * (len(skipped) > 1)} {', '.join(map(str, skipped))} of {len(plan.stages)}"
        runner.report({"warning": f"no steps for {which}: {total} in all; choose more steps"})


def _runner(
    problem: Problem, plan: Plan, folder: RunFolder | None, report: Any, checkpoint: dict[str, Any] | None = None
) -> Run | March:
    return (Run if plan.windows == 1 else March)(problem, plan, folder, report, checkpoint)
