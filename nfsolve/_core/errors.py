"""The one place that words errors: what is needed, what came, what to do."""

import difflib
import importlib
import inspect
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from typing import Any


class InputError(ValueError):
    """A mistake in what the user gave.

    Args:
        sentence: What is needed and what came, e.g. ``"log_every must be at least 1, got 0"``.
        do: What to do, e.g. ``"choose a positive number"``; may be empty.
    """

    def __init__(self, sentence: str, *, do: str = ""):
        self.sentence, self.do = sentence, do
        stop = "" if sentence.endswith("?") else "."
        super().__init__(f"{sentence}{stop} {do[0].upper()}{do[1:]}." if do else sentence)


class MissingExtra(ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class SaveError(OSError):
    """A file of the run folder could not be written; what was saved before is intact."""


class RankLost(RuntimeError):
    """Another process of this run has ended, so that this one cannot go on."""


def shortened(text: str, most: int = 80) -> str:
    """Return a text, with dots in the place of its middle where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


def size_in_words(n: float) -> str:
    """Return a number of bytes with a unit."""
    unit, size = next((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)) if n >= s or s == 1.0)
    return f"{n / size:.{1 if unit == 'GB' else 0}f} {unit}"


@lru_cache(256)
def place_of(thing: Any) -> str:
    """Return where a function or class of the user stands, as " (file, line 12)"; empty where that is unknown."""
    try:
        code = getattr(inspect.unwrap(thing), "__code__", None)
        if code is not None:
            return f" ({code.co_filename}, line {code.co_firstlineno})"
        return f" ({inspect.getsourcefile(thing)}, line {inspect.getsourcelines(thing)[1]})"
    except (TypeError, OSError, ValueError):  # typed in, or built by a program
        return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest what to write for a mistyped name.

    Args:
        name: The name that came.
        known: The names that exist.

    Returns:
        ``"did you mean 'burgers'?"``, or ``"choose one of burgers, poisson"`` when nothing is close.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(names)}" if names else "there is none"


def unknown(kind: str, name: str, known: Iterable[str], do: str = "") -> InputError:
    """Build the error for a name that is not one of the known ones.

    Args:
        kind: What the name should have named, e.g. ``"problem"``.
        name: The name that came.
        known: The names that exist.
        do: What else the user can do.

    Returns:
        The error, to be raised by the caller.
    """
    return InputError(f"unknown {kind} '{shortened(name)}': {nearest(name, known)}", do=do)


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say which extra installs it.

    Args:
        module: Dotted module name, e.g. ``"nerfacc"``.
        extra: The extra of this project that brings it, e.g. ``"nerf"``.
        purpose: What needs it, e.g. ``"rendering with backend='nerfacc'"``.

    Returns:
        The imported module.

    Raises:
        MissingExtra: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != top:
            raise
        raise MissingExtra(f"{purpose} needs {top}, which is not installed: pip install 'nfsolve[{extra}]'") from error
