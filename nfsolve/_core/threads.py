"""How many threads small matrices get: on a busy machine a second one makes them many times slower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 400  # unknowns of a least-squares problem up to which one thread is as fast as several on an idle machine


@contextmanager
def threads_for(unknowns: int) -> Iterator[None]:
    """Use one thread while a least-squares problem is small, and as many as torch has for a larger one.

    Args:
        unknowns: Number of unknowns.
    """
    before = torch.get_num_threads()
    if unknowns > SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
