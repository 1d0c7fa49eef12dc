"""The one place that words errors: what came, what was expected, what to do."""

import difflib
import importlib
import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any


class InputError(ValueError):
    """A mistake in what the user gave; the message has three parts.

    Args:
        came: What came, e.g. ``"unknown coordinate 'z' in 'u_z'"``.
        expected: What was expected, e.g. ``"this problem has t, x"``.
        do: What to do, e.g. ``"rename the argument or add z to the domain"``; may be empty.
    """

    def __init__(self, came: str, expected: str = "", do: str = ""):
        self.came, self.expected, self.do = came, expected, do
        head = f"{came}: {expected}" if expected else came
        stop = "" if head.endswith("?") else "."
        super().__init__(f"{head}{stop} {do[0].upper()}{do[1:]}." if do else head)


class MissingExtra(ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


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
    """Word a suggestion for a mistyped name.

    Args:
        name: The name that came.
        known: The names that exist.

    Returns:
        ``"did you mean 'burgers'?"``, or a list of what is known when nothing is close.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names) or 'none'}"


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
    return InputError(f"unknown {kind} '{name}'", nearest(name, known), do)


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
