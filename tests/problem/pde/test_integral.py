"""Integrals as conditions, and integrals inside equations: where they run, what they equal, exact Jacobians."""

import math
from dataclasses import dataclass, field

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, Rectangle, Unknown, boundary, face, integral, interior, parameter
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.plot.problem import show
from nfsolve.problem import Objective, SamplerState
from nfsolve.problem.pde.window import may_have_windows, window_of
from nfsolve.problem.rows import IntegralRows
from problems.pde.oscillator_eigen import OscillatorEigen
from problems.pde.volterra import Volterra

RING = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5).named("hole")
LAYERS = Box(x=(0, 1)).named("left") | Box(x=(1, 3)).named("right")


def problem_on(shape, method, names="u", known=None, **mark):
    @dataclass
    class Summed(PDE):
        mass: float = 2.0
        scale: Unknown = field(default_factory=lambda: Unknown(3.0))

        domain = shape
        unknowns = names

        @interior
        def balance(self, u):
            return u * self.scale

        total = integral(**mark)(method)

        if known is not None:
            amount = known

    return Summed(n_points=16, n_face=8)


def rows_of(problem):
    data = problem.load("cpu", torch.float64)
    return problem.sample(data, SamplerState(), generator(0, "points"))


def square():
    return lambda self, u, x: u + x**2


def outward():
    return lambda self, u, n_x, x: n_x * x + 0 * u


# domain, integrand, mark, number of integrals, and their value for u = 0
RUNS = {
    "line": (Box(x=(0, 2)), square, {}, 1, 8 / 3),
    "plane": (Rectangle(x=(0, 2), y=(0, 3)), square, {}, 1, 8.0),
    "ring": (RING, square, {}, 1, math.pi / 4 * (1 - 0.5**4)),
    "each time": (Box(t=(0, 1), x=(0, 2)), square, {}, 24, 8 / 3),
    "each of 5 times": (Box(t=(0, 1)) * RING, square, {"points": 5}, 5, math.pi / 4 * (1 - 0.5**4)),
    "time alone": (Box(t=(0, 2)), lambda: lambda self, u, t: u + t**2, {}, 1, 8 / 3),
    "parameter": (Box(x=(0, 2), k=parameter(1, 2)), square, {"points": 3}, 3, 8 / 3),
    "side": (Box(t=(0, 1), x=(0, 2), y=(0, 3)), outward, {"over": "x=2"}, 24, 6.0),
    "boundary": (RING, outward, {"over": "boundary"}, 1, 0.75 * math.pi),
    "hole": (Box(t=(0, 1)) * RING, outward, {"over": "hole", "points": 2}, 2, -math.pi / 4),
    "section": (Rectangle(x=(0, 2), y=(0, 3)), outward, {"over": {"x": 0.5}}, 1, 1.5),
    "shape": (Rectangle(x=(-2, 2), y=(-2, 2)), square, {"over": Disk(x=0, y=0, radius=1)}, 1, math.pi / 4),
    "part": (LAYERS, square, {"over": "right"}, 1, 26 / 3),
    "interface": (LAYERS, outward, {"over": ("left", "right")}, 1, 1.0),
    "number": (Box(x=(0, 2)), square, {"equals": 0.5}, 1, 8 / 3 - 0.5),
    "attribute": (Box(x=(0, 2)), square, {"equals": "mass"}, 1, 8 / 3 - 2),
}


@pytest.mark.parametrize(("shape", "integrand", "mark", "count", "value"), RUNS.values(), ids=RUNS)
def test_an_integral_is_a_residual(shape, integrand, mark, count, value):
    problem = problem_on(shape, integrand(), **mark)
    batch = rows_of(problem)
    rows = batch["total"]
    assert isinstance(rows, IntegralRows) and len(rows) == count
    found = problem.residuals(lambda points: 0 * points[:, :1], {"total": rows})["total"]
    assert found.shape == (count, 1)
    assert torch.allclose(found, torch.full_like(found, value), rtol=1e-7)
    if count > 1:
        column = next(i for i in range(len(shape.names)) if i not in shape.space)
        assert len(rows.points[:, 0, column].unique()) == count
    fresh = problem.fresh(problem.load("cpu", torch.float64), generator(1, "heldout"), batch)["total"]
    assert fresh.points.shape[1] > rows.points.shape[1]


def test_what_an_integral_equals_may_depend_on_time_and_on_unknown_scalars():
    problem = problem_on(Box(t=(0, 1), x=(0, 2)), square(), equals="amount", known=lambda self, t: self.scale * t)
    rows = rows_of(problem)["total"]
    found = problem.with_(scale=torch.tensor(3.0)).residuals(lambda p: 0 * p[:, :1], {"total": rows})["total"]
    assert torch.allclose(found, 8 / 3 - 3 * rows.points[:, 0, :1])


def test_the_unknowns_say_where_an_integral_runs():
    problem = problem_on(LAYERS, lambda self, v, x: 0 * v + x**2, {"left": "u", "right": "v"})
    found = problem.residuals(lambda p: torch.zeros(len(p), 2).double(), {"total": rows_of(problem)["total"]})
    assert float(found["total"]) == pytest.approx(26 / 3)


