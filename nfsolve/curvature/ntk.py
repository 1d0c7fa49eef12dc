"""Empirical neural tangent kernel, K = J J^T with J the Jacobian of a field's values by its parameters.

Jacot, Gabriel & Hongler, arXiv 1806.07572, eq. 3; its spectrum sets how fast gradient descent fits each mode.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from nfsolve._core.errors import InputError
from nfsolve.curvature.products import linear_maps

CHUNK = 256  # points whose Jacobians are made in one vectorized sweep
ENTRIES = 2**24  # of a Jacobian that is held at once where only its row norms are wanted


def empirical_ntk(function: Callable[[Any, Tensor], Tensor], params: Any, x: Tensor) -> Tensor:
    """Form the empirical neural tangent kernel of a function on a set of points.

    Args:
        function: (params, points ``(n, d)``) -> values ``(n, k)``; row i depends on point i only.
        params: Tree (dict, list) of real tensors.
        x: Points ``(n, d)``.

    Returns:
        K ``(n k, n k)`` in float64, symmetric positive semidefinite; rows run over points, then outputs.
    """
    kernel = torch.stack([row @ row.T for row in tree_leaves(_rows(function, params, x))]).sum(0)
    return 0.5 * (kernel + kernel.T)


def ntk_by_parameter(
    function: Callable[[Any, Tensor], Tensor], params: dict[str, Tensor], x: Tensor
) -> dict[str, Tensor]:
    """Form the part of the empirical tangent kernel that each parameter contributes; K is their sum.

    Args:
        function: As for `empirical_ntk`.
        params: Parameter name -> tensor.
        x: Points ``(n, d)``.

    Returns:
        Parameter name -> ``(n k, n k)`` in float64.
    """
    products = {name: row @ row.T for name, row in _rows(function, params, x).items()}
    return {name: 0.5 * (kernel + kernel.T) for name, kernel in products.items()}


def ntk_traces(function: Callable[[Any, Tensor], Tensor], params: dict[str, Tensor], x: Tensor) -> dict[str, float]:
    """Return the trace of each parameter's part of the kernel, a chunk of points at a time.

    Args:
        function: As for `empirical_ntk`.
        params: Parameter name -> tensor.
        x: Points ``(n, d)``.

    Returns:
        Parameter name -> sum of squares of its columns of the Jacobian.
    """
    size = sum(p.numel() for p in params.values())
    traces = dict.fromkeys(params, 0.0)
    for part in x.split(max(1, ENTRIES // size)):
        for name, row in _rows(function, params, part).items():
            traces[name] += float(row.square().sum())
    return traces


def _rows(function: Callable[[Any, Tensor], Tensor], params: Any, x: Tensor) -> Any:
    """Return the Jacobian of each parameter as a matrix (n k, size of the parameter) in float64."""

    def one(values: Any, point: Tensor) -> Tensor:
        return function(values, point[None])[0]

    jacobian = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0), chunk_size=CHUNK)(params, x)
    return tree_map(lambda leaf: leaf.detach().flatten(2).flatten(0, 1).double(), jacobian)


class NTKProduct:
    """v -> K v = J (J^T v), for kernels that are too large to form: two backward sweeps over all points.

    Args:
        values: theta ``(P,)`` -> values ``(N,)``, a pure function that is twice differentiable.
        theta: Where to differentiate.

    Attributes:
        size: N.
        products: Products done so far.
    """

    def __init__(self, values: Callable[[Tensor], Tensor], theta: Tensor):
        leaf = theta.detach().requires_grad_()
        with torch.enable_grad():
            made = values(leaf)
        self._forward, self._backward = linear_maps(made, leaf)
        self._like = made.detach()
        self.size, self.products = made.numel(), 0

    def __call__(self, v: Tensor) -> Tensor:
        """Return K v ``(N,)``."""
        self.products += 1
        return self._forward(self._backward(v.to(self._like))).detach()

    def frobenius(self, probes: int, generator: torch.Generator) -> float:
        """Estimate the Frobenius norm, E |K v|^2 = |K|_F^2 for Rademacher v (Hutchinson).

        Args:
            probes: Products done.
            generator: CPU generator of the signs.

        Returns:
            The square root of the mean.
        """
        squares = []
        for _ in range(probes):
            signs = 2.0 * torch.randint(2, (self.size,), generator=generator) - 1.0
            squares.append(float(self(signs).double().square().sum()))
        return math.sqrt(sum(squares) / probes)


def top_eigenpairs(
    apply: Callable[[Tensor], Tensor], n: int, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues of a symmetric matrix and their vectors, by Lanczos iteration (ARPACK).

    Args:
        apply: v ``(n,)`` -> A v ``(n,)``.
        n: Rows of A.
        k: How many, below n.
        generator: CPU generator of the starting vector.

    Returns:
        Eigenvalues ``(k,)``, largest first, and vectors ``(n, k)``, both float64 on the CPU.

    Raises:
        InputError: k is not in 1 .. n - 1.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh  # slow to import

    if not 1 <= k < n:
        raise InputError(
            f"Lanczos iteration finds 1 to {n - 1} eigenvalues of a matrix with {n} rows, got k={k}",
            do="choose a smaller k",
        )

    def product(v: np.ndarray) -> np.ndarray:
        return apply(torch.from_numpy(np.ascontiguousarray(v.reshape(-1)))).double().cpu().numpy()

    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = torch.randn(n, generator=generator, dtype=torch.float64).numpy()
    values, vectors = eigsh(operator, k=k, which="LA", v0=start)
    order = np.argsort(values)[::-1].copy()
    return torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order])


def kernel_alignment(kernel: Tensor, y: Tensor) -> float:
    """Return the alignment A = y^T K y / (|K|_F |y|^2) of a kernel with a target; 1 where K is y y^T.

    Args:
        kernel: ``(n, n)``.
        y: ``(n,)``.

    Returns:
        A number in [0, 1] for a positive semidefinite kernel.
    """
    return float(y @ (kernel @ y)) / (float(torch.linalg.matrix_norm(kernel)) * float(y @ y))


def captured_energy(vectors: Tensor, y: Tensor) -> Tensor:
    """Return the share of a target's energy in the first k eigenvectors, E_k = sum over i <= k of (v_i^T y)^2 / |y|^2.

    Args:
        vectors: Orthonormal columns ``(n, m)``, those of the largest eigenvalues first.
        y: ``(n,)``.

    Returns:
        E_1 .. E_m, ``(m,)``.
    """
    return (vectors.T @ y).square().cumsum(0) / (y @ y)
