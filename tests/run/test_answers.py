import math
import sys
import warnings
from dataclasses import dataclass

import meshio
import numpy as np
import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import PDE, Box, Disk, PointCloud, Solution, interior
from nfsolve._core.errors import InputError, MissingExtra
from nfsolve.fields.transformed import Transformed


class Known(nn.Module):
    """u = t + x^2 y, v = sin(x) e^y, with or without t."""

    def __init__(self, names):
        super().__init__()
        self.inputs, self.outputs = names, ("u", "v")
        self.one = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, points):
        columns = dict(zip(self.inputs, points.split(1, -1), strict=True))
        t, x, y = columns.get("t", 0.0), columns["x"], columns["y"]
        return torch.cat([self.one * (t + x**2 * y), torch.sin(x) * torch.exp(y)], -1)


def solution_on(shape):
    @dataclass
    class Given(PDE):
        domain = shape
        unknowns = "u v"

        @interior
        def balance(self, u):
            return u

    return Solution(Given(), Known(shape.names), {"loss": 1.0, "bad": math.nan}, [], "", False, False, 0.0, 0, 0, {})


SQUARE = Box(x=(0, 1), y=(0, 2))
RING = Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.5).named("hole")


def test_a_solution_answers_by_names():
    solution, points = solution_on(SQUARE), np.random.default_rng(0).random((7, 2))
    x, y = points.T
    both = solution("u v_xy lap_u", points)
    assert isinstance(both, np.ndarray)
    assert np.allclose(both, np.stack([x**2 * y, np.cos(x) * np.exp(y), 2 * y], 1))
    assert np.array_equal(solution(points), solution.predict(points))
    assert np.array_equal(solution("v_x", points), solution.derivative("v_x", points))
    assert torch.equal(solution("u", torch.from_numpy(points)), solution.predict(torch.from_numpy(points))[:, :1])
    with pytest.raises(InputError, match=r"solution\('u v'\) needs points"):
        solution("u v")
    with pytest.raises(InputError, match="unknown name 'w'"):
        solution("u w", points)


# the integrals of u = x^2 y and its derivatives over [0, 1] x [0, 2], in closed form
OVER = [
    ("u", None, 2 / 3),
    ("u_x", None, 2.0),
    (lambda u_x, x: x * u_x, None, 4 / 3),
    ("u", "x=1", 2.0),
    (lambda u_x, n_x: u_x * n_x, "x=1", 4.0),
    (lambda u_x, u_y, n_x, n_y: n_x * u_x + n_y * u_y, "boundary", 4.0),
    ("u", {"x": 0.5}, 0.5),
    (lambda u, n_x: u * n_x, {"x": 0.5}, 0.5),
    ("u", Disk(x=0.5, y=1, radius=0.5), math.pi / 4 * (0.25 + 0.25 * 0.25)),
]


@pytest.mark.parametrize(("what", "over", "exact"), OVER, ids=range(len(OVER)))
def test_integrals_over_parts(what, over, exact):
    found = solution_on(SQUARE).integral(what, over)
    assert isinstance(found, float) and found == pytest.approx(exact, rel=1e-12)


def test_integrals_at_several_times():
    solution = solution_on(Box(t=(0, 1)) * RING)
    area = 0.75 * math.pi
    assert solution.integral("u", t=0.5) == pytest.approx(0.5 * area, rel=1e-10)
    found = solution.integral("u", t=[0.0, 0.5, 1.0])
    assert found.shape == (3,) and np.allclose(found, np.array([0, 0.5, 1]) * area)
    assert solution.integral("u") == pytest.approx(0.5 * area, rel=1e-9)
    assert solution.integral(lambda u, n_x: u * n_x, over="hole", t=0.5) == pytest.approx(0, abs=1e-12)
    assert solution.integral("u", over="hole", t=1) == pytest.approx(math.pi, rel=1e-10)
    assert solution.integral("u", over=RING, t=0.5) == pytest.approx(0.5 * area, rel=1e-10)
    two = solution.integral(lambda u, v: torch.cat([u, v], 1), t=0.0)
    assert two.shape == (2,)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.integral("w"), "unknown name 'w'"),
        (lambda s: s.integral("u", over="rim"), "unknown boundary part 'rim'"),
        (lambda s: s.integral("u", over=3), "an integral runs over the inside"),
        (lambda s: s.integral("u", over=Disk(x=0, y=0, radius=9)), "nodes of the integral over Disk"),
        (lambda s: s.integral("u", z=0.5), "unknown coordinate 'z'"),
        (lambda s: s.integral("u", nodes=0), "nodes must be at least 1"),
        (lambda s: s.integral("u", nodes=10_000), "Give fewer by nodes="),
        (lambda s: s.integral(lambda u: u.sum()), "the integrand must be a column"),
        (lambda s: s.integral("n_x"), "n_x"),
    ],
)
def test_integrals_that_cannot_be_meant(call, said):
    with pytest.raises(InputError, match=said):
        call(solution_on(SQUARE))


