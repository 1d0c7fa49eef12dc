"""Initialisations of linear layers: Glorot, SIREN, weight scaling, frequency scaling and torch's own.

SIREN (Sitzmann et al., NeurIPS 2020): first layer U(-1/d, 1/d), others U(-c, c) with c = sqrt(6/d)/omega.
Weight scaling (Yeom, Lee & Lee, ICLR 2025, arXiv 2410.04779): the same times alpha, but not the last layer.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.activations import Activation, Finer, Gaussian, Sine
from nfsolve.fields.checks import check_counts, check_positive


@dataclass(frozen=True)
class Place:
    """Where a linear layer stands in its network.

    Attributes:
        index: Number of the layer, 0 for those that read the inputs, ``count`` for the last.
        count: Number of consecutive layers with an activation.
        inputs: Number of features that the first layer reads.
        activation: The network's activation.
    """

    index: int
    count: int
    inputs: int
    activation: Activation

    @property
    def last(self) -> bool:
        """Whether no activation follows."""
        return self.index == self.count


def uniform_(tensor: Tensor, bound: float, generator: Generator) -> None:
    """Fill a tensor from U(-bound, bound); drawn in float64 on the CPU, so equal on all devices."""
    draw = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        tensor.copy_(bound * (2 * draw - 1))


class Init(ABC):
    """A specification of how the weights of a network are drawn."""

    @abstractmethod
    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill the weight and the bias of a layer.

        Args:
            layer: The layer, changed in place.
            place: Where it stands.
            generator: CPU generator.

        Raises:
            InputError: The initialisation is not made for this place or activation.
        """

    def at_resolution(self, resolution: int | None) -> "Init":
        """Return the initialisation for given values with as many points along their longest axis, where it matters."""
        return self


@dataclass(frozen=True)
class TorchDefault(Init):
    """U(-1/sqrt(d), 1/sqrt(d)) for weights and biases, what ``torch.nn.Linear`` does."""

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        bound = 1 / math.sqrt(layer.in_features)
        uniform_(layer.weight, bound, generator)
        uniform_(layer.bias, bound, generator)


@dataclass(frozen=True)
class Glorot(Init):
    """U(-c, c) with c = sqrt(6 / (d_in + d_out)), zero biases (Glorot & Bengio, AISTATS 2010, eq. 16)."""

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        uniform_(layer.weight, math.sqrt(6 / (layer.in_features + layer.out_features)), generator)
        nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class Siren(Init):
    """The bounds of SIREN, with omega from the activation; biases are torch's, as in its code."""

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        rate, d = place.activation.rate(place.index), layer.in_features
        if rate is None:
            raise InputError(
                f"Siren needs an activation with an omega, got {place.activation}",
                do="use Sine(30.0), or init=Glorot()",
            )
        uniform_(layer.weight, 1 / d if place.index == 0 else math.sqrt(6 / d) / rate, generator)
        uniform_(layer.bias, 1 / math.sqrt(d), generator)


