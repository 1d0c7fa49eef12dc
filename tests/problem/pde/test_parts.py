"""Parts of a domain: unknowns that live on them, interfaces between them, and equations on sub-shapes."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, Polygon, Rectangle, Solution, Sphere, boundary, face, interface, interior, measured
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem import SamplerState

LEFT, RIGHT = Rectangle(x=(0, 1), y=(0, 1)).named("left"), Rectangle(x=(1, 3), y=(0, 1)).named("right")
CORE = Disk(x=0.2, y=0, radius=0.5).named("core")
SHELL = (Rectangle(x=(-1, 1), y=(-1, 1)) - CORE).named("shell")
BALL = Sphere(x=0, y=0, z=0, radius=0.5).named("ball")
ROOM = (Box(x=(-1, 1), y=(-1, 1), z=(-1, 1)) - BALL).named("room")
CENTRE = torch.tensor([0.2, 0.0], dtype=torch.float64)
ROOF = Polygon([(0, 1), (3, 1), (1.5, 2)]).named("right")


def problem_on(shape, lives, **methods):
    namespace = {"domain": shape, "unknowns": lives, **methods}
    for name, value in methods.items():
        value.__name__ = name
    made = dataclass(type("Made", (PDE,), namespace))
    return made(n_points=400, n_face=64)


def rows_of(problem):
    data = problem.load("cpu", torch.float64)
    problem.check()
    return problem.sample(data, SamplerState(), generator(0, "points"))


# domain, its two parts, where the interface is, and its size
PLACES = {
    "plane": (LEFT | RIGHT, ("left", "right"), lambda p, n: (p[:, 0] == 1) & (n[:, 0] == 1), 1.0),
    "plane from the right": (LEFT | RIGHT, ("right", "left"), lambda p, n: (p[:, 0] == 1) & (n[:, 0] == -1), 1.0),
    "polygon": (
        Rectangle(x=(1, 2), y=(0, 1)).named("left") | ROOF,
        ("left", "right"),
        lambda p, n: (p[:, 1] == 1) & (n[:, 1] == 1),
        1.0,
    ),
    "disk": (
        CORE | SHELL,
        ("core", "shell"),
        lambda p, n: ((p - CENTRE) - 0.5 * n).abs().amax(1) < 1e-12,
        math.pi,
    ),
    "disk from outside": (
        CORE | SHELL,
        ("shell", "core"),
        lambda p, n: ((p - CENTRE) + 0.5 * n).abs().amax(1) < 1e-12,
        math.pi,
    ),
    "ball": (BALL | ROOM, ("ball", "room"), lambda p, n: (p - 0.5 * n).abs().amax(1) < 1e-12, math.pi),
    "in time": (
        Box(t=(0, 2)) * (LEFT | RIGHT),
        ("left", "right"),
        lambda p, n: (p[:, 1] == 1) & (n[:, 1] == 1) & (n[:, 0] == 0),
        2.0,
    ),
    "line": (
        Box(x=(0, 1)).named("left") | Box(x=(1, 2)).named("right"),
        ("left", "right"),
        lambda p, n: (p[:, 0] == 1) & (n[:, 0] == 1),
        1.0,
    ),
}


@pytest.mark.parametrize(("domain", "parts", "on_it", "size"), PLACES.values(), ids=PLACES)
def test_an_interface_is_where_two_parts_touch(domain, parts, on_it, size):
    def jump(self, u, v, u_x, v_x, n_x):
        return torch.cat([u - v, n_x * (u_x - v_x)], 1)

    problem = problem_on(domain, {parts[0]: "u", parts[1]: "v"}, jump=interface(*parts)(jump))
    rows = rows_of(problem)["jump"]
    assert len(rows) == (5 if len(domain.names) == 1 else 64)
    assert on_it(rows.points, rows.normals).all()
    rule = domain.interface_quadrature(8, *parts)
    assert float(rule.weights.sum()) == pytest.approx(size, rel=1e-6)
    assert on_it(rule.points, rule.normals).all()


def one():  # a new function each time, as marks are written on them
    return lambda self, u: u


def both():
    return lambda self, u, v: u - v


def on_v():
    return lambda self, v: v


@pytest.mark.parametrize("mark", ["interior", "face", "boundary", "where"])
def test_a_residual_holds_where_its_unknowns_live(mark):
    marks = {
        "interior": interior,
        "face": face(y=(0, 1)),
        "boundary": boundary,
        "where": interior(where="left"),
    }
    both_parts = {"left": "u w", "right": "v w"}

    def shared(self, w):
        return w

    def mixed(self, w, u):
        return w - u

    problem = problem_on(
        LEFT | RIGHT,
        both_parts,
        mine=marks[mark](one()),
        everywhere=interior(shared),
        mixed=interior(mixed),
        theirs=interior(on_v()),
    )
    assert problem.outputs == ("u", "w", "v") and problem.unknowns == "u w v"
    rows = rows_of(problem)
    assert rows["mine"].points[:, 0].max() <= 1 + 1e-9
    assert rows["mixed"].points[:, 0].max() <= 1 and rows["theirs"].points[:, 0].min() >= 1
    assert rows["everywhere"].points[:, 0].min() < 0.1 and rows["everywhere"].points[:, 0].max() > 2.9


WHERES = {
    "part": ("core", lambda p: CORE.contains(p)),
    "shape": (Rectangle(x=(0, 0.3), y=(0, 2)), lambda p: (p[:, 0] >= 0) & (p[:, 0] <= 0.3) & (p[:, 1] >= 0)),
    "function": (lambda x, y: x > y, lambda p: p[:, 0] > p[:, 1]),
    "method": ("upper", lambda p: p[:, 1] > 0.5),
}


@pytest.mark.parametrize(("where", "holds"), WHERES.values(), ids=WHERES)
@pytest.mark.parametrize("timed", [False, True])
def test_an_equation_may_hold_on_a_part(where, holds, timed):
    domain = Box(t=(0, 1)) * (CORE | SHELL) if timed else CORE | SHELL

    def upper(self, y):
        return y > 0.5

    problem = problem_on(domain, "u", balance=interior(where=where)(one()), upper=upper)
    points = rows_of(problem)["balance"].points
    assert len(points) == 400 and holds(points[:, -2:]).all()
    assert len(domain.names) == 2 or points[:, 0].max() > 0.9


PAIR, TWO = LEFT | RIGHT, {"left": "u", "right": "v"}
REFUSED = {
    "no such part": (PAIR, {"left": "u", "rihgt": "v"}, {"a": interior(one())}, "'rihgt', which is not a part"),
    "no parts": (LEFT, {"left": "u"}, {"a": interior(one())}, "Make the domain a union of named parts"),
    "nowhere": (PAIR, TWO, {"a": interior(both())}, "they have no part in common"),
    "interface of others": (
        PAIR | Rectangle(x=(3, 4), y=(0, 1)).named("third"),
        {"left": "u", "right": "v", "third": "w"},
        {"a": interface("right", "third")(one())},
        "`a` holds between right and third, where 'u' does not live",
    ),
    "unknown part": (PAIR, "u", {"a": interface("left", "x")(one())}, "names 'x', which is not a part"),
    "overlap": (
        Disk(x=0.2, y=0, radius=0.5).named("core") | Rectangle(x=(-1, 1), y=(-1, 1)).named("plate"),
        {"core": "u", "plate": "v"},
        {"a": interface("core", "plate")(both())},
        r"The parts core and plate of @interface of `a` overlap.*Cut one out of the other",
    ),
    "apart": (
        LEFT | Rectangle(x=(2, 3), y=(0, 1)).named("right"),
        TWO,
        {"a": interface("left", "right")(both())},
        "@interface of 'a' selects nothing.*Check that the parts left and right touch",
    ),
    "where": (PAIR, "u", {"a": interior(where="lfet")(one())}, "unknown part or method 'lfet'"),
    "where number": (PAIR, "u", {"a": interior(where=3)(one())}, "where= of 'a' must be a shape, the name of a part"),
    "where elsewhere": (PAIR, "u", {"a": interior(where=Disk(x=9, y=9, radius=1))(one())}, "is empty"),
    "where of others": (PAIR, "u", {"a": interior(where=BALL)(one())}, "must have the coordinates x, y"),
    "where not alive": (PAIR, TWO, {"a": interior(where="right")(one())}, "selects nothing|empty"),
    "face of others": (PAIR, TWO, {"a": face(x=3)(one())}, "face x = 3 of 'a' selects nothing"),
    "data elsewhere": (
        PAIR,
        TWO,
        {"a": measured({"x": [2.0], "y": [0.5], "u": [1.0]})(one())},
        "points of @measured of 'a' are outside",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("domain", "lives", "methods", "said"), REFUSED.values(), ids=REFUSED)
def test_parts_that_cannot_be_meant_are_refused(domain, lives, methods, said):
    with pytest.raises(InputError, match=said):
        rows_of(problem_on(domain, lives, **methods))


@pytest.mark.parametrize("names", [("a", "a"), ("a", 3), (LEFT, RIGHT), ("a",)])
def test_an_interface_needs_two_names(names):
    with pytest.raises(InputError, match="@interface needs the names of two parts"):
        interface(*names)


def test_an_unknown_that_nothing_joins_is_said():
    problem = problem_on(LEFT | RIGHT, {"left": "u", "right": "v"}, a=interior(one()), b=interior(on_v()))
    assert any("no @interface names 'u', which lives on left only" in text for text in problem.cautions())
    joined = problem_on(
        LEFT | RIGHT,
        {"left": "u", "right": "v"},
        a=interior(one()),
        b=interior(on_v()),
        c=interface("left", "right")(both()),
    )
    assert not any("joins" in text for text in joined.cautions())


class Sum(torch.nn.Module):
    """u = x + y, v = x - y."""

    def __init__(self):
        super().__init__()
        self.inputs, self.outputs = ("x", "y"), ("u", "v")
        self.one = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, points):
        x, y = points[:, :1], points[:, 1:]
        return self.one * torch.cat([x + y, x - y], 1)


def test_answers_know_where_an_unknown_lives(tmp_path):
    def exact(self, x, y):
        return torch.where(x > 1, torch.nan, x + y), torch.where(x < 1, torch.nan, x - y)

    problem = problem_on(LEFT | RIGHT, {"left": "u", "right": "v"}, a=interior(one()), exact=exact)
    data = problem.load("cpu", torch.float64)
    solution = Solution(problem, Sum(), {}, [], "", False, False, 0.0, 0, 0, data)
    found = solution(np.array([[0.5, 0.5], [2.0, 0.5], [1.0, 0.5]]))
    assert np.array_equal(found, [[1, np.nan], [np.nan, 1.5], [1.5, 0.5]], equal_nan=True)
    assert np.array_equal(solution("v_y u", [[0.5, 0.5]]), [[np.nan, 1.0]], equal_nan=True)
    assert solution.integral("u", over="left") == pytest.approx(1.0)
    assert solution.integral("v", over=("left", "right")) == pytest.approx(0.5)
    assert solution.integral(lambda v, n_x: n_x * v, over=("right", "left")) == pytest.approx(-0.5)
    assert problem.metrics(solution.field, data)["relative_l2"] == 0
    with np.load(solution.export(tmp_path / "a.npz", (7, 3))) as table:
        assert np.isnan(table["u"][3:]).all() and np.isfinite(table["u"][:3]).all()
    assert solution.plot() is None or solution.plot().axes


@dataclass
class Layers(PDE):
    """a = e^x on the left; b goes on with a kink on the right, where the conductivity is ten times as large."""

    domain = LEFT | RIGHT
    unknowns = {"left": "a", "right": "b"}

    @interior
    def on_the_left(self, lap_a, a):
        return lap_a - a

    @interior
    def on_the_right(self, lap_b, x, y):
        return lap_b - 0.1 * torch.exp(x)

    @interface("left", "right")
    def goes_on(self, a, b, a_x, b_x, n_x):
        return torch.cat([a - b, n_x * (a_x - 10 * b_x)], 1)

    @boundary
    def left_edge(self, a, x):
        return a - torch.exp(x)

    @boundary
    def right_edge(self, b, x, y):
        return b - self.exact(x, y)[1]

    def exact(self, x, y):
        return torch.exp(x) + 0 * y, 0.1 * torch.exp(x) + 0.9 * math.e + 0 * y


def test_the_automatic_recipe_solves_two_layers():
    problem = Layers()
    batch = rows_of(problem)
    assert all(r.abs().max() < 1e-12 for r in problem.residuals(problem.exact, batch).values())
    assert problem.cautions() == []
    solution = nf.solve(problem, seed=0, time_limit=20, accuracy=1e-7, report=None)
    assert solution.metrics["relative_l2"] < 1e-7
