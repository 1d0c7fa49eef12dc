"""Options of a run, made from the signatures of the problem, the field and the optimizers.

There is no second configuration language: constructors are the configuration. ``--field NAME``,
``--field.activation NAME``, ``--optimizer NAME`` choose a class, or a preset of one; the options of what was
chosen follow from its constructor, with the recipe's values as defaults.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nfsolve._core.errors import InputError
from nfsolve.options.docstrings import argument_texts, description
from nfsolve.problem import Problem, Recipe, RunOptions, Stage, Unknown
from nfsolve.problem.names import KINDS, PARTS, choose, known
from nfsolve.problem.recipe import DEFAULTS

SIMPLE = (int, float, bool, str, Path)


def run_options(defaults: RunOptions) -> list[tuple[str, Any, Any]]:
    """Return name, type and default of each option that every run has.

    Returns:
        Triples for `dataclasses.make_dataclass`.
    """
    hints = typing.get_type_hints(RunOptions)
    values = vars(defaults)
    options = [(name, hints[name] | None if values[name] is None else hints[name], values[name]) for name in hints]
    return [(n, t, dataclasses.field(default=v)) for n, t, v in [*options, ("out", Path | None, None)]]


def take_choices(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Separate the options that choose a class from the others.

    Returns:
        Option -> chosen name, and the remaining arguments.

    Raises:
        InputError: A choice without a name.
    """
    chosen, rest = {}, []
    items = iter(arguments)
    for item in items:
        option, equals, value = item.partition("=")
        if option.removeprefix("--") in KINDS and option.startswith("--"):
            value = value if equals else next(items, "")
            if not value or value.startswith("--"):
                raise InputError(f"{option} needs a name", do=f"choose one of {', '.join(known(option[2:]))}")
            chosen[option[2:]] = value
        else:
            rest.append(item)
    return chosen, rest


def override(recipe: Recipe, chosen: dict[str, str]) -> Recipe:
    """Put the chosen classes in the place of the recipe's.

    Args:
        recipe: The problem's recipe.
        chosen: What `take_choices` found.

    Returns:
        A recipe whose parts have the chosen classes with default arguments, where these are new.
    """
    maker, keywords = parts_of(recipe.field)
    if "field" in chosen:
        cls, preset = parts_of(choose("field", chosen["field"]))
        if preset or cls is not maker:
            accepted = inspect.signature(cls).parameters
            maker, keywords = cls, {name: value for name, value in keywords.items() if name in accepted} | preset
    for kind in PARTS:
        if kind in chosen:
            cls = choose(kind, chosen[kind])
            if kind == "field.activation" and type(keywords.get("activation")) is not cls:
                keywords.pop("init", None)  # the init that fits the activation, unless one is chosen below
            if type(keywords.get(kind[6:])) is not cls:
                keywords[kind[6:]] = cls()
    changes: dict[str, Any] = {"field": partial(maker, **keywords)}
    if "factorization" in chosen:
        name = chosen["factorization"]
        changes["factorization"] = None if name == "none" else choose("factorization", name)()
    if "weighting" in chosen and choose("weighting", chosen["weighting"]) is not type(recipe.weighting):
        changes["weighting"] = choose("weighting", chosen["weighting"])()
    if "optimizer" in chosen:
        new, (first, *later) = choose("optimizer", chosen["optimizer"]), recipe.stages
        if later:
            changes["stages"] = (Stage(new, sum(stage.steps for stage in recipe.stages)),)
        elif parts_of(first.optimizer)[0] is not new:  # schedule and draws stay: a swap changes one thing
            changes["stages"] = (dataclasses.replace(first, optimizer=new),)
    return dataclasses.replace(recipe, **changes)


def parts_of(maker: Any) -> tuple[Any, dict[str, Any]]:
    """Return a class and the keywords of its partial."""
    if isinstance(maker, partial):
        return maker.func, dict(maker.keywords)
    return maker, {}


def dataclass_of(maker: Any, name: str, skip: tuple[str, ...] = ()) -> type | None:
    """Make a dataclass whose fields are the options of a constructor.

    Args:
        maker: A class, or a partial of one, whose values become the defaults.
        name: Name of the dataclass.
        skip: Arguments that are not options.

    Returns:
        The dataclass, or None where there are no options.
    """
    function, given = parts_of(maker)
    hints: dict[str, Any] = {}
    for base in reversed(function.__mro__) if inspect.isclass(function) else [function]:
        maker = vars(base).get("__init__") if inspect.isclass(base) else base
        hints |= typing.get_type_hints(maker) if inspect.isfunction(maker) else {}
    made: list[Any] = []
    for argument, parameter in inspect.signature(function).parameters.items():
        default = given.get(argument, parameter.default)
        if argument in skip or default is inspect.Parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        kind = option_type(hints.get(argument), default)
        if kind is not None:
            made.append((argument, kind, _default(default)))
    if not made:
        return None
    options, texts = dataclasses.make_dataclass(name, made), argument_texts(function)
    said = "\n".join(f"    {argument}: {texts[argument]}" for argument, *_ in made if argument in texts)
    options.__doc__ = f"{description(function).partition(chr(10))[0]}\n\nAttributes:\n{said}\n"  # the parser reads it
    return options


