"""Shift-DeepONet: functions of the points that are moved and stretched as the input function says.

Lanthaler, Molinaro, Hadorn & Mishra, Nonlinear Reconstruction for Operator Learning of PDEs with Discontinuities,
ICLR 2023, arXiv 2210.01074.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.fields.branches import PLAIN, Branch
from nfsolve.fields.field import Domain
from nfsolve.fields.network import Network
from nfsolve.fields.operators import Operator, joined, make_branch, make_branches, product


class ShiftDeepONet(Operator, Network):
    """s(f)(x)_k = sum_jl branch(f)_jkl trunk(x + A_j(f) x + c_j(f))_kl + b_k in frames j, for what travels.

    A_j and c_j are the outputs of another network of the sensors, in normalised coordinates. Where the paper has a
    frame for each term of the sum, here the terms of one frame share it, and every frame has the same functions of the
    points. A periodic coordinate is moved only, and moves no other, so that the field stays periodic.

    The trunk runs on every pair of a point and a function, ``frames`` times: derivatives cost as much more.

    Arguments and errors as for `DeepONet`, and:

    Args:
        frames: Number of frames.
        shift: Network that gives the frames.
    """

    middle: Tensor
    radius: Tensor

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "s",
        sensors: int | tuple[int, ...] = 100,
        *,
        frames: int = 4,
        latent: int = 64,
        branch: Branch | tuple[Branch, ...] = PLAIN,
        shift: Branch = PLAIN,
        **options: Any,
    ):
        own = {"frames": frames, "latent": latent, "branch": branch, "shift": shift}
        super().__init__(domain, outputs, sensors, **own, **options)
        k, like = len(self.outputs), self.coordinates.matrix
        self.trunk = self.layers(self.config["depth"]).stack(k * latent)
        self.branches = make_branches(self, branch, frames * k * latent)
        low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
        self.register_buffer("middle", ((low + high) / 2).to(like))
        self.register_buffer("radius", ((high - low) / 2).to(like))
        self.free = [i for i, wraps in enumerate(domain.periodic) if not wraps]
        moves = frames * len(self.inputs) * (len(self.free) + 1)
        self.shift = make_branch(self, shift, sum(self.sensors), moves, "shift")
        self.bias = nn.Parameter(torch.zeros(k, dtype=like.dtype, device=like.device))

    def images(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Sum over the frames."""
        frames, k = self.config["frames"], len(self.outputs)
        coefficients = product(self.branches, functions).unflatten(-1, (frames, -1))
        products = self.trunk(self.encode(self.moved(x, functions))) * coefficients
        return products.unflatten(-1, (k, -1)).sum(-1).sum(-2) + self.bias

    def moved(self, x: Tensor, functions: Sequence[Tensor]) -> Tensor:
        """Return the points in each frame, ``(..., n, frames, d)``."""
        shape = (self.config["frames"], len(self.inputs), len(self.free) + 1)
        moves = self.shift(joined(functions)).unflatten(-1, shape)
        unit = torch.sub(x, self.middle) * (1 / self.radius)
        stretched = (unit[..., None, None, self.free] * moves[..., :-1]).sum(-1)
        return x[..., None, :] + (stretched + moves[..., -1]) * self.radius
