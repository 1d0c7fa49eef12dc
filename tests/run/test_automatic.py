"""The automatic recipe: a user's own PDE solved without a word about how, with its error."""

import json
import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, face, interior, optim
from nfsolve._core.errors import InputError
from nfsolve.problem import RunOptions
from nfsolve.run.automatic import NETWORK_POINTS, Automatic, contradiction, network_recipe
from nfsolve.run.estimate import error_estimate
from nfsolve.run.ladder import Ladder, Trial
from nfsolve.run.plan import Plan
from nfsolve.run.relative import RelativeResidual
from problems.pde.convection import Convection
from problems.pde.lshape import LShape
from problems.pde.poisson import Poisson
from problems.signals.image import ImageFit
from tests.automatic import cases, later_cases


@dataclass
class Membrane(PDE):
    k: float = 2.0

    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"
    evaluation = (31, 31)

    @interior
    def balance(self, u, lap_u, x, y):
        k = self.k * math.pi
        return lap_u - u + (1 + 2 * k**2) * torch.sin(k * x) * torch.sin(k * y)

    @face(x=(0, 1), y=(0, 1))
    def sides(self, u):
        return u

    def exact(self, x, y):
        return torch.sin(self.k * math.pi * x) * torch.sin(self.k * math.pi * y)


class Predators(cases.Predators):
    domain = Box(t=(0, 4))
    evaluation = (201,)


def test_a_problem_of_a_users_own_is_solved_to_rounding_with_its_error(tmp_path):
    solution = nf.solve(Membrane(), out=tmp_path / "run", report=None, time_limit=300)
    error, estimate = solution.metrics["relative_l2"], solution.metrics["error_estimate"]
    assert error < 1e-11
    assert estimate < 1e-10
    assert solution.decisions[-1].startswith("least squares on")
    stored = json.loads((tmp_path / "run" / "decisions.json").read_text())
    assert stored["chosen"] == solution.decisions
    assert len(stored["trials"]) >= 3
    field = nf.load(tmp_path / "run", problem=Membrane())
    points = Membrane.domain.grid(7, 7)
    assert torch.equal(field(points), solution.field(points))


def test_a_nonlinear_system_in_time_needs_no_advice():
    solution = nf.solve(Predators(), report=None, time_limit=300)
    assert solution.metrics["relative_l2"] < 1e-8


def test_the_accuracy_asked_for_ends_the_search():
    coarse = Ladder(Membrane(), 0, 60.0)
    fine = Ladder(Membrane(), 0, 60.0)
    coarse.climb(1e-4)
    fine.climb(1e-12)
    assert 0 < len(coarse.trials) < len(fine.trials)


def test_a_bandwidth_for_each_coordinate_is_found():
    ladder = Ladder(Convection(beta=30.0), 0, 60.0)
    found = ladder.climb(1e-10)
    assert found is not None
    assert found.relative < 1e-9
    assert len(set(found.scales)) == 2  # it oscillates thirty times as fast in t as it varies in x


def test_the_same_seed_gives_the_same_choice():
    first, second = (nf.solve(Membrane(k=1.0), report=None, seed=3, time_limit=300) for _ in range(2))
    assert first.decisions == second.decisions
    assert first.metrics["relative_l2"] == second.metrics["relative_l2"]


@pytest.mark.parametrize(
    "said",
    [
        {"field": nf.MLP},
        {"optimizer": "gauss_newton"},
        {"steps": 2},
        {"windows": 2},
        {"dtype": "float32"},
        {"weighting": "ntk"},
        {"log_every": 1},
    ],
)
def test_what_a_user_says_of_the_recipe_leaves_it_to_him_and_contradicts_auto(said):
    problem = Predators(n_points=20)
    with pytest.raises(InputError, match="automatic recipe chooses field, optimizer and windows"):
        nf.solve(problem, **said, recipe="auto", report=None)
    few = said if "steps" in said else said | {"steps": 1}
    assert nf.solve(problem, **few, report=None).decisions == []


class MarkedNot(Poisson):
    """The same recipe as one that a user wrote."""

    def recipe(self):
        return super().recipe()


