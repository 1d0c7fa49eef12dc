"""Volume rendering: C = sum w_i c_i, w_i = T_i (1 - exp(-sigma_i dt_i)), T_i = prod_{j<i} exp(-sigma_j dt_j).

Exact for densities and channels that are constant on each interval (Max, "Optical models for direct volume
rendering", IEEE TVCG 1 (1995); Mildenhall et al., "NeRF", ECCV 2020, eq. 3). Rays are rows, samples columns.
Both engines are twice differentiable: nerfacc's batched functions on every device, and the formula in torch.
"""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError, require, unknown

BACKENDS = ("torch", "nerfacc")
_HAS_NERFACC = importlib.util.find_spec("nerfacc") is not None


class Rendering(NamedTuple):
    """What rays see.

    Attributes:
        channels: Accumulated channels ``(n_rays, k)``, without background.
        opacity: Fraction of light absorbed on the way, ``(n_rays, 1)`` in [0, 1].
        depth: Mean distance at which it was absorbed, ``(n_rays, 1)``; 0 on rays with opacity below 0.001,
            where a mean has no meaning and its gradient would explode.
        weights: ``(n_rays, n_samples)``.
        backend: The engine that ran, ``"torch"`` or ``"nerfacc"``.
    """

    channels: Tensor
    opacity: Tensor
    depth: Tensor
    weights: Tensor
    backend: str


def choose_backend(backend: str | None = None) -> str:
    """Decide which engine renders, by what is installed and never by what fails.

    Args:
        backend: ``"nerfacc"``, ``"torch"``, or ``None`` or ``"auto"`` for nerfacc where it is installed.

    Returns:
        ``"nerfacc"`` or ``"torch"``.

    Raises:
        InputError: There is no such engine.
    """
    if backend is None or backend == "auto":
        return "nerfacc" if _HAS_NERFACC else "torch"
    if backend not in BACKENDS:
        raise unknown("rendering backend", backend, ("auto", *BACKENDS))
    return backend


def render(density: Tensor, channels: Tensor, t: Tensor, dt: Tensor, *, backend: str | None = None) -> Rendering:
    """Integrate emission and absorption along rays.

    Args:
        density: Density ``(n_rays, n_samples)``, 1/length, not negative.
        channels: Any number k of quantities at the samples, ``(n_rays, n_samples, k)``, such as colours.
        t: Distances of the samples along their rays ``(n_rays, n_samples)``, increasing.
        dt: Lengths of the intervals that the samples stand for ``(n_rays, n_samples)``.
        backend: Engine, see `choose_backend`.

    Returns:
        The accumulated channels, opacity, depth, weights, and the engine that ran.

    Raises:
        InputError: The shapes do not agree, or there is no such engine.
        MissingExtra: nerfacc was asked for and is not installed.
    """
    _check_shapes(density, channels, t, dt)
    engine = choose_backend(backend)
    weights, accumulate = _weights(density, dt, engine)
    summed = accumulate(torch.cat([channels, t[..., None], torch.ones_like(t)[..., None]], -1))
    opacity, distance = summed[:, -1:], summed[:, -2:-1]
    seen = opacity > 1e-3
    depth = torch.where(seen, distance / torch.where(seen, opacity, 1.0), 0.0)
    return Rendering(summed[:, :-2], opacity, depth, weights, engine)


def render_weights(density: Tensor, dt: Tensor, *, backend: str | None = None) -> Tensor:
    """Compute the weights of the samples of each ray.

    Args:
        density: Density ``(n_rays, n_samples)``, 1/length, not negative.
        dt: Lengths of the intervals ``(n_rays, n_samples)``.
        backend: Engine, see `choose_backend`.

    Returns:
        Weights ``(n_rays, n_samples)``; their sum over a row is 1 - exp(-sum sigma dt).
    """
    return _weights(density, dt, choose_backend(backend))[0]


def box_intersection(
    origins: Tensor, directions: Tensor, bounds: tuple[tuple[float, float], ...]
) -> tuple[Tensor, Tensor]:
    """Find the part of each ray inside an axis-aligned box, by the slab method (Kay and Kajiya 1986).

    Args:
        origins: ``(n_rays, d)``.
        directions: ``(n_rays, d)``, of unit length.
        bounds: ``(low, high)`` of each coordinate, as in ``Box.bounds``.

    Returns:
        Distances ``near`` and ``far``, both ``(n_rays, 1)`` and not negative; both 0 on rays that miss.
    """
    low, high = origins.new_tensor(bounds).unbind(-1)
    # A ray parallel to a face would give 0/0; a tiny slope gives the interval's limit, all or nothing.
    tiny = torch.full_like(directions, 1e-12)
    slope = torch.where(directions.abs() < tiny, torch.copysign(tiny, directions), directions)
    first, second = (low - origins) / slope, (high - origins) / slope
    near = torch.minimum(first, second).amax(-1, keepdim=True).clamp_min(0.0)
    far = torch.maximum(first, second).amin(-1, keepdim=True)
    hit = far > near
    return torch.where(hit, near, 0.0), torch.where(hit, far, 0.0)


