"""Factorizations of linear layers as torch parametrizations: another set of parameters for the same function.

Random weight factorization: W = diag(s) V (Wang, Wang, Seidman & Perdikaris, arXiv 2210.01274; initialised as
in the Expert's Guide to PINNs, arXiv 2308.08468, section 4.3). Weight normalization: W = diag(g / |v|) V
(Salimans & Kingma, NeurIPS 2016). Adaptive activation: (W, b) -> n a (W, b) (Jagtap, Kawaguchi & Karniadakis,
JCP 404, 2020; neuron-wise: Proc. R. Soc. A 476, 2020).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from nfsolve._core.errors import InputError, unknown
from nfsolve._core.random import generator as seeded
from nfsolve.fields.checks import check_positive
from nfsolve.fields.field import Field
from nfsolve.fields.layers import Dense

Module = TypeVar("Module", bound=nn.Module)


class Factorization(ABC):
    """A specification of how linear layers are parametrized."""

    @abstractmethod
    def register(self, layer: nn.Linear, generator: Generator) -> None:
        """Parametrize one layer without changing its function.

        Args:
            layer: A linear layer, changed in place.
            generator: CPU generator.
        """

    def layers(self, module: nn.Module) -> list[nn.Linear]:
        """Return the linear layers of a module that this factorization is for."""
        return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


class RowScale(nn.Module):
    """(s, V) -> diag(s) V, or diag(exp s) V.

    Args:
        scale: Scale that a weight is split with, ``(rows,)``.
        log: Whether the parameter is the logarithm of the scale.
    """

    scale: Tensor

    def __init__(self, scale: Tensor, log: bool):
        super().__init__()
        self.log = log
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, s: Tensor, v: Tensor) -> Tensor:
        """Return the weight ``(rows, columns)``."""
        return (torch.exp(s) if self.log else s)[:, None] * v

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Split a weight into the two parameters."""
        return torch.log(self.scale) if self.log else self.scale.clone(), weight / self.scale[:, None]


@dataclass(frozen=True)
class RandomWeightFactorization(Factorization):
    """W = diag(s) V with s = exp(xi), xi ~ N(mean, std^2), one for each output neuron; s and V are trained.

    One gradient step of rate eta moves a row w by -eta (s^2 I + v v^T) dL/dw to first order. The paper's own
    form of this has |v|^2 instead of v v^T, which is right only where the gradient is parallel to v.

    Attributes:
        mean: Mean of xi; the paper recommends 0.5 or 1.
        std: Standard deviation of xi.
        log: Train xi instead of s = exp(xi): s stays positive, and gradient descent moves it s^2 times
            faster.
    """

    mean: float = 1.0
    std: float = 0.1
    log: bool = False

    def __post_init__(self) -> None:
        if self.std != 0:
            check_positive("RandomWeightFactorization", std=self.std)

    def register(self, layer: nn.Linear, generator: Generator) -> None:
        """Parametrize one layer."""
        draw = torch.randn(layer.out_features, generator=generator, dtype=torch.float64)
        scale = torch.exp(self.mean + self.std * draw).to(layer.weight)
        parametrize.register_parametrization(layer, "weight", RowScale(scale, self.log))


