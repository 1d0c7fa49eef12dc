"""From a problem and what the user overrides to a plan: the field, the stages and the options of a run."""

import copy
import dataclasses
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from nfsolve._core.device import choose_device, choose_dtype
from nfsolve._core.errors import InputError, unknown
from nfsolve._core.spec import TRUSTED, build, check_types, describe, recorded
from nfsolve._core.version import VERSION
from nfsolve.fields import Field, factorize
from nfsolve.fields.field import dependences, origin_of, output_names
from nfsolve.fields.transformed import with_output_transform
from nfsolve.problem import Problem, Recipe, RunOptions, Stage
from nfsolve.problem.names import by_name
from nfsolve.problem.recipe import DEFAULTS, OF_STAGES, as_stages
from nfsolve.problem.registry import recall, where

MOST_NUMBERS = 1_000_000  # of data in memory, in config.json


@dataclass(frozen=True)
class Plan(Recipe):
    """A recipe in which every option is decided: all that decides a run, besides the problem."""

    @classmethod
    def of(cls, recipe: Recipe, run: RunOptions | None = None, **parts: Any) -> "Plan":
        """Decide what a recipe leaves open.

        Args:
            recipe: The recipe.
            run: Options that go before those of the recipe.
            **parts: Field, stages, factorization or weighting instead of the recipe's.

        Returns:
            The plan; what the options say of the stages has gone into these.
        """
        run = (run or RunOptions()).over(recipe.run).over(DEFAULTS)
        parts = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(cls)} | parts
        rest = dataclasses.replace(run, **dict.fromkeys(OF_STAGES))
        return cls(**parts | {"stages": make_stages(as_stages(parts["stages"]), run), "run": rest})

    def with_run(self, **options: Any) -> "Plan":
        """Return the same plan with other options of the run."""
        return dataclasses.replace(self, run=dataclasses.replace(self.run, **options))

    def config(self, problem: Problem) -> dict[str, Any]:
        """Describe the run as plain data for ``config.json``."""
        parameters = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem) if f.init}
        given = getattr(self.field, "config", {}) if isinstance(self.field, nn.Module) else {}
        return {
            "nfsolve": VERSION,
            "problem": {
                "what": where(problem),
                "class": type(problem).__qualname__,
                "parameters": describe(parameters),
                **_described_arrays(problem),
            },
            "field": describe(_recipe_of(self.field)),
            "factorization": describe(given.get("factorization", self.factorization)),
            "weighting": describe(self.weighting),
            "stages": [vars(stage) | {"optimizer": describe(stage.optimizer)} for stage in self.stages],
            "run": self.run.said(),
        }

    @staticmethod
    def unstored(problem: Problem) -> list[str]:
        """Return the parameters of a problem that ``config.json`` cannot hold, such as a function."""
        described = {f.name: describe(getattr(problem, f.name)) for f in dataclasses.fields(problem) if f.init}
        return [name for name, value in described.items() if "'opaque': " in repr(value)]

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        problem: Problem | type[Problem] | None = None,
        trust: bool = False,
        field: Any = None,
    ) -> tuple[Problem, "Plan"]:
        """Rebuild the problem and the plan of a run.

        Args:
            config: What `config` gave.
            problem: The problem, or its class for the recorded parameters; None takes the recorded one.
            trust: Whether a file or module that this process has not imported may be run to find the problem.
            field: Field, or what builds it, in the place of the recorded one; as for `solve`.

        Returns:
            The problem and the plan.

        Raises:
            InputError: Something in it does not exist here, or cannot be rebuilt.
        """
        with recorded():
            described = config["problem"]
            if problem is None:
                problem = recall(str(described["what"]), str(described["class"]), trust)
            problem_class = problem if isinstance(problem, type) else type(problem)
            trusted = (*TRUSTED, problem_class.__module__)
            check_types(RunOptions, config["run"])
            plan = cls(
                field=_recorded_field(config["field"], trusted) if field is None else by_name("field", field),
                factorization=build(config["factorization"], trusted),
                stages=tuple(_recorded_stage(stage, trusted) for stage in config["stages"]),
                weighting=build(config["weighting"], trusted),
                run=RunOptions(**config["run"]).over(DEFAULTS),
            )
            if not isinstance(problem, Problem):
                parameters = {**problem_class.before, **build(described["parameters"], trusted)}
                check_types(problem_class, parameters)
                problem = make_problem(problem_class, parameters)
            return problem.with_given(build(described.get("given", {}), trusted)), plan


