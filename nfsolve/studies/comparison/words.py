"""Methods of a comparison that are spelled as options of ``nfsolve run``."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve.options.request import read_request
from nfsolve.problem import Problem
from nfsolve.problem.names import KINDS
from nfsolve.studies.comparison.methods import Method, Start

SHORT = {"init": "field.init", "activation": "field.activation", "encoding": "field.encoding", "lr": "optimizer.lr"}


@dataclass(frozen=True)
class Words:
    """One method.

    Attributes:
        labels: Axis -> value, as the tables name them.
        words: Its options, as on the command line of ``nfsolve run``.
        rates: Learning rates to try first; empty takes factors of the optimizer's default.
    """

    labels: tuple[tuple[str, str], ...]
    words: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()

    def method(self, what: str, problem: type[Problem], common: Sequence[str] = (), tune_with: str = "") -> Method:
        """Read the options.

        Args:
            what: The problem, as the user named it.
            problem: Its class.
            common: Options of every run.
            tune_with: Options of the tuning runs only.

        Returns:
            The method.

        Raises:
            InputError: An option is not known, or does not fit.
        """
        run = self._start(what, problem, common)
        pilot = self._start(what, problem, [*common, *shlex.split(tune_with)]) if tune_with else None
        return Method(self.labels, run, pilot, self.rates, " ".join(self.words))

    def _start(self, what: str, problem: type[Problem], more: Sequence[str]) -> Start:
        words = [*self.words, *more]
        try:
            request = read_request(problem, words, f"nfsolve run {what}")
        except SystemExit as leave:
            name = ", ".join(value for _, value in self.labels)
            raise InputError(
                f"method '{name}' has options that nfsolve run refuses, got '{' '.join(words)}'",
                do=f"see nfsolve run {what} --help",
            ) from leave
        return Start(request.problem, request.options)


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Words]:
    """Combine the values of all axes.

    A value is a word, and may bring options of its own: ``ws:alpha=2,kappa=0.3``. An axis is an option of
    ``nfsolve run`` without its dashes (``optimizer``, ``field.width``, ``schedule``, a parameter of the problem), or
    short for one: ``init``, ``activation``, ``encoding``, ``lr``.

    Args:
        axes: Axis -> its values, words or numbers.

    Returns:
        One method for each combination, in order; the first one is the baseline.

    Raises:
        InputError: An axis without values, or with one twice.
    """
    for axis, values in axes.items():
        if isinstance(values, str):
            raise InputError(f"axis '{axis}' needs a list of values, got '{values}'", do=f"write ['{values}', ...]")
    axes = {axis: [str(value) for value in values] for axis, values in axes.items()}
    for axis, values in axes.items():
        if not values or len(set(values)) < len(values):
            raise InputError(
                f"axis '{axis}' needs at least one value and none twice, got {', '.join(values) or 'none'}",
                do=f"write --axis {axis} VALUE VALUE",
            )
    chosen = itertools.product(*axes.values())
    return [
        Words(
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
        raise InputError(
            f"only values of {', '.join(KINDS)} have options after a colon, got '{value}' for axis '{axis}'",
            do="give the option an axis of its own",
        )
    for item in more.split(",") if more else []:
        key, equals, setting = item.partition("=")
        if not equals:
            raise InputError(
                f"an option of a value is written key=value, got '{item}' in '{value}' of axis '{axis}'",
                do="write it as in ws:alpha=2",
            )
        words += [f"--{option}.{key}", setting]
    return words
