"""Volume rendering: C = sum w_i c_i, w_i = T_i (1 - exp(-sigma_i dt_i)), T_i = exp(-sum_{j<i} sigma_j dt_j).

Exact for densities and channels that are constant on each interval (Max, "Optical models for direct volume
rendering", IEEE TVCG 1 (1995); Mildenhall et al., "NeRF", ECCV 2020, eq. 3). Without channels it is the law of Beer
and Lambert, I = I_0 exp(-int sigma dt).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.rendering.engines import engine as choose
from nfsolve.forward.rendering.engines import exclusive_sum
from nfsolve.forward.rendering.samples import Samples


class Rendering(NamedTuple):
    """What rays see.

    Attributes:
        channels: Accumulated channels ``(n_rays, k)``, without background.
        optical_depth: Line integral of the density ``(n_rays, 1)``, without unit.
        distance: ``sum of w t`` over the samples, ``(n_rays, 1)``; see `depth`.
        weights: Share of the light that each sample absorbs, ``(n, 1)``.
        engine: The engine that ran, see `nfsolve.forward.rendering.engine`.
    """

    channels: Tensor
    optical_depth: Tensor
    distance: Tensor
    weights: Tensor
    engine: str

    @property
    def transmitted(self) -> Tensor:
        """Fraction of light that passes the whole ray ``(n_rays, 1)``; what the background is multiplied by."""
        return torch.exp(-self.optical_depth)

    def before(self, background: tuple[float, ...]) -> Tensor:
        """Return the channels ``(n_rays, k)`` before a background of one value for each channel."""
        return self.channels + self.transmitted * self.channels.new_tensor(background)

    @property
    def opacity(self) -> Tensor:
        """Fraction of light absorbed on the way ``(n_rays, 1)``, which is the sum of the ray's weights."""
        return -torch.expm1(-self.optical_depth)

    def depth(self, least: float = 1e-3) -> Tensor:
        """Return the mean distance at which light was absorbed.

        Args:
            least: Opacity up to which rays have depth 0: a mean has no meaning there and its gradient would explode.

        Returns:
            ``(n_rays, 1)``.
        """
        opacity = self.opacity
        seen = opacity > least
        return torch.where(seen, self.distance / torch.where(seen, opacity, 1.0), 0.0)


def composite(
    samples: Samples, density: Tensor, channels: Tensor | None = None, *, engine: str | None = None
) -> Rendering:
    """Integrate absorption, or emission and absorption, along rays.

    Args:
        samples: Where the rays are sampled.
        density: Density at the samples ``(n, 1)``, 1/length, not negative.
        channels: Any number k of quantities at the samples ``(n, k)``: colours, which may depend on the direction of
            the ray, or spectra. None leaves absorption alone, k = 0.
        engine: Engine, see `nfsolve.forward.rendering.engine`.

    Returns:
        Channels, optical depth, distance, weights, and the engine that ran; all differentiable any number of times.

    Raises:
        InputError: The shapes do not agree, or there is no such engine.
        MissingExtra: nerfacc was asked for and is not installed.
    """
    if density.shape != samples.t.shape:
        raise InputError(
            f"density at {len(samples.t)} samples must have shape ({len(samples.t)}, 1), got {tuple(density.shape)}",
            do="give the field the points of the samples and take one column",
        )
    if channels is None:
        channels = density[:, :0]
    if channels.ndim != 2 or len(channels) != len(density):
        raise InputError(
            f"channels at {len(density)} samples must have shape ({len(density)}, k), got {tuple(channels.shape)}",
            do="give one row for each sample",
        )
    chosen = choose(engine, density if samples.each is None else None)
    optical = density * samples.dt
    # expm1 keeps the weights of thin samples exact where 1 - exp(-x) cancels.
    weights = torch.exp(-exclusive_sum(optical, samples, chosen)) * -torch.expm1(-optical)
    summed = accumulate(samples, torch.cat([weights * channels, weights * samples.t, optical], -1))
    return Rendering(summed[:, :-2], summed[:, -1:], summed[:, -2:-1], weights, chosen)


def distortion(samples: Samples, weights: Tensor, length: float, *, engine: str | None = None) -> Tensor:
    """Measure how far the light that a ray loses is spread along it, which floaters and fog make large.

    sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 d_i, with the middles m and the lengths d of the intervals, in parts
    of ``length`` (Barron et al., "Mip-NeRF 360", CVPR 2022, eq. 15). Since samples rise along a ray, the double sum is
    one exclusive sum.

    Args:
        samples: Where the rays are sampled.
        weights: Share of the light that each sample absorbs ``(n, 1)``, see `Rendering`.
        length: Unit of distances, such as the diagonal of the box.
        engine: Engine, see `nfsolve.forward.rendering.engine`.

    Returns:
        Of each ray ``(n_rays, 1)``, without unit; 0 where all light is lost at one place.
    """
    chosen = choose(engine, weights if samples.each is None else None)
    middle, width = 0.5 * (samples.t0 + samples.t1) / length, samples.dt / length
    before = exclusive_sum(weights, samples, chosen)
    moment = exclusive_sum(weights * middle, samples, chosen)
    return accumulate(samples, 2 * weights * (middle * before - moment) + weights**2 * width / 3)


def accumulate(samples: Samples, values: Tensor) -> Tensor:
    """Sum over the samples of each ray; ``accumulate(samples, f * samples.dt)`` is the line integral of f.

    Args:
        samples: The samples.
        values: ``(n, k)``.

    Returns:
        Sums ``(n_rays, k)``.
    """
    if samples.each is not None:
        return values.reshape(samples.n_rays, samples.each, values.shape[1]).sum(1)
    return values.new_zeros(samples.n_rays, values.shape[1]).index_add(0, samples.ray, values)