def _described_arrays(problem: Problem) -> dict[str, Any]:
    """Describe the arrays that a problem holds, so that a run can be continued without them.

    Raises:
        InputError: They are too large for ``config.json``.
    """
    given = problem.given()
    count = sum(array.size for columns in given.values() for array in columns.values())
    if count > MOST_NUMBERS:
        raise InputError(
            f"a run keeps up to {MOST_NUMBERS:,} numbers of data in memory, but {', '.join(given)} "
            f"hold{'s' * (len(given) == 1)} {count:,}",
            do='write them to a file with numpy.savez and name the file: @measured("probes.npz")',
        )
    return {"given": describe(given)} if given else {}


def _recorded_field(described: Any, trusted: tuple[str, ...]) -> Any:
    if isinstance(described, dict) and "opaque" in described:
        kind = str(described["opaque"]).partition("(")[0]
        raise InputError(
            f"the field of this run is a module or function of your own ({kind}), which config.json cannot hold",
            do="build it again and give it as field=, as in nfsolve.load(path, field=module)",
        )
    return build(described, trusted)


def _recorded_stage(described: dict[str, Any], trusted: tuple[str, ...]) -> Stage:
    """Return a stage; an optimizer that cannot be built is missed only where a run goes on."""
    check_types(Stage, described)
    try:
        optimizer: Any = build(described["optimizer"], trusted)
    except InputError as error:
        optimizer = partial(_refuse, error)
    return Stage(**(described | {"optimizer": optimizer}))


def _refuse(reason: InputError, parameters: Any) -> Any:
    raise reason


def join_options(run: RunOptions | None, given: dict[str, Any]) -> RunOptions:
    """Put options and single keywords together.

    Args:
        run: The options, or None.
        given: Name -> value; None is not given.

    Returns:
        All of them.

    Raises:
        InputError: An option is given twice.
    """
    given = {name: value for name, value in given.items() if value is not None}
    said = run.said() if run is not None else {}
    for name in given:
        if name in said:
            raise InputError(
                f"{name} is given twice: {name}={given[name]!r} and run=RunOptions({name}={said[name]!r})",
                do="leave one of them out",
            )
    return RunOptions(**said, **given)


def make_plan(
    problem: Problem,
    field: Any = None,
    optimizer: Any = None,
    *,
    lr: float | None = None,
    stages: tuple[Stage, ...] | None = None,
    factorization: Any = None,
    weighting: Any = None,
    run: RunOptions | None = None,
) -> Plan:
    """Decide everything of a run from a problem's recipe and what the user says; the arguments are those of `solve`.

    Returns:
        The plan.

    Raises:
        InputError: A name that is not known, or arguments that contradict each other.
    """
    run = run or RunOptions()
    _refuse_contradictions(field, factorization, stages, optimizer, run)
    if lr is not None and optimizer is None:
        raise InputError(
            f"lr is an option of an optimizer, got lr={lr:g} without one", do="name it, as in optimizer='adam'"
        )
    recipe, parts = problem.recipe(), {"stages": stages, "factorization": factorization, "weighting": weighting}
    for name in ("weighting", "factorization"):
        if isinstance(parts[name], str):
            parts[name] = by_name(name, parts[name])()
    if optimizer is not None:
        maker = by_name("optimizer", optimizer, lr)
        parts["stages"] = (Stage(maker, sum(stage.steps for stage in recipe.stages)),)
    parts = {name: part for name, part in parts.items() if part is not None}
    if field is not None:  # the recipe's factorization belongs to the recipe's field
        parts = {"field": by_name("field", field), "factorization": None} | parts
    plan = Plan.of(recipe, run, **parts)
    _refuse_unread(problem, plan.stages)
    return plan


