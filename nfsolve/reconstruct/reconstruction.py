"""What every classical reconstruction takes and gives back: a linear map and its data, an image and how it came."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nfsolve._core.errors import InputError


class Linear(Protocol):
    """A linear map A with its adjoint, such as a projector."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Apply A to images (n, k), giving data (m, k)."""
        ...

    def adjoint(self, y: Tensor, /) -> Tensor:
        """Apply A^T to data (m, k), giving images (n, k)."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """An image, what it cost, and how it ended.

    Attributes:
        image: (rows, columns), or (slices, rows, columns); per unit of length.
        seconds: Wall-clock time.
        iterations: Iterations done; 1 for a direct method.
        note: What there is to know about the end, in words.
        gap: Relative duality gap at the end, of methods that have one: the objective lies at most so far above
            its minimum.
    """

    image: Tensor
    seconds: float
    iterations: int
    note: str
    gap: float | None = None


def check_system(A: Linear, y: Tensor, shape: Sequence[int], iterations: int) -> None:
    """Check that map, data and image fit together, before any work.

    Args:
        A: The map, images (n, k) -> data (m, k).
        y: Data (m, 1).
        shape: Shape of the image, of n pixels.
        iterations: Iterations asked for.

    Raises:
        InputError: They do not fit, values are not finite, or there is no iteration to do.
    """
    if y.dim() != 2 or y.shape[1] != 1:
        raise InputError(
            f"the line integrals must be a column (m, 1), got shape {tuple(y.shape)}", do="use sinogram.reshape(-1, 1)"
        )
    if not torch.isfinite(y).all():
        raise InputError(
            f"line integrals must be finite, and {int((~torch.isfinite(y)).sum())} of {len(y)} are not",
            do="leave these rays out",
        )
    largest, limits = float(y.abs().max()), torch.finfo(y.dtype)
    if largest and not limits.tiny / limits.eps < largest**2 < limits.max * limits.eps / len(y):
        raise InputError(
            f"line integrals of up to {largest:.3g} have squares outside the range of {y.dtype}",
            do="scale them, to be of order one, or give them in double precision",
        )
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(
            f"the shape of an image must be (rows, columns) or (slices, rows, columns), got {tuple(shape)}",
            do="give positive numbers, the slowest axis first",
        )
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, got {iterations}", do="choose a positive number")
    n = math.prod(shape)
    for name, apply, source, size in (("A(x)", A, y.new_zeros(n, 1), len(y)), ("A.adjoint(y)", A.adjoint, y, n)):
        came = apply(source)
        if came.shape != (size, 1):
            raise InputError(
                f"{name} has shape {tuple(came.shape)}, and {len(y)} line integrals with an image of shape "
                f"{tuple(shape)} need ({size}, 1)",
                do="give the grid and the geometry that A was made with",
            )


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


def classical_images(data: Mapping[str, Any]) -> dict[str, Reconstruction]:
    """Return the classical reconstructions that a run had the time for."""
    return {name: found for name, found in data.get("classical", {}).items() if found is not None}
