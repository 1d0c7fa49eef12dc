import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, face, interior, measured
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem import SamplerState
from nfsolve.run.folder import RunFolder
from nfsolve.run.plan import Plan

T, X = np.meshgrid(np.linspace(0, 1, 4), np.linspace(0, 1, 3), indexing="ij")
U = np.exp(-T) * X + 1 / 3


def flat(values):
    return values.ravel()


def pandas_table():
    return pytest.importorskip("pandas").DataFrame({"t": flat(T), "x": flat(X), "u": flat(U), "who": "me"})


def xarray_dataset():
    xarray = pytest.importorskip("xarray")
    return xarray.Dataset({"u": (("t", "x"), U)}, {"t": T[:, 0], "x": X[0]})


SOURCES = {
    "arrays": lambda: {"t": flat(T), "x": flat(X), "u": flat(U)},
    "grids": lambda: {"t": T, "x": X, "u": U},
    "tensors": lambda: {"t": torch.tensor(flat(T)), "x": torch.tensor(flat(X)), "u": torch.tensor(flat(U))},
    "gradients": lambda: {"t": flat(T), "x": flat(X), "u": torch.tensor(flat(U), requires_grad=True)},
    "lists": lambda: {"t": flat(T).tolist(), "x": flat(X).tolist(), "u": flat(U).tolist()},
    "pandas": pandas_table,
    "xarray": xarray_dataset,
    "xarray array": lambda: xarray_dataset()["u"],
}


def problem_of(data, points=None):
    @dataclass
    class Probed(PDE):
        domain = Box(t=(0, 1), x=(0, 1))
        unknowns = "u"

        @interior(points=points)
        def decay(self, u, u_t, x):
            return u_t + u - 1 / 3

        @measured(data)
        def gap(self, u, u_data):
            return u - u_data

    return Probed(n_points=40)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_data_in_memory_come_from_anywhere(source):
    problem = problem_of(source())
    rows = problem.load("cpu", torch.float64)["measured"]["gap"]
    assert np.array_equal(rows.points.numpy(), np.stack([flat(T), flat(X)], 1))
    assert np.array_equal(rows.columns["u_data"][:, 0].numpy(), flat(U))


REFUSED = [
    ({"t": [0.0], "u": [1.0]}, "must have columns t, x and at least one of u, but it has t, u"),
    ({"t": [0.0], "x": [0.0]}, "at least one of u"),
    ({"t": [0.0, 0.5], "x": [0.0], "u": [1.0]}, "must have one length"),
    ({"t": [0.0], "x": [0.0], "u": [np.nan]}, "must hold finite numbers, but it is nan in row 0"),
    ({"t": [0.0], "x": [0.0], "u": ["a"]}, "must hold real numbers"),
    ({"t": [0.0], "x": [0.0], "u": [1j]}, "must hold real numbers"),
    ({"t": np.array(["2020-01-01"], dtype="datetime64[s]"), "x": [0.0], "u": [1.0]}, "must hold real numbers"),
    ({"t": [], "x": [], "u": []}, "at least one row"),
    ({"t": [0.0], "x": [7.0], "u": [1.0]}, "points of @measured of 'gap' are outside the domain"),
]


@pytest.mark.parametrize(("data", "said"), REFUSED, ids=[said[:30] for _, said in REFUSED])
def test_data_that_cannot_be_meant_are_refused_in_a_sentence(data, said):
    with pytest.raises(InputError, match=said):
        nf.solve(problem_of(data), steps=1, report=None)


def test_other_things_are_no_data():
    with pytest.raises(InputError, match="@measured needs the name of a file, the columns by name"):
        measured(np.zeros((3, 3)))
    xarray = pytest.importorskip("xarray")
    with pytest.raises(InputError, match="a DataArray needs a name"):
        measured(xarray.DataArray(U, dims=("t", "x")))


POINTS = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.3]])
TABLES = {
    "array": POINTS,
    "tensor": torch.from_numpy(POINTS),
    "lists": POINTS.tolist(),
    "columns": {"t": POINTS[:, 0], "x": POINTS[:, 1]},
}


