"""Whether a residual couples its points, as a mean or a normalisation integral over them does."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_map

from nfsolve.problem.rows import leading

Parameters = dict[str, Tensor]


def couples(evaluate: Callable[[Parameters, Any], Tensor], rows: Any, candidates: Iterable[Parameters]) -> bool:
    """Return whether the residual of some points changes when the others are left out.

    Args:
        evaluate: Parameters and rows by name -> residual ``(n, k)``.
        rows: Tensors of n rows, such as ``points (n, d)``.
        candidates: Parameters to try; the first that give finite values decide.

    Returns:
        False for a single point, and where no value is finite.
    """
    n = leading(rows)
    # thirds in random order: the halves of a Sobol sequence have nearly the same means; two, for the largest value of
    # all points may be in one of them
    thirds = torch.randperm(n, generator=Generator().manual_seed(0)).split(max(n // 3, 1))[:2]
    for params in candidates:
        whole = evaluate(params, rows)
        if n > 1 and torch.isfinite(whole).all():
            return any(_changes(evaluate, params, rows, whole, chosen) for chosen in thirds)
    return False


def _changes(
    evaluate: Callable[[Parameters, Any], Tensor], params: Parameters, rows: Any, whole: Tensor, chosen: Tensor
) -> bool:
    """Return whether the residual of chosen rows is another one without the rest."""
    try:
        part = evaluate(params, tree_map(lambda leaf: leaf[chosen], rows))
    except (RuntimeError, IndexError, ValueError):  # written for all points at once
        return True
    slack = torch.finfo(whole.dtype).eps ** 0.4 * whole.abs().max()  # sums round otherwise in other batches
    return part.shape != whole[chosen].shape or bool(((part - whole[chosen]).abs() > slack).any())


def perturbed(params: Parameters) -> Parameters:
    """Return parameters moved by about a tenth: a field that is zero at the start would hide a coupling."""
    source = Generator().manual_seed(0)
    noise = {key: torch.randn(p.shape, generator=source, dtype=torch.float64) for key, p in params.items()}
    return {key: p + 0.1 * (p.abs() + 0.1) * noise[key].to(p.device, p.dtype) for key, p in params.items()}
