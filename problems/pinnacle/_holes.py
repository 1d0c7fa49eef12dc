"""Plates with round holes."""

from collections.abc import Iterable

from nfsolve import Box, Disk
from nfsolve.domains import Domain


def without_disks(box: Box, disks: Iterable[tuple[float, float, float]], name: str) -> Domain:
    """Take disks out of a box of coordinates x and y.

    Args:
        box: The box.
        disks: Centre x, centre y and radius of each.
        name: What the boundary of the holes is called in ``@boundary(part=...)``.

    Returns:
        What remains.
    """
    rest: Domain = box
    for x, y, radius in disks:
        rest = rest - Disk(x=x, y=y, radius=radius).named(name)
    return rest
