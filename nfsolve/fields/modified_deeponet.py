"""The modified DeepONet: an encoder of the function and one of the point gate the layers of both networks.

Wang, Wang & Perdikaris, Improved architectures and training algorithms for deep operator networks, J. Sci. Comput. 92
(2022), arXiv 2110.01654, section 3.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nfsolve.fields.activations import TANH, Activation
from nfsolve.fields.chosen import chosen
from nfsolve.fields.encodings import IDENTITY, Encoding
from nfsolve.fields.field import Device, Domain, OutputTransform
from nfsolve.fields.init import Init
from nfsolve.fields.layers import Layers
from nfsolve.fields.operators import Operator, joined


class ModifiedDeepONet(Operator):
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
        width: int = 64,
        depth: int = 3,
        latent: int = 64,
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
        options = {"sensors": sensors, "width": width, "depth": depth, "latent": latent, "activation": activation}
        options |= {"encoding": encoding, "harmonics": harmonics, "init": init}
        super().__init__(domain, outputs, output_transform, options, seed, dtype, device)
        k, like = len(self.outputs), self.coordinates.matrix
        common = (seed, like.dtype, like.device)
        trunk = Layers(self.encoding.out_features, width, depth, activation, init, *common)
        branch = Layers(sum(self.sensors), width, depth, activation, None, *common, purpose="branch")
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
