"""DeepONet with a nonlinear decoder: s(f)(x) = D(z), z_j = sum_l branch(f)_jl trunk(x)_jl + b_j, for what travels.

A DeepONet is linear in its trunk, so it follows a front, a kink or a wave that each function puts elsewhere only with
many terms. A network D behind the sums has no such limit. Seidman, Kissas, Perdikaris & Pappas, NOMAD: Nonlinear
Manifold Decoders for Operator Learning, NeurIPS 2022, arXiv 2206.03551; there D reads the coefficients and the point,
here sums of their products.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.field import Domain
from nfsolve.fields.layers import Layers
from nfsolve.fields.network import Network
from nfsolve.fields.operators import Separable, make_branches, make_trunk


class NonlinearDeepONet(Separable, Network):
    """An operator whose sums of products pass through a small network.

    The decoder alone runs on every pair of a point and a function, branch and trunk on each function and each point:
    with few features that is cheap.

    Arguments and errors as for `DeepONet`, without ``bias``, and:

    Args:
        features: Number of sums, and width of the decoder.
        latent: Number of products in each sum.
        decoder: Number of activations of the decoder; the first one acts on the sums themselves.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        features: int = 16,
        decoder: int = 2,
        latent: int = 16,
        trunk: Literal["plain", "modified"] = "plain",
        branch: Branch | tuple[Branch, ...] = PLAIN,
        **options: Any,
    ):
        own = {"features": features, "decoder": decoder, "latent": latent, "trunk": trunk, "branch": branch}
        super().__init__(domain, outputs, sensors, **own, **options)
        k, like, c = len(self.outputs), self.coordinates.matrix, self.config
        self.trunk = make_trunk(self.layers(c["depth"]), trunk, features * latent)
        self.branches = make_branches(self, branch, features * latent)
        self.bias = nn.Parameter(torch.zeros(features, dtype=like.dtype, device=like.device))
        given = (c["activation"], c["init"], self.seed, like.dtype, like.device)
        decoding = Layers(features, features, decoder, *given, purpose="decoder")
        self.activation = c["activation"]
        self.decoder = nn.Sequential(*(decoding.hidden(index) for index in range(1, decoder)), decoding.last(k))

    @property
    def sums(self) -> int:
        """Number of sums: one for each feature."""
        return self.config["features"]

    def last(self) -> list[nn.Module]:
        """Return the last layer of the decoder."""
        return [[m for m in self.decoder.modules() if isinstance(m, nn.Linear)][-1]]

    def basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the trunk, and give the bias of the sums."""
        return self.trunk(self.encode(x)), self.bias

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Decode sums of products row by row."""
        return self.decode(super().images(x, functions))

    def crossed(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Decode the sums of every function at every point."""
        return self.decode(super().crossed(x, functions))

    def decode(self, sums: Tensor) -> Tensor:
        """Map sums ``(..., features)`` to raw outputs ``(..., k)``."""
        return self.decoder(self.activation(sums, 0))
