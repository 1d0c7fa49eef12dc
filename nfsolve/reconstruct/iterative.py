"""Least squares by iteration: SIRT and conjugate gradients, whose early iterates are smooth.

Sources: P. Gilbert, J. Theor. Biol. 36 (1972) 105, in the form of A. C. Kak, M. Slaney, "Principles of Computerized
Tomographic Imaging", 1988, section 7.3; M. R. Hestenes, E. Stiefel, J. Res. NBS 49 (1952) 409, section 10.
"""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from nfsolve.reconstruct.reconstruction import Linear, Reconstruction, check_system


def sirt(
    A: Linear,
    y: Tensor,
    shape: Sequence[int],
    iterations: int = 200,
    nonnegative: bool = True,
    largest: float = math.inf,
) -> Reconstruction:
    """Reconstruct by simultaneous iterations (SIRT): x <- x + C A^T R (y - A x), from x = 0.

    R and C divide by the sums of the rows and columns of A, so that no step size is needed. It tends to the least
    squares weighted by R, over x >= 0 if asked for; stopping early smooths.

    Args:
        A: Map of entries that are not negative, images (n, k) -> data (m, k), with its adjoint.
        y: Line integrals (m, 1).
        shape: Shape of the image, (rows, columns) or (slices, rows, columns).
        iterations: Number of iterations.
        nonnegative: Clip negative values after each iteration.
        largest: Clip values above, likewise.

    Returns:
        The image; the note gives the relative residual.

    Raises:
        InputError: Shapes do not fit, values are not finite, or there is no iteration to do.
    """
    start = time.perf_counter()
    check_system(A, y, shape, iterations)
    x, low = torch.zeros_like(A.adjoint(y)), 0.0 if nonnegative else -math.inf
    per_row, per_column = _inverse(A(torch.ones_like(x))), _inverse(A.adjoint(torch.ones_like(y)))
    for _ in range(iterations):
        x = x + per_column * A.adjoint(per_row * (y - A(x)))
        x = x.clamp(low, largest)
    note = _residual_in_words(A(x) - y, y)
    return Reconstruction(x.reshape(*shape), time.perf_counter() - start, iterations, note)


def cgls(A: Linear, y: Tensor, shape: Sequence[int], iterations: int = 20) -> Reconstruction:
    """Reconstruct by conjugate gradients on the normal equations A^T A x = A^T y, from x = 0.

    Noise enters the image after few iterations: their number is the regularization.

    Args:
        A: Map, images (n, k) -> data (m, k), with its adjoint.
        y: Line integrals (m, 1).
        shape: Shape of the image, (rows, columns) or (slices, rows, columns).
        iterations: Most iterations; fewer are done when the gradient vanishes to rounding.

    Returns:
        The image; the note gives the relative residual.

    Raises:
        InputError: Shapes do not fit, values are not finite, or there is no iteration to do.
    """
    start = time.perf_counter()
    check_system(A, y, shape, iterations)
    residual, s = y, A.adjoint(y)
    x, direction = torch.zeros_like(s), s
    first = gamma = s.square().sum()
    done = 0
    while done < iterations and gamma > torch.finfo(y.dtype).eps ** 2 * first:
        image = A(direction)
        alpha = gamma / image.square().sum()
        x, residual = x + alpha * direction, residual - alpha * image
        s = A.adjoint(residual)
        gamma, before = s.square().sum(), gamma
        direction = s + gamma / before * direction
        done += 1
    note = _residual_in_words(residual, y)
    return Reconstruction(x.reshape(*shape), time.perf_counter() - start, done, note)


def _inverse(sums: Tensor) -> Tensor:
    """Return 1 / sums, and 0 for rays that miss the image and pixels that no ray meets."""
    return torch.where(sums > 0, 1 / sums.clamp(min=torch.finfo(sums.dtype).tiny), 0.0)


def _residual_in_words(residual: Tensor, y: Tensor) -> str:
    norm = float(y.norm())
    return f"relative residual {float(residual.norm()) / norm:.2e}" if norm else "the data are zero"
