"""Kernel regression from functions to functions, by which operators that are smooth are found in a second.

Batlle, Darcy, Hosseini & Owhadi, Kernel methods are competitive for operator learning, J. Comput. Phys. 496 (2024)
112549. The metric of the inputs follows the predictor's own gradients, as in A. Radhakrishnan, D. Beaglehole, P. Pandit
& M. Belkin, Science 383 (2024) 1461. What is chosen is chosen by functions that are left out, in closed form:
C. E. Rasmussen & C. K. I. Williams, Gaussian Processes for Machine Learning (2006), section 5.4.2.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfsolve.fields.phase import Frame

LENGTHS = (1.0, 3.0, 10.0)  # in units of the median distance of two functions
DAMPINGS = tuple(10.0**-k for k in (12, 10, 8, 6, 4, 2))  # relative to the number of functions
SOME = 400  # functions by which the kernel is chosen
SLOPES = 100  # functions at which gradients are taken
INPUTS, OUTPUTS = 256, 128  # directions of the functions among which the metric is found
FLOOR = 1e-3  # smallest scale of a direction, relative to the largest
SAME = 1e-10  # squared distance, relative to the median one, below which a function is one of the training
MOST = 2**25  # numbers that are kept


def _rational(r: Tensor) -> tuple[Tensor, Tensor]:
    found = 1 / (1 + r / 2)
    return found, -0.5 * found.square()


def _gaussian(r: Tensor) -> tuple[Tensor, Tensor]:
    found = torch.exp(-r / 2)
    return found, -0.5 * found


def _matern(r: Tensor) -> tuple[Tensor, Tensor]:
    root = (5 * r).sqrt()
    decay = torch.exp(-root)
    return (1 + root + 5 * r / 3) * decay, -5 / 6 * (1 + root) * decay


KERNELS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "rational quadratic": _rational,
    "Gaussian": _gaussian,
    "Matern": _matern,
}
"""Name -> value and slope, as functions of the square of the distance in units of the length."""


class Kernel(NamedTuple):
    """y = k(x, X) C + mean, with the error that it leaves on functions that it has not seen.

    Attributes:
        name: Which of `KERNELS`.
        centre: What is subtracted from functions ``(m,)``, float64 as all of them.
        metric: Directions in which distances are taken, in units of the length, ``(m, r)``.
        known: The training functions in these directions, ``(n, r)``.
        weight: C ``(n, p)``.
        mean: ``(p,)``.
        alone: By how much a weight is to be multiplied for the change of its own function's answer if that function is
            left out, ``(n,)``.
        damping: What was added to the diagonal of k(X, X).
        error: What is missed in functions that are left out, the mean over functions of its root mean square, in units
            of the deviation of y.
        size: The same in units of y.
        frame: Along what functions are moved before the regression sees them, and its answers back; see `phase`.
    """

    name: str
    centre: Tensor
    metric: Tensor
    known: Tensor
    weight: Tensor
    mean: Tensor
    alone: Tensor
    damping: float
    error: float
    size: float
    frame: Frame = ()


def answers(name: str, at: Tensor, known: Tensor) -> Tensor:
    """Return the kernel between places ``(..., r)`` and known ones ``(p, r)``, in units of the length: ``(..., p)``."""
    return KERNELS[name](_squares(at.flatten(0, -2), known))[0].unflatten(0, at.shape[:-1])


def solver(found: Kernel) -> Tensor:
    """Return the matrix ``(n, n)`` from values at the known places to weights."""
    gram = answers(found.name, found.known, found.known)
    gram.diagonal().add_(found.damping)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))


def evaluate(name: str, parts: Sequence[Tensor], x: Tensor) -> Tensor:
    """Evaluate a kernel regression.

    A function that is one of the training is answered as if it had been left out, so that answers are everywhere of the
    accuracy that they have for new functions, and a network can learn what they lack.

    Args:
        name: Which of `KERNELS`.
        parts: The attributes ``centre``, ``metric``, ``known``, ``weight``, ``mean`` and ``alone`` of `Kernel`.
        x: Functions ``(B, m)``.

    Returns:
        Answers ``(B, p)``, float64.
    """
    centre, metric, known, weight, mean, alone = parts
    r = _squares((x.double() - centre) @ metric, known)
    return KERNELS[name](r)[0] @ weight + mean - torch.where(r < SAME, alone, 0.0) @ weight


def kernel(x: Tensor, y: Tensor) -> Kernel | None:
    """Fit a kernel regression; kernel, length, damping and metric are those of the least leave-one-out error.

    Args:
        x: Input functions ``(n, m)``, float64.
        y: Output functions ``(n, p)``, float64.

    Returns:
        The regression; None where functions are too few, values are missing, or it would be too large.
    """
    n = len(x)
    if n < 20 or n * (x.shape[1] + y.shape[1]) > MOST or not bool(x.isfinite().all() and y.isfinite().all()):
        return None
    centre, mean = x.mean(0), y.mean(0)
    total = float((y - mean).square().mean().sqrt())
    directions, z = _main(x - centre, INPUTS)
    if total == 0 or not len(directions):
        return None
    outputs = _main(y - mean, OUTPUTS)[1]
    chance = torch.Generator().manual_seed(0)
    some = torch.randperm(n, generator=chance)[:SOME]
    best: tuple[float, str, float, Tensor] | None = None
    scales = z.square().mean(0).sqrt()
    for metric in (torch.eye(len(scales)).to(z), torch.diag((scales / scales[0]).clamp_min(1e-6) ** -0.5)):
        best = _better(best, z, outputs, some, metric, tuple(KERNELS))
    for _ in range(2):
        before = best
        if best is not None:
            best = _better(best, z, outputs, some, _followed(best, z, outputs, some), tuple(KERNELS))
        if best is before:
            break
    if best is None:  # most functions are the same one
        return None
    name, damping, metric = best[1:]
    known = z @ metric
    gram = KERNELS[name](_squares(known, known))[0]
    gram.diagonal().add_(damping * n)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if int(failed):
        return None
    inverse = torch.cholesky_inverse(factor)
    weight = torch.cholesky_solve(y - mean, factor)
    spread = 1 / inverse.diagonal()
    size = float((weight * spread[:, None]).square().mean(1).sqrt().mean())
    if not math.isfinite(size):
        return None
    return Kernel(
        name,
        centre,
        directions.T @ metric,
        known,
        weight,
        mean,
        spread - damping * n,
        damping * n,
        size / total,
        size,
    )


def _main(values: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the leading principal directions ``(r, m)`` of centred rows, and their coefficients ``(n, r)``."""
    u, s, vt = torch.linalg.svd(values, full_matrices=False)
    count = min(most, int((s > 1e-9 * s[0]).sum()))
    return vt[:count], u[:, :count] * s[:count]


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances, exact where two rows are the same."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def _better(
    best: tuple[float, str, float, Tensor] | None,
    z: Tensor,
    y: Tensor,
    some: Tensor,
    metric: Tensor,
    names: tuple[str, ...],
) -> tuple[float, str, float, Tensor] | None:
    """Return the error, kernel, damping and metric that leave least on functions left out, in units of the length.

    Where half of all distances are zero there is no length: what was found before stays.
    """
    near = z[some] @ metric
    squares = _squares(near, near)
    middle = float(squares[~torch.eye(len(some), dtype=torch.bool)].median())
    for name in names if middle > 0 else ():
        for length in LENGTHS:
            values, vectors = torch.linalg.eigh(KERNELS[name](squares / (middle * length**2))[0])
            turned = vectors.T @ y[some]
            for damping in DAMPINGS:
                inverse = 1 / (values.clamp_min(0) + damping * len(some))
                gaps = (vectors @ (turned * inverse[:, None])) / (vectors.square() @ inverse)[:, None]
                error = float(gaps.norm(dim=1).mean())
                if best is None or error < 0.99 * best[0]:
                    best = (error, name, damping, metric / (middle**0.5 * length))
    return best


def _followed(best: tuple[float, str, float, Tensor], z: Tensor, y: Tensor, some: Tensor) -> Tensor:
    """Return a metric in which distances are long where the answer changes: the root of its mean squared gradient."""
    _, name, damping, metric = best
    near = z[some] @ metric
    value, slope = KERNELS[name](_squares(near, near))
    value.diagonal().add_(damping * len(some))
    weight = torch.linalg.solve(value, y[some])
    total = torch.zeros(near.shape[1], near.shape[1]).to(near)
    for i in range(min(SLOPES, len(some))):
        pull = weight * slope[i][:, None]
        gradient = 2 * (torch.outer(pull.sum(0), near[i]) - pull.T @ near)
        total += gradient.T @ gradient
    values, vectors = torch.linalg.eigh(total)
    root = (values.clamp_min(0) / values[-1].clamp_min(1e-300)).add(FLOOR**2).sqrt()
    return metric @ (vectors * root) @ vectors.T
