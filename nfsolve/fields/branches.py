"""Branches of operators: specifications of the network that reads an input function at its sensors.

Plain and convolutional: Lu, Meng, Cai, Mao, Goswami, Zhang & Karniadakis, CMAME 393 (2022), arXiv 2111.05512.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve.fields.activations import TANH, Activation, ReLU
from nfsolve.fields.checks import check_counts
from nfsolve.fields.init import Init
from nfsolve.fields.layers import Dense, Layers
from nfsolve.fields.modified import Gated

Maker = Callable[..., Layers]
RELU = ReLU()


@dataclass(frozen=True)
class Branch(ABC):
    """A specification of the network from sensor values ``(n, sensors)`` to coefficients ``(n, outputs)``."""

    @abstractmethod
    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network.

        Args:
            sensors: Number of values by which the function is given.
            outputs: Number of coefficients.
            layers: Makes `Layers` of given ``inputs``, ``activation`` and ``init``; it has the operator's own
                ``width`` and ``count``.

        Raises:
            InputError: The network is not made for so many sensors.
        """


@dataclass(frozen=True)
class Plain(Branch):
    """A multilayer perceptron.

    Attributes:
        width: Width of the hidden layers; None takes the operator's.
        depth: Number of hidden layers; None takes the operator's.
        activation: Activation.
        init: Initialisation; None takes the activation's own (`default_init`).
    """

    width: int | None = None
    depth: int | None = None
    activation: Activation = TANH
    init: Init | None = None

    def __post_init__(self) -> None:
        sizes = {"width": self.width, "depth": self.depth}
        check_counts(type(self).__name__, **{name: size for name, size in sizes.items() if size is not None})

    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network."""
        return self.layers(sensors, layers).stack(outputs)

    def layers(self, sensors: int, layers: Maker) -> Layers:
        """Make the layers."""
        sizes = {"width": self.width, "count": self.depth}
        given = {name: size for name, size in sizes.items() if size is not None}
        return layers(sensors, activation=self.activation, init=self.init, **given)


@dataclass(frozen=True)
class Modified(Plain):
    """The gated network of `nfsolve.fields.ModifiedMLP`, with the attributes of `Plain`."""

    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network."""
        return Gated(self.layers(sensors, layers), outputs)


class LinearPlus(nn.Module):
    """f -> W_1 h(f) + W_2 f + b, as one linear layer on h(f) and f side by side.

    Args:
        hidden: h, the hidden layers.
        last: The linear layer.
    """

    def __init__(self, hidden: nn.Module, last: nn.Module):
        super().__init__()
        self.hidden, self.last = hidden, last

    def forward(self, f: Tensor) -> Tensor:
        """Map ``(n, sensors)`` to ``(n, outputs)``."""
        return self.last(torch.cat([self.hidden(f), f], -1))


@dataclass(frozen=True)
class Skip(Plain):
    """A linear map plus a multilayer perceptron, for operators that are nearly linear; attributes of `Plain`."""

    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network."""
        make = self.layers(sensors, layers)
        hidden = nn.Sequential(make.first(), *(make.hidden(index) for index in range(1, make.count)))
        return LinearPlus(hidden, make.linear(make.features + sensors, outputs, make.count))


@dataclass(frozen=True)
class Linear(Branch):
    """One matrix without a bias; with ``bias=False`` of the field the operator is linear in the function."""

    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network."""
        layer = layers(sensors, activation=TANH, init=None, count=1).linear(sensors, outputs, 0)
        layer.register_parameter("bias", None)
        return layer


class Filters(Dense):
    """A strided convolution with an activation; its weight is that of a linear map of patches, so it can be factorized.

    Args:
        linear: The linear map from channels_in * prod(kernel) to channels_out features.
        activation: The activation.
        index: Number of the layer, for the activation.
        kernel: Points that it sees along each axis, odd.
        stride: Step along each axis.
    """

    linear: nn.Linear

    def __init__(self, linear: nn.Linear, activation: Activation, index: int, kernel: tuple[int, ...], stride: int):
        super().__init__(linear, activation, index)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, channels_in, *sizes)`` to ``(n, channels_out, *smaller sizes)``."""
        weight, padding = self.linear.weight.unflatten(1, (-1, *self.kernel)), self.kernel[0] // 2
        convolve = F.conv1d if len(self.kernel) == 1 else F.conv2d
        return self.activation(convolve(x, weight, self.linear.bias, self.stride, padding), self.index)


@dataclass(frozen=True)
class Convolution(Branch):
    """Strided convolutions, then a plain network of hidden layers.

    Attributes:
        grid: Sensors along each axis, one or two of them; empty takes all sensors along one.
        channels: Channels of each convolution.
        kernel: Points along each axis that a convolution sees; odd. Beyond the border are zeros.
        stride: Step of a convolution along each axis.
        width: Width of the hidden layers behind the convolutions.
        depth: Their number.
        activation: Activation; one with real values and one linear map.
    """

    grid: tuple[int, ...] = ()
    channels: tuple[int, ...] = (64, 128)
    kernel: int = 5
    stride: int = 2
    width: int = 128
    depth: int = 1
    activation: Activation = RELU

    def __post_init__(self) -> None:
        sizes = {"kernel": self.kernel, "stride": self.stride, "width": self.width, "depth": self.depth}
        lists = {"grid": self.grid, "channels": self.channels}
        sizes |= {f"{name}[{i}]": size for name, values in lists.items() for i, size in enumerate(values)}
        check_counts("Convolution", **sizes)
        if self.kernel % 2 == 0 or len(self.grid) > 2:
            raise InputError(
                f"Convolution needs one or two axes and an odd kernel, got grid = {self.grid}, kernel = {self.kernel}",
                do="write grid=(28, 28), kernel=3",
            )
        if self.activation.is_complex or self.activation.maps != 1:
            raise InputError(
                f"Convolution needs a real activation of one linear map, got {self.activation}", do="use GELU or Tanh"
            )

    def build(self, sensors: int, outputs: int, layers: Maker) -> nn.Module:
        """Build the network."""
        sizes = self.grid or (sensors,)
        if math.prod(sizes) != sensors:
            raise InputError(
                f"Convolution needs a grid of as many points as there are sensors, got {sizes} for {sensors}",
                do="choose grid= so that its product is the number of sensors",
            )
        count = len(self.channels) + self.depth
        make = layers(sensors, width=self.width, count=count, activation=self.activation, init=None)
        body: list[nn.Module] = [nn.Unflatten(-1, (1, *sizes))]
        fan_in = 1
        for index, channels in enumerate(self.channels):
            layer = make.linear(fan_in * self.kernel ** len(sizes), channels, index)
            body.append(Filters(layer, self.activation, index, (self.kernel,) * len(sizes), self.stride))
            fan_in, sizes = channels, tuple(-(-size // self.stride) for size in sizes)
        body.append(nn.Flatten())
        fan_in *= math.prod(sizes)
        for index in range(len(self.channels), count):
            body.append(Dense(make.linear(fan_in, self.width, index), self.activation, index))
            fan_in = self.width
        return nn.Sequential(*body, make.linear(fan_in, outputs, count))


PLAIN = Plain()
