"""Multiplicative filter networks: z_1 = g_1(x), z_{i+1} = (W_i z_i + b_i) g_{i+1}(x), y = W z + b.

Fathony, Sahu, Willmott & Kolter, Multiplicative Filter Networks, ICLR 2021: the network is a sum of sines (or
of Gabor functions) of x, whose frequencies are sums of the filters' ones.
"""

import math

import torch
import torch.nn.functional as F
from scipy.special import gammaincinv
from torch import Generator, Tensor, nn

from nfsolve._core.random import generator
from nfsolve.fields.activations import TANH
from nfsolve.fields.checks import check_positive
from nfsolve.fields.field import Device, Domain, Field, Transform
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


class FourierFilterNetwork(Field):
    """A product of sine filters, mixed by linear maps.

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Number of sines in a filter.
        depth: Number of filters; ``depth - 1`` linear maps stand between them.
        scale: Root mean square of the initial angular frequencies of the whole product, along each normalised
            coordinate; about 104 in the paper's fit of images of 256 x 256 pixels.
        harmonics: Harmonics of the embedding of periodic coordinates.
        transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``.
        seed: Seed of the weights.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.

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
        transform: Transform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ):
        options = {"width": width, "depth": depth, "scale": float(scale), "harmonics": harmonics}
        self._build(domain, outputs, transform, options, seed, dtype, device)

    def _build(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...],
        transform: Transform | None,
        options: dict[str, int | float],
        seed: int,
        dtype: torch.dtype | None,
        device: Device,
    ) -> None:
        Field.__init__(self, domain, outputs, transform, dict(options), seed, dtype, device)
        numbers = {name: value for name, value in options.items() if isinstance(value, float)}
        check_positive(type(self).__name__, **numbers)
        width, depth, random = int(options["width"]), int(options["depth"]), generator(seed, "weights")
        like = self.coordinates.matrix
        self.filters = nn.ModuleList(self._filter(random) for _ in range(depth)).to(like.device, like.dtype)
        sizes = [(width, width)] * (depth - 1) + [(width, len(self.outputs))]
        maps = [linear(a, b, like.dtype, like.device) for a, b in sizes]
        for index, layer in enumerate(maps):
            TorchDefault()(
                layer, Place(index, len(maps), width, TANH), random
            )  # the published bound 1/sqrt(d)
        self.maps = nn.ModuleList(maps)

    def _frequencies(self, random: Generator) -> Tensor:
        # frequencies add up in the product: each of the filters has its share of the variance
        shape = (self.config["width"], self.coordinates.out_features)
        bound = math.sqrt(3 / self.config["depth"]) * self.config["scale"]
        return bound * (2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1)

    def _filter(self, random: Generator) -> nn.Module:
        return FourierFilter(self._frequencies(random), random)

    def network(self, features: Tensor) -> Tensor:
        """Map normalised coordinates to raw outputs."""
        z = self.filters[0](features)
        for layer, factor in zip(self.maps[:-1], self.filters[1:], strict=True):
            z = layer(z) * factor(features)
        return self.maps[-1](z)


class GaborFilterNetwork(FourierFilterNetwork):
    """A product of Gabor filters, mixed by linear maps.

    The envelope of each filter has gamma ~ Gamma(shape / depth, rate) and its frequencies a variance in
    proportion to gamma, so that narrow envelopes carry high frequencies (paper, section 3.3 and its code).

    Args:
        domain: Names, bounds and periodicity of the coordinates.
        outputs: Names of the outputs, separated by spaces or as a tuple.
        width: Number of Gabor functions in a filter.
        depth: Number of filters; ``depth - 1`` linear maps stand between them.
        scale: Root mean square of the initial angular frequencies of the whole product, along each normalised
            coordinate.
        shape: Shape of the Gamma distribution of the whole product's gamma.
        rate: Its rate.
        harmonics: Harmonics of the embedding of periodic coordinates.
        transform: Maps coordinates ``(n, d)`` and raw outputs ``(n, k)`` to ``(n, k)``.
        seed: Seed of the weights.
        dtype: Type of the parameters, default float32.
        device: Device of the parameters, default CPU.

    Raises:
        InputError: A size, scale, shape or rate that is not positive.
    """

    def __init__(
        self,
        domain: Domain,
        outputs: str | tuple[str, ...] = "u",
        *,
        width: int = 64,
        depth: int = 4,
        scale: float = 10.0,
        shape: float = 6.0,
        rate: float = 1.0,
        harmonics: int = 1,
        transform: Transform | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ):
        options = {"width": width, "depth": depth, "scale": float(scale), "shape": float(shape)}
        options |= {"rate": float(rate), "harmonics": harmonics}
        self._build(domain, outputs, transform, options, seed, dtype, device)

    def _filter(self, random: Generator) -> nn.Module:
        share = self.config["shape"] / self.config["depth"]
        draw = torch.rand(self.config["width"], generator=random, dtype=torch.float64)
        relative = torch.from_numpy(gammaincinv(share, draw.numpy())) / share  # Gamma of mean 1
        frequencies = self._frequencies(random) * relative.sqrt()[:, None]
        gamma = relative * share / self.config["rate"]
        return GaborFilter(frequencies, gamma.sqrt(), random)
