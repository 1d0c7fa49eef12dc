"""Corners of plane domains, and points on the sides beside them."""

import math

import pytest
import torch

import nfsolve as nf
from nfsolve import Box, Disk, PointCloud, Polygon
from nfsolve.domains.corners import drawn_to_corners
from nfsolve.sampling import sampler

SQUARE = Box(x=(-1, 1), y=(-1, 1))
NOTCHED = SQUARE - Box(x=(0, 2), y=(0, 2))
ACUTE = [(0, 0), (2, 0), (2, 1), (0.5, 1), (0.3, 3)]


def degrees(domain):
    return [math.degrees(corner.angle) for corner in domain.sharp_corners()]


@pytest.mark.parametrize(
    ("domain", "angles"),
    [
        (SQUARE, [90] * 4),
        (NOTCHED, [270] + [90] * 5),
        (SQUARE - Box(x=(-0.3, 0.3), y=(-0.2, 0.2)), [270] * 4 + [90] * 4),
        (Polygon(ACUTE), [264.289406862, 90, 90, 84.289406862, 11.421186275]),
        (Disk(x=0, y=0, radius=1), []),
        (SQUARE - Disk(x=0, y=0, radius=0.5), [90] * 4),
        (Box(x=nf.periodic(0, 1), y=(0, 1)), []),
        (Box(t=(0, 1), x=(0, 1)), []),
        (Box(x=(0, 1), y=(0, 1), z=(0, 1)), []),
        (PointCloud(torch.rand(50, 2), normals=None), []),
    ],
    ids=repr,
)
def test_interior_angles_are_found(domain, angles):
    assert degrees(domain) == pytest.approx(angles, abs=1e-8)


def test_corners_of_curved_sides_are_found_nearly():
    three_quarters = Disk(x=0, y=0, radius=1) - Box(x=(0, 2), y=(-2, 0))
    assert degrees(three_quarters) == pytest.approx([270, 90, 90], abs=0.1)
    assert three_quarters.sharp_corners()[0].place == pytest.approx((0, 0), abs=1e-12)


def test_place_and_direction_say_where_the_inside_is():
    corner = NOTCHED.sharp_corners()[0]
    assert corner.place == pytest.approx((0, 0), abs=1e-12)
    assert corner.direction == pytest.approx(-0.75 * math.pi)


@pytest.mark.parametrize("domain", [Box(t=(0, 1)) * NOTCHED, Box(t=(0, 1), x=(0, 2), y=(0, 1))], ids=repr)
def test_corners_hold_at_all_times(domain):
    assert {corner.columns for corner in domain.sharp_corners()} == {(1, 2)}


def drawn(domain, n=300):
    generator = torch.Generator().manual_seed(0)
    points, normals = domain.boundary(n, lambda m, d: sampler("sobol")(m, d, generator))
    return points, normals, drawn_to_corners(domain, points, normals)


def test_every_third_point_is_drawn_to_a_corner_and_stays_on_its_side():
    points, normals, moved = drawn(NOTCHED)
    changed = (points != moved).any(1)
    assert 0.25 < changed.double().mean() < 0.35
    assert NOTCHED.signed_distance(moved).abs().max() < 1e-12
    assert ((moved - points) * normals).sum(1).abs().max() < 1e-12
    nearest = moved[changed].norm(dim=1).min()
    assert nearest < 1e-4 < points.norm(dim=1).min()


def test_points_of_convex_domains_stay():
    points, _, moved = drawn(SQUARE)
    assert torch.equal(points, moved)


def test_points_stay_where_a_condition_would_not_hold_for_them():
    points, normals, _ = drawn(NOTCHED)
    moved = drawn_to_corners(NOTCHED, points, normals, lambda p, n: p[:, 1] < -0.5)
    changed = (points != moved).any(1)
    assert changed.any() and (moved[changed, 1] < -0.5).all()