class Direction(nn.Module):
    """(g, V) -> diag(g / |v|) V."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Return the weight ``(rows, columns)``."""
        return (g / torch.linalg.vector_norm(v, dim=1))[:, None] * v

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Split a weight into the two parameters."""
        return torch.linalg.vector_norm(weight, dim=1), weight


@dataclass(frozen=True)
class WeightNormalization(Factorization):
    """W = diag(g / |v|) V, with g = |w| at the start; g and V are trained."""

    def register(self, layer: nn.Linear, generator: Generator) -> None:
        """Parametrize one layer."""
        if not bool(torch.linalg.vector_norm(layer.weight, dim=1).all()):
            raise InputError(
                "WeightNormalization needs rows with a direction, got a row of zeros",
                do="initialise the layer with other weights",
            )
        parametrize.register_parametrization(layer, "weight", Direction())


class Steepened(nn.Module):
    """W -> n a W by rows, for a weight or a bias.

    Weight and bias hold one parameter, each in a module of its own: after `torch.func.functional_call` a
    module that is reached by two names is not what it was.

    Args:
        a: Trainable slope, ``(1,)`` or ``(rows,)``, shared by weight and bias.
        n: Fixed factor.
    """

    def __init__(self, a: nn.Parameter, n: float):
        super().__init__()
        self.a = a
        self.n = n

    def forward(self, rows: Tensor) -> Tensor:
        """Scale a weight ``(rows, columns)`` or a bias ``(rows,)``."""
        factor = self.n * self.a
        return (factor[:, None] if rows.ndim == 2 else factor) * rows

    def right_inverse(self, rows: Tensor) -> Tensor:
        """Undo the scaling."""
        factor = self.n * self.a
        return rows / (factor[:, None] if rows.ndim == 2 else factor)


@dataclass(frozen=True)
class AdaptiveActivation(Factorization):
    """s(n a (W x + b)) with trainable a, n a = 1 at the start; for the layers that an activation follows.

    In a field these are its `Dense` layers; in another module all linear layers but the last.

    Attributes:
        mode: One a for each layer, or one for each neuron.
        n: Fixed factor; larger ones make a learn faster.
    """

    mode: Literal["layer", "neuron"] = "layer"
    n: float = 1.0

    def __post_init__(self) -> None:
        check_positive("AdaptiveActivation", n=self.n)
        if self.mode not in ("layer", "neuron"):
            raise unknown("mode", self.mode, ("layer", "neuron"))

    def register(self, layer: nn.Linear, generator: Generator) -> None:
        """Parametrize one layer."""
        size = 1 if self.mode == "layer" else layer.out_features
        a = nn.Parameter(layer.weight.new_full((size,), 1 / self.n))
        parametrize.register_parametrization(layer, "weight", Steepened(a, self.n))
        if layer.bias is not None:
            parametrize.register_parametrization(layer, "bias", Steepened(a, self.n))

    def layers(self, module: nn.Module) -> list[nn.Linear]:
        """Return the linear layers that an activation follows."""
        linear = super().layers
        followed = [layer for m in module.modules() if isinstance(m, Dense) for layer in linear(m)]
        return followed or linear(module)[:-1]


def factorize(
    module: Module,
    factorization: Factorization | None,
    *,
    seed: int = 0,
    generator: Generator | None = None,
) -> Module:
    """Factorize the linear layers of a module; its function stays the same, to rounding.

    Matrices of encodings and filters are not ``nn.Linear`` and stay as they are.

    Args:
        module: A field, or any module; changed in place.
        factorization: The specification; None changes nothing.
        seed: Seed of random scales.
        generator: CPU generator of random scales, instead of the seed.

    Returns:
        The module.

    Raises:
        InputError: The module has no such layers, or they are factorized already.
    """
    if factorization is None:
        return module
    layers = factorization.layers(module)
    if not layers:
        raise InputError(
            f"{type(factorization).__name__} acts on linear layers, and this {type(module).__name__} has none",
            do="give a module with nn.Linear layers",
        )
    if any(parametrize.is_parametrized(layer) for layer in module.modules()):
        raise InputError("The layers are factorized already", do="call fold(module) first")
    generator = generator or seeded(seed, "factorization")
    for layer in layers:
        factorization.register(layer, generator)
    if isinstance(module, Field):
        module.config["factorization"] = factorization
    return module


def fold(module: Module) -> Module:
    """Turn factorized layers into plain ones that compute the same.

    Args:
        module: A field, or any module; changed in place.

    Returns:
        The module.
    """
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer) and isinstance(layer, nn.Linear):
            for name in ("weight", "bias"):
                if parametrize.is_parametrized(layer, name):
                    parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    if isinstance(module, Field):
        module.config.pop("factorization", None)
    return module
