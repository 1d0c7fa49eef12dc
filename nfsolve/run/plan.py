"""From a problem and what the user overrides to a plan: the field, the stages and the options of a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from nfsolve._core.device import choose_device, choose_dtype
from nfsolve._core.errors import InputError
from nfsolve._core.spec import TRUSTED, build, describe
from nfsolve._core.version import VERSION
from nfsolve.fields import Field, factorize
from nfsolve.fields.transformed import with_output_transform
from nfsolve.problem import Problem, Recipe, Stage
from nfsolve.problem.registry import recall, where
from nfsolve.weighting import Constant, Weighting


@dataclass
class Plan:
    """Everything that decides a run, besides the problem.

    Attributes:
        field: A field, or what builds one.
        factorization: Factorization of the linear layers of a field that is built, or None.
        stages: Optimizers, one after the other.
        dtype: ``float32`` or ``float64``, for a field that is built.
        log_every: Steps between rows of the history.
        weighting: Scheme that adapts the weights of the residuals.
        device: ``cpu``, ``cuda`` or ``auto``.
        seed: Seed of weights and points.
        time_limit: Seconds, or None.
        tolerance: Loss at which the run has converged, or None.
        compile: Whether the residuals are compiled.
        windows: Parts into which the time interval is cut.
        carry: Whether the field of a window starts from the weights of the one before.
    """

    field: Any
    factorization: Any
    stages: tuple[Stage, ...]
    dtype: str
    log_every: int
    weighting: Weighting
    device: str = "cpu"
    seed: int = 0
    time_limit: float | None = None
    tolerance: float | None = None
    compile: bool = False
    windows: int = 1
    carry: bool = True

    def __post_init__(self) -> None:
        if self.log_every < 1:
            raise InputError(f"log_every = {self.log_every}", "at least 1 step")
        if self.time_limit is not None and self.time_limit <= 0:
            raise InputError(f"time limit {self.time_limit:g} s", "a positive number of seconds")
        if self.windows < 1:
            raise InputError(f"windows = {self.windows}", "at least 1")

    @classmethod
    def of(cls, recipe: Recipe, **options: Any) -> "Plan":
        """Start from a recipe."""
        return cls(**({name: getattr(recipe, name) for name in _RECIPE} | options))

    def config(self, problem: Problem) -> dict[str, Any]:
        """Describe the run as plain data for ``config.json``."""
        parameters = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem) if f.init}
        plain = {f: getattr(self, f) for f in _PLAIN}
        given = getattr(self.field, "config", {}) if isinstance(self.field, nn.Module) else {}
        return {
            "nfsolve": VERSION,
            "problem": {
                "what": where(problem),
                "class": type(problem).__qualname__,
                "parameters": describe(parameters),
            },
            "field": describe(_recipe_of(self.field)),
            "factorization": describe(given.get("factorization", self.factorization)),
            "weighting": describe(self.weighting),
            "windows": self.windows,
            "carry": self.carry,
            "stages": [
                {
                    "optimizer": describe(s.optimizer),
                    "steps": s.steps,
                    "resample": s.resample,
                    "schedule": s.schedule,
                    "points": s.points,
                    "coarsen": s.coarsen,
                    "warmup": s.warmup,
                    "only": s.only,
                }
                for s in self.stages
            ],
            **plain,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], problem: Problem | type[Problem] | None = None, trust: bool = False
    ) -> tuple[Problem, "Plan"]:
        """Rebuild the problem and the plan of a run.

        Args:
            config: What `config` gave.
            problem: The problem, or its class for the recorded parameters; None takes the recorded one.
            trust: Whether a file or module that this process has not imported may be run to find the problem.

        Returns:
            The problem and the plan.

        Raises:
            InputError: Something in it does not exist here, or cannot be rebuilt.
        """
        try:
            recorded = config["problem"]
            what, parameters = recorded["what"], recorded["parameters"]
            if problem is None:
                problem = recall(what, recorded["class"], trust)
            problem_class = problem if isinstance(problem, type) else type(problem)
            trusted = (*TRUSTED, problem_class.__module__)
            stages = tuple(Stage(**(s | {"optimizer": build(s["optimizer"], trusted)})) for s in config["stages"])
            plan = cls(
                field=build(config["field"], trusted),
                factorization=build(config["factorization"], trusted),
                stages=stages,
                weighting=build(config["weighting"], trusted) if "weighting" in config else Constant(),
                windows=config.get("windows", 1),
                carry=config.get("carry", True),
                **{name: config[name] for name in _PLAIN},
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"config.json lacks or misplaces {error}", "what this version of nfsolve writes"
            ) from error
        if isinstance(problem, Problem):
            return problem, plan
        return make_problem(problem_class, build(parameters, trusted)), plan


_RECIPE = ("field", "factorization", "stages", "dtype", "log_every", "weighting", "windows", "carry")
_PLAIN = ("dtype", "log_every", "device", "seed", "time_limit", "tolerance", "compile")


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
        raise InputError(f"unknown parameter '{strange[0]}' of {cls.__name__}", f"it has {', '.join(known) or 'none'}")
    return cls(**parameters)


def make_stages(
    recipe: Recipe,
    optimizer: Callable[..., Any] | None,
    steps: int | None,
    schedule: str | None,
    resample: int | None,
    warmup: float | None = None,
) -> tuple[Stage, ...]:
    """Override the stages of a recipe.

    Args:
        recipe: The recipe.
        optimizer: One optimizer instead of the recipe's stages, or None.
        steps: Steps in all; None keeps the recipe's. Others are shared in proportion, at least one for each stage
            as long as there are enough.
        schedule: Learning-rate schedule of every stage, or None.
        resample: Steps between draws of every stage, or None.
        warmup: Fraction of the steps of every stage over which the learning rate rises, or None.

    Returns:
        The stages.
    """
    total = sum(stage.steps for stage in recipe.stages)
    stages = recipe.stages if optimizer is None else (Stage(optimizer, total),)
    if steps is not None:
        if steps < 0:
            raise InputError(f"steps = {steps}", "a number that is not negative")
        shares = _shares([stage.steps for stage in stages], steps)
        stages = tuple(dataclasses.replace(stage, steps=share) for stage, share in zip(stages, shares, strict=True))
    changes: dict[str, Any] = {"schedule": schedule, "resample": resample, "warmup": warmup}
    changes = {name: value for name, value in changes.items() if value is not None}
    return tuple(dataclasses.replace(stage, **changes) for stage in stages)


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
    field = plan.field if given else _built(problem, plan)
    if given or not isinstance(field, Field):  # `for_problem` gave the others their transform
        field = with_output_transform(field, problem)
    made, held = problem.auxiliary_modules(plan.seed), dict(getattr(field, "auxiliary", {}))
    like = next(field.parameters(), None)
    if made and like is not None:  # those of a field that was trained before go on
        both = nn.ModuleDict({name: held.get(name, module) for name, module in made.items()})
        field.auxiliary = both.to(like.device, like.real.dtype)
    return field


def _built(problem: Problem, plan: Plan) -> nn.Module:
    maker = plan.field.func if isinstance(plan.field, partial) else plan.field
    options = dict(plan.field.keywords) if isinstance(plan.field, partial) else {}
    options |= {"seed": plan.seed, "dtype": choose_dtype(plan.dtype), "device": choose_device(plan.device)}
    if not callable(getattr(maker, "for_problem", maker)):
        raise InputError(f"a field of type {type(plan.field).__name__}", "a field, or a class such as nfsolve.MLP")
    field = getattr(maker, "for_problem", maker)(problem, **options)
    if plan.factorization is not None:
        factorize(field, plan.factorization, seed=plan.seed)
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


def check_finite(data: Any, what: str = "data") -> None:
    """Refuse tensors with values that are not finite.

    Args:
        data: Tensors, possibly nested by name.
        what: Name for the message.

    Raises:
        InputError: The first tensor with a NaN or an infinity.
    """
    if isinstance(data, dict):
        for name, value in data.items():
            check_finite(value, f"{what} '{name}'" if what == "data" else what)
    elif isinstance(data, torch.Tensor) and data.is_floating_point():
        bad = int((~torch.isfinite(data)).sum())
        if bad:
            raise InputError(
                f"{bad} of {data.numel()} values of {what} are NaN or infinite",
                "finite numbers",
                "remove or fill them in before the run",
            )