@dataclass(frozen=True)
class WeightScaling(Init):
    """The activation's standard initialisation with the weights of all layers but the last times alpha.

    For sines this is the paper's method; biases are not scaled. ``"auto"`` chooses one alpha by the bandwidth
    the initial network has on [-1, 1]^d0, omega_eff ~ omega_0 alpha^m / (d0 sqrt3) for m sine layers, set to
    kappa times the Nyquist frequency pi (N - 1) / 2 of a lattice of N points along each axis; never below 1.
    The rule is derived for sines on plain coordinates (identity encoding).

    Any activation is accepted. A ReLU network absorbs the factors, because it is positively homogeneous: with zero
    biases its output is multiplied by their product and keeps its shape.

    Attributes:
        alpha: One factor, one for each layer but the last, or ``"auto"``.
        resolution: N, for ``"auto"``; None takes the ``resolution`` of the problem that the field is built for.
        kappa: Share of the Nyquist frequency: 0.3 is cautious, 0.42 gives the paper's 2.5 for N = 512, m = 4.
    """

    alpha: float | tuple[float, ...] | Literal["auto"] = 1.5
    resolution: int | None = None
    kappa: float = 0.3

    def __post_init__(self) -> None:
        check_positive("WeightScaling", kappa=self.kappa)
        if self.alpha != "auto":
            values = self.alpha if isinstance(self.alpha, Sequence) else (self.alpha,)
            check_positive("WeightScaling", **{f"alpha[{i}]": value for i, value in enumerate(values)})
        if self.resolution is not None:
            check_counts("WeightScaling", resolution=self.resolution)

    def at_resolution(self, resolution: int | None) -> "WeightScaling":
        """Take the resolution, for ``"auto"`` without."""
        if self.alpha != "auto" or self.resolution is not None:
            return self
        return dataclasses.replace(self, resolution=resolution)

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        default_init(place.activation)(layer, place, generator)
        factors = self.factors(place)
        if not place.last:
            with torch.no_grad():
                layer.weight.mul_(factors[place.index])

    def factors(self, place: Place) -> tuple[float, ...]:
        """Return alpha for each layer but the last.

        Args:
            place: Any place in the network.

        Returns:
            ``count`` factors.

        Raises:
            InputError: Another number of factors was given, or ``"auto"`` without a sine.
        """
        if self.alpha == "auto":
            return (self._bandwidth_alpha(place),) * place.count
        if isinstance(self.alpha, int | float):
            return (self.alpha,) * place.count
        if len(self.alpha) != place.count:
            raise InputError(
                f"WeightScaling needs {place.count} values of alpha, one for each layer but the last, got "
                f"{len(self.alpha)}",
                do="give one number to scale them all",
            )
        return tuple(self.alpha)

    def _bandwidth_alpha(self, place: Place) -> float:
        if self.resolution is None:
            raise InputError(
                "WeightScaling('auto') needs a resolution, the number of points along an axis, got none",
                do="write WeightScaling('auto', resolution=N), or give alpha as a number",
            )
        if not isinstance(place.activation, Sine):
            raise InputError(
                f"WeightScaling('auto') is derived for a Sine, got {place.activation}", do="give alpha as a number"
            )
        nyquist = math.pi * (self.resolution - 1) / 2
        ratio = self.kappa * nyquist * place.inputs * math.sqrt(3) / place.activation.omega
        return max(1.0, ratio ** (1 / place.count))


def weight_scaling(
    alpha: float | tuple[float, ...] | Literal["auto"] = 1.5,
    resolution: int | None = None,
    kappa: float = 0.3,
) -> WeightScaling:
    """Return the weight-scaling initialisation.

    Args:
        alpha: One factor, one for each layer but the last, or ``"auto"``.
        resolution: Points along each axis, for ``"auto"``; None takes those of the problem.
        kappa: Share of their Nyquist frequency, for ``"auto"``.

    Returns:
        The specification.

    Reference:
        Yeom, Lee & Lee, Fast Training of Sinusoidal Neural Fields via Scaling Initialization, ICLR 2025.
    """
    return WeightScaling(alpha, resolution, kappa)


@dataclass(frozen=True)
class FrequencyScaling(Init):
    """The activation's standard initialisation with the first layer's weights and biases times a factor.

    The initial function is that of an omega_0 larger by the factor, ``Sine(omega=factor * 30, hidden=30)``.
    Training differs: the same step of a weight moves the phase of the latter further.

    Attributes:
        factor: On omega_0.
    """

    factor: float = 2.5

    def __post_init__(self) -> None:
        check_positive("FrequencyScaling", factor=self.factor)

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        default_init(place.activation)(layer, place, generator)
        if place.index == 0:
            with torch.no_grad():
                layer.weight.mul_(self.factor)
                layer.bias.mul_(self.factor)


def default_init(activation: Activation) -> Init:
    """Return the initialisation that an activation's authors use.

    Args:
        activation: The activation.

    Returns:
        SIREN's for `Sine` and `Finer`, torch's for wavelets, Gaussians and sinc, Glorot's for the others.
    """
    if isinstance(activation, Sine | Finer):
        return Siren()
    localised = isinstance(activation, Gaussian) or activation.rate(0) is not None
    return TorchDefault() if localised else Glorot()
