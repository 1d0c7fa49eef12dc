"""Unknowns that depend on some coordinates only, ``unknowns = "u s(t)"``, and systems that depend on time alone."""

import math
from dataclasses import dataclass

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, Rectangle, face, interior, periodic
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.diff import partials
from nfsolve.problem import Objective, SamplerState
from problems.pde.stefan import Stefan


def problem_on(shape, names, **methods):
    namespace = {"domain": shape, "unknowns": names}
    for name, method in methods.items():
        method.__name__ = name
        namespace[name] = interior(method)
    return dataclass(type("Made", (PDE,), namespace))(n_points=8, n_face=4)


BOX = Box(t=(0, 2), x=(-1, 1), y=periodic(0, 1))


@pytest.mark.parametrize("make", [nf.MLP, nf.ModifiedMLP, nf.ResidualMLP, nf.RandomFeatures], ids=lambda m: m.__name__)
def test_a_field_knows_what_its_outputs_depend_on(make):
    field = make(BOX, "u s(t) k(x, y) w", width=6, seed=3, dtype=torch.float64)
    assert field.outputs == ("u", "s", "k", "w") and field.depends == {"s": ("t",), "k": ("x", "y")}
    with torch.no_grad():
        for p in field.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0), dtype=p.dtype))
    points = BOX.grid(3, 3, 2)
    found = partials(field, points, {(), (0,), (1,), (2,), (0, 1), (0, 0)})
    zero = {"s": [(1,), (2,), (0, 1)], "k": [(0,), (0, 1), (0, 0)]}
    for name, ways in zero.items():
        column = field.outputs.index(name)
        assert found[()][:, column].std() > 1e-3
        for way in ways:
            assert found[way][:, column].abs().max() < 1e-12
    assert found[(1,)][:, 0].abs().max() > 1e-3 and found[(0,)][:, 1].abs().max() > 1e-3


def value(self, u, s, s_t):
    return u - s - s_t


def test_jacobians_are_exact():
    problem = problem_on(Box(t=(0, 1), z=(0, 1)), "u s(t)", balance=value)
    net = nf.MLP.for_problem(problem, width=4, dtype=torch.float64)
    objective = Objective(problem, net, problem.load("cpu", torch.float64), generator(0, "points"))
    theta = objective.theta()
    exact = torch.autograd.functional.jacobian(objective.stacked, theta)
    assert (objective.jacobian(theta)[1] - exact).abs().max() < 1e-12


def test_names_parts_and_dependences_go_together():
    parts = Rectangle(x=(0, 1), y=(0, 1)).named("left") | Rectangle(x=(1, 2), y=(0, 1)).named("right")
    problem = problem_on(parts, {"left": "u q(y)", "right": "v"}, balance=lambda self, u, q, q_y: u - q - q_y)
    assert problem.outputs == ("u", "q", "v") and problem.depends == {"q": ("y",)}
    assert problem.lives == {"u": ("left",), "q": ("left",), "v": ("right",)}
    assert nf.MLP.for_problem(problem).depends == {"q": ("y",)}


@pytest.mark.parametrize(
    ("names", "method", "said"),
    [
        ("u s(q)", value, r"unknown coordinate 'q'.*In s\(q\)"),
        ("u s(t)", lambda self, s_x, u: s_x + u, "'s_x' in `balance` is zero, since 's' depends on t only"),
        ("u s(t)", lambda self, lap_s, u: lap_s + u, "'lap_s' in `balance` is zero"),
        ("u s(t)", lambda self, s_tx, u: s_tx + u, "'s_tx' in `balance` is zero"),
        ("u s(t) s", value, "The unknown 's' is named twice"),
    ],
)
def test_dependences_that_cannot_be_meant(names, method, said):
    with pytest.raises(InputError, match=said):
        nf.solve(problem_on(Box(t=(0, 1), x=(0, 1)), names, balance=method), steps=1, report=None)


@pytest.mark.parametrize(
    "field", [torch.nn.Linear(2, 2), nf.MLP(Box(t=(0, 1), x=(0, 1)), "u s")], ids=["module", "field"]
)
def test_a_field_that_was_built_without_is_refused(field):
    problem = problem_on(Box(t=(0, 1), x=(0, 1)), "u s(t)", balance=value)
    with pytest.raises(InputError, match=r"The unknowns 'u s\(t\)' need a field that knows what each depends on"):
        nf.solve(problem, field, steps=1, report=None)


def test_all_coordinates_are_no_dependence():
    field = nf.MLP(Box(t=(0, 1), x=(0, 1)), "u(t, x) v")
    assert field.outputs == ("u", "v") and field.depends == {}


def test_a_run_with_a_front_is_loaded_again(tmp_path):
    solution = nf.solve(Stefan(n_points=50), nf.MLP, steps=3, seed=0, report=None, out=tmp_path / "run")
    points = torch.tensor([[0.5, 0.1], [0.5, 0.9]]).double()
    loaded = nf.load(tmp_path / "run")
    assert torch.equal(loaded(points), solution.field(points))
    assert loaded(points)[0, 1] == loaded(points)[1, 1]


def test_the_automatic_recipe_finds_a_front():
    problem = Stefan()
    batch = problem.sample(problem.load("cpu", torch.float64), SamplerState(), generator(0, "points"))
    assert all(r.abs().max() < 1e-12 for r in problem.residuals(problem.exact, batch).values())
    solution = nf.solve(problem, seed=0, time_limit=20, accuracy=1e-4, report=None)
    assert solution.metrics["relative_l2"] < 1e-4
    pytest.importorskip("matplotlib")
    titles = [axes.get_title() for axes in solution.plot().get_axes()]
    assert "s" in titles and not any("reference s" in title for title in titles)


@dataclass
class Predator(PDE):
    """A system of two or three equations in time."""

    three: bool = False
    domain = Box(t=(0, 3))
    unknowns = "q p"

    @interior
    def velocity(self, q_t, p):
        return q_t - p

    @interior
    def force(self, q, p_t):
        return p_t + q

    @face(t=0)
    def start(self, q, p):
        return torch.cat([q - 1, p], 1)

    def exact(self, t):
        return torch.cos(t), -torch.sin(t)


@dataclass
class Helix(Predator):
    unknowns = "q p r"

    @interior
    def climb(self, r_t):
        return r_t - 1

    @face(t=0)
    def ground(self, r):
        return r

    def exact(self, t):
        return torch.cos(t), -torch.sin(t), t


@pytest.mark.parametrize("problem", [Predator(), Helix()], ids=lambda p: type(p).__name__)
def test_systems_in_time_show_their_phase_space(problem):
    pytest.importorskip("matplotlib")
    solution = nf.solve(problem, seed=0, time_limit=10, accuracy=1e-8, report=None)
    assert solution.metrics["relative_l2"] < 1e-8
    phases = [axes for axes in solution.plot().get_axes() if axes.get_title() == "phase space"]
    assert len(phases) == 1 and hasattr(phases[0], "get_zlabel") == (len(problem.outputs) == 3)


def test_shapes_in_time_have_fronts_too():
    domain = Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)
    field = nf.MLP(domain, "u r(t)", width=4)
    points = domain.interior(5, lambda n, d: torch.rand(n, d, generator=torch.Generator().manual_seed(0)).double())
    points[:, 0] = 0.5
    assert field(points)[:, 1].detach().std() < 1e-7 and math.isfinite(float(field(points).detach().sum()))
