"""From the words of a command line to everything that `solve` needs."""

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from nfsolve.options.docstrings import attribute_texts, description
from nfsolve.options.options import (
    KINDS,
    options_of,
    override,
    parameters_of,
    parts_of,
    rebuilt,
    take_choices,
    unknown_of,
)
from nfsolve.problem import Problem, Recipe, RunOptions, Unknown
from nfsolve.problem.names import known, name_of
from nfsolve.problem.recipe import DEFAULTS, OF_STAGES
from nfsolve.run.automatic import COMPATIBLE, wants_automatic
from nfsolve.run.plan import make_problem, make_stages


@dataclass
class Request:
    """A run as the command line asks for it.

    Attributes:
        problem: The problem with its parameters.
        options: Keyword arguments of `nfsolve.solve`.
        out: Run folder, where one was named.
    """

    problem: Problem
    options: dict[str, Any]
    out: Path | None


def read_request(problem_class: type[Problem], words: list[str], prog: str) -> Request:
    """Read the options of a run.

    Args:
        problem_class: Class of the problem.
        words: Options as on the command line, ``["--seed", "1", "--field.init", "ws"]``.
        prog: Name of the command in help and errors.

    Raises:
        InputError: A name or a value that is not known.
        SystemExit: The parser refused, or has shown its help.
    """
    import tyro

    chosen, rest = take_choices(words)
    # the recipe, and with it the defaults of all other options, may depend on the parameters
    problem = _with_parameters(problem_class, rest, prog)
    recipe = override(problem.recipe(), chosen)
    options_class = options_of(problem_class, recipe)
    said: Any = tyro.cli(
        with_help(options_class, problem_class, choices(recipe, chosen)),
        args=_flags(rest, options_class),
        prog=prog,
        config=(tyro.conf.SuppressFixed,),  # what cannot be written on a command line is not an option
    )
    parameters = _parameters(problem_class, said)
    stages = tuple(
        dataclasses.replace(stage, optimizer=rebuilt(stage.optimizer, getattr(said, option, None)))
        for stage, option in zip(recipe.stages, _optimizer_options(len(recipe.stages)), strict=True)
    )
    common = {name: getattr(said, name) for name in vars(DEFAULTS) if name not in parameters}
    run = RunOptions(**common)
    out = None if "out" in parameters else said.out
    if not _says_a_recipe(words, parameters):
        given = {name: value for name, value in run.said().items() if name in COMPATIBLE}
        if wants_automatic(problem, RunOptions(**given), {}):
            return Request(problem, {"run": RunOptions(**given)}, out)
    options = {
        "field": rebuilt(recipe.field, getattr(said, "field", None)),
        "factorization": getattr(said, "factorization", None),
        "weighting": getattr(said, "weighting", recipe.weighting),
        "stages": make_stages(stages, run),
        "run": dataclasses.replace(run, **dict.fromkeys(OF_STAGES)),
    }
    return Request(problem, options, out)


def _says_a_recipe(words: list[str], parameters: dict[str, Any]) -> bool:
    """Return whether a command line says anything of field, optimizer or steps, which leaves nothing to find."""
    names = (word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    free = (*COMPATIBLE, *parameters, "out")
    return any(name not in free and name.removeprefix("no_") not in free for name in names)


def choices(recipe: Recipe, chosen: dict[str, str]) -> str:
    """Say what can be chosen by name, for the help text.

    Args:
        recipe: The recipe with the chosen classes.
        chosen: What `nfsolve.options.options.take_choices` found.

    Returns:
        A line for each kind of class that the recipe's field has, with the one that the run takes.
    """
    field, given = parts_of(recipe.field)
    accepted = inspect.signature(field).parameters
    lines = ["Classes chosen by name, each with its own options:"]
    for kind in KINDS:
        part = kind.removeprefix("field.")
        if kind == "field":
            taken = name_of(kind, field)
        elif kind == "optimizer":
            taken = ", then ".join(name_of(kind, parts_of(stage.optimizer)[0]) for stage in recipe.stages)
        elif kind.startswith("field."):
            if part not in accepted:
                continue
            taken = _part_name(kind, given.get(part, accepted[part].default))
        else:
            taken = _part_name(kind, getattr(recipe, kind))
        none = " or none" if kind == "factorization" else ""
        word = "chosen" if kind in chosen else "default"
        lines.append(f"--{kind} {{{','.join(known(kind))}}}{none} ({word}: {chosen.get(kind, taken)})")
    return "\n".join(lines)


def _part_name(kind: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_part_name(kind, item) for item in value)
    if value is None:
        return "none" if kind == "factorization" else "the one that fits the activation"
    return name_of(kind, type(value))


def _parameters(problem_class: type[Problem], said: Any) -> dict[str, Any]:
    """Return the parameters of a problem as they were said; the number of an unknown scalar is its start value."""
    found = {f.name: getattr(said, f.name) for f in dataclasses.fields(problem_class) if hasattr(said, f.name)}
    for f in dataclasses.fields(problem_class):
        unknown = unknown_of(f) or (Unknown() if f.type in (Unknown, "Unknown") else None)
        if f.name in found and unknown is not None:
            found[f.name] = dataclasses.replace(unknown, initial=found[f.name])
    return found


def _with_parameters(problem_class: type[Problem], words: list[str], prog: str) -> Problem:
    """Build the problem with the parameters among the words; with the defaults where help is asked for."""
    import tyro

    if {"-h", "--help"} & set(words):
        return _defaults(problem_class)
    only = parameters_of(problem_class)
    words = _flags(words, only)
    said, _ = tyro.cli(with_help(only, problem_class), args=words, prog=prog, return_unknown_args=True)
    return make_problem(problem_class, _parameters(problem_class, said))


def _flags(words: list[str], options_class: type) -> list[str]:
    """Write ``--gray`` and ``--no-gray`` out as the parser wants them where None, the protocol's, is a third choice."""
    flags = {f.name.replace("_", "-") for f in dataclasses.fields(options_class) if f.type == (bool | None)}
    spelled: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=False):  # no words, no pairs
        name = word.replace("_", "-").removeprefix("--")
        if word.startswith("--") and name in flags and after not in ("True", "False", "None"):
            spelled += [word, "True"]
        elif word.startswith("--no") and name.removeprefix("no-") in flags:
            spelled += [f"--{name.removeprefix('no-')}", "False"]
        else:
            spelled.append(word)
    return spelled


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


def with_help(options_class: type, problem_class: type, more: str = "") -> type:
    """Attach the comments and docstrings of the parameters as help texts."""
    import tyro

    helps = (
        {"out": "Run folder; default runs/NAME-DATE."} | attribute_texts(RunOptions) | attribute_texts(problem_class)
    )
    for f in dataclasses.fields(problem_class):
        if unknown_of(f) is not None:
            helps[f.name] = ", ".join(filter(None, (helps.get(f.name), "its start value")))
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
    helped.__doc__ = f"{description(problem_class)}\n\n{more}".strip()
    return helped
