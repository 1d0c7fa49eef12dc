"""DeepONet: s(f)(x)_k = sum_l branch(f)_kl trunk(x)_kl + b_k, an operator from functions to fields.

Lu, Jin, Pang, Zhang & Karniadakis, Nature Machine Intelligence 3 (2021), arXiv 1910.03193 (unstacked, with a
bias). The branch sees f through its values at fixed sensors.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from nfsolve.fields.activations import TANH, Activation
from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.chosen import chosen
from nfsolve.fields.encodings import IDENTITY, Encoding
from nfsolve.fields.field import Device, Domain, OutputTransform
from nfsolve.fields.init import Init
from nfsolve.fields.layers import Layers
from nfsolve.fields.operators import Separable, make_branches, make_trunk


class DeepONet(Separable):
    """A field over the trunk's coordinates that also takes input functions.

    Args:
        domain: Names, bounds and periodicity of the trunk's coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        sensors: Number of values by which an input function is given; a tuple where there are several functions.
        width: Width of the trunk's hidden layers, and of a branch that says nothing else.
        depth: Number of the trunk's hidden layers, and of a branch that says nothing else.
        latent: Number of products that are summed, for each output.
        activation: Activation of the trunk.
        encoding: Encoding of the trunk's normalised coordinates.
        harmonics: Harmonics of the embedding of periodic coordinates.
        init: Initialisation of the trunk; None takes the activation's own (`default_init`).
        trunk: Network of the trunk: ``plain``, as an `MLP`, or ``modified``, as a `ModifiedMLP`.
        branch: Network that reads a function; a tuple has one for each function.
        bias: Whether a trained constant is added to each output.
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
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        width: int = 64,
        depth: int = 3,
        latent: int = 64,
        activation: Activation = TANH,
        encoding: Encoding = IDENTITY,
        harmonics: int = 1,
        init: Init | None = None,
        trunk: Literal["plain", "modified"] = "plain",
        branch: Branch | tuple[Branch, ...] = PLAIN,
        bias: bool = True,
        output_transform: OutputTransform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ):
        activation, init = chosen(activation, init)
        options = {"sensors": sensors, "width": width, "depth": depth, "latent": latent, "activation": activation}
        options |= {"encoding": encoding, "harmonics": harmonics, "init": init}
        options |= {"trunk": trunk, "branch": branch, "bias": bias}
        super().__init__(domain, outputs, output_transform, options, seed, dtype, device)
        k, like = len(self.outputs), self.coordinates.matrix
        features = self.encoding.out_features
        layers = Layers(features, width, depth, activation, init, seed, like.dtype, like.device)
        self.trunk = make_trunk(layers, trunk, k * latent)
        self.branches = make_branches(self, branch, k * latent, seed)
        self.bias: Tensor
        zero = torch.zeros(k, dtype=like.dtype, device=like.device)
        if bias:
            self.bias = nn.Parameter(zero)
        else:
            self.register_buffer("bias", zero)

    def basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the trunk, and give the bias."""
        return self.trunk(self.encode(x)), self.bias
