"""The residual MLP of PirateNets: gated blocks that start as the identity."""

from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.fields.field import Domain
from nfsolve.fields.layers import Dense
from nfsolve.fields.network import Network


class Block(nn.Module):
    """Three dense layers, the first two gated, mixed with the input by a trainable number that starts at 0.

    Args:
        layers: The three dense layers.
        like: A tensor of the type and device of the parameters.
    """

    def __init__(self, layers: list[Dense], like: Tensor):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.mix = nn.Parameter(torch.zeros(1, dtype=like.dtype, device=like.device))

    def forward(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Apply the block to ``(n, width)`` with gates u and v of that shape."""
        first, second, third = self.layers
        difference = u - v
        h = v + first(x) * difference
        h = v + second(h) * difference
        return x + self.mix * (third(h) - x)


class ResidualMLP(Network):
    """Gated residual blocks x <- a h(x) + (1 - a) x with trainable a, 0 at the start.

    Arguments and errors as for `Network`; ``depth`` counts the blocks of three dense layers. An
    encoding as wide as the blocks enters the first one itself, as in the paper; a dense layer lifts others.

    Reference:
        Wang, Li, Chen & Perdikaris, JMLR 25 (2024) 402, arXiv 2402.00326 (PirateNets).
    """

    def __init__(self, domain: Domain, outputs: str | tuple[str, ...] = "u", *, depth: int = 2, **options: Any):
        super().__init__(domain, outputs, depth=depth, **options)
        read, layers = self.encoding.out_features, self.layers(1 + 3 * depth)
        self.gate_u, self.gate_v = layers.first(), layers.first()
        self.first = nn.Identity() if read == layers.features else layers.first()
        self.blocks = nn.ModuleList(
            Block([layers.hidden(1 + 3 * b + i) for i in range(3)], self.coordinates.matrix) for b in range(depth)
        )
        self.last = layers.last(len(self.outputs))

    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates to raw outputs."""
        u, v, h = self.gate_u(features), self.gate_v(features), self.first(features)
        for block in self.blocks:
            h = block(h, u, v)
        return self.last(h)
