"""Objects as plain data: a run's config describes its field and optimizers so that they can be built again.

A frozen dataclass or a `functools.partial` of a class becomes ``{"call": "module:Name", **arguments}`` (an
instance) or ``{"partial": "module:Name", **arguments}``; numbers, strings, lists and None stay what they are.
"""

import base64
import contextlib
import dataclasses
import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nfsolve._core.errors import InputError, MissingExtra
from nfsolve._core.version import VERSION

TRUSTED = ("nfsolve", "problems", "torch.optim")
# rooms of nfsolve that write files, start runs or import code; no part of a description comes from them
ACTING = tuple(
    f"nfsolve.{room}" for room in ("__main__", "_core", "cli", "options", "plot", "problem.registry", "run", "studies")
)


def describe(value: Any) -> Any:
    """Turn an object into plain data.

    Args:
        value: A number, string, None, array, tensor, list, tuple, dict, class, function, partial or dataclass instance.

    Returns:
        Data for JSON; ``{"opaque": text}`` for what cannot be built again, such as a lambda.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}  # JSON has none of these
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return {"array": base64.b64encode(value.tobytes()).decode(), "dtype": value.dtype.str, "shape": [*value.shape]}
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.dtype != torch.bfloat16:
        return {"tensor": describe(value.detach().cpu().numpy())}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return {"opaque": repr(value)}
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, partial):
        base = describe(value.func)
        if value.args or "partial" not in base:
            return {"opaque": repr(value)}
        return {**base, **{key: describe(item) for key, item in value.keywords.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"call": _path(type(value)), **fields}
    if inspect.ismethod(value) and value.__name__ == "for_problem":
        value = value.__self__  # MLP.for_problem and MLP describe the same field
    if isinstance(value, type) or inspect.isfunction(value):
        path = _path(value)
        return {"opaque": path} if "<" in path else {"partial": path}
    return {"opaque": repr(value)}


def build(data: Any, trusted: tuple[str, ...] = TRUSTED) -> Any:
    """Build the object that `describe` described.

    Args:
        data: What `describe` gave, perhaps through JSON.
        trusted: Modules (with what is in them) whose objects may be called.

    Returns:
        The object; lists become tuples.

    Raises:
        InputError: The description is opaque, of an unknown object, or of one outside the trusted modules.
    """
    if isinstance(data, list):
        return tuple(build(item, trusted) for item in data)
    if not isinstance(data, dict):
        return data
    if "opaque" in data:
        raise InputError(
            f"This run used {data['opaque']}, which config.json cannot hold",
            do="pass the same object again from Python",
        )
    if "number" in data:
        return float(data["number"])
    if "array" in data or "tensor" in data:
        return _array(data["array"], data) if "array" in data else torch.from_numpy(build(data["tensor"]))
    kind = "call" if "call" in data else "partial" if "partial" in data else None
    arguments = {key: build(item, trusted) for key, item in data.items() if key != kind}
    if kind is None:
        return arguments
    target = _find(data[kind], kind, trusted)
    check_types(target, arguments)
    try:
        return target(**arguments) if kind == "call" else partial(target, **arguments)
    except TypeError as error:
        raise InputError(
            f"config.json describes {data[kind]} with arguments that it does not take ({error})",
            do=f"load it with the version of nfsolve that wrote it; this is {VERSION}",
        ) from error


@contextlib.contextmanager
def recorded() -> Iterator[None]:
    """Explain what goes wrong while the run that a config describes is built.

    Raises:
        InputError: For any other exception: values that no program wrote make constructors raise whatever they like.
    """
    try:
        yield
    except (InputError, MissingExtra, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(
            f"config.json must describe a run that can be built, and its values lead to {reason}",
            do=f"restore it from a copy, or load it with the version of nfsolve that wrote it; this is {VERSION}",
        ) from error


def check_types(maker: Any, arguments: dict[str, Any]) -> None:
    """Refuse arguments whose type is not that of their annotation, where this is a plain one; arrays pass.

    Args:
        maker: A class or a function.
        arguments: Name -> value, as a config holds them.

    Raises:
        InputError: The first value of another type.
    """
    hints: dict[str, Any] = {}
    for base in reversed(maker.__mro__) if isinstance(maker, type) else [maker]:
        function = vars(base).get("__init__") if isinstance(base, type) else base
        with contextlib.suppress(NameError, TypeError, AttributeError):  # annotations that cannot be resolved
            hints |= typing.get_type_hints(base if dataclasses.is_dataclass(base) else function)
    for name, value in arguments.items():
        if not _fits(value, hints.get(name, Any)):
            wanted = getattr(hints[name], "__name__", None) or str(hints[name])
            raise InputError(
                f"config.json must give {maker.__name__} a {name} of type {wanted}, got {str(value)[:80]!r}",
                do="restore it from a copy",
            )


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if isinstance(value, np.ndarray | torch.Tensor):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, inside) for inside in typing.get_args(hint))
    if origin is typing.Literal:
        return any(type(value) is type(inside) and value == inside for inside in typing.get_args(hint))
    if hint is float or hint is int:
        whole = hint is float or isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return isinstance(value, int | float) and not isinstance(value, bool) and whole
    if hint is Path:
        return isinstance(value, str | Path)
    if origin is tuple or hint is tuple:
        return isinstance(value, tuple)
    return isinstance(value, hint) if hint in (bool, str, types.NoneType) else True


def _array(text: Any, data: dict[str, Any]) -> np.ndarray:
    """Read the bytes of an array; `describe` wrote them."""
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.dtype(data["dtype"]))
        if flat.dtype.kind not in "biufc":
            raise ValueError(f"values of type {flat.dtype}")
        return flat.reshape(data["shape"]).copy()
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"config.json holds an array that is damaged ({error})", do="restore it from a copy"
        ) from error


def _path(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _find(path: str, kind: str, trusted: tuple[str, ...]) -> Any:
    module, _, name = str(path).partition(":")
    if not _within(module, trusted) or module.endswith(".__main__") or _within(module, ACTING):
        raise InputError(
            f"config.json may name what belongs to {', '.join(trusted)} and describes a run, got '{path}'",
            do="check where this config comes from, because loading it would run that code",
        )
    try:
        found = vars(importlib.import_module(module))[name]  # one name: no walk through what the module imports
    except (ImportError, KeyError) as error:
        raise InputError(
            f"config.json names '{path}', which does not exist here",
            do="install the version of nfsolve named in environment.json",
        ) from error
    if not _may_be_built(found, kind, trusted):
        raise InputError(
            f"config.json may {kind} a dataclass, a module of PyTorch or an optimizer, got '{path}'",
            do="check where this config comes from, because loading it would run that code",
        )
    return found


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _may_be_built(found: Any, kind: str, trusted: tuple[str, ...]) -> bool:
    """Return whether such an object describes a run: one that is defined, not only imported, in a trusted module.

    A function is one of the user's own, which builds a field or an optimizer: those of packages may write files.
    """
    home = getattr(found, "__module__", None) or ""
    if not _within(home, trusted) or _within(home, ACTING):
        return False
    if isinstance(found, type):
        return dataclasses.is_dataclass(found) or issubclass(found, nn.Module | torch.optim.Optimizer)
    return kind == "partial" and inspect.isfunction(found) and not _within(home, TRUSTED)
