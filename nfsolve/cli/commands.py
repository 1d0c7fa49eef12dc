"""The commands: what each does with what was said on the command line."""

import dataclasses
import errno
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nfsolve._core.errors import InputError, MissingExtra, shortened, unknown
from nfsolve._core.ranks import RankLost, may_restart, speaks
from nfsolve._core.version import VERSION
from nfsolve.cli.analyze import analyze_command
from nfsolve.cli.compare import compare_command
from nfsolve.cli.render import render_command
from nfsolve.cli.show import show_command
from nfsolve.fields import PRESETS
from nfsolve.options.docstrings import description
from nfsolve.options.options import run_options
from nfsolve.options.request import read_request, with_help
from nfsolve.plot.solution import save_pictures
from nfsolve.problem import Problem, RunOptions
from nfsolve.problem.registry import find, is_own, names, where
from nfsolve.run.clock import Deadline
from nfsolve.run.folder import RunFolder, SaveError
from nfsolve.run.plan import Plan
from nfsolve.run.solution import Solution, in_words
from nfsolve.run.solve import reopen, resume, solve

FINISHED, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
usage: nfsolve COMMAND ...

  run WHAT [options]      solve a problem: a name from `nfsolve list`, FILE.py, or package.module:Class
  run --resume DIR        continue an interrupted run; --trust allows running the file that defines its problem
  show WHAT [--out PNG]   draw the domain, points, conditions and normals of a problem before training
  analyze DIR|WHAT        analyze the tangent kernel, gradients, spectra and curvature of a run or a problem
  list                    list all problems, one line each
  eval DIR [--trust]      score a finished run again and redraw its pictures
  render DIR [--path orbit|spiral|FILE.json] [--out FILE]
                          render a trained radiance field as a video or as images
  compare DIR DIR ...     show the metrics of several runs side by side
  compare WHAT --axis A V1 V2 ... [--axis ...]
                          compare methods fairly: tuned, with equal evaluations and seconds, over several seeds
  cite [DIR or WHAT]      print BibTeX entries for the methods that a run or a problem uses

nfsolve run WHAT --help shows the options of a problem.
"""


def run_cli(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Command-line arguments; None takes the program's own.

    Returns:
        Exit code: 0 finished, 1 failed, 2 wrong usage, 130 interrupted (saved).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "show": show_command,
        "analyze": analyze_command,
        "list": _list,
        "eval": _eval,
        "render": render_command,
        "compare": compare_command,
        "cite": _cite,
    }
    asks = {"-h", "--help"} & set(words[1:]) and words[0] in ("list", "eval", "cite")  # which have no help of their own
    if not words or words[0] in ("-h", "--help", "help") or asks:
        return _guarded(lambda: _say(USAGE, FINISHED if words else WRONG_USAGE))
    if words[0] == "--version":
        return _guarded(lambda: _say(VERSION))
    if words[0] not in commands:
        return _guarded(lambda: _raise(unknown("command", words[0], commands, "see nfsolve --help")))
    return _guarded(lambda: commands[words[0]](words[1:]))


def run_problem(problem: type[Problem], arguments: list[str] | None = None) -> int:
    """Run one problem with the options of its command line.

    Args:
        problem: Its class.
        arguments: Command-line arguments after the problem's name; None takes the program's own.

    Returns:
        Exit code, as for `run_cli`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return _guarded(lambda: _resume(words) if "--resume" in words else _solve(problem, words))


def _guarded(command: Callable[[], int]) -> int:
    """Do a command; where whoever reads its output leaves, as `| head` does, stop without a word."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the program ends
    try:
        code = _worded(command)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"error: could not write the output ({error}). Free disk space", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered would fail once more
        return FAILED
    return code


def _warn(said: set[str], message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print what a user should know in one line, once, and what programmers should know as Python does."""
    text = f"warning: {message}\n" if category is UserWarning else warnings.formatwarning(message, category, *where[:2])
    if text not in said:
        said.add(text)
        print(text, end="", file=sys.stderr)


