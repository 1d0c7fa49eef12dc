"""Input encodings: specifications that build a module from normalised coordinates to features.

Most of them are one linear map whose rows pass as they are or become a cosine and a sine,
x -> [A x, cos(B x), sin(B x)] (Tancik et al., NeurIPS 2020, arXiv 2006.10739). The matrices belong to these
modules and not to an ``nn.Linear``, so that no factorization touches them.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nfsolve._core.errors import unknown
from nfsolve.fields.checks import check_counts, check_positive


class Encoder(nn.Module):
    """A module from normalised coordinates ``(n, d)`` to features ``(n, out_features)``.

    Args:
        out_features: Number of features.
    """

    def __init__(self, out_features: int):
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return the coordinates as they are."""
        return x


class Waves(Encoder):
    """x -> [z_1 .. z_plain, cos(z_plain+1 ..), sin(z_plain+1 ..)] with z = M x + shift.

    Args:
        matrix: M, ``(rows, in_features)``.
        plain: Number of rows that pass as they are, the first ones.
        shift: ``(rows,)``, or None.
        trainable: Whether M is a parameter rather than a buffer.
    """

    matrix: Tensor
    shift: Tensor | None

    def __init__(self, matrix: Tensor, plain: int = 0, shift: Tensor | None = None, trainable: bool = False):
        super().__init__(plain + 2 * (len(matrix) - plain))
        self.plain = plain
        if trainable:
            self.matrix = nn.Parameter(matrix)
        else:
            self.register_buffer("matrix", matrix)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, in_features)`` to ``(n, out_features)``."""
        z = F.linear(x, self.rows(), self.shift)
        if self.out_features == self.plain:
            return z
        waves = z[..., self.plain :]
        parts = [torch.cos(waves), torch.sin(waves)]
        return torch.cat([z[..., : self.plain], *parts] if self.plain else parts, -1)

    def rows(self) -> Tensor:
        """Return the matrix."""
        return self.matrix


class TrainablePeriods(Waves):
    """Waves whose rows are divided by trainable periods, the same for all harmonics of a coordinate.

    Args:
        matrix: M for period 1, the rows of waves ordered harmonic by harmonic.
        plain: Number of rows that pass as they are.
        periods: Initial periods, one for each coordinate with waves.
    """

    def __init__(self, matrix: Tensor, plain: int, periods: Tensor):
        super().__init__(matrix, plain)
        self.periods = nn.Parameter(periods)
        self.harmonics = (len(matrix) - plain) // len(periods)

    def rows(self) -> Tensor:
        """Return the matrix for the present periods."""
        waves = self.matrix[self.plain :] / self.periods.repeat(self.harmonics)[:, None]
        return torch.cat([self.matrix[: self.plain], waves])


class Encoding(ABC):
    """A specification that builds the module between normalised coordinates and the first layer."""

    @abstractmethod
    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module.

        Args:
            names: Names of the incoming features; those of coordinates in [-1, 1] are the coordinates' own.
            generator: CPU generator of what is random in it.

        Returns:
            A float64 CPU module from ``(n, len(names))`` to ``(n, out_features)``, with ``out_features``.
        """


@dataclass(frozen=True)
class Identity(Encoding):
    """Normalised coordinates as they are."""

    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module."""
        return Encoder(len(names))


@dataclass(frozen=True)
class Positional(Encoding):
    """cos and sin of 2^k pi x, k = 0 .. bands - 1, axis by axis (NeRF, Mildenhall et al., ECCV 2020, eq. 4).

    Attributes:
        bands: Number of octaves.
        raw: Whether the coordinates themselves are features too, as in NeRF's code.
    """

    bands: int = 10
    raw: bool = True

    def __post_init__(self) -> None:
        check_counts("Positional", bands=self.bands)

    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module."""
        eye = torch.eye(len(names), dtype=torch.float64)
        octaves = [math.pi * 2**k * eye for k in range(self.bands)]
        return Waves(torch.cat([eye, *octaves] if self.raw else octaves), len(names) if self.raw else 0)


@dataclass(frozen=True)
class GaussianFourier(Encoding):
    """cos and sin of 2 pi B x with B ~ N(0, scale^2) (Tancik et al., NeurIPS 2020).

    Coordinates are in [-1, 1], twice the paper's interval: its sigma = 10 is scale = 5 here. Codes without
    the factor 2 pi (the Expert's Guide to PINNs, arXiv 2308.08468) have scale_there = 2 pi scale.

    Attributes:
        features: Number of random frequencies, half the number of features.
        scale: Standard deviation of the frequencies, in cycles per unit of a normalised coordinate.
        trainable: Whether B is trained.
    """

    features: int = 128
    scale: float = 1.0
    trainable: bool = False

    def __post_init__(self) -> None:
        check_counts("GaussianFourier", features=self.features)
        check_positive("GaussianFourier", scale=self.scale)

    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module."""
        draw = torch.randn(self.features, len(names), generator=generator, dtype=torch.float64)
        return Waves(2 * math.pi * self.scale * draw, trainable=self.trainable)


@dataclass(frozen=True)
class Periodic(Encoding):
    """cos and sin of the harmonics 2 pi k x / P in place of a coordinate x (Dong & Ni, JCP 435, 2021).

    For the period of the domain itself, mark the coordinate as periodic there; this is for another period, or
    an unknown one (as in time: Expert's Guide to PINNs, arXiv 2308.08468).

    Attributes:
        of: Names of the coordinates; empty takes all that the domain does not mark as periodic.
        period: P in units of the coordinate's interval (initial value where trainable).
        harmonics: Number of harmonics.
        trainable: Whether the periods are trained, one for each coordinate.
    """

    of: tuple[str, ...] = ()
    period: float = 1.0
    harmonics: int = 1
    trainable: bool = False

    def __post_init__(self) -> None:
        check_positive("Periodic", period=self.period)
        check_counts("Periodic", harmonics=self.harmonics)

    def build(self, names: tuple[str, ...], generator: Generator) -> Encoder:
        """Build the module.

        Raises:
            InputError: A name that is not a coordinate of the field, or one that is periodic already.
        """
        free = [name for name in names if not name.startswith(("cos ", "sin "))]
        for name in self.of:
            if name not in free:
                raise unknown("coordinate", name, free)
        eye = torch.eye(len(names), dtype=torch.float64)
        chosen = [names.index(name) for name in self.of or free]
        kept = [i for i in range(len(names)) if i not in chosen]
        # the interval [-1, 1] has length 2, so one period is 2 P
        octaves = [math.pi * k * eye[chosen] for k in range(1, self.harmonics + 1)]
        matrix, plain = torch.cat([eye[kept], *octaves]), len(kept)
        if self.trainable:
            return TrainablePeriods(matrix, plain, torch.full((len(chosen),), self.period, dtype=torch.float64))
        matrix[plain:] /= self.period
        return Waves(matrix, plain)


IDENTITY = Identity()