@pytest.mark.parametrize("points", TABLES.values(), ids=TABLES)
def test_an_equation_may_hold_at_given_points(points):
    problem = problem_of(SOURCES["arrays"](), points)
    data = problem.load("cpu", torch.float64)
    for points_factor in (1.0, 3.0):
        batch = problem.sample(data, SamplerState(points=points_factor), generator(0, "points"))
        assert torch.equal(batch["decay"].points, torch.from_numpy(POINTS))
    fresh = problem.fresh(data, generator(0, "heldout"), batch)
    assert set(fresh) == {"decay"} and len(fresh["decay"]) == 3
    assert not (fresh["decay"].points == batch["decay"].points).any()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.zeros((3, 3)), r"points= of 'decay' must have shape \(n, 2\) with columns t, x, got shape \(3, 3\)"),
        (np.zeros(3), r"got shape \(3,\)"),
        ([[2.0, 0.5]], r"points of @interior\(points=...\) of 'decay' are outside the domain"),
        ({"t": [0.5]}, "must have columns t, x, but it has t"),
        (np.zeros((0, 2)), "at least one row"),
        ([["a", "b"]], "must hold real numbers"),
    ],
)
def test_given_points_that_cannot_be_meant(points, said):
    with pytest.raises(InputError, match=said):
        nf.solve(problem_of(SOURCES["arrays"](), points), steps=1, report=None)


def test_a_number_of_points_is_still_a_number():
    assert problem_of(SOURCES["arrays"](), 7).conditions()["decay"].points == 7
    with pytest.raises(InputError, match="must be a whole number of at least 1"):
        problem_of(SOURCES["arrays"](), 0)
    with pytest.raises(InputError, match="must be a whole number of at least 1"):
        face(t=0, points=POINTS)(lambda self, u: u)


def test_data_stay_with_the_run_to_the_last_bit(tmp_path):
    problem = problem_of(SOURCES["arrays"](), POINTS)
    whole = nf.solve(problem, steps=4, seed=0, report=None, out=tmp_path / "whole")
    nf.solve(problem, steps=2, seed=0, report=None, out=tmp_path / "part")
    resumed = nf.resume(tmp_path / "part", problem=type(problem), steps=4, report=None)
    assert resumed.metrics["loss"] == whole.metrics["loss"]
    found, _ = Plan.from_config(RunFolder(tmp_path / "part").config(), type(problem))
    assert found.conditions()["gap"] == problem.conditions()["gap"]  # the same: nothing is replaced

    other = type(problem_of(SOURCES["arrays"]() | {"u": flat(U) + 1}, POINTS[:2]))
    with pytest.warns(
        UserWarning, match="the data of decay, gap in Probed differ from those of the run, which are used"
    ):
        kept = nf.reopen(tmp_path / "whole", problem=other)
    assert np.array_equal(kept.data["measured"]["gap"].columns["u_data"][:, 0], flat(U))
    assert np.array_equal(kept.data["measured"]["decay"].points, POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert nf.load(tmp_path / "whole", problem=other)(torch.from_numpy(POINTS)).shape == (3, 1)


def test_too_much_data_for_a_run_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nfsolve.run.plan.MOST_NUMBERS", 30)
    with pytest.raises(InputError, match="a run keeps up to 30 numbers of data in memory, but gap holds 36"):
        nf.solve(problem_of(SOURCES["arrays"]()), steps=1, report=None, out=tmp_path / "run")
    assert nf.solve(problem_of(SOURCES["arrays"]()), steps=1, report=None).steps == 1


def test_points_of_one_coordinate_may_be_a_flat_array():
    @dataclass
    class Line(PDE):
        domain = Box(x=(0, 1))

        @interior(points=np.linspace(0, 1, 11))
        def slope(self, u_x):
            return u_x - 1

    assert Line().load("cpu", torch.float64)["measured"]["slope"].points.shape == (11, 1)