def _refuse_unread(problem: Problem, stages: tuple[Stage, ...]) -> None:
    """Raise where a stage says what the problem does not read."""
    read = problem.stage_factors
    for stage in stages:
        for name in ("points", "faces", "coarsen"):
            if name not in read and getattr(stage, name) != getattr(Stage, name):
                raise InputError(
                    f"a stage of {type(problem).__name__} has no {name}, got Stage({name}={getattr(stage, name):g})",
                    do=f"leave it out; a stage has {' and '.join(read)} here" if read else "leave it out",
                )


def _refuse_contradictions(field: Any, factorization: Any, stages: Any, optimizer: Any, run: RunOptions) -> None:
    """Raise where one argument would make another one unheard."""
    if factorization is not None and isinstance(field, nn.Module):
        raise InputError(
            "factorization= applies to a field that solve builds, got a field that is built already",
            do="call nfsolve.factorize(field, factorization) before, and leave the argument out",
        )
    given = ["optimizer"] * (optimizer is not None) + [name for name in OF_STAGES if name in run.said()]
    if stages and given:
        raise InputError(
            f"stages= already decides the optimizers, got {' and '.join(f'{name}=' for name in given)} as well",
            do="put these into the stages, or leave stages= out",
        )


def make_problem(cls: type[Problem], parameters: dict[str, Any]) -> Problem:
    """Build a problem from its parameters.

    Args:
        cls: Its class.
        parameters: Dataclass fields by name.

    Returns:
        The problem.

    Raises:
        InputError: A parameter that the class does not have.
    """
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    strange = [name for name in parameters if name not in known]
    if strange:
        raise unknown(f"parameter of {cls.__name__}", strange[0], known)
    return cls(**parameters)


def make_stages(stages: tuple[Stage, ...], run: RunOptions) -> tuple[Stage, ...]:
    """Override what stages say by the options of a run.

    Args:
        stages: The stages.
        run: Options, of which steps, schedule, warmup and resample count. Steps are shared in proportion, at least
            one for each stage as long as there are enough.

    Returns:
        The stages.
    """
    changes = {name: value for name, value in run.said().items() if name in OF_STAGES}
    steps = [stage.steps for stage in stages]
    shares = _shares(steps, changes.pop("steps")) if "steps" in changes else steps
    pairs = zip(stages, shares, strict=True)
    return tuple(dataclasses.replace(stage, steps=share, **changes) for stage, share in pairs)


def _shares(given: list[int], steps: int) -> list[int]:
    """Divide steps among stages in proportion; a stage keeps one step as long as there are enough."""
    total = sum(given)
    marks = [round(steps * sum(given[:i]) / max(total, 1)) for i in range(len(given) + 1)]
    shares = [b - a for a, b in pairwise(marks)]
    for i, own in enumerate(given):
        if own and not shares[i] and max(shares) > 1:  # a short stage finishes the work of a long one
            shares[shares.index(max(shares))] -= 1
            shares[i] = 1
    return shares


