"""Symmetric matrices with a band, and their Cholesky factor (LAPACK's pbtrf)."""

import numpy as np
import torch
from torch import Tensor

from nfsolve.linalg.dense import SingularMatrix

GROWTH = 100.0  # factor on the ridge after a failed factorization
ATTEMPTS = 6


class Banded:
    """A symmetric matrix (n, n) of which the diagonal and some diagonals below it are held.

    Args:
        n: Rows.
        width: Number of diagonals below the main one.
    """

    def __init__(self, n: int, width: int):
        self.n, self.width = n, width
        self.held = torch.zeros(n * (width + 1) + 1, dtype=torch.float64)  # column by column, and what is dropped

    def add(self, places: Tensor, blocks: Tensor) -> None:
        """Add small matrices ``(g, m, m)`` at rows and columns ``(g, m)``."""
        below = places[:, :, None] - places[:, None]
        at = places[:, None] * (self.width + 1) + below
        at = torch.where(below >= 0, at, len(self.held) - 1)
        self.held.index_add_(0, at.reshape(-1), blocks.reshape(-1))

    @property
    def columns(self) -> Tensor:
        """The diagonals below the main one, column by column ``(n, width + 1)``."""
        return self.held[:-1].view(self.n, self.width + 1)

    def factor(self, ridge: float) -> "BandedFactor":
        """Return the Cholesky factor of the matrix with a ridge; the matrix is overwritten.

        Args:
            ridge: What is added to the diagonal, once rows and columns are scaled so that it is one.

        Raises:
            SingularMatrix: There is none, although the ridge grew.
        """
        from scipy.linalg import LinAlgError, cholesky_banded

        diagonal = self.columns[:, 0].clone()
        scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
        longer = torch.cat([scale, scale.new_zeros(self.width)])
        self.columns.mul_(scale[:, None]).mul_(longer.unfold(0, self.width + 1, 1))
        whole = self.columns[:, 0].clone()
        for attempt in range(ATTEMPTS):
            self.columns[:, 0] = torch.where(diagonal > 0, whole, 1.0) + ridge
            given, last = self.columns.numpy().T, attempt == ATTEMPTS - 1
            try:  # what fails destroys what it was given, so only the last attempt goes without a copy
                factor = cholesky_banded(given, overwrite_ab=last, lower=True, check_finite=False)
                return BandedFactor(np.asarray(factor), scale)
            except LinAlgError:
                ridge *= GROWTH
        raise SingularMatrix(
            "a banded matrix has no Cholesky factor",
            f"its ridge grew to {ridge / GROWTH:.1e} of its diagonal",
            "use more points or a larger ridge",
        )


class BandedFactor:
    """Solves with the Cholesky factor of a scaled banded matrix.

    Args:
        factor: As LAPACK holds it, ``(width + 1, n)``.
        scale: Factor on rows and columns before, ``(n,)``.
    """

    def __init__(self, factor: np.ndarray, scale: Tensor):
        self._factor, self._scale = factor, scale

    def solve(self, right: Tensor) -> Tensor:
        """Return the solution ``(n,)`` for a right-hand side ``(n,)``."""
        from scipy.linalg import cho_solve_banded

        found = cho_solve_banded((self._factor, True), (self._scale * right).numpy(), check_finite=False)
        return self._scale * torch.from_numpy(np.asarray(found))
