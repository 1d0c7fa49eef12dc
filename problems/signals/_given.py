"""Values that a field is fitted to, those that are held out, and mini-batches of them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_map

from nfsolve.problem import Rows

NONE_HELD_OUT = {"heldout": "none: all values were fitted, and scores are of them"}


@dataclass(frozen=True, eq=False)
class Given(Rows):
    """Values that a field should have at points.

    Attributes:
        values: ``(n, k)``.
        weights: Weight of each point in the mean of the squares, ``(n, 1)``; None where all weigh the same.
    """

    values: Tensor = field(kw_only=True)
    weights: Tensor | None = field(default=None, kw_only=True)

    def __getitem__(self, rows: Any) -> "Given":
        """Return some of the rows."""
        return tree_map(lambda column: column[rows.to(column.device) if isinstance(rows, Tensor) else rows], self)

    def sample(self, batch: int, generator: Generator) -> "Given":
        """Return a mini-batch, picked at random with repetition; everything where ``batch`` is 0 or not smaller."""
        n = len(self)
        return self[torch.randint(n, (batch,), generator=generator)] if 0 < batch < n else self


def split(rows: Given, given: Tensor) -> dict[str, Given]:
    """Return the ``given`` rows that are marked ``(n,)``, and the ``heldout`` ones, where there are any."""
    return {"given": rows[given]} | ({} if bool(given.all()) else {"heldout": rows[~given]})


def fresh(data: dict[str, Any], name: str) -> dict[str, Given]:
    """Return the held-out rows as those of a residual, for `Problem.fresh`; nothing where all values are given."""
    return {name: data["heldout"]} if "heldout" in data else {}
