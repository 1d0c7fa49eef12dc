import math

import numpy as np
import pytest
import torch

from nfsolve import Box, Disk, Interval, PointCloud, Polygon, Rectangle, Sphere, parameter, periodic
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.sampling import sobol

L = Polygon([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)])
SQUARE = Box(x=(-1, 1), y=(-1, 1))
HOLE = Disk(x=0.2, y=0, radius=0.5)
CORNER = Disk(x=1, y=1, radius=1)
CUBE = Box(x=(0, 1), y=(0, 2), z=(0, 3))
LENS = math.pi / 2 - 1  # what unit disks around (0, 0) and (1, 1) share

# domain, its volume, the size of its boundary
SHAPES = {
    "interval": (Interval(x=(-1, 3)), 4.0, 2.0),
    "rectangle": (Rectangle(x=(0, 2), y=(0, 1)), 2.0, 6.0),
    "cube": (CUBE, 6.0, 22.0),
    "disk": (Disk(x=1, y=-2, radius=0.5), math.pi / 4, math.pi),
    "sphere": (Sphere(x=0, y=1, z=2, radius=2), 32 * math.pi / 3, 16 * math.pi),
    "L": (L, 3.0, 8.0),
    "clockwise L": (Polygon(list(reversed(L.corners.tolist()))), 3.0, 8.0),
    "square with a hole": (SQUARE - HOLE, 4 - math.pi / 4, 8 + math.pi),
    "square and corner": (SQUARE | CORNER, 4 + 0.75 * math.pi, 6 + 1.5 * math.pi),
    "quarter disk": (SQUARE & CORNER, math.pi / 4, 2 + math.pi / 2),
    "square without corner": (SQUARE - CORNER, 4 - math.pi / 4, 6 + math.pi / 2),
    "two disks": (Disk(x=0, y=0, radius=1) & CORNER, LENS, math.pi),
    "L of boxes with common sides": (Box(x=(0, 2), y=(0, 1)) | Box(x=(0, 1), y=(0, 2)), 3.0, 8.0),
    "L of boxes that touch": (Box(x=(0, 2), y=(0, 1)) | Box(x=(0, 1), y=(1, 2)), 3.0, 8.0),
    "L as a difference": (Box(x=(0, 2), y=(0, 2)) - Box(x=(1, 2), y=(1, 2)), 3.0, 8.0),
    "cube without ball": (CUBE - Sphere(x=0, y=0, z=0, radius=1), 6 - math.pi / 6, 22 - 0.75 * math.pi + math.pi / 2),
    "nested": ((SQUARE - HOLE) | HOLE, 4.0, 8.0),
    "holed and capped": ((SQUARE - HOLE) - Box(x=(-1, 1), y=(-1, 0)), 2 - math.pi / 8, 6 - 1 + math.pi / 2),
}


def sample(seed=0):
    chance = generator(seed, "points")
    return lambda n, d: sobol(n, d, chance)


def kept(domain, n=4096):
    """The size of the boundary, from the pieces and the share of each that survives."""
    total = 0.0
    for piece in domain.pieces():
        points, normals = piece.place(sample(3)(n, domain.boundary_dims))
        total += piece.size * (1.0 if piece.keep is None else float(piece.keep(points, normals).double().mean()))
    return total


