"""The default picture of a solution: what is drawn, where, and that nothing is empty, for every kind of domain."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

import nfsolve as nf
from nfsolve import MLP, PDE, Box, Disk, PointCloud, Problem, Recipe, Sphere, Stage, Unknown, boundary, face, interior
from nfsolve.plot.solution import picture
from nfsolve.plot.views import views
from problems.operators.antiderivative import Antiderivative
from problems.operators.diffusion_reaction import DiffusionReaction

SMALL = partial(MLP, width=4, depth=1)
DOTS = np.random.default_rng(0).random((400, 3))


def solved(problem, steps=2, **options):
    return nf.solve(problem, SMALL, "adam", steps=steps, report=None, device="cpu", dtype="float64", **options)


def drawn(solution):
    figure = picture(solution)
    assert figure is not None
    figure.canvas.draw()
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    panels = [axes for axes in figure.axes if axes not in bars]
    for axes in panels:
        assert (axes.has_data() and axes.get_title() and axes.get_xlabel()) or axes.get_title() == "residuals"
    return figure, [axes.get_title() for axes in panels]


def given(shape, names="u"):
    """A problem without a reference on any domain."""

    @dataclass
    class Given(PDE):
        domain = shape
        unknowns = names

        @interior
        def balance(self, D, u):
            return D(lambda u: u, shape.names[-1]) - u

    return Given()


HOLED = Disk(x=0, y=0, radius=1) - Disk(x=0.2, y=0, radius=0.3)


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        (Box(x=(0, 2)), [""]),
        (Box(t=(0, 2)), [""]),
        (Box(t=(0, 1), x=(0, 1)), [""]),
        (HOLED, [""]),
        (PointCloud(DOTS[:, :2]), [""]),
        (PointCloud(DOTS, names="x y z"), [""]),
        (PointCloud(DOTS[:, :1], names="x"), [""]),
        (Box(t=(0, 2)) * HOLED, ["t = 0", "t = 1", "t = 2"]),
        (Box(t=(0, 2)) * PointCloud(DOTS[:, :2]), ["t = 0", "t = 1", "t = 2"]),
        (Sphere(x=0, y=0, z=0, radius=1), ["z = -0.5", "z = 0", "z = 0.5"]),
        (Box(x=(0, 1), t=(0, 2), y=(0, 1), z=(0, 4)), [f"t = {t}, z = 2" for t in (0, 1, 2)]),
        (Box(t=(0, 1), x=(0, 1), k=nf.parameter(0, 4)), ["k = 1", "k = 2", "k = 3"]),
        (Box(a=(0, 4), b=(0, 4), c=(0, 4), d=(0, 2), e=(0, 2)), [f"c = {c}, d = 1, e = 1" for c in (1, 2, 3)]),
    ],
    ids=repr,
)
def test_a_solution_without_a_reference_is_drawn_with_its_residual_and_history(shape, places):
    _, titles = drawn(solved(given(shape, "u v")))
    for name in ("u", "v"):
        assert [title for title in titles if title.startswith(name)] == [f"{name}, {p}" if p else name for p in places]
    assert sum("residual" in title and "between trained points" in title for title in titles) == len(places)
    assert {"residuals", "history"} <= set(titles)
    assert ("slices" in titles) == (shape.names == ("t", "x"))


@pytest.mark.parametrize(
    "shape", [Box(t=(0, 1)) * HOLED, Sphere(x=0, y=0, z=0, radius=1), HOLED, Box(t=(0, 1), x=(0, 1))]
)
def test_points_of_every_view_are_in_the_domain_at_the_stated_place(shape):
    for view in views(given(shape), {}):
        assert shape.contains(view.points).all()
        for said in filter(None, view.label.split(", ")):
            name, value = said.split(" = ")
            assert (view.points[:, shape.index(name)] - float(value)).abs().max() < 1e-3
        values = view.arrange(view.points[:, view.axes[0]])
        low, high = shape.bounds[view.axes[0]]
        along = np.linspace(low, high, values.shape[0])[:, None]
        assert np.nanmax(np.abs(values - along)) < 1e-12


def with_exact(shape):
    @dataclass
    class Known(PDE):
        domain = shape
        unknowns = "u v"

        @interior
        def balance(self, u):
            return u

        def exact(self, x):
            return x, 2 * x + 1

    return Known()


@pytest.mark.parametrize(
    ("shape", "places"),
    [(Box(x=(0, 1)), 1), (Box(t=(0, 1), x=(0, 1)), 1), (Box(x=(0, 1), y=(0, 1), z=(0, 1)), 3), (HOLED, 1)],
)
def test_reference_and_error_stand_beside_the_solution(shape, places):
    solution = solved(with_exact(shape))
    _, titles = drawn(solution)
    for name in ("u", "v"):
        errors = [title for title in titles if title.startswith(f"|{name} - reference|")]
        assert len(errors) == places
        assert ("relative L2 error" in errors[0]) == (places == 1)
        references = [title for title in titles if title.startswith(f"reference {name}")]
        assert len(references) == (places if len(shape.names) > 1 else 0)  # a curve in the panel of the solution
    [view, *_] = views(solution.problem, solution.data)
    torch.testing.assert_close(view.reference[:, :1], view.points[:, shape.index("x")][:, None])


def test_a_reference_from_a_file_is_drawn_at_its_own_points(tmp_path, monkeypatch):
    axes = {"t": np.linspace(0, 1, 5), "x": np.linspace(0, 1, 7), "y": np.linspace(0, 2, 9)}
    t, x, y = np.meshgrid(*axes.values(), indexing="ij")
    np.savez(tmp_path / "known.npz", **axes, u=t + 10 * x + 100 * y, error=1e-15)

    @dataclass
    class Stored(PDE):
        domain = Box(t=(0, 1), x=(0, 1), y=(0, 2))
        reference = str(tmp_path / "known.npz")

        @interior
        def balance(self, u):
            return u

    problem = Stored()
    found = views(problem, problem.load("cpu", torch.float64))
    assert [view.label for view in found] == ["t = 0", "t = 0.5", "t = 1"]
    for view in found:
        assert view.shape == (7, 9)
        torch.testing.assert_close(
            view.reference[:, 0], view.points @ torch.tensor([1.0, 10, 100], dtype=torch.float64)
        )


def test_streamlines_of_a_flow_and_none_of_two_species():
    @dataclass
    class Flow(PDE):
        domain = Box(x=(0, 2), y=(0, 1)) - Disk(x=1, y=0.5, radius=0.2)
        unknowns = "u v p"

        @interior
        def incompressible(self, u_x, v_y):
            return u_x + v_y

        @boundary
        def walls(self, u, v):
            return torch.cat([u - 1, v], -1)

    @dataclass
    class Species(Flow):
        unknowns = "u v"

        @interior
        def incompressible(self, u_xx, v_yy):
            return u_xx + v_yy

    assert "streamlines of (u, v)" in drawn(solved(Flow()))[1]
    assert not any("streamlines" in title for title in drawn(solved(Species()))[1])


def test_unknown_scalars_have_their_path_over_the_steps():
    @dataclass
    class Inverse(PDE):
        nu: Unknown = Unknown(0.3, positive=True)  # noqa: RUF009  # frozen
        domain = Box(t=(0, 1))

        @interior
        def decay(self, u_t, u):
            return u_t + self.nu * u

        @face(t=0)
        def start(self, u):
            return u - 1

    solution = solved(Inverse(), steps=5, log_every=1)
    figure, titles = drawn(solution)
    [path] = [axes for axes in figure.axes if axes.get_title().startswith("nu = ")]
    assert path.get_title() == f"nu = {solution.metrics['unknown/nu']:.5g} at the end"
    np.testing.assert_allclose(path.lines[0].get_ydata(), [row["unknown/nu"] for row in solution.history])
    assert "|residual| between trained points" in titles


def test_trained_and_held_out_residuals_are_in_their_panel_and_the_history():
    solution = solved(given(Box(x=(0, 1))), steps=4, log_every=1)
    figure, _ = drawn(solution)
    panels = {axes.get_title(): axes for axes in figure.axes}
    for line, key in zip(panels["residuals"].lines, ("rms", "heldout", "heldout_max"), strict=True):
        assert line.get_xdata() == [solution.metrics[f"{key}/balance"]]
    held_out = next(line for line in panels["history"].lines if line.get_label() == "the same, held out")
    assert list(held_out.get_ydata()) == [row["heldout/balance"] for row in solution.history]


def test_singular_and_vanishing_residuals_are_drawn():
    @dataclass
    class Singular(PDE):
        domain = Box(x=(0, 1), y=(0, 1))

        @interior
        def singular(self, u, x):
            return u / x

        @interior
        def nothing(self, u):
            return 0 * u

    _, titles = drawn(solved(Singular()))
    assert "|residual singular| between trained points" in titles
    assert "|residual nothing| between trained points" in titles


def test_any_problem_has_at_least_its_history():
    @dataclass
    class Fit(Problem):
        domain = Box(x=(0, 1))

        def load(self, device, dtype):
            return {"x": torch.linspace(0, 1, 9, dtype=dtype)[:, None]}

        def residuals(self, field, batch):
            return {"fit": field(batch["x"]) - math.pi}

        def recipe(self):
            return Recipe(SMALL, (Stage(torch.optim.Adam, 2),))

    assert drawn(solved(Fit()))[1] == ["history"]


@pytest.mark.parametrize(("problem", "shown"), [(Antiderivative, "operator s"), (DiffusionReaction, "operator s")])
def test_an_operator_without_labels_shows_its_answers(problem, shown):
    class Unlabelled(problem):
        def labels(self, *functions):
            return None

    options = {"n_tests": 3, "n_functions": 4, "batch": 2, "sensors": 11, "n_points": 9, "n_face": 4}
    solution = nf.solve(Unlabelled(**options), optimizer="adam", steps=1, report=None, device="cpu")
    _, titles = drawn(solution)
    assert titles == [*(["input f", shown] * 3), "residuals", "history"]
    labelled = nf.solve(problem(**options), optimizer="adam", steps=1, report=None, device="cpu")
    _, titles = drawn(labelled)
    assert {"errors of the test functions", "residuals", "history"} <= set(titles)


def overlaps(figure):
    """Pairs of panels with their labels that cover each other."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    boxes = [(axes.get_title(), axes.get_tightbbox(canvas.get_renderer())) for axes in panels]
    return [
        (first, second)
        for i, (first, a) in enumerate(boxes)
        for second, b in boxes[i + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
    ]


def test_panels_of_an_operator_with_labels_do_not_cover_each_other():
    options = {"n_tests": 3, "n_functions": 4, "batch": 2, "sensors": 11, "n_points": 9, "n_face": 4}
    figure, titles = drawn(nf.solve(DiffusionReaction(**options), optimizer="adam", steps=1, report=None, device="cpu"))
    assert titles.count("operator s") == 3
    rows = [part.get_suptitle() for part in figure.subfigs if part.get_suptitle()]
    assert [row.partition(" of 3 test functions: relative L2 error ")[0] for row in rows] == ["best", "median", "worst"]
    assert overlaps(figure) == []


def test_a_residual_that_is_zero_everywhere_is_named_and_has_no_curve():
    @dataclass
    class Still(PDE):
        domain = Box(t=(0, 1))
        unknowns = "u v"

        @interior
        def moves(self, u_t):
            return u_t - 1

        @interior
        def rests(self, v):
            return 0 * v

    _, titles = drawn(solved(Still()))
    (title,) = (title for title in titles if "between trained points" in title)
    assert title.endswith("(zero: rests)")


def test_errors_of_a_measurement_are_drawn_in_the_same_colours():
    class Seen(nf.Measurement):
        shape = (4, 4)

        def observe(self):
            return nf.Observed(np.eye(16), np.arange(16.0) / 16, truth=np.arange(16.0).reshape(4, 4) / 16)

        def rivals(self, observed, measure):
            return {"gauss_newton": lambda: np.ones((4, 4))}

    figure = picture(nf.solve(Seen(), steps=2, report=None, device="cpu"))
    errors = [axes.images[0] for axes in figure.axes if axes.get_title().startswith("error of")]
    assert [axes.get_title() for axes in figure.axes if axes.get_title().startswith("error of")][1].endswith(
        "Gauss-Newton"
    )
    assert len(errors) == 2
    assert errors[0].get_clim() == errors[1].get_clim()
    assert errors[0].get_clim()[1] >= 0.9  # the error of ones
    bars = {axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"}
    bars |= {inset.get_ylabel() for axes in figure.axes for inset in axes.child_axes}
    assert {"u", "error of u"} <= bars
    [truth] = [axes for axes in figure.axes if axes.get_title() == "truth"]
    assert (truth.get_ylabel(), truth.get_xlabel()) == ("x", "y")  # rows along the first coordinate


def test_an_unknown_of_one_coordinate_is_drawn_along_it_without_a_place_of_the_others():
    @dataclass
    class Moving(PDE):
        domain = Box(t=(0, 1), x=(0, 1))
        unknowns = "u s(t)"

        @interior
        def balance(self, u, s):
            return u - s

        def exact(self, t, x):
            return t * x, t

    _, titles = drawn(solved(Moving()))
    assert "s" in titles
    [error] = [title for title in titles if title.startswith("|s - reference|")]
    assert error.startswith("|s - reference|\nrelative L2 error")


def test_a_coefficient_that_does_not_depend_on_time_is_drawn_once():
    class Varied(PDE):
        domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))
        unknowns = "u k(x, y)"

        @interior
        def heat(self, u_t, lap_u, k):
            return u_t - k * lap_u

        def exact(self, t, x, y):
            return t * x, 1 + x

    solution = nf.solve(Varied(n_points=20), steps=1, report=None)
    titles = [axes.get_title() for axes in solution.plot().axes]
    assert sum(title.startswith("u, t = ") for title in titles) == 3
    assert titles.count("k") == titles.count("reference k") == 1
    assert not any(title.startswith(("k, t", "reference k, t")) for title in titles)
