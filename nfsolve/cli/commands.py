"""The commands: what each does with what was said on the command line."""

import dataclasses
import inspect
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from nfsolve._core.errors import InputError, MissingExtra, unknown
from nfsolve.cli.options import RunOptions, choices, options_of, override, rebuilt, take_choices
from nfsolve.cli.show import show_command
from nfsolve.find import find, names
from nfsolve.plot import save_pictures
from nfsolve.problem import Problem
from nfsolve.runs import RunFolder, SaveError
from nfsolve.setup import Plan, make_problem, make_stages
from nfsolve.solution import Solution
from nfsolve.solve import reopen, resume, solve

FINISHED, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
usage: nfsolve COMMAND ...

  run WHAT [options]      solve a problem: a name from `nfsolve list`, FILE.py, or package.module:Class
  run --resume DIR        continue a run where it stopped
  show WHAT [--out PNG]   draw its domain, points, conditions and normals before training
  list                    all problems, with one line each
  eval DIR                score a run folder again and draw its pictures
  compare DIR DIR ...     the metrics of several runs side by side
  cite [DIR or WHAT]      BibTeX of what you ran

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
        "list": _list,
        "eval": _eval,
        "compare": _compare,
        "cite": _cite,
    }
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return FINISHED if words else WRONG_USAGE
    if words[0] == "--version":
        from nfsolve import __version__

        print(__version__)
        return FINISHED
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
    """Turn a user's mistake into one line and an exit code."""
    try:
        return command()
    except (InputError, MissingExtra) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except SaveError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leave:  # the parser has said what is wrong, or shown its help
        return leave.code if isinstance(leave.code, int) else WRONG_USAGE


def _raise(error: Exception) -> int:
    raise error


def _run(words: list[str]) -> int:
    if "--resume" in words:
        return _resume(words)
    if not words or words[0].startswith("-"):
        raise InputError(
            "run without a problem",
            "nfsolve run WHAT",
            f"choose one of {', '.join(sorted(names()))}, or give FILE.py or package.module:Class",
        )
    return _solve(find(words[0]), words[1:], words[0])


def _solve(problem_class: type[Problem], words: list[str], name: str = "") -> int:
    import tyro

    chosen, rest = take_choices(words)
    recipe = override(_defaults(problem_class).recipe(), chosen)
    options_class = _with_help(options_of(problem_class, recipe), problem_class)
    said: Any = tyro.cli(options_class, args=rest, prog=f"nfsolve run {name or problem_class.__name__}")
    parameters = {f.name: getattr(said, f.name) for f in dataclasses.fields(problem_class) if hasattr(said, f.name)}
    problem = make_problem(problem_class, parameters)
    # the recipe may depend on the parameters, so the choices go onto the recipe of this very problem
    recipe = override(problem.recipe(), chosen)
    recipe = dataclasses.replace(
        recipe,
        field=rebuilt(recipe.field, getattr(said, "field", None)),
        factorization=getattr(said, "factorization", None),
        weighting=getattr(said, "weighting", recipe.weighting),
        stages=tuple(
            dataclasses.replace(stage, optimizer=rebuilt(stage.optimizer, getattr(said, option, None)))
            for stage, option in zip(recipe.stages, _optimizer_options(len(recipe.stages)), strict=True)
        ),
    )
    common = {f.name: getattr(said, f.name) for f in dataclasses.fields(RunOptions) if f.name not in parameters}
    out = common.pop("out", None) or Path("runs") / f"{_folder_name(problem_class)}-{time.strftime('%Y%m%d-%H%M%S')}"
    steps, schedule, redraw, warmup = (common.pop(name, None) for name in ("steps", "schedule", "redraw", "warmup"))
    stages = make_stages(recipe, None, steps, schedule, redraw, warmup)
    common["dtype"] = common.get("dtype") or recipe.dtype
    print(f"{_first_line(problem_class)}\nrun folder: {out}", file=sys.stderr)
    solution = solve(
        problem,
        recipe.field,
        stages=stages,
        factorization=recipe.factorization,
        log_every=recipe.log_every,
        weighting=recipe.weighting,
        out=out,
        report=_report(),
        **common,
    )
    return _tell(solution)


def _optimizer_options(n: int) -> list[str]:
    return ["optimizer"] if n == 1 else [f"optimizer{i}" for i in range(1, n + 1)]


