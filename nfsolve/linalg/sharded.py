"""A symmetric positive definite matrix that processes share, each with some of its columns, and its Cholesky factor.

Blocks of columns are dealt out in turn (the block-cyclic layout of ScaLAPACK: Blackford et al., SIAM, 1997), so that
no process holds the whole matrix and each does about as much of the work. The factorization goes from left to right
(Golub & Van Loan, Matrix Computations, 4th ed., 4.2.6): the process that has a block of columns factors it and shows
it to all, which subtract its products from the blocks that they have.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.linalg.dense import enough_damping

WIDTH = 256  # most columns of a block
BLOCKS_EACH = 4  # least blocks of a process, for balance, as far as there are columns


class Block(NamedTuple):
    """Columns ``start`` to ``stop`` of the lower triangle, from row ``start`` on, and the process that has them."""

    start: int
    stop: int
    owner: int


def layout(n: int, count: int) -> list[Block]:
    """Deal out the columns of an n x n matrix to processes."""
    width = max(1, min(WIDTH, -(-n // (BLOCKS_EACH * count))))
    return [Block(i, min(i + width, n), i // width % count) for i in range(0, n, width)]


def sharded_numbers(n: int, count: int) -> int:
    """Return how many numbers a process holds at the most of a matrix ``(n, n)`` and its factor."""
    blocks = layout(n, count)
    held = sum((n - b.start) * (b.stop - b.start) for b in blocks if b.owner == 0)
    return 2 * held + 2 * n * (blocks[0].stop if blocks else 0)


class ShardedMatrix:
    """A symmetric matrix of which each process has some columns of the lower triangle; at first all are zero.

    Args:
        n: Rows.
        like: A tensor of the type and on the device of the entries.
        ranks: The processes.

    Attributes:
        blocks: The blocks of columns of all processes.
        own: First column -> block ``(n - start, width)`` of this process.
    """

    def __init__(self, n: int, like: Tensor, ranks: Ranks = ALONE):
        self.n, self.ranks, self._like = n, ranks, like
        self.blocks = layout(n, ranks.count)
        self.own: dict[int, Tensor] = {}

    def parts(self) -> Iterator[dict[int, tuple[Block, Tensor]]]:
        """Yield for each process in turn its blocks with zeros, to be filled with what this process adds to them.

        When the next is asked for, what all processes have filled in is added up where it belongs.
        """
        for owner in range(self.ranks.count):
            mine = [block for block in self.blocks if block.owner == owner]
            sizes = [(self.n - b.start) * (b.stop - b.start) for b in mine]
            buffer = self._like.new_zeros(sum(sizes))
            views = [part.view(-1, b.stop - b.start) for b, part in zip(mine, buffer.split(sizes), strict=True)]
            yield {b.start: (b, view) for b, view in zip(mine, views, strict=True)}
            self.ranks.collect(buffer, owner)
            if owner == self.ranks.rank:
                self.own = {b.start: view for b, view in zip(mine, views, strict=True)}

    @property
    def diagonal(self) -> Tensor:
        """Its diagonal ``(n,)``, on all processes."""
        found = self._like.new_zeros(self.n)
        for start, block in self.own.items():
            found[start : start + block.shape[1]] = block.diagonal()
        return self.ranks.total(found)

    def factor(self, damping: float, scale: Tensor) -> tuple["ShardedFactor", float]:
        """Factor matrix + damping diag(scale), with more damping where rounding made it indefinite.

        Args:
            damping: Not negative.
            scale: Positive ``(n,)``, on all processes.

        Returns:
            The factor and the damping it was made with.

        Raises:
            SingularMatrix: The matrix stays indefinite after the last attempt.
        """
        return enough_damping(lambda used: self._factored(used * scale), damping, self.diagonal, scale)

    def _factored(self, added: Tensor) -> "ShardedFactor | None":
        """Return the factor of matrix + diag(added), None where it is not positive definite."""
        factor = {start: block.clone() for start, block in self.own.items()}
        for start, block in factor.items():
            block.diagonal().add_(added[start : start + block.shape[1]])
        for start, stop, owner in self.blocks:
            width = stop - start
            if owner == self.ranks.rank:
                shown = factor[start]
                top, info = torch.linalg.cholesky_ex(shown[:width])
                shown[:width] = top.tril() if int(info) == 0 else torch.nan
                shown[width:] = torch.linalg.solve_triangular(shown[:width], shown[width:].T, upper=False).T
            else:
                shown = self._like.new_empty(self.n - start, width)
            shown = self.ranks.show(shown, owner)
            if not bool(torch.isfinite(shown[:width].diagonal()).all()):  # which all see
                return None
            for other, block in factor.items():
                if other > start:
                    rows = shown[other - start :]
                    block.addmm_(rows, rows[: block.shape[1]].T, alpha=-1)
        return ShardedFactor(self.blocks, factor, self.ranks)


class ShardedFactor:
    """A lower Cholesky factor of which each process has some columns.

    Args:
        blocks: The blocks of columns of all processes.
        own: First column -> block ``(n - start, width)`` of this process.
        ranks: The processes.
    """

    def __init__(self, blocks: list[Block], own: dict[int, Tensor], ranks: Ranks = ALONE):
        self.blocks, self.own, self.ranks = blocks, own, ranks

    def solve(self, right: Tensor) -> Tensor:
        """Solve L L^T x = right for a vector ``(n,)`` that all processes have."""
        found, products = torch.zeros_like(right), torch.zeros_like(right)
        for start, stop, owner in self.blocks:  # L y = right: sums of products with the y that each process knows
            known = self.ranks.collect(products[start:stop].clone(), owner)
            if owner == self.ranks.rank:
                block = self.own[start]
                y = _triangular(block[: stop - start], (right[start:stop] - known), upper=False)
                found[start:stop] = y
                products[stop:] += block[stop - start :] @ y
        found = self.ranks.total(found)
        for start, stop, owner in reversed(self.blocks):  # L^T x = y
            if owner == self.ranks.rank:
                block = self.own[start]
                rest = found[start:stop] - block[stop - start :].T @ found[stop:]
                found[start:stop] = _triangular(block[: stop - start].T, rest, upper=True)
            found[start:stop] = self.ranks.show(found[start:stop].clone(), owner)
        return found


def _triangular(matrix: Tensor, right: Tensor, upper: bool) -> Tensor:
    return torch.linalg.solve_triangular(matrix, right[:, None], upper=upper)[:, 0]
