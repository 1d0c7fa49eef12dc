"""Rivals of SIREN's initialisation for sine networks: a smaller last layer, and unit gain at any depth.

Saratchandran, Ramasinghe & Lucey, CVPR 2024 (arXiv 2403.19205); Combette, Venaille & Pustelnik, ICLR 2026
(arXiv 2512.06427).
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, nn

from nfsolve.fields.checks import check_positive
from nfsolve.fields.init import Place, Siren, uniform_


@dataclass(frozen=True)
class SmallLast(Siren):
    """SIREN's bounds with the variance of the last layer's weights times d^(-power).

    With the default the variance is 2 omega^-2 d^(-3/2) instead of 2 omega^-2 d^-1. The power is the method's;
    applying it to SIREN's bound is our own choice, because the authors' constant could not be verified.

    Attributes:
        power: Power of the last layer's number of inputs by which its variance is divided.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        check_positive("SmallLast", power=self.power)

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        super().__call__(layer, place, generator)
        if place.last:
            with torch.no_grad():
                layer.weight.mul_(layer.in_features ** (-self.power / 2))


@dataclass(frozen=True)
class Combette(Siren):
    """Hidden layers U(-c, c), c = sqrt(6 / ((1 + e^-2) d)) / omega, with Gaussian biases of sd c sqrt(d/3) / e.

    The phases omega (W h + b) then keep a standard deviation of 1 and back-propagation a gain of 1 at any depth.
    First and last layer are SIREN's (own choice: the published description is of the hidden layers).
    """

    def __call__(self, layer: nn.Linear, place: Place, generator: Generator) -> None:
        """Fill a layer."""
        super().__call__(layer, place, generator)  # refuses activations without an omega
        rate, d = place.activation.rate(place.index), layer.in_features
        if place.index == 0 or place.last or rate is None:
            return
        bound = math.sqrt(6 / (1 + math.exp(-2)))
        uniform_(layer.weight, bound / (rate * math.sqrt(d)), generator)
        draw = torch.randn(layer.out_features, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            layer.bias.copy_(bound * math.exp(-1) / (math.sqrt(3) * rate) * draw)