def _worded(command: Callable[[], int]) -> int:
    """Turn a user's mistake into one line and an exit code."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_warn, set())
            return command()
    except (InputError, MissingExtra) as error:
        if speaks():
            print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except RankLost as error:
        print(
            f"error: {error}. Look for what the other one said; --resume continues from the last checkpoint",
            file=sys.stderr,
        )
        return FAILED
    except SaveError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC):  # of the output, see `_guarded`
            raise
        print(f"error: {_of_path(error)}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leave:  # the parser has said what is wrong, or shown its help
        return leave.code if isinstance(leave.code, int) else WRONG_USAGE


def _of_path(error: OSError) -> str:
    """Word that a file or folder cannot be used."""
    reason = error.strerror or str(error)
    return f"'{shortened(str(error.filename))}' cannot be used ({reason}). Check the path"


def _say(text: str, code: int = FINISHED) -> int:
    print(text)
    return code


def _raise(error: Exception) -> int:
    raise error


def _run(words: list[str]) -> int:
    if "--resume" in words:
        return _resume(words)
    if {"-h", "--help"} & set(words[:1]):
        return _help_run()
    if not words or words[0].startswith("-"):
        raise InputError(
            "run needs a problem, as in nfsolve run burgers",
            do=f"choose one of {', '.join(sorted(names()))}, or give FILE.py or package.module:Class",
        )
    return _solve(find(words[0]), words[1:], words[0])


def _help_run() -> int:
    import tyro

    print("nfsolve run WHAT [OPTIONS], or nfsolve run --resume DIR [--steps N] [--time-limit SECONDS] [--trust]\n")
    print("WHAT is a name from `nfsolve list`, FILE.py, or package.module:Class;")
    print("nfsolve run WHAT --help shows its own options and those of its field and optimizer.\n")
    options = dataclasses.make_dataclass("Options", run_options(RunOptions()))
    tyro.cli(with_help(options, RunOptions), args=["--help"], prog="nfsolve run WHAT")  # leaves with its exit code
    return FINISHED


def _solve(problem_class: type[Problem], words: list[str], name: str = "") -> int:
    request = read_request(problem_class, words, f"nfsolve run {name or problem_class.__name__}")
    out = request.out or Path("runs") / f"{_folder_name(problem_class)}-{time.strftime('%Y%m%d-%H%M%S')}"
    if request.out is None and may_restart():
        raise InputError(
            "a run that torchrun may restart needs a folder in which it finds its checkpoint, got no --out",
            do="add --out DIR, or leave --max-restarts out",
        )
    if (said := _first_line(problem_class)) and speaks():
        print(said, file=sys.stderr)
    deadline = Deadline(request.options.get("time_limit"))
    return _tell(solve(request.problem, **request.options, out=out, report=_report()), deadline)


def _resume(words: list[str]) -> int:
    import tyro

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
    return _tell(resume(said.resume, **limits, report=_report(), trust=said.trust))


def _report() -> str:
    return "bar" if sys.stderr.isatty() else "lines"


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


def _list(words: list[str]) -> int:
    known = sorted(names())
    width = max((len(name) for name in known), default=0)
    for name in known:
        cls = find(name)
        print(f"{name:<{width}}  {_first_line(cls)}  [needs {cls.needs}]")
    print(f"\npresets of fields, for --field NAME: {', '.join(PRESETS)}")
    return FINISHED


def _eval(words: list[str]) -> int:
    trust, words = "--trust" in words, [word for word in words if word != "--trust"]
    if len(words) != 1:
        raise InputError(f"eval needs one run folder, got {len(words)}", do="write nfsolve eval DIR")
    solution = reopen(words[0], trust=trust, report=_report())
    solution.interrupted = solution.failed = False
    RunFolder(words[0]).write_json("metrics.json", in_words(solution.metrics))
    return _tell(solution)


def _cite(words: list[str]) -> int:
    from nfsolve.cli.cite import bibtex, used_in

    if words and not Path(words[0]).is_dir():
        problem = find(words[0])()
        print(bibtex(used_in(Plan.of(problem.recipe()).config(problem))))
    else:
        print(bibtex(used_in(RunFolder(words[0]).config() if words else {})))
    return FINISHED


def _first_line(cls: type) -> str:
    return description(cls).partition("\n")[0]


def _folder_name(cls: type) -> str:
    module = cls.__module__.rsplit(".", 1)[-1]
    return module if module != "__main__" else cls.__name__.lower()
