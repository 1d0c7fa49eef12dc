"""Solving a problem, and continuing or reopening a run."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nfsolve._core.device import choose_device
from nfsolve._core.errors import InputError, unknown
from nfsolve._core.launch import restarted
from nfsolve._core.ranks import ALONE, Ranks, join
from nfsolve._core.spec import recorded
from nfsolve._core.version import VERSION
from nfsolve.problem import Problem, RunOptions, Stage
from nfsolve.problem.objective import System
from nfsolve.problem.recipe import DEFAULTS
from nfsolve.problem.unknowns import Unknowns
from nfsolve.run.automatic import Automatic, wants_automatic
from nfsolve.run.folder import CONFIG, RunFolder, check_same_problem, load_weights
from nfsolve.run.loop import Run
from nfsolve.run.march import March, going_on, run_or_march
from nfsolve.run.plan import Plan, join_options, make_field, make_plan
from nfsolve.run.posterior import check_uncertainty
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
    schedule: str | None = None,
    stages: tuple[Stage, ...] | None = None,
    factorization: Any = None,
    weighting: Weighting | str | None = None,
    windows: int | None = None,
    seed: int | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    time_limit: float | None = None,
    out: str | Path | None = None,
    report: Callable[[dict[str, Any]], Any] | str | tuple[Any, ...] | None = "auto",
    run: RunOptions | None = None,
    **options: Any,
) -> Solution:
    """Train a field to solve a problem.

    Everything that is not given comes from the problem's recipe. If a PDE has no recipe, and only seed, device, time
    limit and accuracy are given, a recipe is found by short trials; see `nfsolve.run.automatic`.

    Args:
        problem: The problem.
        field: A field, of which a copy is trained, ``solution.field``; a class of fields (or partial of one) that is
            built for the problem; or its name as on the command line.
        optimizer: Takes parameters and returns a `torch.optim.Optimizer`: a class, a partial of one, or its name.
        lr: Learning rate of ``optimizer``.
        steps: Number of optimizer steps in each window. A recipe with several stages shares them in proportion, with at
            least one for each stage as long as there are enough.
        schedule: Learning-rate schedule: constant, cosine or exponential.
        stages: Several optimizers one after the other, instead of ``optimizer`` and ``steps``.
        factorization: Factorization of a field that is built here, or its name; default that of the recipe.
        weighting: Scheme of `nfsolve.weighting` that adapts the weights of the residuals, or its name.
        windows: Number of windows into which the time interval is divided. Each trains its own field with all stages
            and steps, starting from the field of the previous window.
        seed: Seed of weights and points.
        dtype: ``float32`` or ``float64``; a field that is given keeps its own.
        device: ``cpu``, ``cuda`` or ``auto``; a field that is given stays where it is.
        time_limit: Seconds after which the training stops, including loading and scoring. Schedules end there, and
            classical methods for comparison get what is left.
        out: Run folder to write; None writes nothing.
        report: Called with each row of the history; ``"auto"`` is a progress bar on a terminal, None is silent. A
            function that returns False or raises `nfsolve.StopRun` ends the run, which is scored and saved. Give
            several as a tuple, as in ``("auto", nfsolve.run.loggers.TensorBoard("runs/a"))``.
        run: Options in one object, to share them between runs.
        **options: Any other option of `RunOptions`, such as ``log_every=10`` or ``tolerance=1e-8``.

    Returns:
        The solution; ``solution.stopped`` says why the run ended.

    Raises:
        InputError: An argument does not fit; the message says what to do.
        SaveError: The result could not be written; the solution is its attribute ``solution``.
    """
    if not isinstance(problem, Problem):
        came = getattr(problem, "__name__", "")
        raise InputError(
            f"solve needs a problem, got {'the class ' + came if came else repr(problem)}",
            do=f"write solve({came}())" if came else "give an instance of a subclass of nfsolve.PDE",
        )
    problem.check()
    arguments = {"steps": steps, "schedule": schedule, "windows": windows, "seed": seed, "dtype": dtype}
    for name in options:
        if name not in vars(DEFAULTS):
            known = (*inspect.signature(solve).parameters, *vars(DEFAULTS))
            raise unknown("argument of solve", name, known, OTHER_NAMES.get(name, ""))
    run = join_options(run, arguments | {"device": device, "time_limit": time_limit} | options)
    parts = {"stages": stages, "factorization": factorization, "weighting": weighting}
    others = {"field": field, "optimizer": optimizer, "lr": lr} | parts
    automatic = wants_automatic(problem, run, others)
    plan = make_plan(problem, field, optimizer, lr=lr, run=run, **parts)
    plan = plan.with_run(device=str(choose_device(plan.run.device)), recipe="auto" if automatic else "own")
    if plan.run.uncertainty:
        check_uncertainty(problem, plan.run.windows)
    ranks = join(plan.run.device)
    if out is not None and restarted() and ranks.by_first((Path(out) / CONFIG).is_file):
        return resume(out, report=report, problem=problem, field=None if isinstance(field, str) else field)
    _check_ranks(ranks, problem, plan)
    folder, report = (RunFolder(out) if out is not None else None, report) if ranks.first else (None, None)
    try:
        runner = _runner(problem, plan, folder, report, ranks=ranks)
        if folder is not None:
            note(runner.report, f"run folder: {folder.path}")
        if not automatic:
            _tell_skipped(plan, runner)
        return runner.go()
    except InputError:
        if folder is not None:
            folder.forget()  # so that the corrected run can take its place
        raise
    finally:
        if folder is not None:
            folder.release()


OTHER_NAMES = {
    **dict.fromkeys(("epochs", "iterations", "n_steps", "max_iter", "max_steps", "num_epochs"), "write steps="),
    **dict.fromkeys(("learning_rate", "rate"), "write lr="),
    **dict.fromkeys(
        ("weights", "loss_weights"), "write weight= in the mark of each residual, as in @face(t=0, weight=10)"
    ),
    **dict.fromkeys(("n_points", "n_face", "points", "batch_size"), "give the number of points to the problem"),
    **dict.fromkeys(("callback", "callbacks", "verbose"), "write report="),
    **dict.fromkeys(("net", "network", "model"), "write field="),
    **dict.fromkeys(("folder", "path", "save"), "write out="),
    "scheduler": "write schedule=",
    "redraw": "write resample=",
}
"""What other programs, or this one before 0.2, call an argument of `solve` -> what to do instead."""


def resume(
    folder: str | Path,
    *,
    time_limit: float | None = None,
    steps: int | None = None,
    report: Callable[[dict[str, Any]], Any] | str | tuple[Any, ...] | None = "auto",
    problem: Problem | type[Problem] | None = None,
    field: nn.Module | Callable[..., nn.Module] | str | None = None,
    trust: bool = False,
    **others: Any,
) -> Solution:
    """Continue a run from its last checkpoint, bit-identically; one that had ended goes on if it gets a new limit.

    Args:
        folder: The run folder.
        time_limit: New limit in seconds over all resumptions; None keeps the run's own.
        steps: New number of steps of the last stage; None keeps the run's own.
        report: As for `solve`.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        field: Field, or what builds it, where config.json cannot hold it: a module of your own is built as it was for
            the run, and gets the trained weights; None takes the recorded one.
        trust: Whether the recorded file or module may be run to find the problem.
        **others: Refused: what was decided when the run began does not change.

    Returns:
        The solution.

    Raises:
        InputError: The folder holds no run, its files are damaged or of another problem, or another argument was given.
    """
    for name in others:
        if name in inspect.signature(solve).parameters or name in vars(DEFAULTS):
            raise InputError(
                f"resume continues a run as it was begun, so it cannot take {name}=",
                do=f"train its field anew: solve(problem, load({str(folder)!r}), {name}=...)",
            )
        taken = [argument for argument in inspect.signature(resume).parameters if argument != "others"]
        raise unknown("argument of resume", name, taken, OTHER_NAMES.get(name, ""))
    runs = RunFolder(folder, resumed=True)
    ranks = join()
    config = ranks.by_first(runs.config)
    known, plan = Plan.from_config(config, problem, trust, field)
    ranks = join(plan.run.device)
    if steps is not None:
        last = dataclasses.replace(plan.stages[-1], steps=steps)
        plan = dataclasses.replace(plan, stages=(*plan.stages[:-1], last))
    if time_limit is not None:
        plan = plan.with_run(time_limit=time_limit)
    ranks.by_first(runs.lock)
    try:
        checkpoint = ranks.by_first(runs.load_checkpoint)
        if checkpoint is not None and not (steps is None and time_limit is None):
            checkpoint = going_on(checkpoint, plan)
        with recorded():
            told = (runs, report) if ranks.first else (None, None)
            runner = _runner(known, plan, *told, checkpoint, ranks)
        if checkpoint is None:
            runner.report({"warning": "no checkpoint yet: starting again"})
        return runner.go()
    finally:
        runs.release()


def load(
    folder: str | Path,
    *,
    problem: Problem | type[Problem] | None = None,
    field: nn.Module | Callable[..., nn.Module] | str | None = None,
    trust: bool = False,
) -> nn.Module:
    """Return the trained field of a run folder.

    Args:
        folder: The run folder.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        field: Field, or what builds it, where config.json cannot hold it: a module of your own is built as it was for
            the run, and gets the trained weights; None takes the recorded one.
        trust: Whether the recorded file or module may be run to find the problem.

    Returns:
        The field, on the CPU; for an operator problem inside a `nfsolve.problem.TrainedOperator`.

    Raises:
        InputError: The folder holds no run, or its files are damaged or of another problem.
    """
    known, plan, runs, state = _recorded(folder, problem, field, trust)
    if plan.run.windows > 1:
        return run_or_march(known, plan, runs, None, state).reopen(bare=True).trained
    check_same_problem(state, known)
    with recorded():
        built = make_field(known, plan)
    unknowns = Unknowns(known.unknown_scalars()).to(next(built.parameters()))  # data and scores are not needed
    load_weights(System(built, unknowns), state["system"])
    return known.trained(built)


def reopen(
    folder: str | Path,
    *,
    problem: Problem | type[Problem] | None = None,
    field: nn.Module | Callable[..., nn.Module] | str | None = None,
    trust: bool = False,
    report: Callable[[dict[str, Any]], None] | str | None = None,
    bare: bool = False,
) -> Solution:
    """Rebuild a run's solution from its folder and score it again, with the classical methods beside it.

    Args:
        folder: The run folder.
        report: As for `solve`; it also announces what takes long.
        problem: The problem, or its class for the recorded parameters; None takes the recorded one, which must be
            installed, part of nfsolve, or imported already.
        field: Field, or what builds it, where config.json cannot hold it: a module of your own is built as it was for
            the run, and gets the trained weights; None takes the recorded one.
        trust: Whether the recorded file or module may be run to find the problem.
        bare: Whether to leave out the classical methods, which may take longer than the rest.

    Returns:
        The solution, with the metrics computed anew and the history as it was recorded.

    Raises:
        InputError: The folder holds no run, or its files are damaged or of another problem.
    """
    return _reopened(folder, problem, field, trust, report).reopen(bare)


@recorded()
def _reopened(
    folder: str | Path, problem: Problem | type[Problem] | None, field: Any, trust: bool, report: Any
) -> Run | March:
    """Restore the last checkpoint of a folder, on the CPU and without a limit of time."""
    known, plan, runs, state = _recorded(folder, problem, field, trust)
    return run_or_march(known, plan, runs, report, state)


@recorded()
def _recorded(
    folder: str | Path, problem: Problem | type[Problem] | None, field: Any, trust: bool
) -> tuple[Problem, Plan, RunFolder, dict[str, Any]]:
    """Read the problem, the plan and the last checkpoint of a folder, for the CPU and without a limit of time."""
    runs = RunFolder(folder)
    known, plan = Plan.from_config(runs.config(), problem, trust, field)
    plan = plan.with_run(device="cpu", time_limit=None)
    if plan.run.recipe == "auto":
        raise InputError(
            f"the recipe of run '{folder}' was still being chosen when it stopped, so there is nothing to load",
            do=f"continue it first: nfsolve run --resume {folder}",
        )
    state = runs.load_checkpoint()
    if state is None:
        raise InputError(
            f"run '{folder}' has no checkpoint yet, so there is nothing to load",
            do=f"continue it first: nfsolve run --resume {folder}",
        )
    return known, plan, runs, state


def _tell_skipped(plan: Plan, runner: Run | March | Automatic) -> None:
    """Warn of stages that are left without steps, unless no stage has any, where no training was asked for."""
    total, skipped = sum(stage.steps for stage in plan.stages), [i for i, s in enumerate(plan.stages, 1) if not s.steps]
    if total and skipped:
        which = f"stage{'s' * (len(skipped) > 1)} {', '.join(map(str, skipped))} of {len(plan.stages)}"
        runner.report({"warning": f"steps={total} leaves no step for {which}; choose more steps"})


def _runner(
    problem: Problem,
    plan: Plan,
    folder: RunFolder | None,
    report: Any,
    checkpoint: dict[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Run | March | Automatic:
    if plan.run.recipe != "auto":
        return run_or_march(problem, plan, folder, report, checkpoint, ranks)
    if ranks:
        raise InputError(
            f"a recipe is chosen by trials of one process, got {ranks.count} processes",
            do="start it without torchrun, or give a field and an optimizer",
        )
    return Automatic(problem, plan, folder, report)


def _check_ranks(ranks: Ranks, problem: Problem, plan: Plan) -> None:
    """Refuse processes that share a run with other versions or options."""
    if not ranks:
        return
    said = {"nfsolve": VERSION, "torch": torch.__version__}
    for name, value in plan.config(problem).items():
        said |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    ranks.check_same({name: repr(value) for name, value in said.items()})