def test_an_integral_that_is_not_resolved_says_so():
    with pytest.warns(UserWarning, match="two quadratures differ"):
        solution_on(SQUARE).integral(lambda x: torch.sin(300 * x) ** 2)


def test_a_derivative_without_points_says_what_to_write():
    with pytest.raises(InputError, match=r"derivative\('u_x'\) needs points, got none. Write solution.derivative"):
        solution_on(SQUARE).derivative("u_x")


@pytest.mark.parametrize("name", ["optimizer", "lr", "seed", "windows", "log_every", "dtype"])
def test_a_resumed_run_takes_nothing_that_was_decided_before(name, tmp_path):
    with pytest.raises(InputError, match=rf"cannot take {name}=. Train its field anew: solve\(problem, load"):
        nf.resume(tmp_path, **{name: 1})


@pytest.mark.parametrize(("name", "said"), [("epochs", "Write steps="), ("stepz", "steps")])
def test_a_resumed_run_names_the_argument_that_was_meant(name, said, tmp_path):
    with pytest.raises(InputError, match=said):
        nf.resume(tmp_path, **{name: 1})


def test_derivatives_are_exported(tmp_path):
    solution = solution_on(RING)
    with np.load(solution.export(tmp_path / "a.npz", (21, 21), "u u_x")) as found:
        x, y = np.meshgrid(found["x"], found["y"], indexing="ij")
        inside = np.isfinite(found["u_x"])
        assert set(found) == {"x", "y", "u", "u_x"} and 0 < inside.sum() < inside.size
        assert np.allclose(found["u_x"][inside], (2 * x * y)[inside])
    mesh = meshio.read(solution.export(tmp_path / "a.vtu", (21, 21), "v lap_v"))
    assert set(mesh.point_data) == {"v", "lap_v"} and np.allclose(mesh.point_data["lap_v"], 0)


def test_a_solution_becomes_a_dataset():
    xarray = pytest.importorskip("xarray")
    found = solution_on(SQUARE).to_xarray((3, 5), "u u_y")
    assert isinstance(found, xarray.Dataset) and dict(found.sizes) == {"x": 3, "y": 5}
    assert float(found["u_y"].sel(x=0.5, y=1.0)) == pytest.approx(0.25)
    assert found.attrs == {"loss": 1.0, "bad": "undefined"}
    cloud = solution_on(PointCloud(np.random.default_rng(0).random((9, 2)))).to_xarray()
    assert dict(cloud.sizes) == {"point": 9} and set(cloud) == {"u", "v"}


def test_without_xarray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtra, match=r"nfsolve\[xarray\]"):
        solution_on(SQUARE).to_xarray((3, 3))


@pytest.mark.parametrize("kind", ["field", "windows", "transformed"])
def test_every_field_takes_arrays(kind):
    box = Box(t=(0, 1), x=(0, 1))
    made = [nf.MLP(box, width=4, depth=1, dtype=torch.float64, seed=seed) for seed in (0, 1)]
    from nfsolve.fields import Windows

    plain = nn.Linear(2, 1, dtype=torch.float64)
    field = {"field": made[0], "windows": Windows([*made], (0.5,)), "transformed": Transformed(plain, box, "u", None)}
    points = np.array([[0.2, 0.3], [0.7, 0.1]])
    found = field[kind].numpy(points)
    assert isinstance(found, np.ndarray)
    with torch.no_grad():
        assert np.array_equal(found, field[kind](torch.from_numpy(points)).numpy())
    with warnings.catch_warnings(), pytest.raises(InputError, match=r"\(n, 2\)"):
        field[kind].numpy([[0.2]])
