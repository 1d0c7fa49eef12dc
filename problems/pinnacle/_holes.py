"""Plates and cubes with round holes."""

from collections.abc import Iterable

from nfsolve.domains import Domain


def without(whole: Domain, holes: Iterable[Domain], name: str) -> Domain:
    """Take holes out of a domain.

    Args:
        whole: The domain.
        holes: Each of them.
        name: What their boundary is called in ``@boundary(part=...)``.

    Returns:
        What remains.
    """
    for hole in holes:
        whole = whole - hole.named(name)
    return whole