def stratified(
    near: Tensor,
    far: Tensor,
    n_samples: int,
    generator: Generator | None = None,
    occupied: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut each ray into equal intervals and place one sample in each.

    Each sample is uniform in its interval, so ``sum(sigma * dt)`` is an unbiased estimate of the optical
    depth (unlike dt from differences of neighbouring samples). With `occupied`, only the marked parts of the
    ray are cut, so that no sample falls in space known to be empty.

    Args:
        near: Start of each ray ``(n_rays, 1)``.
        far: End of each ray ``(n_rays, 1)``.
        n_samples: Samples on each ray.
        generator: CPU generator of the positions; None places samples in the middle of their intervals.
        occupied: Marks ``(n_rays, n_bins)``, true or false, of equal bins from near to far; None marks all.

    Returns:
        Distances ``t`` and lengths ``dt``, both ``(n_rays, n_samples)``; dt is 0 on rays without marks.
    """
    shape = (len(near), n_samples)
    place = torch.full(shape, 0.5, dtype=near.dtype, device=near.device)
    if generator is not None:
        place = torch.rand(shape, generator=generator, dtype=torch.float64).to(near)
    fraction = (torch.arange(n_samples, dtype=near.dtype, device=near.device) + place) / max(n_samples, 1)
    if occupied is None:
        return near + fraction * (far - near), ((far - near) / max(n_samples, 1)).expand(shape)
    n_bins = occupied.shape[1]
    marked = occupied.to(near.dtype).cumsum(-1)
    total = marked[:, -1:]
    # Marked length before a sample, in bins; kept below the total so that the search ends inside.
    before = torch.minimum(fraction * total, total * (1 - torch.finfo(near.dtype).eps))
    index = torch.searchsorted(marked, before, right=True).clamp_max(n_bins - 1)
    position = index + before - (marked.gather(1, index) - 1)
    size = (far - near) / n_bins
    return near + position * size, (size * total / max(n_samples, 1)).expand(shape)


def at(origins: Tensor, directions: Tensor, t: Tensor) -> Tensor:
    """Give the points o + t d.

    Args:
        origins: ``(n_rays, d)``.
        directions: ``(n_rays, d)``.
        t: Distances ``(n_rays, n_samples)``.

    Returns:
        Points ``(n_rays, n_samples, d)``.
    """
    return origins[:, None, :] + t[..., None] * directions[:, None, :]


def _weights(density: Tensor, dt: Tensor, engine: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    if engine == "nerfacc":
        if not _HAS_NERFACC:
            require("nerfacc", extra="nerf", purpose="rendering with backend='nerfacc'")
        # A plain import, because torch.compile traces through it and not through importlib.
        import nerfacc

        # Only the difference of starts and ends enters, and dt - 0 is exact.
        weights, _, _ = nerfacc.render_weight_from_density(torch.zeros_like(dt), dt, density)
        return weights, lambda values: nerfacc.accumulate_along_rays(weights, values)
    optical = density * dt
    before = torch.cumsum(torch.cat([torch.zeros_like(optical[:, :1]), optical[:, :-1]], -1), -1)
    # expm1 keeps the weights of thin samples exact where 1 - exp(-x) cancels.
    weights = torch.exp(-before) * -torch.expm1(-optical)
    return weights, lambda values: (weights[..., None] * values).sum(-2)


def _check_shapes(density: Tensor, channels: Tensor, t: Tensor, dt: Tensor) -> None:
    if density.ndim != 2 or t.shape != density.shape or dt.shape != density.shape:
        raise InputError(
            f"density {tuple(density.shape)}, t {tuple(t.shape)} and dt {tuple(dt.shape)}",
            "three times the same shape (n_rays, n_samples)",
            "reshape the field's (n, 1) density with .reshape(n_rays, n_samples)",
        )
    if channels.ndim != 3 or channels.shape[:2] != density.shape:
        raise InputError(
            f"channels {tuple(channels.shape)} for density {tuple(density.shape)}",
            f"({density.shape[0]}, {density.shape[1]}, k)",
            "reshape the field's (n, k) channels with .reshape(n_rays, n_samples, k)",
        )
