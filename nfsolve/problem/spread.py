"""How the rows of the residuals are spread over the processes that share a run.

Every process draws the same batch. Of residuals that take rows it evaluates a contiguous part of them; where a
measurement couples the points, a part of the points at which the field is evaluated.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from nfsolve._core.errors import InputError
from nfsolve._core.ranks import Ranks
from nfsolve.problem.problem import Batch, Problem
from nfsolve.problem.rows import leading


def divided(
    problem: Problem, batch: Batch, names: Collection[str], coupled: Collection[str], ranks: Ranks
) -> Batch | None:
    """Return the part of a batch that this rank evaluates, without residuals of which it has no rows.

    Args:
        problem: The problem.
        batch: What all ranks drew.
        names: Residuals that take rows of their own name.
        coupled: Those of them that couple their points; each is left to one rank.
        ranks: The processes.

    Returns:
        The part, or None where the residuals cannot be divided.
    """
    if not problem.pointwise:
        return problem.share(batch, ranks.rank, ranks.count)
    part: Batch = {}
    for i, (name, rows) in enumerate(batch.items()):
        if name in coupled:
            part |= {name: rows} if i % ranks.count == ranks.rank else {}
        elif name in names:
            block = ranks.block(leading(rows))
            part |= {name: tree_map(lambda leaf, block=block: leaf[block], rows)} if block.start < block.stop else {}
        else:
            part[name] = rows
    return part


class Layout:
    """Where the rows of this rank stand among those of all.

    Args:
        found: The residuals of this rank, by name.
        names: All names, in the order in which residuals are stacked.
        ranks: The processes.
        device: Where the residuals are.

    Attributes:
        sizes: Entries of each residual on all ranks.
        rows: Rows of this rank among all rows of each residual.

    Raises:
        InputError: A rank has no rows at all.
    """

    def __init__(self, found: dict[str, Tensor], names: list[str], ranks: Ranks, device: torch.device):
        table = torch.zeros(ranks.count, len(names), 2, dtype=torch.int64, device=device)
        for i, name in enumerate(names):
            if name in found:
                table[ranks.rank, i] = torch.tensor(found[name].shape)
        counts = ranks.total(table).cpu()
        if not bool(counts[..., 0].sum(1).all()):
            most = int((counts[..., 0].sum(1) > 0).sum())
            raise InputError(
                f"each process needs points of its own, got {ranks.count} processes for points that {most} can share",
                do=f"start at most {most}, or choose more points",
            )
        self.ranks, self.sizes, self.rows, self.shapes = ranks, {}, {}, {}
        places, start = [torch.empty(0, dtype=torch.int64)], 0
        for i, name in enumerate(names):
            rows, columns = counts[:, i, 0], int(counts[:, i, 1].max())
            if not columns:
                continue
            before, own, n = int(rows[: ranks.rank].sum()), int(rows[ranks.rank]), int(rows.sum())
            self.rows[name], self.shapes[name] = slice(before, before + own), (n, columns)
            self.sizes[name] = n * columns
            places.append(start + torch.arange(before * columns, (before + own) * columns))
            start += n * columns
        self.places, self.count = torch.cat(places).to(device), start

    def gather(self, found: dict[str, Tensor], anchor: Tensor) -> dict[str, Tensor]:
        """Return the residuals of all ranks, by name, with their graph; see `Ranks.gather`."""
        flat = torch.cat([found[name].reshape(-1) for name in self.rows if name in found])
        whole = self.ranks.gather(flat, self.places, self.count, anchor).split(list(self.sizes.values()))
        return {name: r.reshape(shape) for (name, shape), r in zip(self.shapes.items(), whole, strict=True)}


class SpreadField(nn.Module):
    """A field of which each rank evaluates a part of the points; everything else is that of the field.

    Args:
        field: The field.
        ranks: The processes.
    """

    def __init__(self, field: nn.Module, ranks: Ranks):
        super().__init__()
        self.whole, self.ranks = field, ranks

    def __getattr__(self, name: str) -> Any:
        """Return what the field has under a name."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("whole"), name)

    def forward(self, points: Tensor) -> Tensor:
        """Return the values ``(n, k)`` at points ``(n, d)``; anything else goes to the field as it is."""
        if type(points) is not Tensor or points.ndim != 2 or len(points) < self.ranks.count:
            return self.whole(points)
        values = dict(self.whole.named_parameters())
        *shared, points = self.ranks.shared([*values.values(), points])
        block = self.ranks.block(len(points))
        own = functional_call(self.whole, dict(zip(values, shared, strict=True)), (points[block],))
        return self.ranks.gather(own, block, len(points), shared[0])
