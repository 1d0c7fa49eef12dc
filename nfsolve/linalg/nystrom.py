"""Randomized Nystrom approximation of a positive semidefinite matrix, and the preconditioner made of it.

Frangella, Tropp & Udell, SIAM J. Matrix Anal. Appl. 44 (2023) 718, arXiv 2110.02820: algorithm 2.1 and equation 5.3.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from nfsolve._core.errors import InputError


class Nystrom(NamedTuple):
    """A matrix of low rank, U diag(values) U^T.

    Attributes:
        vectors: U ``(n, k)``, orthonormal columns.
        values: ``(k,)``, not negative, largest first.
    """

    vectors: Tensor
    values: Tensor

    def preconditioner(self, damping: float) -> Callable[[Tensor], Tensor]:
        """Return v -> P^{-1} v for systems with A + damping I.

        Args:
            damping: Positive.

        Returns:
            A function of ``(n,)``: inside U it divides by values + damping, outside by the smallest of them.
        """
        smallest = self.values[-1] + damping
        inside = smallest / (self.values + damping) - 1

        def apply(v: Tensor) -> Tensor:
            return v + self.vectors @ (inside * (self.vectors.T @ v))

        return apply


def nystrom(
    apply: Callable[[Tensor], Tensor],
    n: int,
    rank: int,
    generator: Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Nystrom:
    """Approximate a symmetric positive semidefinite matrix from products with random vectors.

    Args:
        apply: v ``(n,)`` -> A v ``(n,)``.
        n: Rows of A.
        rank: Products done, and columns of the result; at most n count.
        generator: CPU generator of the test vectors.
        dtype: Of the vectors that ``apply`` gets; the factorizations are float64.
        device: Of the vectors that ``apply`` gets.

    Returns:
        The approximation, in ``dtype``. Where A has negative eigenvalues it is that of A shifted up.

    Raises:
        InputError: ``rank`` is not positive, or the products are not finite.
    """
    if rank < 1:
        raise InputError(
            f"The rank of a Nystrom approximation must be at least 1, got {rank}", do="choose a larger rank"
        )
    tests = torch.randn(n, min(rank, n), dtype=torch.float64, generator=generator)
    tests = torch.linalg.qr(tests)[0].to(device)
    sketch = torch.stack([apply(v.to(dtype)) for v in tests.T], 1).double()
    if not torch.isfinite(sketch).all():
        raise InputError("Products must be finite, got NaN or infinity", do="look for NaN in the residuals")
    # rows of zeros are those of variables that A does not know: the shift must not give them a part in U
    tests = tests * sketch.any(1, keepdim=True)
    # the shift keeps the small core positive definite in the precision of the products
    shift = n**0.5 * torch.finfo(dtype).eps * float(torch.linalg.matrix_norm(sketch)) + torch.finfo(torch.float64).tiny
    core = tests.T @ sketch
    core = 0.5 * (core + core.T)
    shift += max(0.0, -float(torch.linalg.eigvalsh(core)[0]))
    core.diagonal().add_(shift)
    factor = torch.linalg.cholesky(core)
    root = torch.linalg.solve_triangular(factor, (sketch + shift * tests).T, upper=False).T
    vectors, singular, _ = torch.linalg.svd(root, full_matrices=False)
    values = singular.square() - shift
    values = values.where(values > 1e-15 * shift, 0.0)  # smaller ones are rounding of the shift
    return Nystrom(vectors.to(dtype), values.to(dtype))
