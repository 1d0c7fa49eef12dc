"""Points, lines and planes inside: what @face means with several coordinates, and with values within the bounds."""

from dataclasses import dataclass

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, Rectangle, Sphere, boundary, face, interior, periodic
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem import SamplerState
from nfsolve.problem.pde.window import may_have_windows, window_of

SQUARE = Rectangle(x=(0, 1), y=(0, 1))
TWO = Rectangle(x=(0, 1), y=(0, 1)) | Rectangle(x=(1, 2), y=(0, 1))
RING = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5)


def value(self, u):
    return u


def slope(self, u_x, n_x):
    return u_x * n_x


def problem_on(shape, method=value, **sides):
    @dataclass
    class Held(PDE):
        domain = shape
        unknowns = "u"

        @interior
        def balance(self, u_x, u):
            return u_x + u

        held = face(**sides)(method)

    return Held(n_points=20, n_face=30)


def rows_of(problem):
    return problem.sample(problem.load("cpu", torch.float64), SamplerState(), generator(0, "points"))["held"]


# where the points of a condition lie: coordinate -> the only value that it has
PLACES = [
    (SQUARE, {"x": 0, "y": 0.5}, {"x": 0, "y": 0.5}),
    (SQUARE, {"x": 0, "y": 0}, {"x": 0, "y": 0}),
    (SQUARE, {"x": 0.5}, {"x": 0.5}),
    (Box(t=(0, 1), x=(0, 1)), {"t": 0, "x": 0.25}, {"t": 0, "x": 0.25}),
    (Box(x=(0, 1), y=(0, 1), z=(0, 1)), {"x": 0.5, "z": 1}, {"x": 0.5, "z": 1}),
    (Box(x=(0, 2)), {"x": 1}, {"x": 1}),
    (Box(t=(0, 1), x=periodic(0, 1)), {"x": 0.5}, {"x": 0.5}),
    (Disk(x=0, y=0, radius=1), {"x": 0.5}, {"x": 0.5}),
    (RING, {"y": 0}, {"y": 0}),
    (TWO, {"x": 1}, {"x": 1}),
    (TWO, {"x": 2}, {"x": 2}),
    (Box(t=(0, 1)) * RING, {"t": 1, "x": 0.75, "y": 0}, {"t": 1, "x": 0.75, "y": 0}),
    (Box(t=(0, 1)) * RING, {"x": 0.2}, {"x": 0.2}),
    (Sphere(x=0, y=0, z=0, radius=1), {"x": 0, "y": 0}, {"x": 0, "y": 0}),
]


@pytest.mark.parametrize(("shape", "sides", "fixed"), PLACES, ids=lambda v: repr(v)[:40])
def test_single_values_hold_together(shape, sides, fixed):
    problem = problem_on(shape, **sides)
    rows = rows_of(problem)
    assert shape.contains(rows.points).all() and len(rows)
    for i, name in enumerate(shape.names):
        column = rows.points[:, i]
        assert (column == fixed[name]).all() if name in fixed else len(column.unique()) == len(column)
    if len(fixed) == len(shape.names):
        assert len(rows) == 5


def test_pairs_are_sides_and_all_of_them_count():
    points = rows_of(problem_on(SQUARE, x=(0, 1), y=(0, 1))).points
    sides = ((points == 0) | (points == 1)).sum(1)
    assert (sides == 1).all() and len(points) == 30
    points = rows_of(problem_on(SQUARE, x=(0, 1), y=0)).points  # three walls of a cavity
    assert {(x, y) for x, y in (points[:, :2] == 0).tolist()} == {(True, False), (False, True), (False, False)}
    points = rows_of(problem_on(SQUARE, x=(0.25, 0.75))).points
    assert set(points[:, 0].tolist()) == {0.25, 0.75}


@pytest.mark.parametrize(("x", "sign"), [(0, -1.0), (1, 1.0), (0.5, 1.0)])
def test_normals_point_out_of_sides_and_along_the_coordinate_inside(x, sign):
    rows = rows_of(problem_on(SQUARE, slope, x=x))
    assert torch.equal(rows.normals, torch.tensor([[sign, 0.0]]).double().expand(30, 2))


@pytest.mark.parametrize(
    ("shape", "method", "sides", "said"),
    [
        (SQUARE, value, {"x": 1.5}, r"A face must lie in 0 <= x <= 1, got x = 1.5"),
        (SQUARE, value, {"x": 0, "y": 7}, "A face must lie in 0 <= y <= 1, got y = 7"),
        (SQUARE, value, {"z": 0}, "unknown coordinate 'z'"),
        (SQUARE, slope, {"x": 0, "y": 0.5}, "'held' asks for 'n_x', but a point or line has no normal"),
        (RING, value, {"x": 0, "y": 0}, "@face of 'held' selects nothing"),
        (TWO - Rectangle(x=(0.5, 1.5), y=(-1, 2)), value, {"x": 1}, "the face x = 1 of 'held' selects nothing"),
        (Box(t=(0, 1), x=periodic(0, 1)), value, {"x": 1}, "x is periodic"),
        (Box(t=(0, 1), x=(0, 1)), value, {"t": "start"}, "A face must be at a value of t from 0 to 1"),
    ],
)
def test_faces_that_cannot_be_meant(shape, method, sides, said):
    with pytest.raises(InputError, match=said):
        nf.solve(problem_on(shape, method, **sides), steps=1, report=None)


