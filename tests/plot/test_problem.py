import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nfsolve import MLP, PDE, Box, Disk, Interval, Sphere, boundary, face, interior, paired, show
from nfsolve._core.errors import InputError, MissingExtra
from nfsolve._core.random import generator
from nfsolve.cli import run_cli
from problems.operators.advection import Advection
from problems.operators.darcy import Darcy
from problems.pde.burgers import Burgers
from problems.signals.image import ImageFit


def problem_on(shape):
    @dataclass
    class Given(PDE):
        """Nothing in particular. And a second sentence."""

        domain = shape

        @interior(points=33)
        def balance(self, u):
            """u vanishes everywhere."""
            return u

        @boundary(points=12, weight=2.5, where=lambda n_x: n_x >= 0)
        def rim(self, u):
            """u vanishes on the rim, a sentence that is long enough that it needs a second line to be read.

            More.
            """
            return u

    return Given()


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    "shape",
    [
        Interval(x=(0, 1)) - Interval(x=(0.4, 0.6)),
        Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5),
        Box(t=(0, 1)) * Interval(x=(0, 2)),
        Box(t=(0, 1)) * Disk(x=0, y=0, radius=1),
        Sphere(x=0, y=0, z=0, radius=1),
        Box(t=(0, 1)) * Sphere(x=0, y=0, z=0, radius=1),
    ],
    ids=repr,
)
def test_points_normals_and_words_of_every_condition_are_drawn(shape, tmp_path):
    figure = show(problem_on(shape))
    said = texts(figure)
    assert "Given" in said and "balance" in said and "rim" in said
    assert "@interior, 33 points, weight 1" in said
    assert "@boundary(where=...), 12 points, weight 2.5" in said
    assert "u vanishes everywhere." in said
    assert not any("More." in text for text in said)
    axes = figure.axes[0]
    labels = [c.get_label() for c in axes.collections]
    assert labels.count("balance") == labels.count("rim") == 1
    assert axes.get_xlabel() == shape.names[0]
    kinds = {type(c).__name__ for c in axes.collections}
    assert ("Line3DCollection" if len(shape.names) > 2 else "Quiver") in kinds
    drawn = next(c for c in axes.collections if c.get_label() == "balance")
    assert len(drawn.get_offsets()) == 33
    figure.savefig(tmp_path / "shown.png", dpi=40)


def test_normals_are_drawn_outward():
    figure = show(problem_on(Disk(x=0, y=0, radius=1)))
    arrows = next(c for c in figure.axes[0].collections if type(c).__name__ == "Quiver")
    assert ((arrows.U * arrows.X + arrows.V * arrows.Y) > 0).all()
    assert figure.axes[0].get_aspect() == 1
    low, high = figure.axes[0].get_xlim()
    assert low <= min(arrows.X + arrows.U) and max(arrows.X + arrows.U) <= high


def test_faces_matched_pairs_and_the_rms_of_a_field():
    @dataclass
    class Around(PDE):
        domain = Box(t=(0, 1), x=(-1, 1))

        @face(t=0, points=7)
        def start(self, u):
            return 0 * u + 3

        @paired(x=(-1, 1), points=5)
        def ends(self, u_low, u_high):
            return u_low - u_high

    problem = Around()
    figure = show(problem, MLP.for_problem(problem, width=4, depth=1))
    said = texts(figure)
    assert "start rms 3.00e+00" in said
    assert "@face(t=0), 7 points, weight 1" in said
    assert "@paired(x=(-1, 1)), 5 points, weight 1" in said
    assert len(figure.axes[0].lines) == 5


@pytest.mark.parametrize("functions", [0, 6])
def test_an_operator_shows_the_functions_it_trains_on_and_their_sensors(functions):
    problem = Advection(
        n_functions=functions, data=functions > 0, n_tests=3, batch=5, n_points=7, sensors=11, data_seed=4
    )
    figure = show(problem)
    said = texts(figure)
    assert "u of (x): 11 sensors" in said and "3 test functions" in said
    assert "the functions are drawn, data_seed = 4" in said
    number = "6 training functions" if functions else "training functions: 5 new ones for each mini-batch"
    assert number in said
    assert ("labels (points data): 7 in a mini-batch, weight 1" in said) == (functions > 0)
    inputs = figure.axes[1]
    assert inputs.get_title() == "4 of the training functions, dots: sensors\ninput u"
    sensors, chance = problem.sensor_points("u"), generator(4, "train")
    exact = problem.spaces()["u"].evaluate(problem.spaces()["u"].sample(functions or 4, chance), sensors)
    for line, values in zip(inputs.lines, exact[:4], strict=True):
        assert line.get_marker() == "."
        np.testing.assert_allclose(line.get_xydata(), torch.stack([sensors[:, 0], values], 1), rtol=1e-12)


def test_an_operator_from_a_file_shows_one_function_of_two_coordinates():
    problem = Darcy(n_functions=2, n_tests=2, batch=2, n_points=30, symmetries=False)
    figure = show(problem)
    assert {"a of (x, y): 841 sensors", "2 training functions", "the functions come from a file"} <= {*texts(figure)}
    inputs = figure.axes[1]
    assert inputs.get_title() == "one of the training functions, dots: sensors\ninput a"
    assert len(inputs.lines[0].get_xdata()) == 841
    table = inputs.collections[0].get_array().reshape(29, 29).T
    assert np.array_equal(table.flatten(), problem.stored("train")[0]["a"][0])
    assert len(figure.axes[0].collections[-1].get_offsets()) == 30


def test_a_problem_that_is_no_pde_is_worded(monkeypatch):
    with pytest.raises(InputError, match="show draws a PDE, .* but ImageFit is not one"):
        show(ImageFit())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"nfsolve\[plot\]"):
        show(Burgers(n_points=5, n_face=5))


def test_the_command_writes_a_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["show", "poisson"]) == 0
    assert (tmp_path / "poisson.png").stat().st_size > 10_000
    assert run_cli(["show", "poisson", "--out", "other.png", "--seed", "3"]) == 0
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "poisson.png").read_bytes()
    capsys.readouterr()
    assert run_cli(["show"]) == 2
    assert "show needs a problem. Write nfsolve show WHAT" in capsys.readouterr().err
    assert run_cli(["show", "poison"]) == 2
    assert "did you mean 'poisson'" in capsys.readouterr().err
    assert run_cli(["show", "--help"]) == 0
    assert "file to write" in capsys.readouterr().out
