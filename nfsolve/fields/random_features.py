"""Random features: one hidden layer of fixed random frequencies, of which only the last layer is trained.

u(x) = sum_i c_i s(w_i . z + b_i) + c_0 on coordinates z normalised to [-1, 1], w_i uniform in a box, b_i uniform in
[-pi, pi] (extreme learning machine: Huang, Zhu & Siew, Neurocomputing 70 (2006) 489; for PDEs: Dong & Li, Comput.
Methods Appl. Mech. Eng. 387 (2021) 114129). u is linear in what is trained: a linear PDE is one least-squares problem.

Around a hole of the domain a solution is seldom the restriction of one that is smooth inside the hole too: a Laurent
series has powers of 1 / r, and log r. Half of the features are therefore functions of log r and of the direction as
seen from the middle of the hole, in which both are smooth. Where the domain is stretched (`Domain.stretched`), the
other features are functions of its stretched coordinates.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.fields.activations import Activation, Sine
from nfsolve.fields.checks import check_positive
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.init import uniform_
from nfsolve.fields.layers import linear

FEATURES = Sine(1.0)
TINY = 1e-200  # so that functions of log r are finite at a corner
WHOLE = 2e-3  # difference of an exponent at a corner from a whole number, below which it counts as one
HIGHEST = 16.0  # exponent of a feature at a corner
SINGULAR = 2.5  # exponent up to which these are multiplied with others
COPIES = 6  # of a feature at a corner, with other functions of time and parameters
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
        interactions: Number of coordinates that each feature depends on, chosen at random; 0 is all of them. A small
            number suits many dimensions, where solutions are often sums of functions of few coordinates (Hashemi,
            Schaeffer, Shi, Topcu, Tran & Ward, Appl. Comput. Harmon. Anal. 62 (2023) 310).
        around_holes: Share of the features that are placed around the holes of the domain, in [0, 1).
        scale_around: Bandwidth of these in the direction as seen from the middle of the hole and in log r, which do
            not oscillate faster where the rest of the solution does.
        at_corners: Share of the features that are singular at the corners of a domain in the plane, in [0, 1).
        corner_products: Share of these that are products with others, in [0, 1]. Without any, they are harmonic.
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
        interactions: int = 0,
        around_holes: float = 0.5,
        scale_around: float = 4.0,
        at_corners: float = 0.0,
        corner_products: float = 0.0,
        **options: Any,
    ):
        d = len(domain.names)
        scales = tuple(scale) if isinstance(scale, tuple | list) else (float(scale),) * d
        if len(scales) != d:
            raise InputError(
                f"RandomFeatures needs one scale, or {d} of them ({', '.join(domain.names)}), got {len(scales)}",
                do="give scale= one number, or one for each coordinate",
            )
        positive = {f"scale of {n}": s for n, s in zip(domain.names, scales, strict=True)}
        check_positive("RandomFeatures", **positive, scale_around=scale_around)
        if activation.is_complex or activation.maps != 1:
            raise InputError(
                f"RandomFeatures needs a real activation of one linear map, got {activation}", do="choose Sine or Tanh"
            )
        if interactions not in range(d + 1):
            raise InputError(
                f"interactions must be from 1 to {d}, the number of coordinates, or 0 for all, got {interactions}"
            )
        for name, part in {"around_holes": around_holes, "at_corners": at_corners}.items():
            if not 0 <= part < 1:
                raise InputError(f"{name} must be at least 0 and less than 1, got {part:g}")
        if not 0 <= corner_products <= 1:
            raise InputError(f"corner_products must be from 0 to 1, got {corner_products:g}")
        made = {"width": width, "scale": scale, "activation": activation, "interactions": interactions}
        made |= {"around_holes": around_holes, "scale_around": scale_around, "at_corners": at_corners}
        made |= {"corner_products": corner_products}
        super().__init__(_Open(domain), outputs, **made, **options)
        like = self.coordinates.matrix
        self.activation = activation
        self.stretch = getattr(domain, "stretch", None)
        corners: tuple[Any, ...] = _found(domain, "sharp_corners") if at_corners else ()
        holes = tuple(hole for hole in _found(domain, "holes") if not corners or _is_within(hole, domain))
        sharp = round(at_corners * width) if corners else 0
        share = round(around_holes * (width - sharp) / max(len(holes), 1))
        holes = holes if share else ()
        chance = generator(self.seed, "features")
        self.features = self._draw(scales, width - sharp - share * len(holes), domain.periodic, chance, interactions)
        views = [_AroundHole(hole, domain).to(like) for hole in holes]
        self.views = nn.ModuleList(views)
        bands = [(*[scale_around] * (len(v.columns) + 1), *(scales[i] for i in v.rest)) for v in views]
        self.around = nn.ModuleList(self._draw(band, share, (), chance) for band in bands)
        self.corners = _AtCorners(corners, domain, sharp, corner_products).to(like) if sharp else None
        if self.corners is not None:
            plane = corners[0].columns
            bands = tuple(scale_around if i in plane else s for i, s in enumerate(scales))
            self.beside = self._draw(bands, sharp, (), chance)
            alone = self.corners.alone.to(like.device)
            with torch.no_grad():
                for column in plane:
                    self.beside.weight[alone, column] = 0
                if len(plane) == d:  # of nothing else: a constant
                    self.beside.bias[alone] = math.pi / 2
        self.last = linear(width, len(self.outputs), like.dtype, like.device)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _draw(
        self, scales: tuple[float, ...], width: int, periodic: tuple[bool, ...], chance: Generator, most: int = 0
    ) -> nn.Linear:
        """Return a layer of random frequencies, at most so many in a row if not 0, and phases; it is not trained."""
        like = self.coordinates.matrix
        layer = linear(len(scales), width, like.dtype, like.device)
        largest = torch.tensor(scales, dtype=torch.float64)
        frequencies = (2 * torch.rand(width, len(scales), generator=chance, dtype=torch.float64) - 1) * largest
        for column, wraps in zip(range(len(scales)), periodic, strict=False):
            if wraps:
                frequencies[:, column] = math.pi * torch.round(frequencies[:, column] / math.pi)
        if most:
            order = torch.rand(frequencies.shape, generator=chance).argsort(1)
            frequencies = frequencies.where(order < most, 0.0)
        with torch.no_grad():
            layer.weight.copy_(frequencies)
            uniform_(layer.bias, math.pi, chance)
        return layer.requires_grad_(False)

    def hidden(self, features: Tensor) -> Tensor:
        """Evaluate all features at normalised coordinates ``(n, d)``, ``(n, width)``."""
        stretched = features if self.stretch is None else self.stretch(features)
        values = [self.features(stretched)]
        values += [layer(view(features)) for view, layer in zip(self.views, self.around, strict=True)]
        hidden = self.activation(torch.cat(values, -1) if len(values) > 1 else values[0], 0)
        if self.corners is None:
            return hidden
        singular = self.corners(features) * self.activation(self.beside(features), 0)
        return torch.cat([hidden, singular], -1)

    def network(self, features: Tensor) -> Tensor:
        """Map normalised coordinates to raw outputs."""
        return self.last(self.hidden(features))

    @torch.no_grad()
    def fit(self, points: Tensor, values: Tensor, ridge: float = RIDGE) -> None:
        """Set the last layer so that raw outputs come close to given values, by least squares.

        Args:
            points: Points ``(n, d)``, more than there are features.
            values: What raw outputs should be there, ``(n, k)``.
            ridge: Weight of the coefficients, relative to that of the values: the closer the fit, the larger they are.
        """
        hidden = self.hidden(self.encode(self.cast(points))).double()
        matrix = torch.cat([hidden, hidden.new_ones(len(hidden), 1)], 1)
        small = ridge * len(matrix) ** 0.5 * torch.eye(matrix.shape[1]).to(matrix)
        right = torch.cat([values.double(), values.new_zeros(len(small), values.shape[1]).double()])
        found = torch.linalg.lstsq(torch.cat([matrix, small]), right, driver="gels").solution.T
        self.last.weight.copy_(found[:, :-1])
        self.last.bias.copy_(found[:, -1])


class _AroundHole(nn.Module):
    """Normalised coordinates seen from the middle of a hole: direction, log r in [-1, 1], and those of no direction.

    Args:
        hole: Columns, centre and radius.
        domain: The domain.
    """

    away: Tensor
    shift: Tensor
    others: Tensor

    def __init__(self, hole: Any, domain: Domain):
        super().__init__()
        low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
        columns, rest = list(hole.columns), [i for i in range(len(low)) if i not in hole.columns]
        half, radius = (high - low) / 2, float(hole.radius)
        shift = ((high + low) / 2)[columns] - torch.tensor(hole.centre, dtype=torch.float64)
        self.columns, self.rest = columns, rest
        eye = torch.eye(len(low), dtype=torch.float64)
        self.register_buffer("away", eye[columns] * half / radius)
        self.register_buffer("shift", shift / radius)
        self.register_buffer("others", eye[rest])
        furthest = (half[columns] + shift.abs()).norm() / radius
        self.log_furthest = max(math.log(float(furthest)), 1e-3)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(n, d)`` to ``(n, d + 1)``."""
        away = F.linear(z, self.away, self.shift)
        square = (away * away).sum(-1, keepdim=True)
        parts = [away / torch.sqrt(square), torch.log(square) / self.log_furthest - 1]
        return torch.cat([*parts, F.linear(z, self.others)] if self.rest else parts, -1)


