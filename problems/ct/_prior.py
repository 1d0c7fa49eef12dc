"""The weight of the total variation, from views that are left out, and that of each ray, from its counts.

The weight is chosen on about `JUDGED` pixels along a side, or pixels of half the side of those, as in the last steps of
the field. Where few photons are counted in some rays and many in others, rays are weighed by the
inverse of the variance of counts, 1 / N, and of what pixels cannot fit: without the latter, rays through air count so
much that edges of pixels in them decide, and the error of the image rose by 2 to 3 dB.
"""

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfsolve.forward.radon import FanBeam, ParallelBeam, Projector
from nfsolve.metrics import otsu
from nfsolve.reconstruct import (
    FEWEST,
    HeldOut,
    PrimalDual,
    step_for,
    weight_by_bins,
    weight_by_noise,
    weight_by_views,
)
from problems.ct._coarsened import merged

if TYPE_CHECKING:
    from problems.ct._tomography import Tomography

JUDGED = 64, 16  # pixels of an image, or voxels, along a side on which weights are judged, where it has so many
FINEST = 5e6, 4e5  # pixels, or voxels, times views on which the noise is judged
HALVES = 2  # pixels along each side of one of those
USUAL = 3e-4  # of the contrast, where there are too few views to leave some out
WHOLE = 2.0  # the best weight on whole pixels over that on halves: what wider pixels cannot fit is noise to them
OF_FIELD = 250.0  # weight of the total variation of the field over that of the last steps, on 128 pixels
SHORT = 150.0  # degrees of an arc, below which views are missing that none of the others resembles
ROUNDS, TRIED = 4, 100  # of the search for the attenuation of one material, and iterations in each
UNFITTED = 2e-3  # of the largest line integral: the error of pixels


def judged(problem: "Tomography") -> HeldOut | None:
    """Find the weight of the total variation on pixels of half the side, in units of the contrast of a problem.

    By views that are left out, on coarse pixels. Where photons were counted, the noise says on fine ones how well line
    integrals can be fitted, and the weight is not below that which does so; errors of the scanner leave it to the
    views. Where the noise is not known, single bins are left out too, and the weight is between both (their geometric
    mean) if bins ask for less: a view that is left out lies farther from the others than most directions do.

    Args:
        problem: The problem.

    Returns:
        The weights that were tried and the best; None where there are too few views, and no counts.
    """
    few = len(problem.measured.geometry.angles) < FEWEST
    if few and problem.measured.counts is None:
        return None
    side, geometry, grid, sinogram, weights = _coarse(problem)
    scale = side / HALVES / problem.contrast
    if few:
        found = HeldOut(USUAL / scale, {}, 0)
    else:
        found = weight_by_views(sinogram, geometry, grid, problem.contrast, weights, problem.largest)
    tried, weight = {weight * scale: error for weight, error in found.tried.items()}, found.weight * scale
    if problem.measured.counts is not None:
        by_noise = _by_noise(problem, weight)
        return (
            HeldOut(by_noise, tried, found.views, "noise")
            if few or by_noise > weight
            else replace(found, weight=weight, tried=tried)
        )
    if len(problem.image_shape) == 3:  # whose weight has a least value, which bins would not raise
        return replace(found, weight=weight, tried=tried)
    bins = scale * weight_by_bins(sinogram, geometry, grid, problem.contrast, weights, problem.largest).weight
    return HeldOut(min(weight, math.sqrt(weight * bins)), tried, found.views, "views" if bins > weight else "bins")


def _by_noise(problem: "Tomography", start: float) -> float:
    """Find the weight by the noise of counts, on pixels of half the side or of as many as are affordable."""
    dimensions, side = len(problem.image_shape), 1
    while problem.work / side**dimensions > FINEST[dimensions - 2]:
        side += 1
    _, geometry, grid, sinogram, weights = _coarse(problem, side)
    counts = merged(problem.measured.counts.float(), side) * side ** (sinogram.dim() - 1)  # type: ignore[union-attr]
    scale = side / HALVES / problem.contrast
    columns = (values.reshape(-1, 1) for values in (sinogram, counts, weights))
    y, n, rays = columns
    A = Projector(geometry, grid, sinogram.dtype)
    return scale * weight_by_noise(A, y, n, grid.shape, problem.contrast, start / scale, rays, problem.largest)


def _coarse(problem: "Tomography", side: int = 0) -> tuple[int, Any, Any, Tensor, Tensor]:
    """Merge the data of a problem; their bins at once, geometry, grid of `HALVES`, line integrals and weights."""
    measured, least = problem.measured, JUDGED[len(problem.image_shape) - 2]
    side = side or max(1, min(max(problem.image_shape) // least, measured.geometry.shape[-1] // least))
    geometry, grid = measured.geometry.coarsened(side), measured.grid.coarsened(side).refined(HALVES)
    sinogram, known, counts = (
        None if values is None else merged(values.float(), side)
        for values in (measured.sinogram, measured.known, measured.counts)
    )
    assert sinogram is not None
    return (
        side,
        geometry,
        grid,
        sinogram,
        ray_precision(sinogram, known, None if counts is None else side ** (measured.sinogram.dim() - 1) * counts),
    )


def attenuation_of_one_material(problem: "Tomography") -> float:
    """Estimate the attenuation of an object of one material from its line integrals.

    An image is divided in two by its brightness; of all multiples of the brighter part, one fits the line integrals
    best. With it as the largest value the image is found anew, and so on: bounded so, it comes closer to two values.

    Args:
        problem: The problem.

    Returns:
        The attenuation, per unit of length.
    """
    _, geometry, grid, sinogram, weights = _coarse(problem)
    A, y, rays = Projector(geometry, grid, sinogram.dtype), sinogram.reshape(-1, 1), weights.reshape(-1, 1)
    found, image, norm = math.inf, None, None
    for _ in range(ROUNDS):
        method = PrimalDual(
            *(A, y, grid.shape, HALVES * USUAL * problem.contrast, rays),
            largest=found,
            squared_norm=norm,
            step=step_for(HALVES * USUAL),
        )
        norm = method.squared_norm
        image = method.advanced(method.start(image), TRIED).x
        part = (image > otsu(image)).to(y).reshape(-1, 1)
        line = A(part)
        found = float((rays * line * y).sum() / (rays * line.square()).sum().clamp(min=1e-30))
    return found


def is_short(geometry: ParallelBeam | FanBeam) -> bool:
    """Tell whether the views are those of a short arc, with a gap that leaves less than `SHORT` degrees."""
    period = 180.0 if isinstance(geometry, ParallelBeam) else 360.0
    turned = sorted(math.degrees(angle) % period for angle in geometry.angles)
    gaps = [b - a for a, b in itertools.pairwise([*turned, turned[0] + period])]
    return period - max(gaps) < SHORT


def ray_precision(sinogram: Tensor, known: Tensor | None, counts: Tensor | None) -> Tensor:
    """Return the weight of each line integral, like ``sinogram``, 1 on average.

    Args:
        sinogram: Line integrals.
        known: What is known of each, from 0 to 1; None where all are.
        counts: Photons counted; None where they are not known.
    """
    weights = torch.ones_like(sinogram) if known is None else known
    if counts is None:
        return weights
    variance = 1 / counts.clamp(min=1) + (UNFITTED * sinogram.max()) ** 2
    weights = weights / variance
    return weights / weights.mean().clamp(min=torch.finfo(weights.dtype).tiny)
