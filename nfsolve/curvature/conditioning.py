"""Condition numbers of a Hessian, as it is and after a diagonal preconditioner D^{-1/2} H D^{-1/2}.

Chng, Saratchandran & Lucey, CVPR 2025, arXiv 2402.08784: D^E are the norms of the rows of H (equilibration, Dauphin
et al., NeurIPS 2015, arXiv 1502.04390), D^J the absolute values of its diagonal (Jacobi).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.dense import flatten

CUTOFFS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6)  # relative to the largest absolute eigenvalue
CHUNK = 64  # rows of a Hessian in one vectorized sweep: bounds its memory
FLOOR = 1e-12  # of the largest entry of D: smaller ones cannot be told from rounding


class Conditioning(NamedTuple):
    """What the eigenvalues of a symmetric matrix say about descent on its quadratic form.

    Attributes:
        largest: Largest absolute eigenvalue.
        condition: Relative cut-off c -> largest over smallest absolute eigenvalue above c times the largest. With 0
            none is left out, and rounding decides about anything above 1e15.
        kept: Relative cut-off -> number of eigenvalues above it.
        median_ratio: Largest over median absolute eigenvalue: needs no cut-off.
        effective_rank: exp of the entropy of the absolute eigenvalues over their sum (Roy & Vetterli, EUSIPCO 2007).
        negative: Share of eigenvalues below minus the first positive cut-off times the largest.
        spectrum: Absolute eigenvalues, largest first.
    """

    largest: float
    condition: dict[float, float]
    kept: dict[float, int]
    median_ratio: float
    effective_rank: float
    negative: float
    spectrum: Tensor


def conditioning(matrix: Tensor, cutoffs: Sequence[float] = CUTOFFS) -> Conditioning:
    """Describe the spectrum of a symmetric matrix.

    Args:
        matrix: ``(n, n)``, symmetric.
        cutoffs: Relative cut-offs.

    Returns:
        The description; condition numbers are infinite where the smallest eigenvalue that counts is zero.

    Raises:
        InputError: The matrix is not square, or not finite.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not torch.isfinite(matrix).all():
        raise InputError(
            f"The matrix must be square and finite, got shape {tuple(matrix.shape)}", do="look for NaN in its entries"
        )
    signed = torch.linalg.eigvalsh(matrix.double())
    values = signed.abs().sort(descending=True).values
    top = float(values[0])
    condition, kept = {}, {}
    for cutoff in cutoffs:
        above = values if cutoff == 0.0 else values[values > cutoff * top]
        smallest = float(above[-1]) if len(above) else 0.0
        condition[cutoff], kept[cutoff] = top / smallest if smallest > 0 else math.inf, len(above)
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    entropy = -float(torch.special.xlogy(share, share).sum())
    median = float(values[len(values) // 2])
    threshold = min((c for c in cutoffs if c > 0), default=0.0) * top
    return Conditioning(
        top,
        condition,
        kept,
        top / median if median > 0 else math.inf,
        math.exp(entropy) if top > 0 else 0.0,
        float((signed < -threshold).double().mean()),
        values,
    )


def preconditioned(matrix: Tensor, diagonal: Tensor) -> Tensor:
    """Return D^{-1/2} H D^{-1/2}.

    Args:
        matrix: H ``(n, n)``.
        diagonal: D ``(n,)``, not negative. Entries up to 1e-12 of the largest count as that: the rows of H that they
            belong to are zero (dead units), or D^J has lost them to rounding.

    Returns:
        ``(n, n)``.
    """
    root = diagonal.clamp_min(FLOOR * float(diagonal.max())).rsqrt()
    return root[:, None] * matrix * root


def row_norms(matrix: Tensor) -> Tensor:
    """Return the 2-norms of the rows of a matrix, the equilibration D^E."""
    return torch.linalg.vector_norm(matrix, dim=1)


def hessian_matrix(loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """Form the Hessian of a scalar loss, by vectorized reverse sweeps over its gradient.

    Args:
        loss: Gives the scalar loss with its graph; twice differentiable.
        parameters: Leaves that the loss depends on, in the order of the rows.

    Returns:
        H ``(P, P)``, symmetric, detached.
    """
    with torch.enable_grad():
        gradient = flatten(torch.autograd.grad(loss(), parameters, create_graph=True, materialize_grads=True))
        size = gradient.numel()
        matrix = gradient.new_zeros(size, size)
        for start in range(0, size if gradient.requires_grad else 0, CHUNK):
            stop = min(start + CHUNK, size)
            seeds = gradient.new_zeros(stop - start, size)
            seeds[:, start:stop].fill_diagonal_(1.0)
            rows = torch.autograd.grad(
                gradient, parameters, seeds, retain_graph=True, is_grads_batched=True, materialize_grads=True
            )
            matrix[start:stop] = torch.cat([row.reshape(stop - start, -1) for row in rows], 1)
    matrix = matrix.detach()
    return 0.5 * (matrix + matrix.T)
