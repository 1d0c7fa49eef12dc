"""Least squares by orthogonal triangularization: digits that normal equations lose are kept."""

import math

import torch
from torch import Tensor

from nfsolve._core.ranks import ALONE, Ranks

BLOCK = 128  # columns that are reflected at once
SAME = 1e-11  # part of a product, up to which the rounding of points of another window may change it


class TallQR:
    """A matrix A = Q R by Householder reflections, kept in factored form (Golub & Van Loan, 5.2).

    Where several processes hold some rows each, every one triangularizes its own, and all triangularize the stacked
    triangles (TSQR: Demmel, Grigori, Hoemmen & Langou, SIAM J. Sci. Comput. 34 (2012) A206).

    Args:
        matrix: A ``(n, p)``, the rows of this process; with n < p it is padded with zero rows.
        ranks: The processes.
    """

    def __init__(self, matrix: Tensor, ranks: Ranks = ALONE):
        n, self._columns = matrix.shape
        self._padding = max(self._columns - n, 0)
        if self._padding:
            matrix = torch.cat([matrix, matrix.new_zeros(self._padding, self._columns)])
        self._reflections, self._tau = torch.geqrf(matrix)
        self._ranks = ranks
        self._stacked = TallQR(self._ranks.stack(self._reflections[: self._columns].triu())) if ranks else None
        self._damped: tuple[float, Damped] | None = None

    @property
    def triangle(self) -> Tensor:
        """R ``(p, p)``, upper triangular."""
        return self._reflections[: self._columns].triu() if self._stacked is None else self._stacked.triangle

    def project(self, rows: Tensor) -> Tensor:
        """Return the first p entries of Q^T rows, for rows ``(n,)``, those of this process."""
        rows = torch.cat([rows, rows.new_zeros(self._padding)])
        own = torch.ormqr(self._reflections, self._tau, rows[:, None], transpose=True)[: self._columns, 0]
        return own if self._stacked is None else self._stacked.project(self._ranks.stack(own))

    def damped(self, damping: float) -> "Damped":
        """Return a solver of min |A x - b|^2 + damping |x|^2; the last one is kept."""
        if self._damped is None or self._damped[0] != damping:
            self._damped = damping, Damped(self.triangle, damping)
        return self._damped[1]


class Damped:
    """The triangular factor of [R; sqrt(damping) I], by blocks of columns below which R stays as it is.

    A block of columns meets only so many rows of the lower matrix as columns came before: (2/3) p^3 operations, a
    fifth of those of a dense factorization (the structure of LAPACK's tpqrt).

    Args:
        triangle: R ``(p, p)``, upper triangular.
        damping: Not negative.

    Attributes:
        triangle: The damped factor ``(p, p)``, upper triangular.
    """

    def __init__(self, triangle: Tensor, damping: float):
        upper, p = triangle.clone(), len(triangle)
        lower = math.sqrt(damping) * torch.eye(p, dtype=triangle.dtype, device=triangle.device)
        self.triangle = upper
        self._blocks: list[tuple[int, int, Tensor, Tensor]] = []
        for start in range(0, p, BLOCK):
            end = min(start + BLOCK, p)
            reflections, tau = torch.geqrf(torch.cat([upper[start:end, start:end], lower[:end, start:end]]))
            upper[start:end, start:end] = reflections[: end - start].triu()
            self._blocks.append((start, end, reflections, tau))
            if end < p:
                self._reflect(self._blocks[-1], upper[:, end:], lower[:, end:])

    @staticmethod
    def _reflect(block: tuple[int, int, Tensor, Tensor], upper: Tensor, lower: Tensor) -> None:
        """Apply the reflections of a block to the rows that it meets, in place."""
        start, end, reflections, tau = block
        both = torch.ormqr(reflections, tau, torch.cat([upper[start:end], lower[:end]]), transpose=True)
        upper[start:end], lower[:end] = both[: end - start], both[end - start :]

    def solve(self, projected: Tensor) -> Tensor:
        """Return x ``(p,)`` for Q^T b ``(p,)``, as `TallQR.project` gives it."""
        upper, lower = projected[:, None].clone(), torch.zeros_like(projected)[:, None]
        for block in self._blocks:
            self._reflect(block, upper, lower)
        return torch.linalg.solve_triangular(self.triangle, upper, upper=True)[:, 0]


class ScaledQR:
    """Factors A = Q R D of matrices whose columns are scaled to length one; one that comes again is not factored again.

    Linear equations whose coefficients do not depend on time have the same matrix in each window of one length, but
    for the rounding of their times. Whether a matrix is the last one is decided by its product with one random vector.

    Attributes:
        again: Whether the last matrix was the one before it.
    """

    def __init__(self) -> None:
        self.again = False
        self._product: Tensor | None = None
        self._found: tuple[TallQR, Tensor] | None = None

    def forget(self) -> None:
        """Factor the next matrix, whatever it is."""
        self._product = self._found = None

    def of(self, matrix: Tensor) -> tuple[TallQR, Tensor]:
        """Return Q R of the scaled matrix, and the lengths of the columns.

        Args:
            matrix: A ``(n, p)``, float64.
        """
        chance = torch.Generator().manual_seed(0)
        product = matrix @ torch.randn(matrix.shape[1], generator=chance, dtype=matrix.dtype).to(matrix.device)
        before = self._product
        self.again = (
            before is not None
            and before.shape == product.shape
            and before.device == product.device
            and bool((before - product).abs().max() <= SAME * product.abs().max())
        )
        if self._found is None or not self.again:
            self._found = None  # so that no two of them are held at once
            unit = column_lengths(matrix)
            self._product, self._found = product, (TallQR(matrix / unit), unit)
        return self._found


RIDGE = 1e-15  # of a least-squares problem, relative to columns of length one


def least_squares(matrix: Tensor, right: Tensor, ridge: float = RIDGE, factors: ScaledQR | None = None) -> Tensor:
    """Minimize |A x - b|^2 + ridge^2 |D^1/2 x|^2 with D = diag(A^T A).

    Args:
        matrix: A ``(n, p)``.
        right: b ``(n,)``.
        ridge: Weight of x, relative to columns of length one: what the rows do not determine stays small.
        factors: Those of earlier matrices, one of which may be the same.

    Returns:
        x ``(p,)``, float64.
    """
    matrix, right = matrix.double(), right.double()
    rows, unit = (factors or ScaledQR()).of(matrix)
    return rows.damped(ridge**2).solve(rows.project(right)) / unit


def column_lengths(matrix: Tensor) -> Tensor:
    """Return the lengths ``(p,)`` of the columns of a matrix ``(n, p)``, 1 for those of zeros."""
    unit = matrix.norm(dim=0)
    return torch.where(unit > 0, unit, torch.ones_like(unit))