BAD = {
    "normal": (Box(x=(0, 1)), outward, {}, "an integral over the inside has no normal"),
    "part": (RING, square, {"over": "rims"}, "@integral of 'total': unknown boundary part 'rims'"),
    "outside": (Box(x=(0, 1)), square, {"over": {"x": 3}}, "@integral of 'total': .* has no points at x = 3"),
    "shape": (Box(x=(0, 1)), square, {"over": RING}, "@integral of 'total': an integral runs over the inside"),
    "number": (Box(x=(0, 1)), square, {"over": 3}, "got over=3"),
    "range": (Box(x=(0, 1)), square, {"over": {"x": (0, 0.5)}}, r"a section is at one value .* got x=\(0, 0.5\)"),
    "equals": (Box(x=(0, 1)), square, {"equals": "mas"}, "unknown attribute 'mas'"),
    "cloud": (nf.PointCloud([[0, 0], [1, 1]]), square, {}, "needs a domain with a volume"),
}


@pytest.mark.parametrize(("shape", "integrand", "mark", "said"), BAD.values(), ids=BAD)
def test_integrals_that_cannot_be_meant(shape, integrand, mark, said):
    problem = problem_on(shape, integrand(), **mark)
    with pytest.raises(InputError, match=said):
        problem.residuals(lambda p: 0 * p[:, :1], {"total": rows_of(problem)["total"]})


def test_what_an_integral_equals_knows_no_place():
    problem = problem_on(Box(x=(0, 2)), square(), equals="amount", known=lambda self, x: x)
    with pytest.raises(InputError, match="unknown argument 'x'.*Of `amount`, which an integral over space equals"):
        problem.residuals(lambda p: 0 * p[:, :1], {"total": rows_of(problem)["total"]})


@pytest.mark.parametrize("mark", [{"nodes": 0}, {"nodes": 2.5}, {"equals": None}, {"equals": True}, {"points": 0}])
def test_marks_that_cannot_be_meant(mark):
    with pytest.raises(InputError, match="@integral|points of condition"):
        integral(**mark)(lambda self, u: u)


@dataclass
class Memory(PDE):
    """Terms along a coordinate, with outer columns, derivatives, and a rule of its own."""

    kind: str = "volterra"

    domain = Box(t=(0, 1), x=(0, 2))
    unknowns = "u v"

    @interior
    def balance(self, u, v_x, x, t, integral):
        if self.kind == "volterra":
            return u - integral(lambda s, v, t: torch.cos(s - x) * v * t, x=(0, x), nodes=5)
        if self.kind == "fredholm":
            return v_x - integral(lambda s, u_x, x: s * x * u_x * torch.ones_like(t), x=(0, 2), nodes=4)
        return torch.cat([u - v_x, integral(lambda u, v: u * v, t=(0, t), nodes=3)], 1)

    @integral(nodes=4, points=3)
    def norm(self, u, v_x):
        return u**2 + v_x

    @face(x=0)
    def end(self, u):
        return u


@pytest.mark.parametrize("kind", ["volterra", "fredholm", "columns"])
@pytest.mark.parametrize("make", [nf.MLP, nf.ModifiedMLP, nf.RandomFeatures], ids=lambda make: make.__name__)
def test_jacobians_are_exact(kind, make):
    problem = Memory(kind, n_points=6, n_face=4)
    net = make.for_problem(problem, width=4, dtype=torch.float64, seed=1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.sin(torch.arange(p.numel()).double()).reshape(p.shape))
    objective = Objective(problem, net, problem.load("cpu", torch.float64), generator(0, "points"))
    objective.check()
    theta = objective.theta()
    residual, jacobian = objective.jacobian(theta)
    exact = torch.autograd.functional.jacobian(objective.stacked, theta)
    assert (jacobian - exact).abs().max() < 1e-12 * exact.abs().max()
    assert torch.equal(residual, objective.stacked(theta)) or torch.allclose(residual, objective.stacked(theta))
    assert not objective.coupled


def test_an_integral_inside_an_equation_is_what_it_says():
    problem = Memory("volterra", n_points=6)
    rows = rows_of(problem)["balance"]
    known = problem.residuals(lambda t, x: (0 * x, t + 0 * x), {"balance": rows})["balance"]
    t, x = rows.points.split(1, 1)
    assert torch.allclose(known, -(t**2) * torch.sin(x), atol=1e-7)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda integral, x: integral(lambda u: u), "needs one of the coordinates x with two limits"),
        (lambda integral, x: integral(lambda u: u, y=(0, 1)), r"integral\(..., y=...\) needs one of the coordinates x"),
        (lambda integral, x: integral(lambda u: u, x=1), "with two limits"),
        (lambda integral, x: integral(lambda u: u, x=(0, "x")), "got 'x'. Take x into the signature .* without quotes"),
        (lambda integral, x: integral(lambda u: u, x=(0, None)), "must be numbers or columns"),
        (lambda integral, x: integral(lambda w: w, x=(0, x)), "unknown name 'w'.* runs along is called x or s or tau"),
    ],
)
def test_integrals_inside_that_cannot_be_meant(call, said):
    @dataclass
    class Wrong(PDE):
        domain = Box(x=(0, 1))

        @interior
        def balance(self, u, x, integral):
            return u + call(integral, x)

    with pytest.raises(InputError, match=said):
        nf.solve(Wrong(n_points=4), steps=1, report=None)


