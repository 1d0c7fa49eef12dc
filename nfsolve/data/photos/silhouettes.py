"""Which part of a box photographs show before their background: the box around the visual hull of the silhouettes.

Laurentini, "The visual hull concept for silhouette-based image understanding", IEEE TPAMI 16 (1994): a point that one
view shows as background holds nothing that is seen.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nfsolve.data.photos.backgrounds import ALIKE
from nfsolve.data.photos.frames import Bounds
from nfsolve.data.photos.photographs import Photographs

CELLS = 40  # along each side of the box
LONGEST = 200  # side of the silhouettes, pixels


@torch.no_grad()
def silhouette_box(photographs: Photographs) -> Bounds:
    """Find the box around all cells in which no view shows only background, one cell wider on each side.

    Args:
        photographs: Views before one background; pixels that do not count may show anything.

    Returns:
        ``(low, high)`` of each coordinate, within the box of the photographs; that box itself where there is no
        background, or no cell is left.
    """
    box = torch.tensor(photographs.bounds, dtype=torch.float64)
    if photographs.background is None or photographs.ndc is not None or photographs.contraction is not None:
        return photographs.bounds
    line = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
    side = (box[:, 1] - box[:, 0]) / CELLS
    points = box[:, 0] + torch.cartesian_prod(line, line, line) * side * CELLS
    left = torch.ones(len(points), dtype=torch.bool)
    for view in range(len(photographs.cameras)):
        left[left.clone()] = _may_hold(photographs, view, points[left], float(side.norm()) / 2)
    if not bool(left.any()):
        return photographs.bounds
    low = torch.maximum(points[left].amin(0) - 1.5 * side, box[:, 0])
    high = torch.minimum(points[left].amax(0) + 1.5 * side, box[:, 1])
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _may_hold(photographs: Photographs, view: int, points: Tensor, radius: float) -> Tensor:
    """Tell which balls around points may hold something: in a view, or outside of it, all but background."""
    cameras = photographs.cameras.to("cpu", torch.float64)
    size = cameras.sizes[view]
    pixels, depth = cameras.project(torch.full((len(points),), view), points)
    shape = [math.ceil(n * min(1.0, LONGEST / int(size.max()))) for n in size.flip(0).tolist()]
    something = _silhouette(photographs, view, shape)
    at = (pixels / size * torch.tensor(shape[::-1])).floor().long()
    seen = (depth[:, 0] > radius) & ((at >= 0) & (at < torch.tensor(shape[::-1]))).all(-1)
    if not bool(seen.any()):
        return ~seen
    focal = float((cameras.focals[view] / size * torch.tensor(shape[::-1])).max())
    reach = math.ceil(radius * focal / float(depth[seen].min())) + 1
    wide = F.max_pool2d(something[None], 2 * reach + 1, 1, reach)[0] > 0
    return ~seen | wide[at[:, 1].clamp(0, shape[0] - 1), at[:, 0].clamp(0, shape[1] - 1)]


def _silhouette(photographs: Photographs, view: int, shape: list[int]) -> Tensor:
    """Return 1 where a view shows something else than background, or does not count, as ``shape`` (h, w)."""
    image = photographs.image(view).cpu()
    other = (image - image.new_tensor(photographs.background)).abs().amax(-1) > ALIKE
    marked = other | ~photographs.mask(view).cpu()
    return F.adaptive_max_pool2d(marked.float()[None], shape)[0]
