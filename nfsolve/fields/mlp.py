"""Multilayer perceptron: y = W_L s(W_{L-1} ... s(W_1 e(x) + b_1) ...) + b_L on encoded coordinates e(x)."""

import torch
from torch import Tensor

from nfsolve.fields.activations import TANH, Activation
from nfsolve.fields.chosen import chosen
from nfsolve.fields.encodings import IDENTITY, Encoding
from nfsolve.fields.field import Device, Domain, Field, OutputTransform
from nfsolve.fields.init import Init
from nfsolve.fields.layers import Layers


class MLP(Field):
    """A fully connected network.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        activation: Activation of the hidden layers.
        encoding: Encoding of the normalised coordinates.
        harmonics: Harmonics of the embedding of periodic coordinates.
        init: Initialisation; None takes the activation's own (`default_init`).
        output_transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``.
        seed: Seed of weights and encoding.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.

    Raises:
        InputError: A size that is not positive, or parts that do not fit each other.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        width: int = 64,
        depth: int = 3,
        activation: Activation = TANH,
        encoding: Encoding = IDENTITY,
        harmonics: int = 1,
        init: Init | None = None,
        output_transform: OutputTransform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ):
        activation, init = chosen(activation, init)
        options = {"width": width, "depth": depth, "activation": activation}
        options |= {"encoding": encoding, "harmonics": harmonics, "init": init}
        super().__init__(domain, outputs, output_transform, options, seed, dtype, device)
        layers = Layers(self.encoding.out_features, width, depth, activation, init, seed, dtype, device)
        self.body = layers.stack(len(self.outputs))

    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates to raw outputs."""
        return self.body(features)
