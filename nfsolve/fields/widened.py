"""A wide network that begins where a narrow one is.

New units read others from the start, but no other unit reads them: the function stays what it was, while the gradient
with respect to the weights that would read them is not zero (after Net2Net, which splits units instead: T. Chen, I.
Goodfellow & J. Shlens, arXiv 1511.05641).
"""

import torch
from torch import nn


@torch.no_grad()
def widen(wide: nn.Module, narrow: nn.Module) -> None:
    """Give a wide network the function of a narrow one of the same kind.

    Args:
        wide: Its weights are exchanged, but for those by which new units read others.
        narrow: A network of plain dense layers that differs in its width alone.
    """
    before = dict(narrow.named_parameters())
    for name, weight in wide.named_parameters():
        old = before[name]
        rows = slice(old.shape[0]) if old.ndim else ...
        weight[rows] = 0.0
        weight[tuple(slice(n) for n in old.shape)] = old