class _AtCorners(nn.Module):
    """Functions that are singular at corners: r^b times a cosine or sine of b phi, and log r where b is whole.

    Beside products there are these times r^2, too, which belong to equations with a term without derivatives.

    Args:
        corners: The corners.
        domain: The domain.
        count: Number of functions.
        products: Share of them that are to be multiplied with others: the strongest again and again. The rest are
            different ones in the order of their exponents.

    Attributes:
        alone: Which of them are multiplied with functions of the other coordinates only.
    """

    along: Tensor
    along_shift: Tensor
    across: Tensor
    across_shift: Tensor
    angular: Tensor
    radial: Tensor
    phases: Tensor
    with_logarithm: Tensor
    without: Tensor

    def __init__(self, corners: tuple[Any, ...], domain: Domain, count: int, products: float):
        super().__init__()
        functions = sorted(
            (b + 2 * m, b, i, phase)
            for i, corner in enumerate(corners)
            for b in _exponents(corner.angle)
            for phase in (0.0, -math.pi / 2)
            for m in range(2 if products else 1)
        )
        strong = [f for f in functions if f[0] <= SINGULAR]
        copies = COPIES if len(domain.names) > 2 else 1
        first = functions[: max(1, round((1 - products) * count / copies))]
        alone = [function for function in first for _ in range(copies)][:count]
        chosen = alone + [strong[i % len(strong)] for i in range(count - len(alone))]
        self.alone = torch.arange(count) < len(alone)
        radial, angular, at, phases = (
            torch.tensor(column, dtype=torch.float64) for column in zip(*chosen, strict=True)
        )
        whole = (angular == angular.round()).double()
        of = torch.eye(len(corners), dtype=torch.float64)[at.long()]
        frames = [_frame(corner, domain) for corner in corners]
        for i, name in enumerate(("along", "across")):
            self.register_buffer(name, torch.stack([rows[i] for rows, _ in frames]))
            self.register_buffer(f"{name}_shift", torch.stack([rows[i] for _, rows in frames]))
        self.register_buffer("radial", radial[:, None] * of)
        self.register_buffer("angular", angular[:, None] * of)
        self.register_buffer("phases", phases)
        self.register_buffer("with_logarithm", whole[:, None] * of)
        self.register_buffer("without", 1 - whole)

    def forward(self, z: Tensor) -> Tensor:
        """Map normalised coordinates ``(n, d)`` to ``(n, count)``."""
        along = F.linear(z, self.along, self.along_shift)
        across = F.linear(z, self.across, self.across_shift)
        square = along * along + across * across + TINY
        log_r, phi = 0.5 * torch.log(square), 2 * torch.atan(across / (torch.sqrt(square) + along))
        argument = F.linear(phi, self.angular, self.phases)
        cosine, sine = torch.cos(argument), torch.sin(argument)
        with_log = F.linear(log_r, self.with_logarithm) * cosine - F.linear(phi, self.with_logarithm) * sine
        return torch.exp(F.linear(log_r, self.radial)) * (cosine * self.without + with_log)


