"""The modified MLP: two encoders gate every hidden layer."""

from typing import Any

from torch import Tensor, nn

from nfsolve.fields.field import Domain
from nfsolve.fields.layers import Layers
from nfsolve.fields.network import Network


class Gated(nn.Module):
    """The gated network on features that are encoded already.

    Args:
        layers: Makes the layers; their number is that of the gated ones.
        outputs: Number of outputs.
    """

    def __init__(self, layers: Layers, outputs: int):
        super().__init__()
        self.gate_u, self.gate_v = layers.first(), layers.first()
        middle = (layers.hidden(index) for index in range(1, layers.count))
        self.hidden = nn.ModuleList([layers.first(), *middle])
        self.last = layers.last(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(n, features)`` to ``(n, outputs)``."""
        u, v = self.gate_u(features), self.gate_v(features)
        difference = v - u
        h = features
        for layer in self.hidden:
            h = u + layer(h) * difference
        return self.last(h)


class ModifiedMLP(Network):
    """h <- (1 - z) U + z V with z = s(W h + b), U = s(W_U e(x) + b_U), V = s(W_V e(x) + b_V).

    Arguments and errors as for `Network`; ``depth`` counts the gated layers.

    Reference:
        Wang, Teng & Perdikaris, SIAM J. Sci. Comput. 43 (2021), arXiv 2001.04536; with a gate in every layer,
        as in the Expert's Guide to PINNs, arXiv 2308.08468.
    """

    def __init__(self, domain: Domain, outputs: str | tuple[str, ...] = "u", **options: Any):
        super().__init__(domain, outputs, **options)
        self.body = Gated(self.layers(self.config["depth"]), len(self.outputs))

    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates to raw outputs."""
        return self.body(features)
