"""The command line: what its words mean, and how it words what goes wrong.

Each command is imported when it is called, so that none waits for what it does not use.
"""

import errno
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nfsolve._core.errors import InputError, MissingExtra, RankLost, SaveError, shortened, unknown
from nfsolve._core.launch import speaks
from nfsolve._core.version import VERSION

if TYPE_CHECKING:
    from nfsolve.problem import Problem

FINISHED, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
usage: nfsolve COMMAND ...

  run WHAT [options]      solve a problem: a name from `nfsolve list`, FILE.py, or package.module:Class
  run WHAT --log NAME     ... and hand the history to csv, tensorboard, wandb or mlflow, or several: csv,wandb
  run --resume DIR        continue an interrupted run; --trust allows running the file that defines its problem
  show WHAT [--out PNG]   draw the domain, points, conditions and normals of a problem before training
  analyze DIR|WHAT        analyze the tangent kernel, gradients, spectra and curvature of a run or a problem
  new FILE.py             write a commented template for a problem of your own, which runs as it is
  list [--kind KIND]      list all problems, or those of pde, pinnacle, signals, measurements, ct, nerf or operators;
                          --kind fields lists the presets for --field NAME
  eval DIR [--trust]      score a finished run again and redraw its pictures
  report DIR [--out FILE.html] [--trust]
                          write a page about a run: how good it is, what to try, maps with sliders, curves, scores
  render DIR [--path orbit|spiral|FILE.json] [--out FILE]
                          render a trained radiance field as a video or as images
  view DIR [--port N]     look at a trained radiance field in a browser, through viser
  compare DIR DIR ... [--out FILE.html]
                          show the metrics of several runs side by side, and write a page about them
  compare WHAT --axis A V1 V2 ... [--axis ...]
                          compare methods fairly: tuned, with equal evaluations and seconds, over several seeds
  cite [DIR or WHAT]      print BibTeX entries for the methods that a run or a problem uses
  doctor                  show versions, threads, GPU and optional libraries, and how to install what is missing
  completion bash|zsh|fish
                          print a script that completes commands and problems in a shell

nfsolve run WHAT --help shows the options of a problem.
"""

COMMANDS = {
    "run": "nfsolve.cli.run:run_command",
    "show": "nfsolve.cli.show:show_command",
    "analyze": "nfsolve.cli.analyze:analyze_command",
    "new": "nfsolve.cli.new:new_command",
    "list": "nfsolve.cli.catalogue:list_command",
    "eval": "nfsolve.cli.run:eval_command",
    "report": "nfsolve.cli.report:report_command",
    "render": "nfsolve.cli.render:render_command",
    "view": "nfsolve.cli.view:view_command",
    "compare": "nfsolve.cli.compare:compare_command",
    "cite": "nfsolve.cli.cite:cite_command",
    "doctor": "nfsolve.cli.doctor:doctor_command",
    "completion": "nfsolve.cli.completion:completion_command",
}
"""Command -> the function that does it: it takes words, and returns an exit code."""
WITHOUT_HELP = ("new", "list", "eval", "report", "cite", "doctor", "completion")  # of their own: they show USAGE


def run_cli(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Command-line arguments; None takes the program's own.

    Returns:
        Exit code: 0 finished, 1 failed, 2 wrong usage, 130 interrupted (saved).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    asks = {"-h", "--help"} & set(words[1:]) and words[0] in WITHOUT_HELP  # which have no help of their own
    if not words or words[0] in ("-h", "--help", "help") or asks:
        return _guarded(lambda: _say(USAGE, FINISHED if words else WRONG_USAGE))
    if words[0] == "--version":
        return _guarded(lambda: _say(VERSION))
    if words[0] not in COMMANDS:
        return _guarded(lambda: _raise(unknown("command", words[0], COMMANDS, "see nfsolve --help")))
    return _guarded(lambda: resolve_name(COMMANDS[words[0]])(words[1:]))


def run_problem(problem: "type[Problem]", arguments: list[str] | None = None) -> int:
    """Run one problem with the options of its command line.

    Args:
        problem: Its class.
        arguments: Command-line arguments after the problem's name; None takes the program's own.

    Returns:
        Exit code, as for `run_cli`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    resumes = "--resume" in words
    return _guarded(
        lambda: (
            resolve_name("nfsolve.cli.run:resume_command")(words)
            if resumes
            else resolve_name("nfsolve.cli.run:solve_command")(problem, words)
        )
    )


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
            f"error: {error}. Look at the output of that process; --resume continues from the last checkpoint",
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
    """Say that a file or folder cannot be used."""
    reason = error.strerror or str(error)
    return f"'{shortened(str(error.filename))}' cannot be used ({reason}). Check the path"


def _say(text: str, code: int = FINISHED) -> int:
    print(text)
    return code


def _raise(error: Exception) -> int:
    raise error
