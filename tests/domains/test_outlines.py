"""Polygons with holes and names, and what is refused of outlines."""

import math

import numpy as np
import pytest
import torch

from nfsolve import Box, Extrusion, PointCloud, Polygon
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.sampling import sobol

FRAME = [(0, 0), (4, 0), (4, 2), (0, 2)]
SQUARE = [(1, 0.5), (1, 1.5), (2, 1.5), (2, 0.5)]
WEDGE = [(3, 0.5), (3.5, 0.5), (3, 1.5)]
TURN = 2 * math.pi * np.arange(400) / 400
ROUND = np.stack([np.cos(TURN), 0.5 * np.sin(TURN)], 1)


def sample(seed=0):
    chance = generator(seed, "points")
    return lambda n, d: sobol(n, d, chance)


def plate(*, turned=(False, False, False), **options):
    rings = [ring[::-1] if back else ring for ring, back in zip((FRAME, SQUARE, WEDGE), turned, strict=True)]
    return Polygon(rings, **options)


@pytest.mark.parametrize("turned", [(False, False, False), (True, False, True), (False, True, True)])
def test_holes_are_left_out_whatever_the_direction_of_a_ring(turned):
    domain = plate(turned=turned)
    assert domain.area == pytest.approx(8 - 1 - 0.25)
    assert float(domain.quadrature(5).weights.sum()) == pytest.approx(domain.area, rel=1e-13)
    points = torch.tensor([[0.5, 1], [1.5, 1], [3.1, 0.6], [3.9, 1.9], [-1, 1]], dtype=torch.float64)
    assert torch.allclose(domain.signed_distance(points)[[0, 1, 4], 0], torch.tensor([-0.5, 0.5, 1.0]).double())
    assert domain.contains(points).tolist() == [True, False, False, True, False]
    for part in ("outer", "hole 1", "hole 2"):
        points, normals = domain.boundary(60, sample(), part)
        assert (domain.signed_distance(points + 1e-4 * normals) > 0).all()
        assert (domain.signed_distance(points - 1e-4 * normals) < 0).all()
    inside = domain.interior(400, sample())
    assert domain.contains(inside).all()
    assert [hole.centre for hole in domain.holes()] == [(1.5, 1.0), (3.25, 1.0)]


def test_a_rule_is_exact_for_polynomials():
    rule, x = plate().quadrature(6), 3.0
    moment = 4 * 8 / 3 * 2 - (8 - 1) / 3  # of x^2 y^0 over frame and square: 64/3 * 2 - 7/3
    moment = 64 / 3 * 2 - 7 / 3 - (0.5 * x**2 / 2 + 2 * x * 0.5**2 / 6 + 0.5**3 / 12)
    assert float(rule.points[:, 0] ** 2 @ rule.weights[:, 0]) == pytest.approx(moment, rel=1e-12)
    edges = plate().boundary_quadrature(3)  # divergence theorem
    flux = float((edges.points * edges.normals).sum(1) @ edges.weights[:, 0])
    assert flux == pytest.approx(2 * plate().area, rel=1e-12)
    assert float(plate().boundary_quadrature(3, "hole 1").weights.sum()) == pytest.approx(4)


def test_edges_have_numbers_names_or_are_many():
    assert plate().parts[:3] == ("edge 0", "outer", "edge 1") and set(plate().parts[-2:]) == {"edge 9", "edge 10"}
    named = plate(parts=["rim", ["left", "top", "right", "bottom"], "wedge"])
    assert set(named.parts) == {"rim", "outer", "left", "top", "right", "bottom", "hole 1", "wedge", "hole 2"}
    points, normals = named.boundary(20, sample(), "left")
    assert (points[:, 0] == 1).all() and (normals[:, 0] == 1).all()
    once = Polygon(FRAME, parts=["wall", "outlet", "wall", "inlet"])
    assert float(once.boundary_quadrature(2, "wall").weights.sum()) == pytest.approx(8)
    many = Polygon(ROUND)
    assert many.parts == ("outer",) and len(many.pieces()) == 1
    points, normals = many.boundary(500, sample())
    assert many.signed_distance(points).abs().max() < 1e-12 and points.mean(0).abs().max() < 1e-2
    assert float(many.quadrature(8).weights.sum()) == pytest.approx(math.pi / 2, rel=1e-4)
    assert float(many.quadrature(8).weights.sum()) == pytest.approx(many.area, rel=1e-12)
    assert len(many.quadrature(24).points) < 5000 and len(many.boundary_quadrature(24).points) == 1200


def test_outlines_work_in_products_extrusions_and_set_operations():
    heated = Box(t=(0, 3)) * plate()
    assert float(heated.quadrature(4).weights.sum()) == pytest.approx(3 * 6.75)
    assert float(heated.boundary_quadrature(4, "hole 2", {"t": 1.0}).weights.sum()) == pytest.approx(
        1.5 + math.hypot(0.5, 1)
    )
    assert heated.holes()[0].columns == (1, 2)
    prism = Extrusion(plate(), z=(0, 2))
    assert float(prism.boundary_quadrature(4, "hole 1").weights.sum()) == pytest.approx(8)
    cut = plate() - Polygon([(3.5, 1), (5, 1), (5, 3), (3.5, 3)]).named("notch")
    points, normals = cut.boundary(40, sample(), "notch")
    assert (cut.signed_distance(points + 1e-3 * normals) > 0).all()


