"""What docstrings say of problems and of arguments, for help texts and pictures."""

import inspect
import re
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from nfsolve import fields, optim, weighting


def description(cls: type) -> str:
    """Return the docstring of a class, and never the signature that `dataclasses.dataclass` writes where there is none.

    Args:
        cls: The class.

    Returns:
        Its own docstring, else the first line of its module's, else nothing.
    """
    own = cls.__doc__ or ""
    if own and not own.startswith(f"{cls.__name__}("):
        return inspect.cleandoc(own)
    module = getattr(sys.modules.get(cls.__module__), "__doc__", None) or ""
    return inspect.cleandoc(module).partition("\n")[0]


def argument_texts(maker: Any) -> dict[str, str]:
    """Read the descriptions of the arguments of a class.

    Args:
        maker: A class, or a partial of one.

    Returns:
        Argument -> text: of its own docstring, else of the classes that this names with "as for `X`", else of its
        bases. Defaults in words are left out, for a recipe may have others.
    """
    texts: dict[str, str] = {}
    for cls in _sources(maker.func if isinstance(maker, partial) else maker, set()):
        doc = inspect.cleandoc(cls.__doc__ or "")
        for name, text in re.findall(r"^ {4}(\w+)(?: \(.*?\))?:(.*(?:\n {8}.+)*)", doc, re.M):
            plain = re.sub(r"\s*\(default: (\([^)]*\)|[^()]*)\)", "", " ".join(text.split()))
            texts.setdefault(name, _plain(plain))
    return texts


def _sources(cls: Any, seen: set[Any]) -> Iterator[Any]:
    """Return a class, those that its docstring names, and its bases, each once."""
    if cls in seen or cls is object:
        return
    seen.add(cls)
    yield cls
    for path in re.findall(r"as\s+for\s+`([\w.]+)`", cls.__doc__ or ""):
        name = path.rpartition(".")[2]
        for room in (fields, optim, weighting):
            if inspect.isclass(getattr(room, name, None)):
                yield from _sources(getattr(room, name), seen)
    for base in getattr(cls, "__bases__", ()):  # a function that makes a field has none
        yield from _sources(base, seen)


def attribute_texts(cls: type) -> dict[str, str]:
    """Read the comment behind, or the docstring below, each annotated attribute.

    Args:
        cls: The class; its bases are read too.

    Returns:
        Attribute -> text.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            lines = inspect.getsource(base).splitlines()
        except (OSError, TypeError):
            continue
        doc = inspect.getdoc(base) or ""
        described = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", doc.partition("Attributes:")[2], re.M)
        texts |= {name: " ".join(text.split()) for name, text in described}
        for i, line in enumerate(lines):
            match = re.match(r"    (\w+):[^#]*(?:#(?!\s*(?:noqa|type:|pyright:))\s*(.+)|#.*)?$", line)
            if match:
                below = re.match(r'    """(.+?)"""\n', "\n".join(lines[i + 1 :]) + "\n", re.S)  # of one line or several
                text = match[2] or (below[1] if below else "")
                if text:
                    texts[match[1]] = " ".join(text.split())
    return {name: _plain(text) for name, text in texts.items()}


def _plain(text: str) -> str:
    """Return a text without the marks of code, which a terminal does not draw."""
    return text.replace("``", "").replace("`", "")
