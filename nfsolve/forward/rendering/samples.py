"""Where rays are sampled: a packed list of intervals, each with the one point at which the field is evaluated.

Stratified points follow Mildenhall et al., "NeRF", ECCV 2020, eq. 2; importance sampling is the inverse transform of
the piecewise constant density that the weights of an earlier pass give (section 5.2 there).
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError


class Samples(NamedTuple):
    """Intervals on rays, ray by ray, from near to far.

    Attributes:
        t0: Starts ``(n, 1)``, distances along the rays; where space is contracted, lengths of their contracted paths.
        t1: Ends ``(n, 1)``.
        t: Where the field is evaluated, in the interval, ``(n, 1)``.
        ray: Number of each sample's ray ``(n,)``, rising.
        n_rays: Rays, those without samples included.
        each: Samples of every ray where all have the same number, which saves the padding; None where they differ.
    """

    t0: Tensor
    t1: Tensor
    t: Tensor
    ray: Tensor
    n_rays: int
    each: int | None = None

    @staticmethod
    def from_rows(t0: Tensor, t1: Tensor, t: Tensor) -> "Samples":
        """Pack intervals that are laid out with one ray in each row, all ``(n_rays, n_samples)``."""
        n_rays, each = t.shape
        ray = torch.arange(n_rays, device=t.device)[:, None].expand(n_rays, each).reshape(-1)
        return Samples(t0.reshape(-1, 1), t1.reshape(-1, 1), t.reshape(-1, 1), ray, n_rays, each)

    @property
    def dt(self) -> Tensor:
        """Lengths of the intervals ``(n, 1)``."""
        return self.t1 - self.t0

    def points(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return the points o + t d.

        Args:
            origins: ``(n_rays, d)``.
            directions: ``(n_rays, d)``; a field that depends on the view gets them as ``directions[samples.ray]``.

        Returns:
            Points ``(n, d)``.
        """
        return origins[self.ray] + self.t * directions[self.ray]

    def keep(self, mask: Tensor) -> "Samples":
        """Return the samples marked in ``mask``, ``(n, 1)``, true or false."""
        rows = mask[:, 0]
        return Samples(self.t0[rows], self.t1[rows], self.t[rows], self.ray[rows], self.n_rays)

    def counts(self) -> Tensor:
        """Count the samples of each ray, ``(n_rays,)``."""
        return torch.bincount(self.ray, minlength=self.n_rays)

    def slots(self) -> tuple[int, Tensor]:
        """Return the most samples on a ray, m, and each sample's place ``(n,)`` in a flat padded ``(n_rays, m)``."""
        if self.each is not None:
            return self.each, torch.arange(len(self.t), device=self.t.device)
        counts = self.counts()
        width = int(counts.max()) if self.n_rays else 0
        skipped = torch.arange(self.n_rays, device=self.t.device) * width - (counts.cumsum(0) - counts)
        return width, torch.arange(len(self.t), device=self.t.device) + skipped[self.ray]

    def rows(self, values: Tensor) -> Tensor:
        """Lay ``(n, 1)`` values out with one ray in each row, ``(n_rays, m)``, padded with zeros."""
        if self.each is not None:
            return values.reshape(self.n_rays, self.each)
        width, slot = self.slots()
        return values.new_zeros(self.n_rays * width).index_copy(0, slot, values[:, 0]).reshape(self.n_rays, width)


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


def stratified(near: Tensor, far: Tensor, n_samples: int, generator: Generator | None = None) -> Samples:
    """Cut each ray into equal intervals and place one sample in each.

    Each sample is uniform in its interval, so ``sum(sigma * dt)`` is an unbiased estimate of the optical depth
    (unlike dt from differences of neighbouring samples).

    Args:
        near: Start of each ray ``(n_rays, 1)``, see `box_intersection`.
        far: End of each ray ``(n_rays, 1)``.
        n_samples: Samples on each ray; their intervals have no length on rays with near = far.
        generator: CPU generator of the positions; None places samples in the middle of their intervals.

    Returns:
        The samples.

    Raises:
        InputError: ``n_samples`` is below 1.
    """
    return _place(near + _levels(near, n_samples) * (far - near), generator)