@pytest.mark.parametrize("name", SHAPES)
def test_volumes_and_boundaries_have_their_closed_forms(name):
    domain, volume, rim = SHAPES[name]
    unit = sample(1)(2**14, len(domain.names))
    low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
    inside = domain.contains(low + unit * (high - low)).double().mean()
    assert float(inside * (high - low).prod()) == pytest.approx(volume, rel=5e-3)
    assert kept(domain) == pytest.approx(rim, rel=5e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_normals_have_length_one_and_point_outward(name):
    domain = SHAPES[name][0]
    points, normals = domain.boundary(400, sample())
    assert points.shape == normals.shape == (400, len(domain.names))
    assert (torch.linalg.vector_norm(normals, dim=1) - 1).abs().max() < 1e-12
    assert domain.signed_distance(points).abs().max() < 1e-9
    assert domain.contains(points).all()
    for step in (1e-5, 1e-3):
        behind, ahead = domain.contains(points - step * normals), domain.contains(points + step * normals)
        assert behind.double().mean() > 1 - 8 * step  # near a corner a long step may leave on the other side
        assert ahead.double().mean() < 8 * step


@pytest.mark.parametrize("name", ["disk", "sphere", "L", "square with a hole", "cube without ball"])
def test_the_signed_distance_is_the_distance_to_the_nearest_boundary_point(name):
    domain = SHAPES[name][0]
    near = domain.boundary(4000, sample())[0]
    points = domain.scale(sample(2)(200, len(domain.names)))
    expected = torch.cdist(points, near).amin(1)
    found = domain.signed_distance(points)[:, 0]
    assert torch.equal(found < 0, domain.contains(points, slack=-1e-8))
    # of set operations it is a lower bound, exact where the nearest boundary is not cut away
    assert (found.abs() <= expected + 1e-9).all()
    assert (found.abs() - expected).abs()[found < 0].max() < (0.03 if len(domain.names) == 2 else 0.15)


@pytest.mark.parametrize("name", SHAPES)
def test_interior_points_are_inside_and_repeat_by_seed(name):
    domain = SHAPES[name][0]
    points = domain.interior(300, sample())
    assert points.shape == (300, len(domain.names))
    assert points.dtype == torch.float64
    domain.check_points(points)
    assert torch.equal(points, domain.interior(300, sample()))


def test_the_points_are_uniform():
    points = Disk(x=0, y=0, radius=1).interior(4000, sample())
    radius = torch.linalg.vector_norm(points, dim=1)
    assert float((radius < 0.5).double().mean()) == pytest.approx(0.25, abs=0.01)
    points, _ = L.boundary(4000, sample())
    assert float((points[:, 1] == 0).double().mean()) == pytest.approx(2 / 8, abs=0.005)
    points, _ = Sphere(x=0, y=0, z=0, radius=1).boundary(4000, sample())
    for column in range(3):  # equal slices of a sphere have equal area
        assert float((points[:, column] > 0.5).double().mean()) == pytest.approx(0.25, abs=0.01)
    points, _ = (SQUARE - HOLE).boundary(4000, sample())
    rim = (torch.linalg.vector_norm(points - torch.tensor([0.2, 0.0]), dim=1) < 0.5001).double().mean()
    assert float(rim) == pytest.approx(math.pi / (8 + math.pi), abs=0.01)


def test_parts_are_chosen_by_name():
    domain = SQUARE - HOLE.named("hole") - Disk(x=-0.7, y=-0.7, radius=0.1)
    assert domain.parts == ("x=-1", "x=1", "y=-1", "y=1", "rim", "hole")
    points, normals = domain.boundary(50, sample(), "hole")
    center = torch.tensor([0.2, 0.0], dtype=torch.float64)
    assert torch.allclose(points + 0.5 * normals, center.expand_as(points))  # into the hole
    points, normals = domain.boundary(60, sample(), ("x=-1", "y=1"))
    assert set(map(tuple, normals.tolist())) == {(-1.0, 0.0), (0.0, 1.0)}
    points, _ = L.boundary(10, sample(), "edge 3")
    assert (points[:, 0] == 1).all() and (points[:, 1] >= 1).all()
    with pytest.raises(InputError, match="unknown boundary part 'hol': did you mean 'hole'.*In condition"):
        domain.boundary(5, sample(), "hol", what="condition")


def test_a_part_that_is_cut_away_and_an_empty_domain_are_worded():
    half = SQUARE - Box(x=(0.5, 2), y=(-2, 2))
    half.boundary(5, sample())
    with pytest.raises(InputError, match="wall selects nothing: 0 of .* cut this one away"):
        half.boundary(5, sample(), "y=2", what="wall")
    with pytest.raises(InputError, match=r"the interior of \(Disk.* selects nothing.*It is empty or very thin"):
        (HOLE - SQUARE).interior(5, sample())
    with pytest.raises(InputError, match="is empty, because its two domains do not overlap"):
        Disk(x=0, y=0, radius=1) & Disk(x=3, y=0, radius=1)
    with pytest.raises(InputError, match=r"nowhere selects nothing.*Check `where`"):
        SQUARE.boundary(5, sample(), where=lambda points, normals: points[:, 0] > 2, what="nowhere")


def test_periodic_coordinates_have_no_boundary():
    box = Box(x=periodic(0, 1), y=(0, 2))
    assert box.parts == ("y=0", "y=2")
    assert (box - Disk(x=0.5, y=1, radius=0.1)).periodic == (True, False)
    with pytest.raises(InputError, match=r"x is periodic.*no face x = 0.*write x=\(0, 1\)"):
        box.face({"x": 0})
    with pytest.raises(InputError, match="boundary of Box.*, which has no boundary"):
        Box(x=periodic(0, 1)).boundary(5, sample())
    with pytest.raises(InputError, match="Only the first domain of a difference may have a periodic coordinate"):
        box | Disk(x=0, y=0, radius=1)


def test_a_product_lets_a_shape_stand_through_time():
    domain = Box(t=(0, 2), nu=(0.1, 0.2)) * (SQUARE - HOLE)
    assert domain.names == ("t", "nu", "x", "y")
    assert domain.bounds == ((0, 2), (0.1, 0.2), (-1, 1), (-1, 1))
    inside = domain.interior(200, sample())
    assert (SQUARE - HOLE).contains(inside[:, 2:]).all()
    points, normals = domain.boundary(400, sample())
    assert (normals[:, :2] == 0).all()
    assert 0 <= points[:, 0].min() < 0.05 and 1.95 < points[:, 0].max() <= 2
    assert (SQUARE - HOLE).signed_distance(points[:, 2:]).abs().max() < 1e-9
    assert float((points[:, 3] == 1).double().mean()) == pytest.approx(2 / (8 + math.pi), abs=0.02)
    assert domain.face({"t": 0}) == [(0, 0.0, -1.0)]
    assert (Box(t=(0, 1)) * SQUARE).face({"x": 1}) == [(1, 1.0, 1.0)]
    assert domain.parts == ("x=-1", "x=1", "y=-1", "y=1", "rim")
    assert domain.face({"x": 1, "y": 0.5}) == [(2, 1.0, 1.0), (3, 0.5, 1.0)]
    with pytest.raises(InputError, match=r"@face\(x=1\) needs a domain with a volume"):
        PointCloud([[0, 0], [1, 1]]).face({"x": 1})
    with pytest.raises(InputError, match="must have a different name, got x, x, y"):
        Box(x=(0, 1)) * SQUARE


def test_a_point_cloud_gives_its_points_and_their_boundary():
    inside = HOLE.interior(50, sample())
    rim, normals = HOLE.boundary(20, sample())
    cloud = PointCloud(inside.numpy(), boundary=rim.tolist(), normals=3 * normals)
    assert set(map(tuple, cloud.interior(500, sample()).tolist())) == set(map(tuple, inside.tolist()))
    points, outward = cloud.boundary(100, sample())
    assert torch.allclose(points - 0.5 * outward, torch.tensor([0.2, 0.0], dtype=torch.float64).expand_as(points))
    assert cloud.contains(torch.cat([inside, rim])).all()
    assert not cloud.contains(inside + 1e-3).any()
    moving = Box(t=(0, 1)) * cloud
    assert cloud.contains(moving.interior(100, sample())[:, 1:]).all()
    assert cloud.contains(moving.boundary(100, sample())[0][:, 1:]).all()
    with pytest.raises(InputError, match="which has no boundary.*give a PointCloud boundary=points"):
        PointCloud(inside).boundary(5, sample())
    with pytest.raises(InputError, match="must have a volume"):
        cloud - HOLE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Disk(x=0, y=0, radius=0), "a positive radius, got x=0, y=0 and radius=0"),
        (
            lambda: Disk(x=0, radius=1),
            r"centre of 2 finite numbers .*got x=0 and radius=1. Write Disk\(x=0, y=0, radius=1\)",
        ),
        (lambda: Sphere(x=0, y=0, z="a", radius=1), "finite numbers"),
        (lambda: Interval(x=(0, 1), y=(0, 1)), "Interval has 1 coordinate, got 2. Use Box"),
        (lambda: Disk(center=(0, 0)), r"got x=0, y=0 and no radius. Write .*Disk\(center=\(0, 0\), radius=1\)"),
        (lambda: Disk(center=(0, 0, 0), radius=1), r"got center=\(0, 0, 0\) and radius=1"),
        (lambda: Disk(center=0, radius=1), "got center=0 and radius=1"),
        (lambda: Disk(center=(0, 0), x=0, radius=1), r"got center=\(0, 0\), x=0 and radius=1"),
        (lambda: Disk((0, 0), 1), r"got \(0, 0\), 1 and no radius"),
        (lambda: Disk(x=0, y=0, r=1), "got x=0, y=0, r=1 and no radius"),
        (lambda: Sphere(center=(0, 0), radius=1), "Sphere needs a centre of 3 finite numbers"),
        (lambda: Disk(radius=1), "got no centre and radius=1"),
        (lambda: Disk(x=0, y=math.inf, radius=1), "finite numbers"),
        (lambda: Box((0, 1), (0, 1)), r"by name, got \(0, 1\), \(0, 1\). Write Box\(x=\(0, 1\)\)"),
        (lambda: Rectangle([0, 0], [1, 1]), "Rectangle needs the bounds of its coordinates by name"),
        (lambda: Interval(0, 1), "Interval needs the bounds of its coordinates by name, got 0, 1"),
        (lambda: Polygon([(0, 0), (1, 0)]), "three or more pairs"),
        (lambda: Polygon([(0, 0), (1, 0), (1, 0), (0, 1)]), "edge 1 of a Polygon has no length"),
        (lambda: Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), "edges 0 and 2 cross"),
        (lambda: Polygon([(0, 0), (1, 1), (2, 2)]), "must have an area, but all its corners"),
        (lambda: Polygon([(0, 0), (1, "a"), (2, 2)]), "must be pairs of numbers"),
        (
            lambda: SQUARE - Box(x=(0, 1), z=(0, 1)),
            "the same coordinates in the same order, but they have x, y and x, z",
        ),
        (lambda: PointCloud([[0.0, 1.0, 2.0]]), r"shape \(n, 2\).*got \(1, 3\)"),
        (lambda: PointCloud([[0.0, 1.0]]), "x = 0 everywhere"),
        (lambda: PointCloud([[0.0, math.nan]]), "must be finite"),
        (lambda: PointCloud([[0, 0], [1, 1]], [[0, 0]], [[0, 0]]), "one of them has length 0"),
        (lambda: PointCloud([[0, 0], [1, 1]], normals=[[0, 1]]), "a normal for each point of boundary="),
        (lambda: Box(t=(0, 1)) * 3, "must be a domain, got 3"),
    ],
)
def test_bad_shapes_are_worded(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_points_outside_a_shape_are_counted_and_located():
    with pytest.raises(InputError, match=r"2 of 3 probes are outside .*, first x = 0.2, y = 0 in row 1"):
        (SQUARE - HOLE).check_points(torch.tensor([[-0.9, 0.0], [0.2, 0.0], [math.nan, 0.0]]), "probes")


def test_float32_points_on_the_boundary_count_as_inside():
    points = Disk(x=1, y=-2, radius=0.5).boundary(500, sample())[0]
    assert Disk(x=1, y=-2, radius=0.5).contains(points.float()).all()


@pytest.mark.parametrize("word", ["center", "centre"])
def test_a_round_shape_may_be_given_by_its_center(word):
    assert repr(Disk(**{word: (1, 2)}, radius=3)) == repr(Disk(x=1, y=2, radius=3))
    assert repr(Sphere(**{word: np.array([1, 2, 3])}, radius=3)) == repr(Sphere(x=1, y=2, z=3, radius=3))


def test_parameters_are_no_directions_of_space():
    assert Box(t=(0, 1), x=(0, 1), k=parameter(1, 3)).space == (1,)
    assert Box(s=parameter(0, 1), y=(0, 1), x=(0, 1)).space == (1, 2)
    assert Box(time=(0, 1), x=periodic(0, 1)).space == (1,)
    product = Box(tau=(0, 1), k=parameter(1, 3)) * Disk(x=0, y=0, radius=1)
    assert product.space == (2, 3)
    assert (Box(x=(0, 2), k=parameter(0, 1)) - Box(x=(0, 1), k=(0, 1))).space == (0,)
    assert repr(Box(x=(0, 1), k=parameter(1, 3))) == "Box(x=(0, 1), k=parameter(1, 3))"


def test_boxes_far_from_zero_differ_where_their_ends_do():
    hour, two = Box(t=(1.7e9, 1.7e9 + 3600)), Box(t=(1.7e9, 1.7e9 + 7200))
    assert hour != two and hour == Box(t=(1.7e9, 1.7e9 + 3600))
    assert hour.parts == ("t=1700000000", "t=1700003600")
    assert hour.face({"t": (1.7e9, 1.7e9 + 3600)}) == [(0, 1.7e9, -1.0), (0, 1.7e9 + 3600, 1.0)]
    assert hour.face({"t": 1700000001}) == [(0, 1700000001.0, 1.0)]
    with pytest.raises(InputError, match="must lie in 1700000000 <= t <= 1700003600, got t = 1699999999"):
        hour.face({"t": 1699999999})
    with pytest.raises(InputError, match="got t = -1e-12"):
        Box(t=(0, 1e-9)).face({"t": -1e-12})


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (Box(x=(0, 1), y=(0, 1)), []),
        (Box(x=(0, 4), y=(0, 4)) - Disk(x=1, y=2, radius=0.5), [((0, 1), (1.0, 2.0), 0.5)]),
        (Box(x=(0, 4), y=(0, 4)) - (Disk(x=1, y=2, radius=0.5) | Disk(x=3, y=2, radius=0.2)), [1.0, 3.0]),
        (Box(x=(0, 4), y=(0, 4)) - Disk(x=1, y=2, radius=0.5) - Disk(x=3, y=2, radius=0.2), [1.0, 3.0]),
        (Disk(x=1, y=2, radius=1.5) - Box(x=(0.5, 1.5), y=(1.8, 2.2)), [((0, 1), (1.0, 2.0), 0.2)]),
        (Box(t=(0, 1)) * (Disk(x=0, y=0, radius=2) - Disk(x=0, y=0, radius=1)), [((1, 2), (0.0, 0.0), 1.0)]),
        ((Disk(x=0, y=0, radius=2) - Disk(x=0, y=0, radius=1)) | Disk(x=0, y=0, radius=1.5), []),
        (Box(x=periodic(0, 4), y=(0, 4)) - Disk(x=1, y=2, radius=0.5), []),
        (Box(x=(0, 4), y=(0, 4)) & Disk(x=1, y=2, radius=0.5), []),
    ],
    ids=str,
)
def test_holes_are_what_was_taken_out(domain, expected):
    holes = domain.holes()
    assert len(holes) == len(expected)
    for hole, wanted in zip(holes, expected, strict=True):
        if isinstance(wanted, float):
            assert hole.centre[0] == pytest.approx(wanted)
        else:
            assert hole.columns == wanted[0]
            assert (*hole.centre, hole.radius) == pytest.approx((*wanted[1], wanted[2]))