def test_a_closed_ring_an_array_and_a_scale_are_understood():
    assert Polygon([*FRAME, FRAME[0]]).area == Polygon(np.array(FRAME)).area == Polygon(torch.tensor(FRAME)).area == 8
    assert Polygon(FRAME, scale=0.5).bounds == ((0, 2), (0, 1))
    assert Polygon(np.array([FRAME, SQUARE])).area == 7
    assert repr(plate()) == "Polygon([(0, 0), (4, 0), (4, 2), (0, 2), ...] and 2 holes)"


BAD = {
    "hole outside": (lambda: Polygon([FRAME, [(5, 0), (6, 0), (6, 1)]]), "ring 1 of a Polygon must be .* outside"),
    "hole in hole": (
        lambda: Polygon([FRAME, SQUARE, [(1.2, 0.8), (1.4, 0.8), (1.4, 1)]]),
        "ring 2 of a Polygon must be a hole in ring 0, but it lies in another hole",
    ),
    "hole across": (lambda: Polygon([FRAME, [(3, 1), (5, 1), (4, 1.5)]]), r"edges 1 and 6 cross \(of rings 0 and 1\)"),
    "hole touches": (lambda: Polygon([FRAME, [(0, 1), (1, 1), (1, 1.5)]]), "cross"),
    "outer last": (lambda: Polygon([SQUARE, FRAME]), "ring 1 of a Polygon must be a hole in ring 0, but it lies outs"),
    "eight": (lambda: Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), r"edges 0 and 2 cross, near \(2, 0\)"),
    "touches itself": (lambda: Polygon([(0, 0), (1, 1), (2, 0), (2, 2), (1, 1), (0, 2)]), "cross"),
    "spike": (lambda: Polygon([(0, 0), (2, 0), (1, 0), (1, 1)]), "edges 0 and 2 cross"),
    "flat hole": (lambda: Polygon([FRAME, [(1, 1), (2, 1), (3, 1)]]), "all its corners of one ring are on one line"),
    "parts": (lambda: Polygon(FRAME, parts=["a", "b"]), "a name for each of the 4 edges, or one name for all"),
    "parts of rings": (lambda: plate(parts=["a", "b"]), "an entry for each ring, got 2"),
    "part": (lambda: Polygon(FRAME, parts=["a", "b", "c", 4]), "a name for each of the 4 edges"),
    "scale": (lambda: Polygon(FRAME, scale=0), "two names and a positive scale"),
    "file": (
        lambda: Polygon("outline.csv"),
        "a Polygon is read from a mesh, a file that ends in .msh.* got 'outline.c",
    ),
    "kind": (lambda: Polygon({"a": 1}), "must be pairs of numbers"),
    "nothing": (lambda: Polygon([]), "three or more pairs of numbers"),
    "nan": (lambda: Polygon([FRAME, [(1, 1), (2, math.nan), (3, 1.5)]]), r"\(ring 1\) must be finite"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_outlines_that_enclose_nothing_clear_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_parts_of_point_clouds_have_names():
    points = np.array([[0, 0], [1, 0.5], [2, 1], [3, 0.2]])
    cloud = PointCloud(points, points[:3], regions=["a", "b", "", "b"], parts=["inlet", "wall", "wall"])
    assert cloud.parts == ("boundary", "inlet", "wall") and set(cloud.regions()) == {"a", "b"}
    drawn, _ = cloud.boundary(100, sample(), "wall")
    assert {tuple(p) for p in drawn.tolist()} == {(1.0, 0.5), (2.0, 1.0)}
    drawn, _ = cloud.boundary(300, sample())
    assert float((drawn[:, 0] == 0).double().mean()) == pytest.approx(1 / 3, abs=0.02)
    part = cloud.regions()["b"]
    assert {tuple(p) for p in part.interior(50, sample()).tolist()} == {(1.0, 0.5), (3.0, 0.2)}
    assert part.contains(torch.tensor(points)).tolist() == [False, True, False, True]
    assert set((Box(t=(0, 1)) * cloud).regions()) == {"a", "b"}
    with pytest.raises(InputError, match="needs a domain with a volume"):
        cloud.interface("a", "b")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"regions": ["a"]}, "a name for each of its 3 points, got 1"),
        ({"parts": ["a"]}, "a name for each of its 0 boundary points, got 1"),
        ({"regions": [None, "a", "b"]}, "a name for each of its 3 points"),
        ({"regions": "abc"}, "a name for each of its 3 points, got 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PointCloud([[0, 0], [1, 2], [2, 1]], **options)
