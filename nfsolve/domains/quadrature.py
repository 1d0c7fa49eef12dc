"""Quadrature: Gauss rules on the intervals in which lines meet a region.

A region is where a function is not positive, such as a signed distance. Along its last coordinate the ends of the
intervals are found by bisection; along the others panels end where the number of intervals changes, at tangents
(dimension reduction as in Saye, SIAM J. Sci. Comput. 37 (2015) A993). A substitution by the cosine makes the square
roots at tangents smooth, so that the rules converge fast where the boundary is smooth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Level = Callable[[Tensor], Tensor]
"""Points ``(n, d)`` -> values ``(n,)`` that are not positive in the region, at most the distance from its boundary."""

SCAN = {1: 257, 2: 97, 3: 33}  # points along each coordinate where a region is looked at, by dimension
HALVINGS = {1: 50, 2: 50, 3: 32}
NARROW = 2.0  # spacings: as near to the boundary as a point of a gap that was missed may be


@dataclass(frozen=True)
class Rule:
    """Nodes of a quadrature.

    Attributes:
        points: Nodes ``(q, d)``, float64.
        weights: Weights ``(q, 1)``; their sum is the size of the region.
        normals: Outward unit normals ``(q, d)`` on a boundary, else None.
    """

    points: Tensor
    weights: Tensor
    normals: Tensor | None = None

    def __matmul__(self, other: "Rule") -> "Rule":
        """Return the rule on the product of two regions; the columns of the first come first."""
        m, n = len(self.points), len(other.points)
        points = torch.cat([self.points.repeat_interleave(n, 0), other.points.repeat(m, 1)], 1)
        normals = None
        if other.normals is not None:
            normals = torch.cat([torch.zeros(m * n, self.points.shape[1]).to(points), other.normals.repeat(m, 1)], 1)
        return Rule(points, (self.weights * other.weights.T).reshape(-1, 1), normals)


def gauss(low: Tensor, high: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return Gauss-Legendre nodes and weights on intervals.

    Args:
        low: Lower ends, any shape.
        high: Upper ends.
        n: Nodes on each interval.

    Returns:
        Nodes and weights, each of the shape of ``low`` with a last axis of n.
    """
    nodes, weights = (torch.from_numpy(values).to(low) for values in np.polynomial.legendre.leggauss(n))
    half = (high - low)[..., None] / 2
    return low[..., None] + half * (1 + nodes), half * weights


def on_box(bounds: list[tuple[float, float]], n: int) -> Rule:
    """Return the product rule on a box; of no coordinates, one point of weight 1."""
    rule = Rule(torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    for low, high in bounds:
        nodes, weights = gauss(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), n)
        rule = rule @ Rule(nodes[:, None], weights[:, None])
    return rule


def on_region(level: Level, bounds: list[tuple[float, float]], n: int, depth: int = 0) -> Rule:
    """Return a rule on the part of a box where a function is not positive.

    Args:
        level: The function.
        bounds: ``(low, high)`` for each coordinate.
        n: Nodes along each coordinate of each panel.
        depth: Number of coordinates of the whole region, where this is a slice of it.

    Returns:
        The rule; without nodes where nothing of the region is found.
    """
    depth = min(depth or len(bounds), 3)
    if len(bounds) == 1:
        one = torch.ones(1, 1, dtype=torch.float64)
        return _on_lines(level, one[:, :0], one, bounds[0], n, depth)
    nodes, weights = _panels(level, bounds, n, depth)
    if len(bounds) == 2:
        return _on_lines(level, nodes[:, None], weights[:, None], bounds[1], n, depth)
    rules = []
    for node, weight in zip(nodes.reshape(-1, 1, 1), weights, strict=True):
        part = on_region(lambda rest, at=node: level(_joined(at, rest)), bounds[1:], n, depth)
        rules.append(Rule(_joined(node, part.points), weight * part.weights))
    return _together(rules, len(bounds))


def _on_lines(level: Level, starts: Tensor, weights: Tensor, ends: tuple[float, float], n: int, depth: int) -> Rule:
    """Return the rule on lines along the last coordinate, given the others ``(m, d - 1)`` and their weights."""
    places, flags = _looked_at(level, starts, ends, depth)
    changes = flags[:, 1:] != flags[:, :-1]
    rules = []
    for count in changes.sum(1).unique().tolist():  # lines that meet the region in as many intervals, together
        for first in (False, True):
            lines = ((changes.sum(1) == count) & (flags[:, 0] == first)).nonzero()[:, 0]
            if not len(lines) or not (count or first):
                continue
            at = changes[lines].nonzero()[:, 1].reshape(len(lines), count)
            row = places[lines]
            cuts = _bisected(
                level, starts[lines], row.gather(1, at), row.gather(1, at + 1), flags[lines].gather(1, at), depth
            )
            low, high = (torch.full((len(lines), 1), end, dtype=torch.float64) for end in ends)
            edges = torch.cat([low] * first + [cuts] + [high] * ((count + first) % 2), 1)
            nodes, lengths = gauss(edges[:, ::2], edges[:, 1::2], n)
            rows = starts[lines].repeat_interleave(nodes[0].numel(), 0)
            both = weights[lines, :, None] * lengths
            rules.append(Rule(torch.cat([rows, nodes.reshape(-1, 1)], 1), both.reshape(-1, 1)))
    return _together(rules, starts.shape[1] + 1)


