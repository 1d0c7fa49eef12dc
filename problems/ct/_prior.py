"""The weight of the total variation in a plane, from views that are left out, and that of each ray, from its counts.

The weight is chosen on at most about `JUDGED` pixels along a side of double width: pixels of half the side of those, as
in the last steps of the field. Where few photons are counted in some rays and many in others, rays are weighed by the
inverse of the variance of counts, 1 / N, and of what pixels cannot fit: without the latter, rays through air count so
much that edges of pixels in them decide, and the error of the image rose by 2 to 3 dB.
"""

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nfsolve.forward.radon import FanBeam, ParallelBeam, PixelGrid, Projector
from nfsolve.metrics import otsu
from nfsolve.reconstruct import FEWEST, HeldOut, PrimalDual, step_for, weight_by_views
from problems.ct._coarsened import merged

if TYPE_CHECKING:
    from problems.ct._plane import PlaneTomography

JUDGED = 64  # pixels along a side of the image on which weights are judged, at least, where it has so many
HALVES = 2  # pixels along each side of one of those
USUAL = 3e-4  # of the contrast, where there are too few views to leave some out
WHOLE = 2.0  # the best weight on whole pixels over that on halves: what wider pixels cannot fit is noise to them
OF_FIELD = 250.0  # weight of the total variation of the field over that of the last steps, on 128 pixels
SHORT = 150.0  # degrees of an arc, below which views are missing that none of the others resembles
ROUNDS, TRIED = 4, 100  # of the search for the attenuation of one material, and iterations in each
UNFITTED = 2e-3  # of the largest line integral: the error of pixels


def judged(problem: "PlaneTomography") -> HeldOut | None:
    """Find the weight of the total variation on pixels of half the side, in units of the contrast of a problem.

    Args:
        problem: The problem.

    Returns:
        The weights that were tried and the best; None where there are too few views.
    """
    if len(problem.measured.geometry.angles) < FEWEST or not isinstance(problem.measured.grid, PixelGrid):
        return None
    side, geometry, grid, sinogram, weights = _coarse(problem)
    found = weight_by_views(sinogram, geometry, grid, problem.contrast, weights, problem.largest)
    scale = side / HALVES / problem.contrast
    tried = {weight * scale: error for weight, error in found.tried.items()}
    return HeldOut(found.weight * scale, tried, found.views)


def _coarse(problem: "PlaneTomography") -> tuple[int, Any, Any, Tensor, Tensor]:
    """Merge the data of a problem; their bins at once, geometry, grid of `HALVES`, line integrals and weights."""
    measured = problem.measured
    side = max(1, min(problem.resolution // JUDGED, measured.geometry.shape[-1] // JUDGED))
    geometry, grid = measured.geometry.coarsened(side), measured.grid.coarsened(side).refined(HALVES)
    sinogram, known, counts = (
        None if values is None else merged(values.float(), side)
        for values in (measured.sinogram, measured.known, measured.counts)
    )
    assert sinogram is not None
    return side, geometry, grid, sinogram, ray_precision(sinogram, known, None if counts is None else side * counts)


def attenuation_of_one_material(problem: "PlaneTomography") -> float:
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
