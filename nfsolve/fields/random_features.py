"""Random features: one hidden layer of fixed random frequencies, of which only the last layer is trained.

u(x) = sum_i c_i s(w_i . z + b_i) + c_0 on coordinates z normalised to [-1, 1], w_i uniform in a box, b_i uniform in
[-pi, pi] (extreme learning machine: Huang, Zhu & Siew, Neurocomputing 70 (2006) 489; for PDEs: Dong & Li, Comput.
Methods Appl. Mech. Eng. 387 (2021) 114129). u is linear in what is trained: a linear PDE is one least-squares problem.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.fields.activations import Activation, Sine
from nfsolve.fields.checks import check_positive
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.init import uniform_
from nfsolve.fields.layers import linear

FEATURES = Sine(1.0)
RIDGE = 1e-8  # of a fit to values: as close as a first guess needs, with small coefficients


class RandomFeatures(Field):
    """A hidden layer of fixed random frequencies and a last layer that is trained.

    The scale is the bandwidth: what oscillates faster is not represented, and a scale far above what the solution
    needs wastes features. It plays the part of weight scaling in a network whose hidden layer is not trained.
    Along a periodic coordinate frequencies are whole multiples of the lowest, so that the field repeats exactly.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Number of features.
        scale: Largest frequency, in radians per unit of a coordinate normalised to [-1, 1]; or one for each coordinate.
        activation: Activation of the features.
        **options: Arguments of `Field`.

    Raises:
        InputError: A size that is not positive, or another number of scales than of coordinates.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        width: int = 400,
        scale: float | tuple[float, ...] = 4.0,
        activation: Activation = FEATURES,
        **options: Any,
    ):
        d = len(domain.names)
        scales = tuple(scale) if isinstance(scale, tuple | list) else (float(scale),) * d
        if len(scales) != d:
            raise InputError(
                f"RandomFeatures needs one scale, or {d} of them ({', '.join(domain.names)}), got {len(scales)}",
                do="give scale= one number, or one for each coordinate",
            )
        check_positive("RandomFeatures", **{f"scale of {n}": s for n, s in zip(domain.names, scales, strict=True)})
        if activation.is_complex or activation.maps != 1:
            raise InputError(
                f"RandomFeatures needs a real activation of one linear map, got {activation}", do="choose Sine or Tanh"
            )
        super().__init__(_Open(domain), outputs, width=width, scale=scale, activation=activation, **options)
        like = self.coordinates.matrix
        self.features = linear(d, width, like.dtype, like.device)
        self.activation = activation
        self.last = linear(width, len(self.outputs), like.dtype, like.device)
        chance = generator(self.seed, "features")
        frequencies = (2 * torch.rand(width, d, generator=chance, dtype=torch.float64) - 1) * torch.tensor(
            scales
        ).double()
        for column, wraps in enumerate(domain.periodic):
            if wraps:
                frequencies[:, column] = math.pi * torch.round(frequencies[:, column] / math.pi)
        with torch.no_grad():
            self.features.weight.copy_(frequencies)
            uniform_(self.features.bias, math.pi, chance)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.features.requires_grad_(False)

    def network(self, features: Tensor) -> Tensor:
        """Map normalised coordinates to raw outputs."""
        return self.last(self.activation(self.features(features), 0))

    def raw(self, points: Tensor) -> Tensor:
        """Evaluate at points ``(n, d)`` without the output transform, ``(n, k)``."""
        return self.network(self.encode(self.cast(points)))

    @torch.no_grad()
    def fit(self, points: Tensor, values: Tensor) -> None:
        """Set the last layer so that raw outputs come close to given values, by least squares.

        Args:
            points: Points ``(n, d)``, more than there are features.
            values: What raw outputs should be there, ``(n, k)``.
        """
        hidden = self.activation(self.features(self.encode(self.cast(points))), 0).double()
        matrix = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], 1)
        ridge = RIDGE * len(matrix) ** 0.5 * torch.eye(matrix.shape[1]).to(matrix)
        right = torch.cat([values.double(), values.new_zeros(len(ridge), values.shape[1]).double()])
        found = torch.linalg.lstsq(torch.cat([matrix, ridge]), right).solution.T
        self.last.weight.copy_(found[:, :-1])
        self.last.bias.copy_(found[:, -1])


class _Open:
    """A domain whose periodic coordinates are plain ones."""

    def __init__(self, domain: Domain):
        self.names, self.bounds, self.periodic = domain.names, domain.bounds, (False,) * len(domain.names)