def _exponents(angle: float) -> list[float]:
    """Return the exponents at a corner with this interior angle."""
    step = math.pi / (2 * angle)
    found = [k * step for k in range(1, int(HIGHEST / step) + 1)]
    return [float(round(b)) if abs(b - round(b)) < WHOLE else b for b in found]


def _frame(corner: Any, domain: Domain) -> tuple[Tensor, Tensor]:
    """Return what maps normalised coordinates to those along the middle of a corner and across it, at most 1."""
    low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
    half, middle, plane = (high - low) / 2, (high + low) / 2, list(corner.columns)
    place = torch.tensor(corner.place, dtype=torch.float64)
    furthest = torch.maximum((low[plane] - place).abs(), (high[plane] - place).abs()).norm()
    c, s = math.cos(corner.direction), math.sin(corner.direction)
    turned = torch.tensor([[c, s], [-s, c]], dtype=torch.float64) / furthest
    away = turned @ (torch.eye(len(low), dtype=torch.float64)[plane] * half)
    return away, turned @ (middle[plane] - place)


def _is_within(hole: Any, domain: Domain) -> bool:
    """Return whether a hole lies inside the domain, and not at its rim as a notch does."""
    bounds = [domain.bounds[column] for column in hole.columns]
    return all(
        low < c - hole.radius and c + hole.radius < high for (low, high), c in zip(bounds, hole.centre, strict=True)
    )


def _found(domain: Domain, what: str) -> tuple[Any, ...]:
    """Return the holes or the corners of a domain; a bare description of coordinates has none."""
    find = getattr(domain, what, None)
    return tuple(find()) if find is not None else ()


class _Open:
    """A domain whose periodic coordinates are plain ones."""

    def __init__(self, domain: Domain):
        self.names, self.bounds, self.periodic = domain.names, domain.bounds, (False,) * len(domain.names)
