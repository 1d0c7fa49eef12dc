"""Seeds: one independent CPU generator for each purpose, so that no draw shifts another."""

import hashlib

import torch
from torch import Generator


def generator(seed: int, purpose: str) -> Generator:
    """Make the generator of one purpose.

    Args:
        seed: The run's seed.
        purpose: What it draws, e.g. ``"points"``; other purposes give independent streams.

    Returns:
        A CPU generator.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