def test_a_recipe_that_is_a_starting_point_serves_changes_only():
    assert nf.solve(Poisson(), time_limit=300, report=None).metrics["relative_l2"] < 1e-11
    for said in ({"steps": 1}, {"recipe": "own", "time_limit": 0.1}):
        changed = nf.solve(Poisson(), **said, report=None)
        assert changed.decisions == []
        assert changed.metrics["parameters"] == 697


def test_a_problem_with_a_recipe_keeps_it_unless_auto_is_asked_for():
    own = nf.solve(MarkedNot(), time_limit=0.1, report=None)
    assert own.decisions == []
    assert own.metrics["parameters"] == 697
    found = nf.solve(MarkedNot(), recipe="auto", report=None, time_limit=300)
    assert found.metrics["relative_l2"] < 1e-11


def test_an_accuracy_that_nothing_would_hear_is_refused():
    for said in ({"recipe": "own"}, {"steps": 1}, {"field": nf.MLP}):
        with pytest.raises(InputError, match="accuracy is an option of the automatic recipe, got accuracy=1e-06"):
            nf.solve(Predators(n_points=20), **said, accuracy=1e-6, report=None)


def test_auto_for_what_is_no_pde_is_refused():
    with pytest.raises(InputError, match="automatic recipe is made for PDEs.*only beside measurements, got ImageFit"):
        nf.solve(ImageFit(), recipe="auto", report=None)
    with pytest.raises(InputError, match="recipe"):
        nf.solve(Poisson(), recipe="automatic", report=None)


def test_a_run_that_was_stopped_while_choosing_chooses_again(tmp_path):
    import shutil

    nf.solve(Membrane(), out=tmp_path / "whole", report=None, time_limit=300)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert "recipe" not in config["run"]  # what was chosen is stored, so that it goes on without a new choice
    begun = tmp_path / "begun"
    begun.mkdir()
    config["run"] = {"seed": 0, "device": "cpu", "recipe": "auto", "time_limit": 60} | {
        name: value
        for name, value in config["run"].items()
        if name in ("dtype", "windows", "carry", "compile", "log_every")
    }
    (begun / "config.json").write_text(json.dumps(config))
    shutil.copy(tmp_path / "whole" / "environment.json", begun)
    with pytest.raises(InputError, match="still being chosen"):
        nf.load(begun, problem=Membrane())
    resumed = nf.resume(begun, problem=Membrane(), report=None)
    assert resumed.metrics["relative_l2"] < 1e-11


@pytest.mark.parametrize("steps", [6, 12, 25])
def test_the_estimate_is_close_to_the_truth(steps):
    solution = nf.solve(Membrane(k=1.0), partial(nf.MLP, width=12, depth=2), steps=steps, dtype="float64", report=None)
    found = error_estimate(Membrane(k=1.0), solution.field, solution.data)
    assert found.trusted
    assert solution.metrics["relative_l2"] / 3 < found.worst < 3 * solution.metrics["relative_l2"]
    better = Membrane(k=1.0).metrics(found.correction, solution.data)["relative_l2"]
    assert better < 0.1 * solution.metrics["relative_l2"]


def test_the_estimate_holds_for_float32_and_a_hard_constraint():
    class Fixed(Membrane):
        def ansatz(self, u, x, y):
            return u * x * (1 - x) * y * (1 - y)

    problem = Fixed(k=1.0)
    for dtype in ("float32", "float64"):
        solution = nf.solve(problem, partial(nf.MLP, width=12, depth=2), steps=5, dtype=dtype, report=None)
        found = error_estimate(problem, solution.field, solution.data)
        assert found.trusted
        assert solution.metrics["relative_l2"] / 3 < found.worst < 3 * solution.metrics["relative_l2"]


def test_what_the_features_cannot_resolve_is_not_estimated():
    @dataclass
    class Fine(Membrane):
        k: float = 40.0

    problem = Fine()
    solution = nf.solve(
        problem, partial(nf.MLP, width=12, depth=2), optim.GaussNewton, steps=3, dtype="float64", report=None
    )
    found = error_estimate(problem, solution.field, solution.data)
    assert not found.trusted
    assert "not to be trusted" in found.metrics()["error_estimate"]


