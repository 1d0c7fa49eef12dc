"""The modified DeepONet: an encoder of the function and one of the point gate the layers of both networks.

Wang, Wang & Perdikaris, Improved architectures and training algorithms for deep operator networks, J. Sci. Comput. 92
(2022), arXiv 2110.01654, section 3.2.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.fields.field import Domain
from nfsolve.fields.layers import Layers
from nfsolve.fields.network import Network
from nfsolve.fields.operators import Operator, joined


class ModifiedDeepONet(Operator, Network):
    """h <- (1 - z) U + z V in branch and trunk, with U an encoding of the function and V one of the point.

    Both networks then depend on both, so they run on every pair of a point and a function: derivatives cost as much
    more than those of a `DeepONet`, whose ``trunk="modified"`` and ``branch=Modified()`` have encoders of their own.

    Arguments and errors as for `DeepONet`; activation, width and depth are those of both networks, and the branch has
    the activation's own initialisation. Several input functions are read as one.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        latent: int = 64,
        **options: Any,
    ):
        super().__init__(domain, outputs, sensors, latent=latent, **options)
        k, like, c = len(self.outputs), self.coordinates.matrix, self.config
        depth, given = c["depth"], (self.seed, like.dtype, like.device)
        trunk = self.layers(depth)
        branch = Layers(sum(self.sensors), c["width"], depth, c["activation"], None, *given, purpose="branch")
        self.encode_point, self.encode_function = trunk.first(), branch.first()
        self.trunk = nn.ModuleList([trunk.first(), *(trunk.hidden(index) for index in range(1, depth))])
        self.branches = nn.ModuleList([branch.first(), *(branch.hidden(index) for index in range(1, depth))])
        self.trunk_last, self.branches_last = trunk.last(k * latent), branch.last(k * latent)
        self.bias = nn.Parameter(torch.zeros(k, dtype=like.dtype, device=like.device))

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Run both networks side by side."""
        y, f = self.encode(x), joined(functions)
        u = self.encode_function(f)
        difference = torch.sub(self.encode_point(y), u)
        for trunk, branch in zip(self.trunk, self.branches, strict=True):
            y, f = difference * trunk(y) + u, difference * branch(f) + u
        products = self.trunk_last(y) * self.branches_last(f)
        return products.unflatten(-1, (len(self.outputs), -1)).sum(-1) + self.bias
