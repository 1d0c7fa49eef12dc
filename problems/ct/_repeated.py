"""Runs that repeat one that has ended, in folders of their own inside it; the same command resumes them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from nfsolve import InputError, Problem
from nfsolve.run.folder import RunFolder
from nfsolve.run.interrupt import STOPPED
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan


def ended_run(folder: str | Path) -> tuple[RunFolder, Problem, Plan, dict[str, Any]]:
    """Return the folder of a run that has ended, its problem, its recipe and its state.

    Raises:
        InputError: It has not ended, or there is none.
    """
    runs = RunFolder(folder)
    problem, plan = Plan.from_config(runs.config())
    state = runs.load_checkpoint()
    if state is None or not has_ended(state):
        raise InputError(f"the run in '{folder}' has not ended", do=f"continue it: nfsolve run --resume {folder}")
    return runs, problem, plan, state


def repeated(problem: Problem, plan: Plan, folder: Path, report: Any) -> nn.Module:
    """Run a problem in a folder, resume it, or take it as it is.

    Raises:
        InputError: The run failed.
        KeyboardInterrupt: The user stopped it; it is saved.
    """
    own = RunFolder(folder, resumed=True)
    state = own.load_checkpoint()
    run = Run(problem, plan, own, report, state)
    if has_ended(state):
        return run.field
    found = run.go()
    if found.interrupted:
        raise KeyboardInterrupt
    if found.failed:
        raise InputError(f"the run in '{folder}' failed: {found.stopped}", do="see its history.csv")
    return found.field


def has_ended(state: dict[str, Any] | None) -> bool:
    """Tell whether a run has come to its end."""
    return state is not None and state["stopped"] not in ("", *STOPPED.values())


def exit_code(command: Callable[[], None]) -> int:
    """Do what a command is for, and say in words why it ended early: 0 done, 2 wrong usage, 130 interrupted (saved)."""
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0