@dataclass
class Resonance(PDE):
    """u'' + pi^2 u = f, to which any multiple of sin(pi x) may be added where both ends are zero."""

    k: float = math.pi

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u, u_xx, x):
        return u_xx + self.k**2 * u - (self.k**2 - 4 * math.pi**2) * torch.sin(2 * math.pi * x)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, x):
        return torch.sin(2 * math.pi * x)


def test_what_equations_do_not_determine_is_said():
    features = partial(nf.RandomFeatures, width=80)
    options = {"steps": 2, "resample": 0, "dtype": "float64", "report": None}
    found = []
    for problem in (Resonance(), Resonance(k=3.0)):
        solution = nf.solve(problem, features, optim.LinearLeastSquares, **options)
        found.append(error_estimate(problem, solution.field, solution.data))
    said = found[0].metrics()["error_estimate"]
    assert "hardly determine u" in said and "A condition is missing" in said
    assert found[1].trusted and found[1].worst < 1e-9


def test_equations_without_a_solution_are_told():
    def told(*left, steps=2):
        return contradiction([Trial(40 * 2**i, (4.0,), 1, 0, relative, steps, 0.1) for i, relative in enumerate(left)])

    said = told(0.9, 0.8, 0.79)
    assert said.startswith("80 features leave 0.8 of the residuals of the zero field and 160 leave 0.79: equations and")
    assert "contradict each other" in said
    assert not told(0.9, 0.8, 0.5) and not told(0.9) and not told(2e-3, 2e-3) and not told(0.8, 0.79, steps=9)


@dataclass
class Layer(PDE):
    """A layer of thickness ``width`` at one end, which a domain of size 1 does not suggest."""

    width: float = 0.005

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_x, u_xx):
        return self.width * u_xx + u_x - 1

    @face(x=(0, 1))
    def ends(self, u):
        return u


def test_a_thin_layer_on_a_line_is_seen():
    found = Ladder(Layer(), 0, 100.0)._bandwidth(320, 1, None)
    assert found is not None and found.scales[0] > 64 and found.relative < 1e-6


@dataclass
class Units(PDE):
    """A decay over some time, from a large number."""

    time: float = 1.0
    number: float = 1.0

    unknowns = "n"

    @property
    def domain(self):
        return Box(t=(0, 3 * self.time))

    @interior
    def decay(self, n, n_t):
        return n_t + n / self.time

    @face(t=0)
    def start(self, n):
        return n - self.number

    def exact(self, t):
        return self.number * torch.exp(-t / self.time)


@pytest.mark.parametrize(("time", "number"), [(1e9, 5e9), (1e-9, 1e-9)])
def test_units_make_no_difference(time, number):
    solution = nf.solve(Units(time, number), report=None)
    error, estimate = solution.metrics["relative_l2"], solution.metrics["error_estimate"]
    assert error < 1e-12 and error / 10 < max(estimate, 3e-14) < 10 * max(error, 3e-14)
    assert not solution.warnings


class Pierced(PDE):
    domain = Box(x=(-2, 2), y=(-1, 1)) - nf.Disk(x=0.5, y=0.1, radius=0.4)
    unknowns = "u"

    @interior
    def laplace(self, lap_u):
        return lap_u

    @nf.boundary
    def walls(self, u, x, y):
        return u - self.exact(x, y)

    def exact(self, x, y):
        return torch.log((x - 0.5) ** 2 + (y - 0.1) ** 2) + x * y


def test_a_hole_costs_few_features():
    trial = Ladder(dataclass(Pierced)(), 0, 300.0).trial(300, (4.0, 4.0), 1)
    assert trial is not None and trial.relative < 1e-4


def test_residuals_weigh_by_what_a_change_of_the_field_does_to_them():
    problem = Membrane()
    measure = RelativeResidual(problem, problem.load("cpu", torch.float64), 0)
    assert measure.weights["sides"] > 10 * measure.weights["balance"]
    assert measure(problem.exact) < 1e-12
    assert measure(lambda points: 0 * points[:, :1]) == pytest.approx(1.0)


def test_measured_data_keep_their_weight():
    class Known(Membrane):
        @nf.measured({"x": [0.5], "y": [0.5], "u": [1.0]}, weight=7.0)
        def probe(self, u, u_data):
            return u - u_data

    problem = dataclass(Known)()
    measure = RelativeResidual(problem, problem.load("cpu", torch.float64), 0)
    assert measure.weights == {"balance": 1.0, "sides": 1.0, "probe": 7.0}