def _looked_at(level: Level, starts: Tensor, ends: tuple[float, float], depth: int) -> tuple[Tensor, Tensor]:
    """Look at lines along the last coordinate: places ``(m, s)`` in order, and whether they are in the region.

    Where the function comes close to zero between two places, its extremum is looked at too: a gap, or a chord, may be
    narrower than the places are apart.
    """
    scan = _scan(ends, SCAN[depth])
    values = level(_grid(starts, scan)).reshape(len(starts), -1)
    size, sign = values.abs(), torch.where(values > 0, 1.0, -1.0).double()
    near = (size[:, 1:-1] <= size[:, :-2]) & (size[:, 1:-1] <= size[:, 2:]) & (sign[:, :-2] * sign[:, 2:] > 0)
    near &= (size[:, 1:-1] < NARROW * (scan[2] - scan[1])) & (sign[:, 1:-1] * sign[:, 2:] > 0)
    rows, at = near.nonzero(as_tuple=True)
    places, flags = scan.expand(len(starts), -1), values <= 0
    if not len(rows):
        return places, flags
    low, high, side = scan[at], scan[at + 2], sign[rows, at + 1]
    for _ in range(HALVINGS[depth]):
        left, right = low + (high - low) * 0.45, low + (high - low) * 0.55
        lower = (side * level(_joined(starts[rows], left[:, None]))) < side * level(
            _joined(starts[rows], right[:, None])
        )
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
    extremum = (low + high) / 2
    most = int(near.sum(1).max())
    more = torch.full((len(starts), most), float(scan[0]), dtype=torch.float64)  # which adds nothing
    known = flags[:, :1].repeat(1, most)
    column = near.cumsum(1)[rows, at] - 1
    more[rows, column] = extremum
    known[rows, column] = level(_joined(starts[rows], extremum[:, None])) <= 0
    places, order = torch.cat([places, more], 1).sort(dim=1, stable=True)
    return places, torch.cat([flags, known], 1).gather(1, order)


def _bisected(level: Level, starts: Tensor, low: Tensor, high: Tensor, flag: Tensor, depth: int) -> Tensor:
    """Find where the region begins or ends between ``low`` and ``high`` ``(m, c)``, having ``flag`` at ``low``."""
    for _ in range(HALVINGS[depth]):
        middle = (low + high) / 2
        rows = starts.repeat_interleave(middle.shape[1], 0)
        same = (level(torch.cat([rows, middle.reshape(-1, 1)], 1)).reshape(middle.shape) <= 0) == flag
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return (low + high) / 2


def _panels(level: Level, bounds: list[tuple[float, float]], n: int, depth: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights ``(m,)`` along the first coordinate, on panels in which the others look alike."""
    count = SCAN[depth]
    scans = [_scan(pair, count) for pair in bounds[:-1]]
    rest = torch.cartesian_prod(*scans[1:]).reshape(-1, len(bounds) - 2) if scans[1:] else torch.zeros(1, 0).double()

    def shapes(values: Tensor) -> list[object]:
        flags = _looked_at(level, _grid(values[:, None], rest), bounds[-1], depth)[1]
        return [_shape(part) for part in flags.reshape(len(values), *(len(scan) for scan in scans[1:]), -1).numpy()]

    found = shapes(scans[0])
    at = [i for i in range(len(found) - 1) if found[i] != found[i + 1]]
    low, high = scans[0][at], scans[0][[i + 1 for i in at]]
    for _ in range(HALVINGS[depth] if at else 0):
        middle = (low + high) / 2
        same = torch.tensor([a == found[i] for a, i in zip(shapes(middle), at, strict=True)])
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    ends = torch.tensor(bounds[0], dtype=torch.float64)
    edges = torch.cat([ends[:1], (low + high) / 2, ends[1:]])
    edges = torch.stack([edges[:-1], edges[1:]], 1)[edges.diff() > 1e-12 * (ends[1] - ends[0])]
    empty = _shape(np.zeros([count] * (len(bounds) - 1), dtype=bool))
    kept = [shape != empty for shape in shapes(edges.mean(1))]
    angle, weights = gauss(torch.zeros(()).double(), torch.full((), torch.pi).double(), n)
    half = (edges[kept, 1:] - edges[kept, :1]) / 2
    nodes = edges[kept].mean(1, keepdim=True) - half * angle.cos()
    return nodes.reshape(-1), (half * angle.sin() * weights).reshape(-1)


def _shape(flags: np.ndarray) -> object:
    """Return how a slice looks: which flags follow each other along its last axis, and which such rows along others."""
    if flags.ndim == 1:
        return bool(flags[0]), int((flags[1:] != flags[:-1]).sum())
    rows = [_shape(row) for row in flags]
    return tuple(row for i, row in enumerate(rows) if not i or row != rows[i - 1])


def _scan(ends: tuple[float, float], n: int) -> Tensor:
    """Return both ends and points between them that hit no simple fraction, where edges often are."""
    between = (torch.arange(n - 2, dtype=torch.float64) + 0.4932) / (n - 2)
    unit = torch.cat([torch.zeros(1).double(), between, torch.ones(1).double()])
    return ends[0] + (ends[1] - ends[0]) * unit


def _grid(first: Tensor, rest: Tensor) -> Tensor:
    """Combine every row of one table with every row of another, or of a list of values."""
    rest = rest if rest.ndim == 2 else rest[:, None]
    return torch.cat([first.repeat_interleave(len(rest), 0), rest.repeat(len(first), 1)], 1)


def _joined(first: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([first.reshape(-1, first.shape[-1]).expand(len(rest), -1), rest], 1)


def _together(rules: list[Rule], d: int) -> Rule:
    if not rules:
        return Rule(torch.zeros(0, d, dtype=torch.float64), torch.zeros(0, 1, dtype=torch.float64))
    return Rule(torch.cat([rule.points for rule in rules]), torch.cat([rule.weights for rule in rules]).double())
