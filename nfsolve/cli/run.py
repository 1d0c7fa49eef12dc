"""``nfsolve run`` and ``nfsolve eval``: solve a problem, continue a run, score one again."""

import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve._core.launch import may_restart, speaks
from nfsolve.cli.commands import FAILED, FINISHED, INTERRUPTED
from nfsolve.cli.log import open_loggers, take_log
from nfsolve.cli.log import where as log_places
from nfsolve.options.docstrings import description
from nfsolve.options.options import run_options
from nfsolve.options.request import read_request, with_help
from nfsolve.plot.solution import save_pictures
from nfsolve.problem import Problem, RunOptions
from nfsolve.problem.registry import find, is_own, names, where
from nfsolve.run.clock import Deadline
from nfsolve.run.folder import RunFolder
from nfsolve.run.solution import Solution, in_words
from nfsolve.run.solve import reopen, resume, solve


def run_command(words: list[str]) -> int:
    """Solve a problem, or continue a run.

    Args:
        words: The problem and its options, or ``--resume`` and its folder.

    Returns:
        The exit code of the command line.

    Raises:
        InputError: What is asked for does not fit.
    """
    if "--resume" in words:
        return resume_command(words)
    if {"-h", "--help"} & set(words[:1]):
        return _help_run()
    if not words or words[0].startswith("-"):
        raise InputError(
            "run needs a problem, as in nfsolve run burgers",
            do=f"choose one of {', '.join(sorted(names()))}, or give FILE.py or package.module:Class",
        )
    return solve_command(find(words[0]), words[1:], words[0])


def _help_run() -> int:
    import tyro

    print("nfsolve run WHAT [OPTIONS], or nfsolve run --resume DIR [--steps N] [--time-limit SECONDS] [--trust]\n")
    print("WHAT is a name from `nfsolve list`, FILE.py, or package.module:Class;")
    print("nfsolve run WHAT --help shows its own options and those of its field and optimizer.")
    print("--log csv,tensorboard,wandb,mlflow hands each row of the history to one or more of these.\n")
    options = dataclasses.make_dataclass("Options", run_options(RunOptions()))
    tyro.cli(with_help(options, RunOptions), args=["--help"], prog="nfsolve run WHAT")  # leaves with its exit code
    return FINISHED


def solve_command(problem_class: type[Problem], words: list[str], name: str = "") -> int:
    """Solve a problem as its command line says.

    Args:
        problem_class: Its class.
        words: Options of the command line.
        name: What the user called it.

    Returns:
        The exit code of the command line.

    Raises:
        InputError: What is asked for does not fit.
    """
    logs, words = take_log(words)
    request = read_request(problem_class, words, f"nfsolve run {name or problem_class.__name__}")
    out = request.out or Path("runs") / f"{_folder_name(problem_class)}-{time.strftime('%Y%m%d-%H%M%S')}"
    if request.out is None and may_restart():
        raise InputError(
            "a run that torchrun may restart needs a folder in which it finds its checkpoint, got no --out",
            do="add --out DIR, or leave --max-restarts out",
        )
    if (said := description(problem_class).partition("\n")[0]) and speaks():
        print(said, file=sys.stderr)
    deadline = Deadline(request.options.get("time_limit"))
    return _tell(solve(request.problem, **request.options, out=out, report=_report(logs, out)), deadline)


def resume_command(words: list[str]) -> int:
    """Continue an interrupted run.

    Args:
        words: ``--resume``, the run folder, and new limits.

    Returns:
        The exit code of the command line.

    Raises:
        InputError: What is asked for does not fit.
    """
    import tyro

    logs, words = take_log(words)

    @dataclasses.dataclass
    class Resume:
        """Continue a run where it stopped."""

        resume: Path
        """the run folder"""
        steps: int | None = None
        """new number of steps of the last stage"""
        time_limit: float | None = None
        """new limit in seconds, over all resumptions"""
        trust: tyro.conf.FlagCreatePairsOff[bool] = False
        """run the file or module that defines the problem of this run"""

    if words[0] and not words[0].startswith("-"):
        raise InputError(
            f"--resume takes the problem from the folder, got '{words[0]}' as well",
            do=f"leave '{words[0]}' out, or run it without --resume",
        )
    said = tyro.cli(Resume, args=words, prog="nfsolve run")
    limits = {"steps": said.steps, "time_limit": said.time_limit}
    return _tell(resume(said.resume, **limits, report=_report(logs, said.resume), trust=said.trust))


def _progress() -> str:
    return "bar" if sys.stderr.isatty() else "lines"


def _report(logs: list[str], folder: Path) -> tuple[Any, ...]:
    """Return what shows the progress, and what logs it."""
    if (said := log_places(logs, folder)) and speaks():
        print(said, file=sys.stderr)
    return (_progress(), *open_loggers(logs, folder))


def _tell(solution: Solution, deadline: Deadline | None = None) -> int:
    """Write pictures and exports, print the table, and choose the exit code."""
    folder = solution.folder
    if folder is not None and not solution.failed:
        for path in save_pictures(solution, deadline, partial(print, file=sys.stderr)):
            print(f"wrote {path}", file=sys.stderr)
    if speaks():
        print(f"\n{solution}")
    if solution.interrupted and not speaks():
        return INTERRUPTED
    if solution.interrupted:
        flag = "" if is_own(where(solution.problem)) else " --trust"
        print(f"\ncontinue with: nfsolve run --resume {folder}{flag}", file=sys.stderr)
        return INTERRUPTED
    return FAILED if solution.failed else FINISHED


def eval_command(words: list[str]) -> int:
    """Score a finished run again, and draw its pictures.

    Args:
        words: The run folder, and ``--trust`` where its problem may be imported.

    Returns:
        The exit code of the command line.

    Raises:
        InputError: What is asked for does not fit.
    """
    trust, words = "--trust" in words, [word for word in words if word != "--trust"]
    if len(words) != 1:
        raise InputError(f"eval needs one run folder, got {len(words)}", do="write nfsolve eval DIR")
    folder = RunFolder(words[0])
    solution = reopen(words[0], trust=trust, report=_progress())
    if not solution.stopped:
        _say_unfinished(solution, folder)
    solution.interrupted = False  # it may be continued, but what eval is for is done
    folder.write_json("metrics.json", in_words(solution.metrics))
    return _tell(solution)


def _say_unfinished(solution: Solution, folder: RunFolder) -> None:
    """Say that the scores are of a checkpoint from before the end of a run; a failed run saves none after it."""
    try:
        ended = str(folder.metrics().get("stopped", ""))
    except InputError:  # there are none, or they are damaged: they are made anew
        ended = ""
    solution.failed = "non-finite" in ended
    why = ended.partition(" (the scores")[0] if solution.failed else "not ended"
    solution.stopped = f"{why} (the scores are those of the checkpoint at step {solution.steps})"
    solution.metrics["stopped"] = solution.stopped


def _folder_name(cls: type) -> str:
    module = cls.__module__.rsplit(".", 1)[-1]
    return module if module != "__main__" else cls.__name__.lower()
