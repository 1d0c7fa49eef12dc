"""The rows of a Jacobian for products: held, or made again block by block, and spread over processes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nfsolve._core.ranks import ALONE, Ranks
from nfsolve.linalg.dense import gram
from nfsolve.linalg.sharded import ShardedMatrix

Blocks = Callable[[], Iterable[Tensor]]


class Jacobian:
    """J ``(N, P)``, of which each process has some rows; vectors of N and of P numbers are whole on all of them.

    Args:
        blocks: Gives the rows of this process in order, ``(m, P)`` at a time; called once for each product.
        places: Where they stand among all rows.
        count: N.
        ranks: The processes.
    """

    def __init__(self, blocks: Blocks, places: Tensor | slice, count: int, ranks: Ranks = ALONE):
        self.blocks, self.places, self.count, self.ranks = blocks, places, count, ranks

    @classmethod
    def of(cls, matrix: Tensor) -> "Jacobian":
        """Return a matrix ``(N, P)`` as the Jacobian of one process."""
        return cls(lambda: (matrix,), slice(None), len(matrix))

    @property
    def own(self) -> Tensor:
        """The rows of this process, float64."""
        made = [block.double() for block in self.blocks()]
        return made[0] if len(made) == 1 else torch.cat(made)

    def whole(self) -> Tensor:
        """Return all rows ``(N, P)``."""
        made = list(self.blocks())
        own = made[0] if len(made) == 1 else torch.cat(made)
        return self.ranks.scatter(own, self.places, self.count) if self.ranks else own

    def mine(self, rows: Tensor) -> Tensor:
        """Return the entries of a vector ``(N,)`` that belong to the rows of this process."""
        return rows[self.places] if self.ranks else rows

    def forward(self, step: Tensor) -> Tensor:
        """Return J d ``(N,)``, float64."""
        made = [block.double() @ step for block in self.blocks()]
        own = made[0] if len(made) == 1 else torch.cat(made)
        return self.ranks.scatter(own, self.places, self.count) if self.ranks else own

    def adjoint(self, rows: Tensor) -> Tensor:
        """Return J^T w ``(P,)``, float64."""
        return self._sum(lambda block, some: (block.T @ some,), rows)[0]

    def columns(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return J^T w and diag(J^T J), ``(P,)`` each, float64."""
        gradient, squares = self._sum(lambda block, some: (block.T @ some, block.square().sum(0)), rows)
        return gradient, squares

    def normal(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return J^T w ``(P,)`` and the lower triangle of J^T J ``(P, P)``, float64."""
        gradient, product = self._sum(lambda block, some: (block.T @ some, gram(block)), rows)
        return gradient, product

    def kernel(self, scaling: Tensor) -> Tensor:
        """Return the lower triangle of J D^-1 J^T ``(N, N)``, float64, for diag(D) ``(P,)``.

        Processes show each other their rows in turn, so that none holds all of them.
        """
        own = self.own / scaling.sqrt()
        if not self.ranks:
            return gram(own.T.contiguous())
        kernel = own.new_zeros(self.count, self.count)
        places = torch.arange(self.count, device=own.device)[self.places]
        for rank, theirs in enumerate(self.ranks.all(places.cpu())):
            mine = rank == self.ranks.rank
            shown = self.ranks.show(own if mine else own.new_empty(len(theirs), own.shape[1]), rank)
            kernel[places[:, None], theirs.to(places.device)] = own @ shown.T
        return self.ranks.total(kernel)

    def sharded_normal(self, gradient: Tensor) -> ShardedMatrix:
        """Return J^T J, of which each process has some columns, for the J^T w that all have."""
        product = ShardedMatrix(len(gradient), gradient, self.ranks)
        for parts in product.parts():
            for made in self.blocks():
                rows = made.double()
                for (start, stop, _), part in parts.values():
                    part.addmm_(rows[:, start:].T, rows[:, start:stop])
        return product

    def sharded_kernel(self, scaling: Tensor) -> ShardedMatrix:
        """Return J D^-1 J^T, of which each process has some columns, for diag(D) ``(P,)``.

        Processes show each other the rows of a block of columns at a time.
        """
        own = self.own / scaling.sqrt()
        places = torch.arange(self.count, device=own.device)[self.places]
        kernel = ShardedMatrix(self.count, own, self.ranks)
        for parts in kernel.parts():
            for (start, stop, _), part in parts.values():
                below = places >= start
                within = below & (places < stop)
                shown = self.ranks.scatter(own[within], places[within] - start, stop - start)
                part[places[below] - start] = own[below] @ shown.T
        return kernel

    def _sum(self, of: Callable[[Tensor, Tensor], tuple[Tensor, ...]], rows: Tensor) -> list[Tensor]:
        """Add up what blocks of rows give with their entries of a vector, over blocks and processes."""
        own, start, sums = self.mine(rows), 0, list[Tensor]()
        for made in self.blocks():
            block = made.double()
            found = of(block, own[start : start + len(block)])
            start += len(block)
            if sums:
                for total, part in zip(sums, found, strict=True):
                    total += part
            else:
                sums = list(found)
        return [self.ranks.total(total) for total in sums]
