"""Layers of a network: linear maps with their activation, made in order from one generator."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfsolve._core.random import generator
from nfsolve.fields.activations import Activation
from nfsolve.fields.init import Init, Place, default_init, uniform_


class ComplexLinear(nn.Module):
    """z -> W z + b on complex features stored as real parts followed by imaginary parts.

    Args:
        real: Real parts of W and b.
        imag: Imaginary parts of W and b.
    """

    def __init__(self, real: nn.Linear, imag: nn.Linear):
        super().__init__()
        self.real = real
        self.imag = imag

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, 2 d_in)`` to ``(n, 2 d_out)``."""
        real, imag = self.real.weight, self.imag.weight
        matrix = torch.cat([torch.cat([real, -imag], 1), torch.cat([imag, real], 1)])
        return F.linear(x, matrix, torch.cat([self.real.bias, self.imag.bias]))


class Dense(nn.Module):
    """A linear map followed by an activation.

    Args:
        linear: The linear map.
        activation: The activation.
        index: Number of the layer, for the activation.
    """

    def __init__(self, linear: nn.Module, activation: Activation, index: int):
        super().__init__()
        self.linear = linear
        self.activation = activation
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, d_in)`` to ``(n, d_out)``."""
        return self.activation(self.linear(x), self.index)

    def extra_repr(self) -> str:
        """Show the activation."""
        return str(self.activation)


def linear(fan_in: int, fan_out: int, dtype: torch.dtype, device: torch.device | str) -> nn.Linear:
    """Make a linear layer whose weights are not drawn yet; torch's global generator is left alone."""
    layer = nn.Linear(fan_in, fan_out, device="meta", dtype=dtype)  # `skip_init` would import sympy for what follows
    layer.weight = nn.Parameter(torch.empty(fan_out, fan_in, dtype=dtype, device=device))
    layer.bias = nn.Parameter(torch.empty(fan_out, dtype=dtype, device=device))
    return layer


class Layers:
    """Makes the layers of one network.

    Args:
        inputs: Number of features that the first layer reads.
        width: Width of the hidden layers.
        count: Number of layers with an activation, one behind the other.
        activation: The activation.
        init: Initialisation; None takes the activation's own.
        seed: Seed of the weights.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.
        purpose: Names the stream of random numbers.

    Attributes:
        features: Number of real features behind an activation.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        count: int,
        activation: Activation,
        init: Init | None,
        seed: int,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        purpose: str = "weights",
    ):
        self.inputs, self.count, self.activation = inputs, count, activation
        self.init = init or default_init(activation)
        self.generator = generator(seed, purpose)
        self.dtype, self.device = dtype or torch.float32, device or "cpu"
        self.units = max(1, int(width / math.sqrt(2))) if activation.is_complex else width
        self.features = 2 * self.units if activation.is_complex else self.units

    def first(self) -> Dense:
        """Make a layer that reads the inputs."""
        layer = self.linear(self.inputs, self.activation.maps * self.units, 0)
        if self.activation.first_bias is not None:
            uniform_(layer.bias, self.activation.first_bias, self.generator)
        return Dense(layer, self.activation, 0)

    def hidden(self, index: int) -> Dense:
        """Make a layer that reads the layer before it."""
        layer = self.linear(self.units, self.activation.maps * self.units, index)
        if self.activation.is_complex:
            layer = ComplexLinear(layer, self.linear(self.units, self.units, index))
        return Dense(layer, self.activation, index)

    def last(self, outputs: int) -> nn.Linear:
        """Make the layer without activation; on complex features its result is a real part."""
        return self.linear(self.features, outputs, self.count)

    def stack(self, outputs: int) -> nn.Sequential:
        """Make all layers of a plain network."""
        middle = (self.hidden(index) for index in range(1, self.count))
        return nn.Sequential(self.first(), *middle, self.last(outputs))

    def linear(self, fan_in: int, fan_out: int, index: int) -> nn.Linear:
        """Make the linear map of a layer."""
        layer = linear(fan_in, fan_out, self.dtype, self.device)
        self.init(layer, Place(index, self.count, self.inputs, self.activation), self.generator)
        return layer
