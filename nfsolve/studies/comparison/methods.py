"""Methods of a comparison: each is a run of the problem with something changed."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.spec import describe
from nfsolve.problem import Problem, RunOptions
from nfsolve.problem.recipe import DEFAULTS
from nfsolve.run.plan import join_options, make_plan, make_stages
from nfsolve.run.solve import solve

Tuned = tuple[tuple[str, Any], ...]  # what tuning chose: ("lr", 0.01), ("schedule", "cosine")
OF_STUDY = ("steps", "seed", "log_every", "out", "report", "time_limit")  # arguments of `solve` that methods share


@dataclass(frozen=True)
class Start:
    """A run before it begins.

    Attributes:
        problem: The problem.
        options: Keyword arguments of `nfsolve.solve`, with ``stages`` and ``run``.
    """

    problem: Problem
    options: dict[str, Any]

    def of(self, tuned: Tuned, steps: int) -> "Start":
        """Return the run with what was tuned, and so many steps in all."""
        chosen, stages = dict(tuned), self.options["stages"]
        if "lr" in chosen:
            stages = [dataclasses.replace(s, optimizer=partial(s.optimizer, lr=chosen["lr"])) for s in stages]
        stages = make_stages(tuple(stages), RunOptions(steps=steps, schedule=chosen.get("schedule")))
        return Start(self.problem, {**self.options, "stages": stages})

    @property
    def steps(self) -> int:
        """Its steps in all."""
        return sum(stage.steps for stage in self.options["stages"])


@dataclass(frozen=True, eq=False)
class Method:
    """One method.

    Attributes:
        labels: Axis -> value, as the tables name them.
        run: Its run.
        pilot: Its run while it is tuned, where that is another one.
        rates: Learning rates to try first; empty takes factors of the optimizer's default.
        changes: What it changes, in words.
    """

    labels: tuple[tuple[str, str], ...]
    run: Start
    pilot: Start | None = None
    rates: tuple[float, ...] = ()
    changes: str = ""

    @property
    def name(self) -> str:
        """Its values, joined."""
        return ", ".join(value for _, value in self.labels)

    @property
    def slug(self) -> str:
        """Its values as the name of a folder."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", "_".join(value for _, value in self.labels)).strip("-") or "method"

    def rate(self) -> float | None:
        """Return the learning rate that its optimizer has without tuning.

        Returns:
            The rate, or None where its optimizer has none.

        Raises:
            InputError: Several optimizers one after the other, with learning rates.
        """
        rates = [_rate(stage.optimizer) for stage in self.run.options["stages"]]
        if len(rates) > 1 and any(rate is not None for rate in rates):
            raise InputError(
                f"a learning rate is tuned for one optimizer, and method '{self.name}' has {len(rates)} in turn",
                do="choose one, as in optimizer='adam', --axis optimizer adam, or --optimizer adam",
            )
        return rates[0]


def _rate(maker: Any) -> float | None:
    given = maker.keywords if isinstance(maker, partial) else {}
    function = maker.func if isinstance(maker, partial) else maker
    rate = given.get("lr", getattr(inspect.signature(function).parameters.get("lr"), "default", None))
    return float(rate) if isinstance(rate, int | float) else None


def method_of(
    label: str, problem: Problem, changes: Mapping[str, Any], common: Mapping[str, Any], tune_on: Problem | None
) -> Method:
    """Return a method of Python objects.

    Args:
        label: Its name.
        problem: The problem.
        changes: Keyword arguments of `nfsolve.solve`, parameters of the problem, and ``rates``, learning rates to try.
        common: The same for every method; ``changes`` come before these.
        tune_on: Another problem to tune on, or None.

    Raises:
        InputError: A change that is not known or does not fit.
    """
    everything = {**common, **changes}
    rates = tuple(everything.pop("rates", ()))
    pilot = None if tune_on is None else _start(label, tune_on, everything)
    said = ", ".join(f"{name}={_text(value)}" for name, value in changes.items())
    return Method((("method", label),), _start(label, problem, everything), pilot, rates, said)


def _start(label: str, problem: Problem, changes: Mapping[str, Any]) -> Start:
    given = [*inspect.signature(solve).parameters, *vars(DEFAULTS)]
    arguments = [name for name in dict.fromkeys(given) if name not in ("problem", "options", *OF_STUDY)]
    parameters = [f.name for f in dataclasses.fields(problem) if f.init and f.name not in arguments]
    for name in changes:
        if name in OF_STUDY and name not in parameters:
            raise InputError(
                f"all methods share {name}=, got one for method '{label}'", do="leave it to the settings of the study"
            )
        if name not in (*arguments, *parameters):
            raise unknown(f"change of method '{label}'", name, [*arguments, *parameters])
    problem = dataclasses.replace(problem, **{k: v for k, v in changes.items() if k in parameters})
    options = {k: v for k, v in changes.items() if k in arguments}
    if isinstance(options.get("field"), nn.Module):
        raise InputError(
            f"every seed of method '{label}' builds a field of its own, got one that is built",
            do="give its class, a partial of it, or its name",
        )
    parts = {k: options.pop(k, None) for k in ("field", "optimizer", "lr", "stages", "factorization", "weighting")}
    try:
        plan = make_plan(problem, run=join_options(options.pop("run", None), options), **parts)
    except InputError as error:
        raise InputError(f"method '{label}': {error}") from error
    return Start(problem, {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)})


def _text(value: Any) -> str:
    plain = describe(value)
    if not isinstance(plain, dict):
        return str(plain)
    kind = next((str(plain[key]) for key in ("call", "partial", "opaque") if key in plain), "")
    inside = ", ".join(f"{k}={v}" for k, v in plain.items() if k not in ("call", "partial", "opaque"))
    name = kind.rpartition(":")[2]
    return f"{name}({inside})" if inside else name