def test_integral_is_no_name_of_a_coordinate_or_an_unknown():
    with pytest.raises(InputError, match=r"has the name of integral\(...\), along a coordinate"):
        problem_on(Box(integral=(0, 1)), lambda self, u: u)
    with pytest.raises(InputError, match=r"has the name of integral\(...\), along a coordinate"):
        problem_on(Box(x=(0, 1)), lambda self, integral: integral, "integral")


def test_the_coordinate_of_a_term_has_the_usual_names():
    @dataclass
    class Line(PDE):
        domain = Box(t=(0, 2))

        @interior
        def balance(self, u, t, integral):
            return u + integral(lambda tau, u: (t - tau) * u, t=(0, t)) - 1

    problem = Line(n_points=5)
    assert (
        problem.residuals(lambda t: torch.cos(t), {"balance": rows_of(problem)["balance"]})["balance"].abs().max()
        < 1e-14
    )


def test_the_letter_s_may_be_a_coordinate():
    @dataclass
    class Line(PDE):
        domain = Box(s=(0, 2))

        @interior
        def balance(self, u, s, integral):
            return u - integral(lambda s, u: 0 * u + s, s=(0, s))

    problem = Line(n_points=5)
    rows = rows_of(problem)["balance"]
    found = problem.residuals(lambda s: 0 * s, {"balance": rows})["balance"]
    assert torch.allclose(found, -(rows.points**2) / 2)


@dataclass
class Warm(PDE):
    """Heat in an insulated bar: instead of the slope at one end the heat in the bar is known at every time."""

    domain = Box(t=(0, 1), x=(0, 1))

    @interior
    def balance(self, u_t, u_xx):
        return u_t - u_xx / math.pi**2

    @face(t=0)
    def start(self, u, x):
        return u - 1 - torch.cos(math.pi * x)

    @face(x=0)
    def insulated(self, u_x):
        return u_x

    @integral(equals=1)
    def heat(self, u):
        return u

    def exact(self, t, x):
        return 1 + torch.exp(-t) * torch.cos(math.pi * x)


@dataclass
class Fredholm(PDE):
    """u - int_0^1 x s u ds = e^x - x, with u = e^x."""

    domain = Box(x=(0, 1))

    @interior(points=60)
    def balance(self, u, x, integral):
        return u - integral(lambda s, u: x * s * u, x=(0, 1)) - torch.exp(x) + x

    def exact(self, x):
        return torch.exp(x)


@dataclass
class Mean(PDE):
    """Slopes around a ring leave a constant open, which the mean decides."""

    domain = RING

    @interior
    def balance(self, lap_u):
        return lap_u

    @boundary
    def slopes(self, u_x, u_y, n_x, n_y):
        return u_x * n_x + u_y * n_y - n_x

    @integral(equals=1)
    def mean(self, u):
        return u

    def exact(self, x, y):
        return x + 1 / (0.75 * math.pi) + 0 * y


@pytest.mark.parametrize("problem", [Volterra(), Fredholm(), Warm(), Mean()], ids=lambda p: type(p).__name__)
def test_the_automatic_recipe_solves_problems_with_integrals(problem):
    batch = rows_of(problem)
    assert all(r.abs().max() < 1e-11 for r in problem.residuals(problem.exact, batch).values())
    solution = nf.solve(problem, seed=0, time_limit=15, accuracy=1e-8, report=None)
    assert solution.metrics["relative_l2"] < 1e-8


def test_integrals_hold_in_every_window():
    assert may_have_windows(Warm())
    part = window_of(Warm(), 0.5, 1.0, nf.MLP(Warm.domain, width=3, depth=1, dtype=torch.float64))
    rows = rows_of(part)["heat"]
    assert rows.points[..., 0].min() >= 0.5 and len(rows) == 24


def test_the_smallest_eigenvalue_and_the_next():
    @dataclass
    class Next(OscillatorEigen):
        E: Unknown = field(default_factory=lambda: Unknown(1.0))

        @integral
        def deflated(self, u, x):
            return u * torch.exp(-(x**2) / 2)

        def ansatz(self, u, x):
            return x * torch.exp(-(x**2) / 4) / 2 + u

        def exact(self, x):
            return math.sqrt(2.0) * x * super().exact(x)

    for problem, energy in ((OscillatorEigen(), 0.5), (Next(), 1.5)):
        solution = nf.solve(problem, steps=60, seed=0, report=None)
        assert solution.metrics["unknown/E"] == pytest.approx(energy, abs=1e-5)
        assert solution.metrics["relative_l2"] < 1e-5


def test_integrals_are_drawn(tmp_path):
    figure = show(Warm())
    assert any("@integral(equals=1)" in text.get_text() for axes in figure.axes for text in axes.texts)
