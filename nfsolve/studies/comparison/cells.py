"""Cells of a comparison: combinations of one-line swaps, each spelled as options of a run."""

import inspect
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve.options.request import Request, read_request
from nfsolve.problem import Problem
from nfsolve.problem.names import KINDS
from nfsolve.problem.registry import names

SHORT = {"init": "field.init", "activation": "field.activation", "encoding": "field.encoding", "lr": "optimizer.lr"}


@dataclass(frozen=True)
class Cell:
    """One method.

    Attributes:
        labels: Axis -> value, as the tables name them.
        words: Its options, as on the command line of ``nfsolve run``.
        rates: Learning rates to try first; empty takes factors of the optimizer's default.
    """

    labels: tuple[tuple[str, str], ...]
    words: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its values, joined."""
        return ", ".join(value for _, value in self.labels)

    @property
    def slug(self) -> str:
        """Its values as the name of a folder."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", "_".join(value for _, value in self.labels)).strip("-") or "cell"

    def request(self, problem: type[Problem], *words: str) -> Request:
        """Read its options, and more of them.

        Args:
            problem: Class of the problem.
            words: Further options.

        Returns:
            The run that they ask for.

        Raises:
            InputError: An option is not known, or does not fit.
        """
        try:
            name = next(
                (n for n, path in names().items() if path == f"{problem.__module__}:{problem.__qualname__}"),
                problem.__name__,
            )
            return read_request(problem, [*self.words, *words], f"nfsolve run {name}")
        except SystemExit as leave:
            said = " ".join([*self.words, *words])
            raise InputError(f"cell '{self.name}' with options '{said}'", "options of nfsolve run") from leave

    def rate(self, problem: type[Problem], *words: str) -> float | None:
        """Return the learning rate that its optimizer has without tuning.

        Args:
            problem: Class of the problem.
            words: Further options.

        Returns:
            The rate, or None where no optimizer of it has one.

        Raises:
            InputError: Several optimizers one after the other, with learning rates.
        """
        stages = self.request(problem, *words).options["stages"]
        rates = [_rate(stage.optimizer) for stage in stages]
        if len(rates) > 1 and any(rate is not None for rate in rates):
            raise InputError(
                f"a learning rate to tune in cell '{self.name}', whose recipe has {len(stages)} optimizers in turn",
                "one optimizer",
                "choose it with --axis optimizer adam, or among the other options with --optimizer adam",
            )
        return rates[0]


def _rate(maker: Any) -> float | None:
    given = maker.keywords if isinstance(maker, partial) else {}
    function = maker.func if isinstance(maker, partial) else maker
    rate = given.get("lr", getattr(inspect.signature(function).parameters.get("lr"), "default", None))
    return float(rate) if isinstance(rate, int | float) else None


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Cell]:
    """Combine the values of all axes.

    A value is a word, and may bring options of its own: ``ws:alpha=2,kappa=0.3``. An axis is an option of
    ``nfsolve run`` without its dashes (``optimizer``, ``field.width``, ``schedule``, a parameter of the problem), or
    short for one: ``init``, ``activation``, ``encoding``, ``lr``.

    Args:
        axes: Axis -> its values, words or numbers.

    Returns:
        One cell for each combination, in order; the first one is the baseline.

    Raises:
        InputError: An axis without values, or with one twice.
    """
    for axis, values in axes.items():
        if isinstance(values, str):
            raise InputError(f"axis '{axis}' with the one word '{values}'", f"a list, as in ['{values}', ...]")
    axes = {axis: [str(value) for value in values] for axis, values in axes.items()}
    for axis, values in axes.items():
        if not values or len(set(values)) < len(values):
            raise InputError(
                f"axis '{axis}' with values {', '.join(values) or 'none'}", "at least one, and different ones"
            )
    chosen = itertools.product(*axes.values())
    return [
        Cell(
            tuple(zip(axes, values, strict=True)),
            tuple(word for axis, value in zip(axes, values, strict=True) for word in _words(axis, value)),
        )
        for values in chosen
    ]


def _words(axis: str, value: str) -> list[str]:
    option = SHORT.get(axis, axis)
    name, _, more = value.partition(":")
    words = [f"--{option}", name]
    if more and option not in KINDS:
        raise InputError(f"value '{value}' of axis '{axis}'", f"options after a colon only for {', '.join(KINDS)}")
    for item in more.split(",") if more else []:
        key, equals, setting = item.partition("=")
        if not equals:
            raise InputError(f"'{item}' in the value '{value}' of axis '{axis}'", "key=value, as in ws:alpha=2")
        words += [f"--{option}.{key}", setting]
    return words
