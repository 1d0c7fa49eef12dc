import math

import numpy as np
import pytest
import torch

from nfsolve import Box, Disk, PointCloud, Polygon, Rectangle, Sphere, periodic
from nfsolve._core.errors import InputError

SQUARE = Rectangle(x=(-1, 1), y=(-1, 1))
HOLED = SQUARE - Disk(x=0.1, y=0.2, radius=0.5).named("hole")
RING = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5).named("hole")
ARROW = Polygon([(0, 0), (2, 0), (1, 1), (2, 2), (0, 2)])
BALL = Sphere(x=0, y=0, z=0, radius=1)


def integral(rule, function):
    return float((rule.weights[:, 0] * function(*rule.points.T)).sum())


# the size of each domain, and its integral of x^2
KNOWN = [
    (Box(x=(0, 2)), 2.0, 8 / 3),
    (SQUARE, 4.0, 4 / 3),
    (Box(x=periodic(0, 1), y=(0, 1), z=(0, 2)), 2.0, 2 / 3),
    (Disk(x=0, y=0, radius=2), 4 * math.pi, 4 * math.pi),
    (HOLED, 4 - math.pi / 4, 4 / 3 - math.pi * 0.5**4 / 4 - math.pi * 0.25 * 0.01),
    (RING, 0.75 * math.pi, math.pi / 4 * (1 - 0.5**4)),
    (ARROW, 3.0, 16 / 3 - 17 / 6),
    (Box(x=(0, 1), y=(0, 1)) | Box(x=(1, 2), y=(0, 1)), 2.0, 8 / 3),
]


@pytest.mark.parametrize(("domain", "size", "moment"), KNOWN, ids=lambda value: repr(value)[:30])
def test_rules_over_domains_are_exact_to_rounding(domain, size, moment):
    rule = domain.quadrature(16)
    assert integral(rule, lambda *c: torch.ones_like(c[0])) == pytest.approx(size, rel=1e-12)
    assert integral(rule, lambda x, *_: x**2) == pytest.approx(moment, rel=1e-11)
    assert domain.contains(rule.points).all()


def test_a_rule_over_a_ball_is_exact():
    rule = BALL.quadrature(8)
    assert integral(rule, lambda x, y, z: z**2) == pytest.approx(4 * math.pi / 15, rel=1e-12)


@pytest.mark.parametrize(("domain", "parts"), [(HOLED, ()), (RING, ("hole",)), (ARROW, ()), (BALL, ()), (SQUARE, ())])
def test_rules_over_boundaries_satisfy_the_theorem_of_gauss(domain, parts):
    rule = domain.boundary_quadrature(24, parts)
    flux = (rule.points * rule.normals).sum(1) @ rule.weights[:, 0]  # of the field x, whose divergence is d
    expected = {HOLED: 2 * (4 - math.pi / 4), RING: -math.pi / 2, ARROW: 6.0, BALL: 4 * math.pi, SQUARE: 8.0}[domain]
    assert float(flux) == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(rule.normals.norm(dim=1), torch.ones(len(rule.points)).double())


def test_coordinates_can_be_fixed():
    tube = Box(t=(0, 1)) * RING
    assert integral(tube.quadrature(8), lambda t, x, y: t) == pytest.approx(0.375 * math.pi, rel=1e-7)
    rule = tube.quadrature(12, {"t": 0.25})
    assert (rule.points[:, 0] == 0.25).all()
    assert integral(rule, lambda t, x, y: x**2) == pytest.approx(math.pi / 4 * (1 - 0.5**4), rel=1e-10)
    assert integral(HOLED.quadrature(8, {"x": 0.1}), lambda x, y: 1 + 0 * x) == pytest.approx(1.0, rel=1e-12)
    rim = tube.boundary_quadrature(16, "hole", {"t": 0.5})
    assert float(rim.weights.sum()) == pytest.approx(math.pi, rel=1e-12)
    assert (rim.normals[:, 0] == 0).all() and (rim.points[:, 0] == 0.5).all()
    wall = Box(t=(0, 1), x=(0, 2), y=(0, 3)).boundary_quadrature(4, "x=2", {"t": 0.5})
    assert float(wall.weights.sum()) == pytest.approx(3.0)
    assert torch.equal(wall.normals, torch.tensor([[0.0, 1.0, 0.0]]).double().expand(4, 3))
    point = Box(x=(0, 1)).quadrature(3, {"x": 0.5})
    assert point.points.tolist() == [[0.5]] and point.weights.tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SQUARE.quadrature(4, {"x": 3.0}), "has no points at x = 3"),
        (lambda: HOLED.quadrature(4, {"x": 0.1, "y": 0.2}), "has no points at x = 0.1, y = 0.2"),
        (lambda: SQUARE.quadrature(4, {"z": 0.0}), "unknown coordinate 'z'"),
        (lambda: RING.boundary_quadrature(4, "rim2"), "unknown boundary part 'rim2'"),
        (lambda: RING.boundary_quadrature(4, "rim", {"x": 0.0}), "x cannot be fixed on the boundary"),
        (lambda: PointCloud(np.eye(2)).quadrature(4), "needs a domain with a volume"),
    ],
)
def test_what_cannot_be_integrated_is_said(make, said):
    with pytest.raises(InputError, match=said):
        make()
