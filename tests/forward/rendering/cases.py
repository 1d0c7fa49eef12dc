"""Rays with different numbers of samples, and the definition of the rendering integral, sample by sample."""

import importlib.util

import pytest
import torch

from nfsolve.forward.rendering import Samples

nerfacc_only = pytest.mark.skipif(importlib.util.find_spec("nerfacc") is None, reason="nerfacc not installed")
ENGINES = ["torch", pytest.param("nerfacc", marks=nerfacc_only)]
COUNTS = (4, 0, 7, 1, 0, 5)  # rays without samples in the middle


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ragged(counts: tuple[int, ...] = COUNTS, dtype: torch.dtype = torch.float64) -> Samples:
    """Rays with these numbers of samples, with gaps between the intervals."""
    parts = []
    for number, count in enumerate(counts):
        steps = 0.02 + 0.2 * torch.rand(2 * count, 1, generator=generator(number), dtype=dtype)
        edges = 1 + steps.cumsum(0)
        parts.append(torch.cat([edges[::2], edges[1::2]], 1))
    t0, t1 = torch.cat(parts).split(1, 1)
    ray = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Samples(t0, t1, (t0 + t1) / 2, ray, len(counts))


def even(n_rays: int, each: int, dtype: torch.dtype = torch.float64) -> Samples:
    packed = ragged((each,) * n_rays, dtype)
    rows = [x.reshape(n_rays, each) for x in packed[:3]]
    return Samples.from_rows(*rows)


def values(samples: Samples, k: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Densities and channels at the samples."""
    n, g = len(samples.t), generator(99)
    return [8 * torch.rand(n, 1, generator=g, dtype=dtype), torch.randn(n, k, generator=g, dtype=dtype)]


def loop_oracle(samples: Samples, density: torch.Tensor, channels: torch.Tensor) -> list[torch.Tensor]:
    """Channels, optical depth, distance and weights by the definition."""
    zero = density.new_zeros(1)
    seen = [channels.new_zeros(channels.shape[1]) for _ in range(samples.n_rays)]
    optical, distance, weights = [zero] * samples.n_rays, [zero] * samples.n_rays, []
    for i, r in enumerate(samples.ray.tolist()):
        thickness = density[i] * (samples.t1[i] - samples.t0[i])
        weight = torch.exp(-optical[r]) * (1 - torch.exp(-thickness))
        seen[r] = seen[r] + weight * channels[i]
        distance[r] = distance[r] + weight * samples.t[i]
        optical[r] = optical[r] + thickness
        weights.append(weight)
    return [torch.stack(x) for x in (seen, optical, distance, weights)]
