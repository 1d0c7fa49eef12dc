"""What tomography in a plane and with a cone beam share: coarser data, the total variation, losses, scores."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from nfsolve import InputError
from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, Projector, VoxelGrid
from nfsolve.reconstruct import Linear, Reconstruction

Loss = Literal["filtered", "gaussian", "poisson"]
LOSSES = get_args(Loss)
PRODUCTS = {"sirt": 406, "cgls": 43, "tv": 3012}  # of classical methods with their numbers of iterations
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


@dataclass(frozen=True, eq=False)
class Measured:
    """What a scanner measured, and where the image lies.

    Attributes:
        sinogram: Line integrals, (views, bins) or (views, rows, columns).
        geometry: Views and detector.
        grid: Pixels or voxels of the image.
        known: What is known of each bin, from 0 to 1, like ``sinogram``; None where all are known alike.
        counts: Photons counted in each bin, like ``sinogram``; None where the data are line integrals.
        I0: Mean counts without an object, like ``sinogram``; None where there are no counts.
    """

    sinogram: Tensor
    geometry: ParallelBeam | FanBeam | ConeBeam
    grid: PixelGrid | VoxelGrid
    known: Tensor | None = None
    counts: Tensor | None = None
    I0: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Coarsened:
    """A scan and the pixels of its image at one resolution: m line integrals of n pixels or voxels.

    Attributes:
        points: Centres at which the field is evaluated, (k, 2) or (k, 3).
        inside: Indices (k,) of these among all n; elsewhere the image is 0. None where they are all.
        sinogram: Line integrals, (m, 1).
        known: What is known of each, from 0 to 1, (m, 1).
        counts: Photons counted, (m, 1); None where there are none.
        I0: Mean counts without an object, (m, 1); None where there are no counts.
        projector: From an image (n, 1) to line integrals (m, 1).
        geometry: Views and detector.
        grid: Pixels or voxels.
    """

    points: Tensor
    inside: Tensor | None
    sinogram: Tensor
    known: Tensor
    counts: Tensor | None
    I0: Tensor | None
    projector: Projector
    geometry: Any
    grid: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image, (rows, columns) or (slices, rows, columns)."""
        return self.grid.shape

    def image(self, values: Tensor) -> Tensor:
        """Return the image (n, 1) that has these values (k, 1) at ``points``."""
        if self.inside is None:
            return values
        return values.new_zeros(math.prod(self.shape), 1).index_put((self.inside,), values)


class Coarsenings(dict[float, Coarsened]):
    """Data by the number of pixels or voxels merged along each side, made when they are first asked for.

    1/2 stands for pixels of half the side, with the bins as they are.

    Args:
        make: From this number to the data.
    """

    def __init__(self, make: Callable[[float], Coarsened]):
        super().__init__({1: make(1)})  # at once, so that a scanner that cannot be is refused before training
        self._make = make

    def __missing__(self, side: float) -> Coarsened:
        self[side] = self._make(side)
        return self[side]


def merged(values: Tensor, side: int) -> Tensor:
    """Average blocks of bins, (views, bins) or (views, rows, columns), as `coarsened` geometries merge them."""
    for axis in range(1, values.dim()):
        n = values.shape[axis] // side
        start = (values.shape[axis] - n * side) // 2
        values = values.narrow(axis, start, n * side).unflatten(axis, (n, side)).mean(axis + 1)
    return values


def support(projector: Projector, p: Tensor, counts: float, shape: tuple[int, ...]) -> Tensor:
    """Return the indices of voxels that no empty ray crosses, and of their neighbours; elsewhere f = 0, as f >= 0."""
    threshold = EMPTY * float(p.max()) + (3 / math.sqrt(counts) if counts else 0.0)  # noise of rays through air
    crossed = projector.adjoint((p < threshold).to(p)).reshape(1, 1, *shape) > 0
    return F.max_pool3d((~crossed).to(p), 3, 1, 1).reshape(-1).nonzero()[:, 0]


class Checked:
    """A linear map that asks before each use whether there is time, and counts its uses on a progress bar.

    Args:
        A: The map.
        check: Raises where time is up.

    Attributes:
        bar: The progress bar of the method that uses the map; None shows none.
    """

    def __init__(self, A: Linear, check: Callable[[], None]):
        self.A, self.check = A, check
        self.bar: tqdm | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Map an image (n, k) to data (m, k)."""
        self._use()
        return self.A(image)

    def adjoint(self, data: Tensor) -> Tensor:
        """Map data (m, k) to an image (n, k)."""
        self._use()
        return self.A.adjoint(data)

    def watched(self, name: str, method: Callable[[], Reconstruction]) -> Callable[[], Reconstruction]:
        """Return a method that shows, on a terminal, how many products it has made of about how many."""

        def compute() -> Reconstruction:
            with tqdm(total=PRODUCTS.get(name), desc=name, unit=" products", leave=False, disable=None) as self.bar:
                return method()

        return compute

    def _use(self) -> None:
        self.check()
        if self.bar is not None:
            self.bar.update()
