"""Activations and initialisations as a user may give them: by name, or as a function or module of PyTorch."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError, unknown
from nfsolve.fields.activations import Activation
from nfsolve.fields.init import Init, default_init

FUNCTIONS = (
    *("silu", "mish", "elu", "selu", "celu", "softsign", "logsigmoid", "sigmoid"),
    *("leaky_relu", "relu6", "hardtanh", "hardswish", "tanhshrink", "sin", "cos"),
)
"""Functions of PyTorch that are known by name, with their default options."""


@dataclass(frozen=True)
class Elementwise(Activation):
    """An elementwise function of PyTorch by its name, such as silu or mish.

    Attributes:
        name: One of `FUNCTIONS`.
    """

    name: str = "silu"

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise unknown("function", self.name, FUNCTIONS)

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return getattr(torch if hasattr(torch, self.name) else F, self.name)(z)


@dataclass(frozen=True)
class Custom(Activation):
    """An elementwise function of the user's own; a run folder does not know how to build it again.

    Attributes:
        function: Maps a tensor to one of the same shape.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        pass

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return self.function(z)


def chosen(activation: Any, init: Any) -> tuple[Activation, Init]:
    """Return the activation and the initialisation that a user means.

    Args:
        activation: An `Activation`, its class or name, a function such as `torch.tanh`, or a module such as
            `torch.nn.SiLU()`.
        init: An `Init`, its class or name, or None for the activation's own.

    Returns:
        Both as specifications.

    Raises:
        InputError: Something else was given, or a module with parameters.
    """
    activation = _activation(activation)
    if init is None:
        return activation, default_init(activation)
    found = _named(init, Init, {"ws": "weightscaling"}) if isinstance(init, str) else init
    found = found() if isinstance(found, type) else found
    if not isinstance(found, Init):
        raise InputError(f"init must be an initialisation or its name, got {init!r}", do="write init='ws', for example")
    return activation, found


def _activation(given: Any) -> Activation:
    if isinstance(given, Activation):
        return given
    if isinstance(given, type) and issubclass(given, Activation | nn.Module):
        return _activation(given())
    if isinstance(given, str):
        return Elementwise(given) if given in FUNCTIONS else _named(given, Activation, {}, FUNCTIONS)()
    if isinstance(given, nn.Module):
        if any(True for _ in given.parameters()):
            raise InputError(
                f"An activation must have no parameters of its own, got {given!r}",
                do="write a network of your own, an nn.Module, and give it as the field",
            )
        name = type(given).__name__.lower().replace("leakyrelu", "leaky_relu")
        plain = (
            given.extra_repr().replace("inplace=True", "") == type(given)().extra_repr() if name != "module" else False
        )
    elif callable(given):
        name, plain = getattr(given, "__name__", ""), True
    else:
        raise InputError(
            f"activation must be an activation, its name or a function, got {given!r}",
            do="write activation='tanh' or activation=torch.nn.SiLU(), for example",
        )
    if plain and name in ("tanh", "relu", "gelu", "softplus"):
        return _named(name, Activation, {})()
    return Elementwise(name) if plain and name in FUNCTIONS else Custom(given)


def _named(name: str, base: type, short: dict[str, str], others: tuple[str, ...] = ()) -> Any:
    """Find a class below another by its name, whatever its capitals and underscores."""
    known = {cls.__name__.lower(): cls for cls in _below(base) if not inspect.isabstract(cls) and cls is not Custom}
    asked = name.lower().replace("_", "").replace("-", "")
    found = known.get(short.get(asked, asked))
    if found is None:
        raise unknown(base.__name__.lower(), name, (*known, *others))
    return found


def _below(base: type) -> list[type]:
    return [cls for child in base.__subclasses__() for cls in (child, *_below(child))]