@dataclass
class WithoutSecond(PDE):
    """Two unknowns, one of which is zero."""

    domain = Box(x=(0, 1))
    unknowns = "u v"

    @interior
    def bends(self, u_xx, v_xx, x):
        return torch.cat([u_xx + torch.sin(x), v_xx], -1)

    @face(x=(0, 1))
    def ends(self, u, v, x):
        return torch.cat([u - torch.sin(x), v], -1)

    def exact(self, x):
        return torch.sin(x), 0 * x


def test_the_estimate_of_an_unknown_that_is_zero_is_absolute():
    solution = nf.solve(WithoutSecond(), report=None, time_limit=60)
    assert solution.metrics["error_estimate"] < 1e-9
    assert solution.metrics["error_estimate/v"] < 1e-12


def test_features_are_not_given_up_where_more_of_them_cost_nothing():
    solution = nf.solve(later_cases.InnerLayer(), time_limit=300, report=None)
    assert solution.decisions[-1].startswith("least squares on")
    assert solution.metrics["relative_l2"] < 1e-9


def test_points_that_a_problem_states_are_kept_for_networks_and_said(capsys):
    fewer = Membrane(n_points=300)
    Automatic(fewer, Plan.of(fewer.recipe(), RunOptions(seed=0, device="cpu")), None, "lines")
    assert "n_points=300 is for networks" in "".join(capsys.readouterr())
    assert network_recipe(fewer).stages[0].points == 1
    assert network_recipe(Membrane(k=3.0)).stages[0].points == NETWORK_POINTS[2] / Membrane().n_points


def test_the_error_is_estimated_at_each_point_and_drawn_where_there_is_no_reference():
    class Alone(Membrane):
        exact = None

    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    solution = nf.solve(Membrane(), steps=25, seed=0, report=None)
    solution.estimate = error_estimate(solution.problem, solution.field, solution.data)
    found = solution.estimated_error(points)
    truth = solution.predict(points) - Membrane().exact(points[:, :1], points[:, 1:])
    assert (found - truth).norm() < 0.1 * truth.norm()
    assert solution.estimated_error(points.numpy()).shape == (50, 1)
    assert not any("estimated" in axes.get_title() for axes in solution.plot().axes)  # the error itself is known
    solution = nf.solve(Alone(), accuracy=1e-5, seed=0, report=None)
    assert any("estimated |error of u|" in axes.get_title() for axes in solution.plot().axes)
    solution.estimate = None
    with pytest.raises(InputError, match="has no estimate: none was made"):
        solution.estimated_error(points)


@dataclass
class Torsion(PDE):
    """Its solution has r^2 log r at the corners of the square."""

    domain = Box(x=(-1, 1), y=(-1, 1))
    unknowns = "u"
    evaluation = (31, 31)

    @interior
    def balance(self, lap_u):
        return lap_u + 1

    @face(x=(-1, 1), y=(-1, 1))
    def sides(self, u):
        return u

    def exact(self, x, y):
        u = (1 - x**2) / 2
        for k in range(1, 801, 2):
            a, away = k * math.pi / 2, y.abs()
            height = torch.exp(a * (away - 1)) * (1 + torch.exp(-2 * a * away)) / (1 + math.exp(-2 * a))
            u = u - 16 / (math.pi * k) ** 3 * math.sin(a) * torch.cos(a * x) * height
        return torch.where(y.abs() < 1, u, 0.0)  # where the series converges slowly


@pytest.mark.parametrize(("problem", "bound"), [(Torsion(), 1e-7), (LShape(), 1e-8)], ids=repr)
def test_singular_functions_are_taken_at_corners(problem, bound):
    solution = nf.solve(problem, report=None, time_limit=200, accuracy=1e-6)
    assert solution.metrics["relative_l2"] < bound
    assert solution.field.corners is not None
    assert 0.2 < solution.metrics["error_estimate"] / solution.metrics["relative_l2"] < 5


def test_smooth_solutions_need_no_singular_functions():
    ladder = Ladder(Membrane(), 0, 100.0)
    assert ladder.climb(1e-9).corners is None
