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


class Rows:
    """The rows of a least-squares problem, of which some are noisy, by their triangles, which are smaller.

    What noise of one size does depends on rows A through A^T A alone, so through the triangle of A = Q R.

    Args:
        exact: Rows without noise ``(m, p)``; there may be none.
        noisy: Rows with noise ``(n, p)``.
        groups: Which noisy rows have noise of the same size, if it is not given row by row; each is in one group.

    Raises:
        InputError: The rows are not finite.
    """

    def __init__(self, exact: Tensor, noisy: Tensor, groups: Sequence[slice] = (slice(None),)):
        for rows in (exact, noisy):
            if not torch.isfinite(rows).all():
                raise InputError(
                    "the Jacobian must be finite, but it is not", do="look where the residuals are not finite"
                )
        self.noisy, self.groups = noisy, list(groups)
        self.exact = triangle_of(exact)
        self.few = [triangle_of(noisy[group]) for group in self.groups]

    @property
    def all(self) -> Tensor:
        """Rows ``(k, p)`` with the same A^T A as all rows."""
        return torch.cat([self.exact, *self.few])

    def length(self, moved: Tensor, groups: Sequence[slice]) -> Tensor:
        """Return the norm of A D for the noisy rows A of some groups and D ``(p, k)``."""
        return torch.cat([self.few[self.groups.index(group)] @ moved for group in groups]).norm()


class Propagation:
    """The factored rows of a least-squares problem with a prior.

    Args:
        rows: The rows.
        prior: Weight of each parameter's own row, ``(p,)``, which pulls it to where it is; 0 for none.
        weight: Factor on the exact rows.
    """

    def __init__(self, rows: Rows, prior: Tensor, weight: float = 1.0):
        self.rows, self._prior = rows, prior
        factored = torch.cat([weight * rows.exact, prior.diag(), *rows.few])
        self._unit = column_lengths(factored)
        self._triangle = TallQR(factored / self._unit).triangle

    def freedom(self, rows: slice) -> float:
        """Return the degrees of freedom that the fit leaves to a group of noisy rows.

        Args:
            rows: The group.

        Returns:
            Trace of (I - A)^2 with the influence A = Q Q^T of these rows on themselves: the expectation of the sum of
            their squared residuals, divided by the variance of their noise.
        """
        few = self.rows.few[self.rows.groups.index(rows)]
        influence = torch.linalg.solve_triangular(self._triangle, few / self._unit, upper=True, left=False)
        taken = influence.square().sum()
        return len(self.rows.noisy[rows]) - 2 * float(taken) + float((influence @ influence.T).square().sum())

    def root(self, deviations: Tensor, prior: float) -> Tensor:
        """Return C ``(p, p)`` with the covariance C C^T of the solution.

        Args:
            deviations: Standard deviation of the noise of each noisy row, ``(n,)``.
            prior: That of the rows of the prior.
        """
        rows = [prior * self._prior.diag()]
        for group, few in zip(self.rows.groups, self.rows.few, strict=True):
            own = deviations[group]
            if len(own) and bool((own == own[0]).all()):
                rows.append(own[0] * few)
            else:
                rows.append(own[:, None] * self.rows.noisy[group])
        scatter = TallQR(torch.cat(rows) / self._unit).triangle
        half = torch.linalg.solve_triangular(self._triangle.T, scatter.T, upper=False)
        return torch.linalg.solve_triangular(self._triangle, half, upper=True) / self._unit[:, None]

    def solve(self, gradient: Tensor) -> Tensor:
        """Return H^-1 g ``(p,)`` for g ``(p,)``: minus the Gauss-Newton step."""
        right = (gradient / self._unit)[:, None]
        half = torch.linalg.solve_triangular(self._triangle.T, right, upper=False)
        return torch.linalg.solve_triangular(self._triangle, half, upper=True)[:, 0] / self._unit


def triangle_of(rows: Tensor) -> Tensor:
    """Return R ``(p, p)`` of rows A = Q R ``(n, p)``, or the rows themselves where they are fewer."""
    if len(rows) <= rows.shape[1]:
        return rows
    unit = column_lengths(rows)
    return TallQR(rows / unit).triangle * unit


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
