"""What noise in some rows of a least-squares problem does to its solution.

The minimizer of |J d + r|^2 moves by -H^-1 J_n^T e, H = J^T J, where noise e is added to the noisy rows J_n, so that
its covariance is H^-1 J_n^T E[e e^T] J_n H^-1 (the sandwich of Huber, 1967, and White, 1980). With J = Q R it is
R^-1 Q_n^T E[e e^T] Q_n R^-T: no normal equations are formed. Where every row has noise of the same size it is that
size times H^-1 (the Laplace approximation), and where the other rows are constraints it is the covariance of the
reduced problem.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.qr import TallQR, column_lengths


class Propagation:
    """The factored rows of a least-squares problem, of which some are noisy.

    Args:
        exact: Rows without noise ``(m, p)``; there may be none.
        noisy: Rows with noise ``(n, p)``.
        prior: Weight of each parameter's own row, ``(p,)``, which pulls it to where it is; 0 for none.

    Raises:
        InputError: The rows are not finite.
    """

    def __init__(self, exact: Tensor, noisy: Tensor, prior: Tensor):
        rows = torch.cat([exact, noisy])
        if not torch.isfinite(rows).all():
            raise InputError("the Jacobian must be finite, but it is not", do="look where the residuals are not finite")
        self._unit = column_lengths(torch.cat([rows, prior.diag()]) if len(rows) < len(prior) else rows)
        scaled = exact / self._unit
        # the exact rows matter by their triangle alone, and they are the many
        top = TallQR(scaled).triangle if len(exact) > exact.shape[1] else scaled
        orthogonal, self._triangle = torch.linalg.qr(torch.cat([top, (prior / self._unit).diag(), noisy / self._unit]))
        self._prior, self.noisy = orthogonal[len(top) : len(top) + len(prior)], orthogonal[len(top) + len(prior) :]

    def freedom(self, rows: slice) -> float:
        """Return the degrees of freedom that the fit leaves to some noisy rows.

        Args:
            rows: Which of them.

        Returns:
            Trace of (I - A)^2 with the influence A = Q Q^T of these rows on themselves: the expectation of the sum of
            their squared residuals, divided by the variance of their noise.
        """
        influence = self.noisy[rows]
        return len(influence) - 2 * float(influence.square().sum()) + float((influence.T @ influence).square().sum())

    def root(self, deviations: Tensor, prior: float) -> Tensor:
        """Return C ``(p, p)`` with the covariance C C^T of the solution.

        Args:
            deviations: Standard deviation of the noise of each noisy row, ``(n,)``.
            prior: That of the rows of the prior.
        """
        rows = torch.cat([prior * self._prior, deviations[:, None] * self.noisy])
        scatter = TallQR(rows).triangle
        return torch.linalg.solve_triangular(self._triangle, scatter.T, upper=True) / self._unit[:, None]

    def solve(self, gradient: Tensor) -> Tensor:
        """Return H^-1 g ``(p,)`` for g ``(p,)``: minus the Gauss-Newton step."""
        right = (gradient / self._unit)[:, None]
        half = torch.linalg.solve_triangular(self._triangle.T, right, upper=False)
        return torch.linalg.solve_triangular(self._triangle, half, upper=True)[:, 0] / self._unit


def correlations(root: Tensor) -> Tensor:
    """Return the correlation matrix ``(p, p)`` of a covariance C C^T, given C ``(p, k)``."""
    unit = root / root.norm(dim=1, keepdim=True).clamp_min(torch.finfo(root.dtype).tiny)
    return unit @ unit.T


def weak_directions(root: Tensor, sizes: Tensor, limit: float) -> Sequence[tuple[float, Tensor]]:
    """Return the directions in which parameters are known worse than by a share of their own size.

    Args:
        root: C ``(p, k)``.
        sizes: Size of each parameter ``(p,)``.
        limit: Standard deviation, relative to the sizes, from which on a direction is weak.

    Returns:
        Standard deviation and unit vector ``(p,)``, both relative to the sizes, the weakest first.
    """
    vectors, deviations, _ = torch.linalg.svd(root / sizes[:, None], full_matrices=False)
    return [(float(s), v) for s, v in zip(deviations, vectors.T, strict=True) if s > limit]