def make_field(problem: Problem, plan: Plan) -> nn.Module:
    """Return the field of a plan with the problem's auxiliary modules, building it where it is not built yet.

    Args:
        problem: The problem.
        plan: The plan.

    Returns:
        A field on its device, in its dtype.

    Raises:
        InputError: What should build the field does not.
    """
    given = isinstance(plan.field, nn.Module)
    field: nn.Module = _copied(plan.field) if isinstance(plan.field, nn.Module) else _built(problem, plan)
    domain = getattr(problem, "domain", None)
    like = next(field.parameters(), None)
    blurred = like is not None and like.dtype == torch.float32 and not isinstance(field, Field)
    if blurred and domain is not None and origin_of(domain.bounds) is not None:
        raise InputError(
            f"The coordinates of {domain!r} are so far from zero that your own network loses their digits in float32",
            do="use a field of nfsolve, which subtracts their centre, or shift the coordinates in the problem",
        )
    wanted = dependences(getattr(problem, "unknowns", ""), tuple(getattr(domain, "names", ())))
    if wanted != getattr(field, "depends", {}) and (wanted or isinstance(field, Field)):
        raise InputError(
            f"The unknowns {problem.unknowns!r} need a field that knows what each depends on, got a "
            f"{type(field).__name__} that was built without",
            do="build it by FIELD.for_problem(problem), or with outputs= as the problem's unknowns",
        )
    if given or not isinstance(field, Field):  # `for_problem` gave the others their transform
        field = with_output_transform(field, problem)
    made, held = problem.auxiliary_modules(plan.run.seed), dict(getattr(field, "auxiliary", {}))
    like = next(field.parameters(), None)
    if made and like is not None:  # those of a field that was trained before go on
        both = nn.ModuleDict({name: held.get(name, module) for name, module in made.items()})
        field.auxiliary = both.to(like.device, like.real.dtype)
    return field


def _copied(field: nn.Module) -> nn.Module:
    """Return a copy of a field that is given, so that what was trained before stays as it is."""
    transform = getattr(field, "output_transform", None)
    kept = {} if transform is None or isinstance(transform, nn.Module) else {id(transform): transform}
    try:
        return copy.deepcopy(field, kept)  # without the problem behind a transform, which may hold much
    except (RuntimeError, TypeError) as error:
        text = f"a {type(field).__name__} cannot be copied, so it is trained in place ({str(error).splitlines()[0]})"
        warnings.warn(text, stacklevel=2)
        return field


def _built(problem: Problem, plan: Plan) -> nn.Module:
    maker = plan.field.func if isinstance(plan.field, partial) else plan.field
    options = dict(plan.field.keywords) if isinstance(plan.field, partial) else {}
    run = plan.run
    options |= {"seed": run.seed, "dtype": choose_dtype(run.dtype), "device": choose_device(run.device)}
    if not callable(getattr(maker, "for_problem", maker)):
        raise InputError(
            f"field must be a field, a class such as nfsolve.MLP, or its name, got {plan.field!r}",
            do="write field=nfsolve.MLP, or give an nn.Module that is built",
        )
    if isinstance(maker, type) and issubclass(maker, nn.Module) and not hasattr(maker, "for_problem"):
        inputs, outputs = len(problem.domain.names), len(output_names(problem.unknowns))
        raise InputError(
            f"field must be built, or a class of nfsolve that is built for the problem, got the class {maker.__name__}",
            do=f"build it for points (n, {inputs}) and values (n, {outputs}), as in torch.nn.Sequential(...)",
        )
    field = getattr(maker, "for_problem", maker)(problem, **options)
    if not isinstance(field, nn.Module):
        raise InputError(f"What builds the field must return an nn.Module, got {field!r}")
    if plan.factorization is not None:
        factorize(field, plan.factorization, seed=plan.run.seed)
    return field


def _recipe_of(field: Any) -> Any:
    """Describe a built field by the class and options that built it."""
    if not isinstance(field, nn.Module):
        return field
    config = dict(getattr(field, "config", {}))
    if not config:
        return field
    config.pop("call", None)
    config.pop("factorization", None)
    return partial(type(field), **config)


def check_finite(data: dict[str, Any]) -> None:
    """Refuse tensors with values that are not finite.

    Args:
        data: By name tensors, or pytrees of them.

    Raises:
        InputError: The first tensor with a NaN or an infinity.
    """
    for name, value in data.items():
        for leaf in tree_leaves(value):
            if isinstance(leaf, torch.Tensor) and (bad := int((~torch.isfinite(leaf)).sum())):
                raise InputError(
                    f"{bad} of {leaf.numel()} values of data '{name}' are NaN or infinite",
                    do="remove them, or fill them in, before the run",
                )
