"""Activations as specifications: frozen dataclasses of numbers, called with a pre-activation and its layer.

A phase or an envelope acts on the whole pre-activation z = W x + b, so the bias sits inside omega.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve.fields.checks import check_positive


@dataclass(frozen=True)
class Activation(ABC):
    """An elementwise function between linear layers.

    Attributes:
        first_bias: Half width of the uniform distribution of the first layer's biases; None leaves them to
            the initialisation.
        is_complex: Whether values are complex, stored as real parts followed by imaginary parts.
        maps: Number of linear maps that feed one unit; their pre-activations follow each other.
    """

    first_bias: ClassVar[float | None] = None
    is_complex: ClassVar[bool] = False
    maps: ClassVar[int] = 1

    def __post_init__(self) -> None:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        check_positive(type(self).__name__, **{k: v for k, v in values.items() if v is not None})

    @abstractmethod
    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function.

        Args:
            z: Pre-activations ``(n, maps * width)``.
            layer: Number of the layer, 0 for the first.

        Returns:
            Values ``(n, width)``; ``(n, 2 * width)`` where a complex one acts on the real first layer.
        """

    def rate(self, layer: int) -> float | None:
        """Return the angular frequency omega of a layer, None where the function does not oscillate."""
        return None


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh(z)."""

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return torch.tanh(z)


@dataclass(frozen=True)
class ReLU(Activation):
    """max(z, 0); its second derivative is zero, so it solves no second-order PDE in strong form."""

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return F.relu(z)


@dataclass(frozen=True)
class GELU(Activation):
    """z Phi(z) with the exact normal distribution function (Hendrycks & Gimpel, arXiv 1606.08415)."""

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return F.gelu(z)


@dataclass(frozen=True)
class Softplus(Activation):
    """log(1 + exp(z))."""

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return F.softplus(z)


@dataclass(frozen=True)
class Sine(Activation):
    """sin(omega z) (SIREN, Sitzmann et al., NeurIPS 2020, arXiv 2006.09661).

    Attributes:
        omega: Angular frequency of the first layer, and of all layers where ``hidden`` is None.
        hidden: Angular frequency of the layers after the first.
    """

    omega: float = 30.0
    hidden: float | None = None

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return torch.sin(self.rate(layer) * z)

    def rate(self, layer: int) -> float:
        """Return the angular frequency of a layer."""
        return self.omega if layer == 0 or self.hidden is None else self.hidden


@dataclass(frozen=True)
class Finer(Activation):
    """sin(omega (|z| + 1) z), a sine of variable period (FINER, Liu et al., CVPR 2024, arXiv 2312.02434).

    The published code treats |z| + 1 as a constant in derivatives. Here derivatives are exact, because a
    residual needs those of the function itself.

    Attributes:
        omega: Angular frequency.
        bias: The first layer's biases start uniform in [-bias, bias], which decides the available periods.
    """

    omega: float = 30.0
    bias: float = 1 / math.sqrt(2)

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return torch.sin(self.omega * (torch.abs(z) + 1) * z)

    def rate(self, layer: int) -> float:
        """Return the angular frequency at z = 0."""
        return self.omega

    @property
    def first_bias(self) -> float:  # type: ignore[override]
        """Half width of the first layer's biases."""
        return self.bias


@dataclass(frozen=True)
class Gaussian(Activation):
    """exp(-(scale z)^2) (Ramasinghe & Lucey, ECCV 2022, arXiv 2111.15135; there sigma = 1 / (sqrt2 scale)).

    Attributes:
        scale: Inverse width.
    """

    scale: float = 20.0

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        y = self.scale * z
        return torch.exp(-y * y)


# 1/(2j+1)! to j = 10: at |y| = 1 the first term left out is 4e-23, and 1e-19 in the third derivative
_SINC_SERIES = [(-1) ** j / math.factorial(2 * j + 1) for j in range(11)]


def sinc(y: Tensor) -> Tensor:
    """Return sin(y) / y with every derivative right at and near y = 0.

    Args:
        y: Any shape.

    Returns:
        The same shape.
    """
    near = y * y < 1
    # each branch gets harmless arguments where the other is taken: 0 * inf would be NaN in derivatives
    small = torch.where(near, y, 0.0)
    large = torch.where(near, 1.0, y)
    square = small * small
    series = square * _SINC_SERIES[-1] + _SINC_SERIES[-2]
    for coefficient in reversed(_SINC_SERIES[:-2]):
        series = series * square + coefficient
    return torch.where(near, series, torch.sin(large) / large)


@dataclass(frozen=True)
class Sinc(Activation):
    """sin(omega z) / (omega z) (Saratchandran et al., arXiv 2402.05427).

    Attributes:
        omega: Angular frequency; 8 pi is torch.sinc(8 z), the setting of the weight-scaling paper.
    """

    omega: float = 8 * math.pi

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        return sinc(self.omega * z)

    def rate(self, layer: int) -> float:
        """Return the angular frequency of a layer."""
        return self.omega


@dataclass(frozen=True)
class Gabor(Activation):
    """cos(omega z) exp(-(scale z)^2), the real wavelet of WIRE (Saragadam et al., CVPR 2023) on one z.

    WIRE's own real variant, with a linear map for the wave and one for the envelope, is `RealGabor`.

    Attributes:
        omega: Angular frequency.
        scale: Inverse width of the envelope.
    """

    omega: float = 10.0
    scale: float = 10.0

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function."""
        y = self.scale * z
        return torch.cos(self.omega * z) * torch.exp(-y * y)

    def rate(self, layer: int) -> float:
        """Return the angular frequency of a layer."""
        return self.omega


@dataclass(frozen=True)
class RealGabor(Gabor):
    """cos(omega z1) exp(-(scale z2)^2) of two linear maps z1 and z2, the real variant in WIRE's code.

    The layers have twice as many parameters. It is the "wavelet" of Chng, Saratchandran & Lucey, CVPR 2025
    (arXiv 2402.08784), with both constants 10.

    Attributes:
        omega: Angular frequency.
        scale: Inverse width of the envelope.
    """

    maps: ClassVar[int] = 2

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function: the wave's half of z, then the envelope's."""
        half = z.shape[-1] // 2
        y = self.scale * z[..., half:]
        return torch.cos(self.omega * z[..., :half]) * torch.exp(-y * y)


@dataclass(frozen=True)
class ComplexGabor(Activation):
    """exp(j omega z - |scale z|^2), WIRE's complex wavelet (Saragadam et al., CVPR 2023, arXiv 2301.05187).

    The first layer is real, the others complex, the output is a real part. A network of width w gets
    int(w / sqrt2) complex units, which is the same number of real parameters.

    Attributes:
        omega: Angular frequency.
        scale: Inverse width of the envelope.
    """

    omega: float = 10.0
    scale: float = 10.0

    is_complex: ClassVar[bool] = True

    def __call__(self, z: Tensor, layer: int) -> Tensor:
        """Apply the function: real parts, then imaginary parts."""
        if layer == 0:
            decay = torch.exp(-(self.scale**2) * (z * z))
            phase = self.omega * z
        else:
            half = z.shape[-1] // 2
            real, imag = z[..., :half], z[..., half:]
            decay = torch.exp(-self.omega * imag - self.scale**2 * (real * real + imag * imag))
            phase = self.omega * real
        return torch.cat([decay * torch.cos(phase), decay * torch.sin(phase)], -1)

    def rate(self, layer: int) -> float:
        """Return the angular frequency of a layer."""
        return self.omega


TANH = Tanh()