def test_a_face_may_hold_on_a_part_of_its_side():
    rows = rows_of(problem_on(SQUARE, slope, x=(0, 1), where=lambda y, n_x: (y < 0.25) == (n_x < 0)))
    left = rows.points[:, 0] == 0
    assert 0 < int(left.sum()) < 30
    assert (rows.points[left, 1] < 0.25).all() and (rows.points[~left, 1] >= 0.25).all()
    middle = rows_of(problem_on(Box(x=(0, 1), y=(0, 1), z=(0, 1)), x=0, y=0.5, where=lambda z: z > 0.5)).points
    assert (middle[:, 2] > 0.5).all() and middle.shape == (30, 3)
    at_rest = rows_of(problem_on(Box(t=(0, 1)) * RING, t=0, where=lambda x: x > 0)).points
    assert (at_rest[:, 1] > 0).all() and (at_rest[:, 0] == 0).all()
    with pytest.raises(InputError, match="the face x = 0 of 'held' selects nothing.*Check where="):
        rows_of(problem_on(SQUARE, x=0, where=lambda y: y > 2))
    with pytest.raises(InputError, match="where= of 'held' must be a function of coordinates or the name of a method"):
        rows_of(problem_on(SQUARE, x=0, where=(0, 0.5)))


def test_a_name_in_the_place_of_a_method_is_told_where_it_belongs():
    for mark, said in (
        (boundary, r"@boundary\(part='rim'\)"), (interior, r"@interior\(where='rim'\)"), (nf.integral, r"over='rim'\)")
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            mark("rim")


def test_windows_need_conditions_at_the_start_or_at_all_times():
    box = Box(t=(0, 1), x=(0, 1))
    assert may_have_windows(problem_on(box, t=0, x=0.5)) and may_have_windows(problem_on(box, x=0.5))
    assert not may_have_windows(problem_on(box, t=0.5))
    assert not may_have_windows(problem_on(box, t=0.5, x=0.5))
    later = window_of(problem_on(box, t=0, x=0.5), 0.5, 1.0, nf.MLP(box, width=3, depth=1))
    assert set(later.conditions()) == {"balance", "handover"}  # the point at the start went with the start


def test_a_corner_is_no_side():
    @dataclass
    class Corner(PDE):
        domain = SQUARE
        unknowns = "u"

        @interior
        def balance(self, lap_u):
            return lap_u

        @face(x=0, y=0)
        def pinned(self, u):
            return u

    assert any("no condition on u at x=0 and x=1" in text for text in Corner().cautions())


@dataclass
class Pinned(PDE):
    """Poisson's equation with slopes all around; a pin makes the solution unique. u = cos(pi x) cos(pi y) - 1."""

    domain = SQUARE
    unknowns = "u"

    @interior
    def balance(self, lap_u, x, y):
        return lap_u + 2 * torch.pi**2 * torch.cos(torch.pi * x) * torch.cos(torch.pi * y)

    @nf.boundary
    def insulated(self, u_x, u_y, n_x, n_y):
        return u_x * n_x + u_y * n_y

    @face(x=0, y=0)
    def pin(self, u):
        return u

    def exact(self, x, y):
        return torch.cos(torch.pi * x) * torch.cos(torch.pi * y) - 1


def test_a_pin_makes_a_problem_of_slopes_unique():
    solution = nf.solve(Pinned(), seed=0, time_limit=15, accuracy=1e-8, report=None)
    assert solution.metrics["relative_l2"] < 1e-8


def test_marks_above_each_other_hold_on_all_their_sides():
    def method(self, u):
        return u

    marked = face(y=0, points=10)(face(y=1, points=10)(method))
    held = face(x=(0, 1), points=20)(marked)
    assert held.condition.sides == {"y": (1, 0), "x": (0, 1)}
    assert held.condition.points == 40
    points = rows_of(problem_on(SQUARE, marked, x=(0, 1), points=20)).points
    on = [int((points[:, i] == end).sum()) for i in (0, 1) for end in (0.0, 1.0)]
    assert min(on) >= 5
    assert sum(on) == 40


def test_one_function_may_be_marked_in_several_places():
    left, right = face(x=0)(value), face(x=1)(value)
    assert (left.condition.sides, right.condition.sides) == ({"x": 0}, {"x": 1})
    assert not hasattr(value, "condition")


def test_marks_of_named_parts_join():
    def zero(self, u):
        return u

    both = boundary(part="rim")(boundary(part="hole")(zero))
    assert set(both.condition.part) == {"rim", "hole"}


@pytest.mark.parametrize(
    "above",
    [interior, face(x=0, weight=2), face(x=0, y=0), face(x=0, points=3), boundary],
    ids=["interior", "weight", "point", "points", "boundary"],
)
def test_other_marks_above_each_other_are_refused(above):
    def both(self, u):
        return u

    with pytest.raises(InputError, match="two marks above one method 'both'"):
        above(face(y=0)(both))