def _defaults(problem_class: type[Problem]) -> Any:
    """Build the problem with its defaults, to ask it for its recipe; required parameters stay empty."""
    required = {
        f.name: None
        for f in dataclasses.fields(problem_class)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    return problem_class(**required)


def _with_help(options_class: type, problem_class: type) -> type:
    """Attach the comments and docstrings of the parameters as help texts."""
    import tyro

    helps = _attribute_helps(RunOptions) | _attribute_helps(problem_class)
    made = []
    for f in dataclasses.fields(options_class):
        hint = options_class.__annotations__[f.name]
        if f.name in helps:
            hint = Annotated[hint, tyro.conf.arg(help=helps[f.name])]
        default: Any = dataclasses.field()
        if f.default is not dataclasses.MISSING:
            default = dataclasses.field(default=f.default)
        elif f.default_factory is not dataclasses.MISSING:
            default = dataclasses.field(default_factory=f.default_factory)
        made.append((f.name, hint, default))
    helped = dataclasses.make_dataclass(options_class.__name__, made)
    helped.__doc__ = (
        f"{inspect.getdoc(problem_class)}\n\nClasses chosen by name, each with its own options:\n{choices()}"
    )
    return helped


def _attribute_helps(cls: type) -> dict[str, str]:
    """Read the comment behind, or the docstring below, each annotated attribute."""
    helps: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            lines = inspect.getsource(base).splitlines()
        except (OSError, TypeError):
            continue
        doc = inspect.getdoc(base) or ""
        helps |= dict(re.findall(r"^ {4}(\w+): (.+)$", doc.partition("Attributes:")[2], re.M))
        for line, below in zip(lines, [*lines[1:], ""], strict=True):
            match = re.match(r"    (\w+):[^#]*(?:#\s*(.+))?$", line)
            if match:
                text = match[2] or "".join(re.findall(r'^    """(.+?)"""$', below))
                if text:
                    helps[match[1]] = text
    return helps


def _resume(words: list[str]) -> int:
    import tyro

    @dataclasses.dataclass
    class Resume:
        """Continue a run where it stopped."""

        resume: Path
        """the run folder"""
        steps: int | None = None
        """new number of steps of the last optimizer"""
        time_limit: float | None = None
        """new limit in seconds, over all resumptions"""

    said = tyro.cli(Resume, args=[w for w in words if w.startswith("-") or _is_value(w, words)], prog="nfsolve run")
    return _tell(resume(said.resume, steps=said.steps, time_limit=said.time_limit, report=_report()))


def _is_value(word: str, words: list[str]) -> bool:
    """Whether a word follows an option; WHAT in `run WHAT --resume DIR` does not."""
    at = words.index(word)
    return at > 0 and words[at - 1].startswith("--") and "=" not in words[at - 1]


def _report() -> str:
    return "bar" if sys.stderr.isatty() else "lines"


def _tell(solution: Solution) -> int:
    """Write pictures and exports, print the table, and choose the exit code."""
    folder = solution.folder
    if folder is not None and not solution.failed:
        for path in save_pictures(solution):
            print(f"wrote {path}", file=sys.stderr)
    print(f"\n{solution}")
    if solution.interrupted:
        print(f"\ncontinue with: nfsolve run --resume {folder}", file=sys.stderr)
        return INTERRUPTED
    return FAILED if solution.failed else FINISHED


def _list(words: list[str]) -> int:
    known = sorted(names())
    width = max((len(name) for name in known), default=0)
    for name in known:
        cls = find(name)
        print(f"{name:<{width}}  {_first_line(cls)}  [needs {cls.needs}]")
    return FINISHED


def _eval(words: list[str]) -> int:
    if len(words) != 1:
        raise InputError(f"eval with {len(words)} folders", "one: nfsolve eval DIR")
    solution = reopen(words[0])
    solution.interrupted = solution.failed = False
    RunFolder(words[0]).write_json("metrics.json", solution.metrics)
    return _tell(solution)


def _compare(words: list[str]) -> int:
    if not words:
        raise InputError("compare without run folders", "at least one: nfsolve compare DIR DIR ...")
    runs = [RunFolder(word) for word in words]
    scores = [run.metrics() for run in runs]
    keys = list(dict.fromkeys(key for score in scores for key in score))
    table = [["", *(run.path.name for run in runs)]]
    table += [[key, *(_cell(score.get(key)) for score in scores)] for key in keys]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
    return FINISHED


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cite(words: list[str]) -> int:
    from nfsolve.cite import bibtex, used_in

    if words and not Path(words[0]).is_dir():
        problem = find(words[0])()
        print(bibtex(used_in(Plan.of(problem.recipe()).config(problem))))
    else:
        print(bibtex(used_in(RunFolder(words[0]).config() if words else {})))
    return FINISHED


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or cls.__name__).splitlines()[0]


def _folder_name(cls: type) -> str:
    module = cls.__module__.rsplit(".", 1)[-1]
    return module if module != "__main__" else cls.__name__.lower()
