"""What tomography in a plane and with a cone beam share: coarser levels, the total variation, losses, scores."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from nfsolve import InputError
from nfsolve.forward.radon import Projector
from nfsolve.problem import Batch
from nfsolve.reconstruct import Linear, Reconstruction

Loss = Literal["filtered", "gaussian", "poisson"]
LOSSES = get_args(Loss)
EDGE = 1e-3  # of the contrast: smaller differences count quadratically in the total variation of the field
EMPTY = 1e-3  # of the largest line integral: rays below it have met nothing


def check_at_least(problem: Any, **lowest: float) -> None:
    """Refuse parameters of a problem below their lowest value, and those that are not finite.

    Args:
        problem: The problem.
        **lowest: Name of a parameter -> its lowest value.

    Raises:
        InputError: A parameter is.
    """
    for name, low in lowest.items():
        value = getattr(problem, name)
        if not low <= value < math.inf:
            raise InputError(
                f"{name} must be a finite number of at least {low:g}, got {value:g}", do=f"give {low:g} or more"
            )


class Levels(dict[int, dict[str, Any]]):
    """Data by the number of pixels or voxels merged along each side, made when they are first asked for.

    Args:
        make: From this number to the data.
    """

    def __init__(self, make: Callable[[int], dict[str, Any]]):
        super().__init__({1: make(1)})  # at once, so that a scanner that cannot be is refused before training
        self._make = make

    def __missing__(self, side: int) -> dict[str, Any]:
        self[side] = self._make(side)
        return self[side]


def root_gradient(image: Tensor, scale: float = 1.0) -> Tensor:
    """Square roots of the lengths of the differences, so that their squares sum to the total variation, (n, 1).

    Args:
        image: Values in units of the contrast, (rows, columns) or (slices, rows, columns).
        scale: Factor on the differences.
    """
    steps = [image.diff(dim=i, append=image.narrow(i, -1, 1)).square() for i in range(image.dim())]
    return (sum(steps[1:], steps[0]) * scale**2 + EDGE**2).pow(0.25).reshape(-1, 1)


def merged(values: Tensor, side: int) -> Tensor:
    """Average blocks of bins, (views, bins) or (views, rows, columns), as `coarsened` geometries merge them."""
    for axis in range(1, values.dim()):
        n = values.shape[axis] // side
        start = (values.shape[axis] - n * side) // 2
        values = values.narrow(axis, start, n * side).unflatten(axis, (n, side)).mean(axis + 1)
    return values


def support(projector: Projector, p: Tensor, counts: float, shape: tuple[int, int, int]) -> Tensor:
    """Return the indices of voxels that no empty ray crosses, and of their neighbours; elsewhere f = 0, as f >= 0."""
    threshold = EMPTY * float(p.max()) + (3 / math.sqrt(counts) if counts else 0.0)  # noise of rays through air
    crossed = projector.adjoint((p < threshold).to(p)).reshape(1, 1, *shape) > 0
    return F.max_pool3d((~crossed).to(p), 3, 1, 1).reshape(-1).nonzero()[:, 0]


class Checked:
    """A linear map that asks before each use whether there is time.

    Args:
        A: The map.
        check: Raises where time is up.
    """

    def __init__(self, A: Linear, check: Callable[[], None]):
        self.A, self.check = A, check

    def __call__(self, image: Tensor) -> Tensor:
        """Map an image (n, k) to data (m, k)."""
        self.check()
        return self.A(image)

    def adjoint(self, data: Tensor) -> Tensor:
        """Map data (m, k) to an image (n, k)."""
        self.check()
        return self.A.adjoint(data)


def classical_images(data: Batch) -> dict[str, Reconstruction]:
    """Return the classical reconstructions that a run had the time for."""
    return {name: found for name, found in data["classical"].items() if found is not None}


def compared(
    own: Tensor, classical: Mapping[str, Reconstruction], scores: Callable[[Tensor], dict[str, Any]]
) -> dict[str, Any]:
    """Score an image, and beside it the classical ones, under ``KEY_METHOD``, with their seconds and duality gaps."""
    found = scores(own)
    for name, other in classical.items():
        found |= {f"{key}_{name}": value for key, value in scores(other.image).items()}
        found[f"seconds_{name}"] = other.seconds
        if other.gap is not None:
            found[f"gap_{name}"] = other.gap
    return found
