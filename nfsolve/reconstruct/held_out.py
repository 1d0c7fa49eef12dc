"""The weight of a prior from the data alone: that whose reconstruction best predicts data that it has not seen.

A weight that is too small fits the noise and the streaks of the views that it sees, one that is too large misses the
object; both predict other views worse. Source: P. C. Hansen, "Rank-Deficient and Discrete Ill-Posed Problems", SIAM
1998, section 7.4 (cross-validation). Whole views are left out, or single bins. A view that is left out lies farther
from the others than most directions do, so that its weight is rather too large; bins share what they measure with
their neighbours, so that theirs is rather too small where noise is not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import Geometry, ParallelBeam, PixelGrid, Projector, VoxelGrid
from nfsolve.reconstruct.total_variation import PrimalDual

FOLD = 8  # one view of so many is left out
FEWEST = 6  # views of which some can be left out
BESIDE = 3  # bins by which those that are left out move from view to view
LARGEST, SMALLEST = 2.56e-2, 2.5e-5  # of the contrast, where the search begins and where it ends
FIRST, NEXT = 120, 60  # iterations with the first weight, and with each other, from the image of the one before
WORSE = 1.05  # times the least error: smaller weights are not tried
LEAST_GAIN = 1e-4  # of the least error: improvements below it are none


@dataclass(frozen=True)
class HeldOut:
    """A weight, and how it was found.

    Attributes:
        weight: Factor on the total variation, as `total_variation` takes it.
        tried: Weight -> relative misfit of the views that were left out.
        views: Number of views that were left out.
        by: What judged: ``"views"``, ``"bins"`` beside them, or ``"noise"``.
    """

    weight: float
    tried: dict[float, float]
    views: int
    by: str = "views"

    @property
    def bounded(self) -> bool:
        """Whether larger and smaller weights predict worse; that of the noise is found, not tried."""
        if self.by == "noise":
            return True
        best = min(self.tried, key=lambda weight: self.tried[weight])
        return min(self.tried) < best < max(self.tried)


def weight_by_views(
    sinogram: Tensor,
    geometry: Geometry,
    grid: PixelGrid | VoxelGrid,
    contrast: float,
    weights: Tensor | None = None,
    largest: float = math.inf,
) -> HeldOut:
    """Choose the weight of `total_variation` by views that are left out.

    On pixels and bins of k times the width a weight of w / k means the same (the sum of squares over bins and that of
    lengths over pixels scale so), so that coarse data are enough. Pixels should be half as wide as bins: what wider
    ones cannot fit is taken for detail, and weights come out too small. On six made scans of 64 bins the image of the
    chosen weight was 0.01 to 0.12 dB below that of the best weight in steps of two.

    Args:
        sinogram: Line integrals (views, bins) or (views, rows, columns).
        geometry: Views and detector.
        grid: Pixels or voxels.
        contrast: A typical large attenuation.
        weights: Weight of each line integral, like ``sinogram``; None weights all alike.
        largest: Upper bound of the image.

    Returns:
        The weight; a parabola through the errors of the best and of both beside it says where between them it lies.

    Raises:
        InputError: There are fewer than `FEWEST` views.
    """
    views = len(geometry.angles)
    if views < FEWEST:
        raise InputError(
            f"the weight of the prior is chosen by views that are left out, and there are only {views}",
            do=f"give the weight, or at least {FEWEST} views",
        )
    out = _left_out(geometry)
    mask = torch.zeros(views, dtype=torch.bool, device=sinogram.device)
    mask[out] = True
    mask = mask.reshape(-1, *[1] * (sinogram.dim() - 1)).expand(sinogram.shape)
    weight, tried = _search(sinogram, mask, Projector(geometry, grid, sinogram.dtype), contrast, weights, largest)
    return HeldOut(weight, tried, len(out))


def weight_by_bins(
    sinogram: Tensor,
    geometry: Geometry,
    grid: PixelGrid | VoxelGrid,
    contrast: float,
    weights: Tensor | None = None,
    largest: float = math.inf,
) -> HeldOut:
    """Choose the weight of `total_variation` by single bins that are left out, one of `FOLD` of each view.

    Arguments and errors are those of `weight_by_views`, but for the number of views.

    Returns:
        The weight.
    """
    places = [torch.arange(n, device=sinogram.device) for n in sinogram.shape]
    steps = torch.meshgrid(*places, indexing="ij")
    mask = sum((BESIDE * step for step in steps[:-1]), steps[-1]) % FOLD == 0  # others in each view, and row
    weight, tried = _search(sinogram, mask, Projector(geometry, grid, sinogram.dtype), contrast, weights, largest)
    return HeldOut(weight, tried, 0, "bins")


def _search(
    sinogram: Tensor, out: Tensor, A: Projector, contrast: float, weights: Tensor | None, largest: float
) -> tuple[float, dict[float, float]]:
    """Try weights from large to small; return the best, and the relative misfit of what is left out by weight."""
    rays = torch.ones_like(sinogram) if weights is None else weights
    kept, judge = ((rays * part).reshape(-1, 1) for part in (~out, out))
    y = sinogram.reshape(-1, 1)
    method = PrimalDual(A, y, A.grid.shape, LARGEST * contrast, kept, largest=largest)
    size = float((judge * y.square()).sum())
    iterate, tried, weight = method.start(), {}, LARGEST * contrast
    while weight >= SMALLEST * contrast and not _past_the_best(tried):
        method.weight = weight
        iterate = method.advanced(iterate, NEXT if tried else FIRST)
        misfit = A(iterate.x.reshape(-1, 1)) - y
        tried[weight] = math.sqrt(float((judge * misfit.square()).sum()) / max(size, 1e-30))
        weight /= 2
    return _lowest(tried), tried


def _left_out(geometry: Geometry) -> list[int]:
    """Return every `FOLD`-th view in the order of angles, none at an end; opposite parallel views are alike."""
    period = math.pi if isinstance(geometry, ParallelBeam) else 2 * math.pi
    angles = geometry.angles
    order = sorted(range(len(angles)), key=lambda view: (round(angles[view] % period, 9), view))
    step = min(FOLD, len(angles) // 2)
    return sorted(order[step // 2 :: step])


def _past_the_best(tried: dict[float, float]) -> bool:
    """Tell whether the last two errors lie above the least one, the last clearly."""
    errors = list(tried.values())
    return len(errors) > 2 and errors[-1] > WORSE * min(errors) and errors[-2] > min(errors) * (1 + LEAST_GAIN)


def _lowest(tried: dict[float, float]) -> float:
    """Return where a parabola through the least error and both beside it, over log weight, is lowest."""
    logs: Sequence[float] = [math.log(weight) for weight in tried]
    errors = list(tried.values())
    best = min(range(len(errors)), key=errors.__getitem__)
    if not 0 < best < len(errors) - 1:
        return math.exp(logs[best])
    left, middle, right = errors[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return math.exp(logs[best] + shift * (logs[best + 1] - logs[best]))