@torch.no_grad()
def importance(samples: Samples, weights: Tensor, n_samples: int, generator: Generator | None = None) -> Samples:
    """Cut each ray anew so that all intervals carry the same share of the weights.

    Weights are constant on the intervals of ``samples``; where all are a little above 0, no part of a ray is left to
    one long interval. A new interval reaches over gaps between them. No gradient goes through the positions.

    Args:
        samples: An earlier cut.
        weights: Weights of its samples ``(n, 1)``, not negative. A ray whose weights are all 0 is cut evenly.
        n_samples: Samples on each ray.
        generator: CPU generator of the positions; None places samples in the middle of their intervals.

    Returns:
        The samples; of no length on rays that had none.

    Raises:
        InputError: ``n_samples`` is below 1, or there is not one weight for each sample.
    """
    if weights.shape != samples.t.shape:
        raise InputError(
            f"weights must have shape {tuple(samples.t.shape)}, one for each sample, got {tuple(weights.shape)}",
            do="give the weights of these samples",
        )
    t0, dt, mass = (samples.rows(values) for values in (samples.t0, samples.dt, weights))
    level = _levels(mass, n_samples)
    if mass.numel() == 0:
        return _place(mass.new_zeros(samples.n_rays, n_samples + 1))
    below = torch.where(mass.sum(-1, keepdim=True) > 0, mass, dt).cumsum(-1)
    total = below[:, -1:]
    # Kept below the total, so that the search ends in an interval that carries weight.
    sought = torch.minimum(level * total, total * (1 - torch.finfo(total.dtype).eps))
    index = torch.searchsorted(below, sought, right=True).clamp_max(mass.shape[1] - 1)
    before = torch.where(index > 0, below.gather(1, (index - 1).clamp_min(0)), 0.0)
    share = below.gather(1, index) - before
    part = torch.where(share > 0, (sought - before) / torch.where(share > 0, share, 1.0), 0.0)
    return _place(t0.gather(1, index) + part * dt.gather(1, index), generator)


@torch.no_grad()
def thinned(samples: Samples, weights: Tensor, most: int, generator: Generator | None = None) -> Samples:
    """Cut rays of too many samples anew by `importance`, and leave the others as they are.

    Half of the new samples follow the weights and half are even over what was sampled, so that nothing that the weights
    do not know of is passed over.

    Args:
        samples: An earlier cut, with distances along straight rays.
        weights: Weights of its samples ``(n, 1)``, not negative.
        most: Samples that a ray has at most.
        generator: CPU generator of the positions; None places samples in the middle of their intervals.

    Returns:
        The samples.

    Raises:
        InputError: ``most`` is below 1, or there is not one weight for each sample.
    """
    counts = samples.counts()
    crowded = counts > most
    if not bool(crowded.any()):
        return samples
    of_crowded = crowded[samples.ray]
    number = crowded.cumsum(0) - 1
    part = Samples(
        samples.t0[of_crowded],
        samples.t1[of_crowded],
        samples.t[of_crowded],
        number[samples.ray[of_crowded]],
        int(crowded.sum()),
    )
    known = weights[of_crowded]
    total = known.new_zeros(part.n_rays, 1).index_add_(0, part.ray, known)[part.ray]
    even = 1 / counts[crowded].to(known)[part.ray][:, None]
    fair = torch.where(total > 0, known / torch.where(total > 0, total, 1.0), even) + even
    cut = importance(part, fair, most, generator)
    rest = samples.keep(~of_crowded[:, None])
    ray = torch.cat([rest.ray, crowded.nonzero()[:, 0][cut.ray]])
    order = ray.argsort(stable=True)
    t0, t1, t = (torch.cat(ends)[order] for ends in zip(rest[:3], cut[:3], strict=True))
    return Samples(t0, t1, t, ray[order], samples.n_rays)


def _levels(like: Tensor, n_samples: int) -> Tensor:
    """Return the edges ``(1, n + 1)`` of equal cells of [0, 1]."""
    if n_samples < 1:
        raise InputError(f"n_samples must be at least 1, got {n_samples}", do="place some samples on each ray")
    return torch.arange(n_samples + 1, dtype=like.dtype, device=like.device)[None] / n_samples


def _place(edges: Tensor, generator: Generator | None = None) -> Samples:
    """Put one sample into each interval between edges ``(n_rays, n + 1)``, at random or in the middle."""
    t0, t1 = edges[:, :-1], edges[:, 1:]
    place: Tensor | float = 0.5
    if generator is not None:
        place = torch.rand(t0.shape, generator=generator, dtype=torch.float64).to(t0)
    return Samples.from_rows(t0, t1, t0 + place * (t1 - t0))
