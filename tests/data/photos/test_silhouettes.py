"""The box around what photographs show before their background: a ball in a corner of a far larger box."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from nfsolve.data.photos import Photographs, silhouette_box
from nfsolve.forward.cameras import Cameras, dome

CENTRE, RADIUS = (0.5, -0.3, 0.2), 0.25
BOX = ((-1.5, 1.5), (-1.4, 1.6), (-1.5, 1.5))


def ball(n: int = 14, size: int = 60, distortion: bool = False) -> Photographs:
    """A black ball before white, from all around."""
    cameras = Cameras.with_angle(dome(n, 4.0, (-1.0, 1.2)), size, size - 7, 0.9)
    if distortion:
        lens = torch.zeros(n, 6, dtype=torch.float64)
        lens[:, 0], lens[:, 4] = -0.2, 0.01
        cameras = replace(cameras, distortion=lens)
    empty = Photographs(torch.zeros(0, 3), cameras, tuple(map(str, range(n))), 0.1, 9.0, BOX, (1.0, 1.0, 1.0))
    rays = empty.all_rays()
    offset = rays.origins - torch.tensor(CENTRE, dtype=torch.float64)
    across = offset - (offset * rays.directions).sum(-1, keepdim=True) * rays.directions
    return replace(empty, colours=(across.norm(dim=-1, keepdim=True) > RADIUS).float().expand(-1, 3))


@pytest.mark.parametrize("options", [{}, {"distortion": True}, {"size": 300, "n": 10}])
def test_the_box_is_drawn_in_around_what_is_seen(options: dict[str, Any]):
    found = silhouette_box(ball(**options))
    for (low, high), centre in zip(found, CENTRE, strict=True):
        assert centre - RADIUS - 0.4 < low < centre - RADIUS
        assert centre + RADIUS < high < centre + RADIUS + 0.4


def test_what_is_not_seen_or_does_not_count_may_hold_anything():
    seen = ball()
    assert silhouette_box(replace(seen, background=None)) == BOX
    assert silhouette_box(replace(seen, colours=torch.ones_like(seen.colours))) == BOX, "no cell is left"
    masked = replace(seen, counted=torch.arange(1))
    assert silhouette_box(masked) == pytest.approx(torch.tensor(BOX)), "all of the box"
    one = replace(seen, cameras=seen.cameras[:1], colours=seen.colours[: 60 * 53], names=("0",))
    assert math.dist(*zip(*silhouette_box(one), strict=True)) > 2 * math.dist(*zip(*silhouette_box(seen), strict=True))
