"""Multilayer perceptron: y = W_L s(W_{L-1} ... s(W_1 e(x) + b_1) ...) + b_L on encoded coordinates e(x)."""

from typing import Any

from torch import Tensor

from nfsolve.fields.field import Domain
from nfsolve.fields.network import Network


class MLP(Network):
    """A fully connected network.

    Arguments and errors as for `Network`.
    """

    def __init__(self, domain: Domain, outputs: str | tuple[str, ...] = "u", **options: Any):
        super().__init__(domain, outputs, **options)
        self.body = self.layers(self.config["depth"]).stack(len(self.outputs))

    def network(self, features: Tensor) -> Tensor:
        """Map encoded coordinates to raw outputs."""
        return self.body(features)
