"""Labelled points of a solid: drawn around its surface, read from files, and their residual for a logit."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from nfsolve._core.arrays import read_arrays, real_number, real_numbers
from nfsolve._core.errors import InputError


class Solid(Protocol):
    """What knows its inside and its surface: `Mesh` and `Implicit`."""

    def contains(self, points: Tensor) -> Tensor:
        """Tell which points ``(n, 3)`` are inside, ``(n, 1)``, bool."""
        ...

    def distance(self, points: Tensor) -> Tensor:
        """Return signed distances ``(n, 1)`` of points ``(n, 3)`` to the surface, negative inside."""
        ...

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Draw points on the surface, ``(n, 3)``, float64."""
        ...


def chamfer(one: Solid, other: Solid, n: int, generator: Generator) -> float:
    """Return the chamfer distance of two surfaces, the mean of both directions.

    From n points of each surface the distance to the other surface itself is taken, not to points of it, so that equal
    surfaces have 0 for every n. With distances between points it is the Chamfer-L1 of Mescheder et al., "Occupancy
    networks", CVPR 2019, section 4.

    Args:
        one: A solid.
        other: Another one.
        n: Points on each.
        generator: CPU generator.

    Returns:
        The distance, in the unit of the coordinates.
    """
    ways = [there.distance(here.sample(n, generator)) for here, there in ((one, other), (other, one))]
    return float(torch.cat(ways).abs().mean())


def around(solid: Solid, n: int, deviation: float | None, generator: Generator) -> Tensor:
    """Draw points around a surface, or uniform ones in the cube.

    Args:
        solid: The solid.
        n: How many.
        deviation: Standard deviation of each coordinate from a point of the surface; None for uniform points.
        generator: CPU generator.

    Returns:
        ``(n, 3)``, float64, rounded to float32 so that a label belongs to the very point a float32 field sees.
    """
    if deviation is None:
        points = 2 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 1
    else:
        noise = torch.randn(n, 3, generator=generator, dtype=torch.float64)
        points = solid.sample(n, generator) + deviation * noise
    return points.float().double()


def root_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a residual whose square is the cross-entropy of a logit z and a label y, -log p(y).

    r = (1 - 2 y) sqrt(softplus(s)) with s = (1 - 2 y) z: positive where the occupancy is too high, as the
    difference to a label is. It has no zero and no kink; far on the right side, where softplus underflows and the
    root's derivative is infinite, it is exp(s/2) (1 - exp(s)/4), which is the same to the last digit.

    Args:
        logits: ``(n, 1)``.
        labels: ``(n, 1)``, 0 or 1.

    Returns:
        ``(n, 1)``.
    """
    sign = 1 - 2 * labels
    s = sign * logits
    far = s < -20
    # torch cuts softplus(s) to s above a threshold, by default where that changes the tenth digit;
    # each branch gets harmless arguments where the other is taken: 0 * inf would be NaN in derivatives
    small, large = torch.where(far, s, -20.0), torch.where(far, 0.0, s)
    tail = torch.exp(small / 2) * (1 - torch.exp(small) / 4)
    return sign * torch.where(far, tail, F.softplus(large, threshold=40.0).sqrt())


def read_points(path: Path, centre: np.ndarray, scale: float) -> dict[str, tuple[Tensor, Tensor]]:
    """Read labelled points, packed as bits or not.

    Args:
        path: npz with ``points_uniform``, ``occ_uniform``, ``points_near``, ``occ_near``, and ``center`` and
            ``scale`` where the points are (x - center) / scale of the mesh's coordinates x.
        centre: Centre of the frame that is wanted, in the mesh's coordinates.
        scale: Its scale.

    Returns:
        ``uniform`` and ``near``: points ``(n, 3)`` and labels ``(n, 1)``, bool.

    Raises:
        InputError: The file cannot be read, an array is missing, or it has another shape.
    """
    arrays = read_arrays(path)
    names = [f"{what}_{name}" for name in ("uniform", "near") for what in ("points", "occ")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(
            f"'{path}' must have points and labels, uniform and near the surface, but it lacks {', '.join(missing)}",
            do="store them under these names",
        )
    numbers = {name: real_numbers(values, f"'{name}' of '{path}'") for name, values in arrays.items()}
    there, unit = numbers.get("center", centre), real_number(arrays.get("scale", scale), f"'scale' of '{path}'", True)
    if there.shape != (3,) or not np.isfinite(there).all():
        raise InputError(f"'center' of '{path}' must be three finite numbers, got {there.tolist()}", do="correct it")
    sets = {}
    for name in ("uniform", "near"):
        points, labels = numbers[f"points_{name}"], arrays[f"occ_{name}"].reshape(-1)
        if len(points) and len(labels) == -(-len(points) // 8) and labels.dtype == np.uint8:
            labels = np.unpackbits(labels)[: len(points)]
        if points.ndim != 2 or points.shape[1] != 3 or len(labels) != len(points) or not np.isfinite(points).all():
            raise InputError(
                f"{name} points of '{path}' must be finite, of shape (n, 3), with n labels, but they have shape "
                f"{points.shape} and {len(labels)} labels",
                do="store a label for each point, or its bits packed by numpy.packbits",
            )
        moved = (points * unit + there - centre) / scale
        sets[name] = torch.from_numpy(moved), torch.from_numpy(labels > 0)[:, None]
    return sets
