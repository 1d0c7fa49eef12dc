"""Empirical neural tangent kernel, K = J J^T with J the Jacobian of a field's values by its parameters.

Jacot, Gabriel & Hongler, arXiv 1806.07572, eq. 3; its spectrum sets how fast gradient descent fits each mode.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

CHUNK = 256  # points whose Jacobians are made in one vectorized sweep


def empirical_ntk(function: Callable[[Any, Tensor], Tensor], params: Any, x: Tensor) -> Tensor:
    """Form the empirical neural tangent kernel of a function on a set of points.

    Args:
        function: (params, points ``(n, d)``) -> values ``(n, k)``; row i depends on point i only.
        params: Tree (dict, list) of real tensors.
        x: Points ``(n, d)``.

    Returns:
        K ``(n k, n k)`` in float64, symmetric positive semidefinite; rows run over points, then outputs.
    """

    def one(values: Any, point: Tensor) -> Tensor:
        return function(values, point[None])[0]

    jacobian = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0), chunk_size=CHUNK)(params, x)
    rows = [leaf.detach().flatten(2).flatten(0, 1).double() for leaf in tree_leaves(jacobian)]
    kernel = torch.stack([row @ row.T for row in rows]).sum(0)
    return 0.5 * (kernel + kernel.T)


def condition_number(matrix: Tensor, cutoff: float = 0.0) -> float:
    """Give the ratio of the largest to the smallest eigenvalue of a symmetric positive semidefinite matrix.

    Args:
        matrix: ``(n, n)``, symmetric.
        cutoff: Eigenvalues up to ``cutoff`` times the largest are left out. With 0 none is, and rounding decides
            about anything above 1e16.

    Returns:
        The ratio; infinite where the smallest eigenvalue that counts is not positive.
    """
    eigenvalues = torch.linalg.eigvalsh(matrix.double())
    largest = float(eigenvalues[-1])
    kept = eigenvalues[eigenvalues > cutoff * largest] if cutoff > 0.0 else eigenvalues
    smallest = float(kept[0]) if kept.numel() else 0.0
    return largest / smallest if smallest > 0.0 else math.inf
