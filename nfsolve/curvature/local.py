"""Rows of a Jacobian in which few parameters act, and their normal equations, banded in a fitting order."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.linalg.banded import Banded

AT_ONCE = 2_000_000  # entries of matrices that are added at once: they stay in the cache


class LocalRows(NamedTuple):
    """Scaled residuals at n points with the entries of their Jacobian that are not zero.

    Attributes:
        residual: ``(n, k)``.
        columns: Parameters that act at each point, ``(n, m)``.
        values: Entries of the Jacobian, ``(n, k, m)``.
        cells: What points share where the same parameters act at them, ``(n, j)``.
    """

    residual: Tensor
    columns: Tensor
    values: Tensor
    cells: Tensor

    def whole(self, count: int) -> Tensor:
        """Return the Jacobian ``(n k, count)`` with its zeros, row after row."""
        n, k, _ = self.values.shape
        matrix = self.values.new_zeros(n, k, count)
        return matrix.scatter_add_(2, self.columns[:, None].expand_as(self.values), self.values).flatten(0, 1)


class NormalEquations:
    """J^T J as a banded matrix and J^T r, both in an order of the parameters in which those that meet are close.

    Args:
        rows: Rows of the Jacobian and residuals.
        order: Place of each parameter in the order, ``(P,)``.
        max_bytes: Largest memory for the matrix.

    Attributes:
        matrix: J^T J.
        right: J^T r, ``(P,)``.

    Raises:
        InputError: The matrix needs more memory: parameters that act together are far apart.
    """

    def __init__(self, rows: Iterable[LocalRows], order: Tensor, max_bytes: float):
        order = order.cpu()  # where LAPACK is
        self._groups = [_grouped(LocalRows(*(values.cpu() for values in part)), order) for part in rows]
        width = max(int((places.amax(1) - places.amin(1)).max()) for _, _, places in self._groups)
        size = (width + 1) * len(order) * 8
        if size > max_bytes:
            raise InputError(
                f"a banded matrix of {len(order)} parameters with {width} diagonals needs {size / 1e9:.1f} GB, but "
                f"max_bytes is {max_bytes / 1e9:.1f} GB",
                do="use fewer cells or a smaller degree, or raise max_bytes",
            )
        self.matrix, self.right = Banded(len(order), width), order.new_zeros(len(order), dtype=torch.float64)
        for values, residual, places in self._groups:
            step = max(1, AT_ONCE // places.shape[1] ** 2)
            for i in range(0, len(places), step):
                part, at = values[i : i + step], places[i : i + step]
                self.matrix.add(at, part.transpose(1, 2) @ part)
            self.right.index_add_(0, places.reshape(-1), torch.bmm(residual[:, None], values).reshape(-1))

    def product(self, vector: Tensor) -> Tensor:
        """Return J^T (J v) for v ``(P,)`` from the rows, without the digits that their squares lose."""
        found = torch.zeros_like(vector)
        for values, _, places in self._groups:
            along = torch.bmm(values, vector[places][:, :, None])
            found.index_add_(0, places.reshape(-1), torch.bmm(along.transpose(1, 2), values).reshape(-1))
        return found


def _grouped(rows: LocalRows, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Put rows with the same parameters together, those of fewer points filled up with zeros.

    Returns:
        Entries ``(groups, rows, m)``, residuals ``(groups, rows)`` and places of the parameters ``(groups, m)``.
    """
    key = rows.cells[:, 0] if rows.cells.shape[1] == 1 else torch.unique(rows.cells, dim=0, return_inverse=True)[1]
    _, which, counts = torch.unique(key, return_inverse=True, return_counts=True)
    turn = which.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    slot = torch.arange(len(turn), device=turn.device) - starts[which[turn]]
    groups, most = len(counts), int(counts.max())
    k, m = rows.values.shape[1:]
    values = rows.values.new_zeros(groups, most, k, m, dtype=torch.float64)
    residual = rows.values.new_zeros(groups, most, k, dtype=torch.float64)
    values[which[turn], slot] = rows.values[turn].double()
    residual[which[turn], slot] = rows.residual[turn].double()
    return values.flatten(1, 2), residual.flatten(1), order[rows.columns[turn[starts]]]
