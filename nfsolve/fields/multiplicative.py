"""Multiplicative filter networks: z_1 = g_1(x), z_{i+1} = (W_i z_i + b_i) g_{i+1}(x), y = W z + b.

Fathony, Sahu, Willmott & Kolter, Multiplicative Filter Networks, ICLR 2021: the network is a sum of sines (or
of Gabor functions) of x, whose frequencies are sums of the filters' ones.
"""

import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nfsolve._core.random import generator
from nfsolve.fields.activations import TANH
from nfsolve.fields.checks import check_positive
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.init import Place, TorchDefault
from nfsolve.fields.layers import linear


class FourierFilter(nn.Module):
    """g(x) = sin(omega x + phi), phi ~ U(-pi, pi); its matrix is its own, so no factorization touches it.

    Args:
        frequencies: omega, ``(width, d)``.
        generator: CPU generator of the phases.
    """

    def __init__(self, frequencies: Tensor, generator: Generator):
        super().__init__()
        draw = torch.rand(len(frequencies), generator=generator, dtype=torch.float64)
        self.frequencies = nn.Parameter(frequencies)
        self.phases = nn.Parameter(math.pi * (2 * draw - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, d)`` to ``(n, width)``."""
        return torch.sin(F.linear(x, self.frequencies, self.phases))


class GaborFilter(FourierFilter):
    """g(x) = exp(-|r (x - mu)|^2 / 2) sin(omega x + phi), mu uniform in the normalised domain.

    Args:
        frequencies: omega, ``(width, d)``.
        inverse_widths: r, ``(width,)``; r^2 is the paper's gamma.
        generator: CPU generator of phases and centres.
    """

    def __init__(self, frequencies: Tensor, inverse_widths: Tensor, generator: Generator):
        super().__init__(frequencies, generator)
        draw = torch.rand(frequencies.shape, generator=generator, dtype=torch.float64)
        self.centres = nn.Parameter(2 * draw - 1)
        self.inverse_widths = nn.Parameter(inverse_widths)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, d)`` to ``(n, width)``."""
        # |x - mu|^2 by matrix products: no (n, width, d) array
        square = F.linear(x * x, torch.ones_like(self.centres), (self.centres * self.centres).sum(-1))
        distance = square - 2 * F.linear(x, self.centres)
        return torch.exp(-0.5 * self.inverse_widths * self.inverse_widths * distance) * super().forward(x)


class FilterNetwork(Field):
    """The shared base of both networks.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Number of functions in a filter.
        depth: Number of filters; ``depth - 1`` linear maps stand between them.
        scale: Root mean square of the initial angular frequencies of the whole product, along each normalised
            coordinate. The default of the paper's code, made for images, is 256 / sqrt(3 d).
        harmonics: Harmonics of the embedding of periodic coordinates.
        **options: Arguments of `Field`, and what `filter` needs.

    Raises:
        InputError: A size or scale that is not positive.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        width: int = 64,
        depth: int = 4,
        scale: float = 10.0,
        harmonics: int = 1,
        **options: Any,
    ):
        super().__init__(domain, outputs, width=width, depth=depth, scale=scale, harmonics=harmonics, **options)
        check_positive(type(self).__name__, scale=scale)
        random = generator(self.seed, "weights")
        like = self.coordinates.matrix
        self.filters = nn.ModuleList(self.filter(random) for _ in range(depth)).to(like.device, like.dtype)
        self.maps = nn.ModuleList()
        for index, rows in enumerate([width] * (depth - 1) + [len(self.outputs)]):
            layer = linear(width, rows, like.dtype, like.device)
            TorchDefault()(layer, Place(index, depth - 1, width, TANH), random)  # the published bound
            self.maps.append(layer)

    @abstractmethod
    def filter(self, random: Generator) -> nn.Module:
        """Draw one filter, a float64 CPU module from ``(n, d)`` to ``(n, width)``."""

    def frequencies(self, random: Generator) -> Tensor:
        """Draw the angular frequencies of one filter, ``(width, d)``, with its share of the variance."""
        shape = (self.config["width"], self.coordinates.out_features)
        bound = math.sqrt(3 / self.config["depth"]) * self.config["scale"]
        return bound * (2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1)

    def network(self, features: Tensor) -> Tensor:
        """Map normalised coordinates to raw outputs."""
        z = self.filters[0](features)
        for i in range(1, len(self.filters)):
            z = self.maps[i - 1](z) * self.filters[i](features)
        return self.maps[-1](z)


class FourierFilterNetwork(FilterNetwork):
    """A product of sine filters, mixed by linear maps.

    Arguments and errors as for `FilterNetwork`.
    """

    def filter(self, random: Generator) -> nn.Module:
        """Draw one filter."""
        return FourierFilter(self.frequencies(random), random)


class GaborFilterNetwork(FilterNetwork):
    """A product of Gabor filters, mixed by linear maps.

    The envelope of each filter has gamma ~ Gamma(shape / depth, rate), and its frequencies a variance in
    proportion to gamma, so that narrow envelopes carry high frequencies (as in the paper's code).

    Arguments and errors as for `FilterNetwork`, and:

    Args:
        shape: Shape of the Gamma distribution of the whole product's gamma.
        rate: Its rate.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        shape: float = 6.0,
        rate: float = 1.0,
        **options: Any,
    ):
        check_positive(type(self).__name__, shape=shape, rate=rate)
        super().__init__(domain, outputs, shape=shape, rate=rate, **options)

    def filter(self, random: Generator) -> nn.Module:
        """Draw one filter."""
        share = self.config["shape"] / self.config["depth"]
        draw = torch.rand(self.config["width"], generator=random, dtype=torch.float64)
        from scipy.special import gammaincinv  # takes 0.3 s

        gamma = torch.from_numpy(gammaincinv(share, draw.numpy()))  # by the inverse distribution function
        frequencies = self.frequencies(random) * (gamma / share).sqrt()[:, None]
        return GaborFilter(frequencies, (gamma / self.config["rate"]).sqrt(), random)