def option_type(hint: Any, default: Any) -> Any:
    """Return the type of an option, or None where it cannot be written on a command line."""
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return type(default)
    if hint in SIMPLE:
        return hint
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return hint
    if origin is tuple and isinstance(default, tuple) and all(isinstance(v, int | float) for v in default):
        return tuple[(*(type(v) for v in default),)] if default else None  # type: ignore[misc]
    if origin in (typing.Union, types.UnionType):
        known = [t for t in inside if t in (*SIMPLE, types.NoneType) or typing.get_origin(t) is Literal]
        if default is not None and type(default) not in known:
            return None
        plain = [t for t in known if t is not types.NoneType]
        if plain:
            return typing.Union[tuple(known)]  # noqa: UP007  # built at run time
    return type(default) if isinstance(default, SIMPLE) and hint is None else None


def _default(value: Any) -> Any:
    return dataclasses.field(default_factory=lambda: value)


def options_of(problem: type[Problem], recipe: Recipe) -> type:
    """Make the dataclass of everything that can be said on the command line for a run.

    Args:
        problem: Class of the problem; its parameters come first.
        recipe: The recipe with the chosen classes.

    Returns:
        A dataclass for the command-line parser.
    """
    made = _parameters(problem)
    taken = {name for name, *_ in made}
    made += [option for option in run_options(recipe.run.over(DEFAULTS)) if option[0] not in taken]
    nested = [("field", dataclass_of(recipe.field, "field", _BUILT)), ("factorization", _type(recipe))]
    for i, stage in enumerate(recipe.stages, 1):
        name = "optimizer" if len(recipe.stages) == 1 else f"optimizer{i}"
        nested.append((name, dataclass_of(stage.optimizer, name, ("params", "objective"))))
    if dataclasses.fields(recipe.weighting):  # type: ignore[arg-type]  # every scheme is a dataclass
        nested.append(("weighting", type(recipe.weighting)))
    for name, kind in nested:
        if kind is not None and name in ("factorization", "weighting"):
            made.append((name, kind, _default(getattr(recipe, name))))
        elif kind is not None:
            made.append((name, kind, dataclasses.field(default_factory=kind)))
    return _dataclass(problem, made)


def parameters_of(problem: type[Problem]) -> type:
    """Make the dataclass of the parameters of a problem that can be said on the command line.

    Returns:
        A dataclass for the command-line parser.
    """
    return _dataclass(problem, _parameters(problem))


def _parameters(problem: type[Problem]) -> list[Any]:
    hints = typing.get_type_hints(problem)
    return [_parameter(f, hints[f.name]) for f in dataclasses.fields(problem) if f.init]


def _parameter(field: Any, hint: Any) -> tuple[str, Any, Any]:
    """Return name, type and default of a parameter; of an unknown scalar that is its start value."""
    unknown = unknown_of(field)
    if unknown is None:
        return (field.name, float if hint is Unknown else hint, field)
    return (field.name, float, dataclasses.field(default=float(unknown.initial)))


def unknown_of(field: Any) -> Unknown | None:
    """Return the `Unknown` that a parameter of a problem is by default, or None."""
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return made if isinstance(made, Unknown) else None


def _dataclass(problem: type[Problem], made: list[Any]) -> type:
    required = [m for m in made if isinstance(m[2], dataclasses.Field) and _has_no_default(m[2])]
    optional = [m for m in made if m not in required]
    made_class = dataclasses.make_dataclass(problem.__name__, [(n, t, _copy(f)) for n, t, f in required + optional])
    made_class.__doc__ = description(problem) or problem.__name__
    return made_class


_BUILT = ("domain", "outputs", "output_transform", "seed", "dtype", "device")


def _type(recipe: Recipe) -> type | None:
    return None if recipe.factorization is None else type(recipe.factorization)


def _has_no_default(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _copy(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory)
    return dataclasses.field() if field.default is dataclasses.MISSING else dataclasses.field(default=field.default)


def rebuilt(maker: Any, options: Any) -> Callable[..., Any]:
    """Return the partial of a class with the options that were read for it."""
    function, given = parts_of(maker)
    if options is None:
        return partial(function, **given)
    read = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    default = {n: p.default for n, p in inspect.signature(function).parameters.items()}
    changed = {n: v for n, v in read.items() if n in given or v != default[n]}
    return partial(function, **(given | changed))
