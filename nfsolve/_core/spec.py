"""Objects as plain data: a run's config describes its field and optimizers so that they can be built again.

A frozen dataclass or a `functools.partial` of a class becomes ``{"call": "module:Name", **arguments}`` (an
instance) or ``{"partial": "module:Name", **arguments}``; numbers, strings, lists and None stay what they are.
"""

import dataclasses
import importlib
import inspect
from functools import partial
from typing import Any

from nfsolve._core.errors import InputError

TRUSTED = ("nfsolve", "problems", "torch.optim")


def describe(value: Any) -> Any:
    """Turn an object into plain data.

    Args:
        value: A number, string, None, list, tuple, dict, class, function, partial or dataclass instance.

    Returns:
        Data for JSON; ``{"opaque": text}`` for what cannot be built again, such as a lambda.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, dict):
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
            f"this run used {data['opaque']}",
            "a class or a functools.partial of one with plain arguments",
            "pass the same object again from Python",
        )
    kind = "call" if "call" in data else "partial" if "partial" in data else None
    arguments = {key: build(item, trusted) for key, item in data.items() if key != kind}
    if kind is None:
        return arguments
    target = _find(data[kind], trusted)
    try:
        return target(**arguments) if kind == "call" else partial(target, **arguments)
    except TypeError as error:
        raise InputError(f"arguments {sorted(arguments)} for {data[kind]}", str(error)) from error


def _path(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _find(path: str, trusted: tuple[str, ...]) -> Any:
    module, _, name = path.partition(":")
    if not any(module == root or module.startswith(root + ".") for root in trusted):
        raise InputError(
            f"config names '{path}'",
            f"something of {', '.join(trusted)}",
            "check where this config comes from: loading it would run that code",
        )
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"config names '{path}', which does not exist here",
            "an object of this version of nfsolve",
            "install the version named in environment.json",
        ) from error
    return found
