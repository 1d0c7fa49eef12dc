import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nfsolve import MLP, PDE, Box, Stage, Unknown, face, interior, measured, periodic, solve
from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.optim import GaussNewton
from nfsolve.problem import SamplerState
from problems.pde.burgers import Burgers
from problems.pde.poisson import Poisson


def drawn(problem: PDE, seed: int = 0):
    data = problem.load("cpu", torch.float64)
    return problem.sample(data, SamplerState(), generator(seed, "points"))


def test_exact_solutions_satisfy_their_equations():
    poisson = Poisson(waves=2)
    for r in poisson.residuals(poisson.exact, drawn(poisson)).values():
        assert r.abs().max() < 1e-10


def test_a_travelling_front_satisfies_burgers_equation():
    problem = Burgers(nu=0.1)

    def front(t, x):  # u = c - a tanh(a (x - c t) / (2 nu)) solves u_t + u u_x = nu u_xx
        return 0.3 - 0.5 * torch.tanh(0.5 * (x - 0.3 * t) / (2 * 0.1))

    batch = drawn(problem)
    residual = problem.residuals(front, {"momentum": batch["momentum"]})["momentum"]
    assert residual.shape == (problem.n_points, 1)
    assert residual.abs().max() < 1e-13


def test_cole_hopf_satisfies_the_initial_condition_and_the_equation():
    problem = Burgers(nu=0.05)
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    assert (problem.exact(torch.zeros_like(x), x) + torch.sin(math.pi * x)).abs().max() < 1e-14
    # the equation by central differences of the formula: error O(h^2)
    t, h = torch.full_like(x, 0.4), 1e-3
    u = problem.exact(t, x)
    u_t = (problem.exact(t + h, x) - problem.exact(t - h, x)) / (2 * h)
    right, left = problem.exact(t, x + h), problem.exact(t, x - h)
    residual = u_t + u * (right - left) / (2 * h) - problem.nu * (right - 2 * u + left) / h**2
    assert residual.abs().max() < 1e-3


def test_points_are_where_the_conditions_hold():
    batch = drawn(Burgers(n_points=64, n_face=31))
    assert batch["momentum"].points.shape == (64, 2)
    assert (batch["initial"].points[:, 0] == 0).all()
    walls = batch["walls"]
    assert walls.points.shape == (31, 2)
    assert set(walls.points[:, 1].tolist()) == {-1.0, 1.0}
    assert torch.equal(walls.normals[:, 1], walls.points[:, 1])


def test_draws_repeat_by_seed_and_differ_between_draws():
    problem = Burgers()
    data = problem.load("cpu", torch.float64)
    source = generator(1, "points")
    first, second = problem.sample(data, SamplerState(), source), problem.sample(data, SamplerState(), source)
    again = problem.sample(data, SamplerState(), generator(1, "points"))
    assert torch.equal(first["momentum"].points, again["momentum"].points)
    assert not torch.equal(first["momentum"].points, second["momentum"].points)


@dataclass
class Everything(PDE):
    """Systems, mixed derivatives, normals, composite terms and several coordinates at once."""

    domain = Box(t=(0, 1), x=periodic(0, 2), y=(-1, 1))
    unknowns = "u k"

    @interior(points=40)
    def mixed(self, u_tx, u_xxy, k_y, t):
        return torch.cat([u_tx - torch.cos(t), u_xxy + k_y], -1)

    @interior
    def composite(self, D):
        return D(lambda k, u_x: k * u_x, "x")

    @face(y=(-1, 1))
    def flux(self, u_y, n_y, y):
        return u_y * n_y - y


def test_the_vocabulary_of_signatures():
    problem = Everything()

    def exact(t, x, y):
        return torch.sin(t) * x + 0.5 * y**2, x**2 * y

    batch = drawn(problem)
    residuals = problem.residuals(exact, batch)
    assert residuals["mixed"].shape == (40, 2)
    assert residuals["mixed"][:, 0].abs().max() < 1e-13
    t, x, y = (batch["mixed"].points[:, i] for i in range(3))
    assert torch.allclose(residuals["mixed"][:, 1], x**2)
    t, x, y = (batch["composite"].points[:, i] for i in range(3))
    assert torch.allclose(residuals["composite"][:, 0], 2 * x * y * torch.sin(t))
    n, y = batch["flux"].normals[:, 2], batch["flux"].points[:, 2]
    assert torch.allclose(residuals["flux"][:, 0], y * n - y)


def test_unknown_coordinates_in_a_signature_are_worded():
    @dataclass
    class Wrong(PDE):
        domain = Box(t=(0, 1), x=(-1, 1))

        @interior
        def balance(self, u_z):
            return u_z

    with pytest.raises(InputError, match="unknown coordinate 'z' in 'u_z': this problem has t, x"):
        Wrong().residuals(lambda points: points[:, :1], drawn(Wrong()))


def test_a_problem_without_residuals_is_worded():
    @dataclass
    class Empty(PDE):
        domain = Box(x=(0, 1))

    with pytest.raises(
        InputError, match=r"Empty has no residuals \(.*test_pde.py, line .*Mark at least one method @interior"
    ):
        drawn(Empty())


def test_residuals_of_the_wrong_shape_are_worded():
    @dataclass
    class Crossed(PDE):
        domain = Box(x=(0, 1))

        @interior(points=10)
        def balance(self, u, x):
            return u - x[:, 0]

    with pytest.raises(InputError, match=r"residual 'balance' must have one row .*got shape \(10, 10\) for 10 points"):
        solve(Crossed(), steps=1)


def test_fields_with_the_wrong_number_of_outputs_are_worded():
    field = MLP(Everything.domain, outputs="u", width=4, depth=1, dtype=torch.float64)
    with pytest.raises(InputError, match=r"must have 2 outputs \(u, k\), got 1"):
        solve(Everything(), field, steps=1)


@dataclass
class Decay(PDE):
    """u' = -rate u with a measured solution and an unknown rate."""

    rate: Unknown = Unknown(1.0, positive=True)  # noqa: RUF009  # frozen

    domain = Box(t=(0, 1))

    @interior(points=30)
    def equation(self, u, u_t):
        return u_t + self.rate * u

    @measured("probes")
    def probes(self, u, u_data):
        return u - u_data


@pytest.fixture
def probes(tmp_path, monkeypatch):
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))
    t = np.linspace(0, 1, 25)
    np.savez(tmp_path / "probes.npz", t=t, u=np.exp(-2.5 * t))
    return tmp_path


def test_unknown_scalars_are_found_from_measured_data(probes):
    field = MLP(Decay.domain, width=10, depth=2, dtype=torch.float64)
    solution = solve(Decay(), field, GaussNewton, steps=60)
    assert solution.metrics["unknown/rate"] == pytest.approx(2.5, rel=1e-5)
    assert solution.history[0]["unknown/rate"] == pytest.approx(1.0)


def test_measured_data_may_be_csv(probes):
    (probes / "probes.npz").unlink()
    (probes / "probes.csv").write_text("t,u\n0,1\n1,0.5\n")
    data = Decay().load("cpu", torch.float64)
    assert data["measured"]["probes"].columns["u_data"].tolist() == [[1.0], [0.5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"t": [0.0, float("nan")], "u": [1.0, 2.0]}, "column 't' of .* is nan in row 1"),
        ({"t": [0.0, 3.0], "u": [1.0, 2.0]}, "1 of 2 points of 'probes' are outside the domain"),
        ({"t": [0.0, 1.0], "u": [1.0]}, "must have one length, but they have"),
        ({"time": [0.0], "u": [1.0]}, "must have columns t and at least one of u, but it has time, u"),
    ],
)
def test_bad_measured_data_is_worded(probes, content, message):
    np.savez(probes / "probes.npz", **{k: np.array(v) for k, v in content.items()})
    with pytest.raises(InputError, match=message):
        Decay().load("cpu", torch.float64)


def test_missing_and_corrupt_data_files_are_worded(probes):
    (probes / "probes.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"probes.npz' could not be read"):
        Decay().load("cpu", torch.float64)
    (probes / "probes.npz").unlink()
    with pytest.raises(InputError, match="data file 'probes' was not found.*NFSOLVE_DATA"):
        Decay().load("cpu", torch.float64)


def test_a_reference_file_scores_the_field_and_brings_its_floor(tmp_path, monkeypatch):
    monkeypatch.setenv("NFSOLVE_DATA", str(tmp_path))

    @dataclass
    class Line(PDE):
        domain = Box(x=(0, 1))
        reference = "line.npz"

        @interior(points=10)
        def slope(self, u_x):
            return u_x - 1

    x = np.linspace(0, 1, 11)
    np.savez(tmp_path / "line.npz", x=x, u=x, error=1e-9)
    problem = Line()
    data = problem.load("cpu", torch.float64)
    scores = problem.metrics(lambda x: 1.1 * x, data)
    assert scores["relative_l2"] == pytest.approx(0.1)
    assert scores["reference_floor/u"] == 1e-9
    np.savez(tmp_path / "line.npz", x=x, u=x)
    with pytest.raises(InputError, match="lacks error"):
        problem.load("cpu", torch.float64)


def test_hard_constraints_hold_exactly():
    @dataclass
    class Pinned(PDE):
        domain = Box(x=(0, 1))

        @interior(points=20)
        def balance(self, u_xx):
            return u_xx + 1

        def ansatz(self, u, x):
            return x * (1 - x) * u

        def exact(self, x):
            return 0.5 * x * (1 - x)

    solution = solve(Pinned(), steps=30)
    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert solution.field(ends).abs().max() == 0
    assert solution.metrics["relative_l2"] < 1e-6


def test_bad_faces_and_point_counts_are_worded():
    with pytest.raises(InputError, match="needs a coordinate and its end"):
        face()
    with pytest.raises(InputError, match="n_points must be at least 1 point, got 0"):
        Burgers(n_points=0)
    with pytest.raises(InputError, match="unknown sampler 'sobl': did you mean 'sobol'"):
        Burgers(sampler="sobl")


@dataclass
class Layer(PDE):
    """A residual that the zero field leaves large near x = 0 only."""

    domain = Box(t=(0, 1), x=(-1, 1))

    @interior(points=400)
    def peak(self, u, x):
        return u + torch.exp(-((20 * x) ** 2))

    @face(t=0, points=100)
    def start(self, u, x):
        return u + torch.exp(-((20 * x) ** 2))


def zero(points):
    return torch.zeros_like(points[:, :1])


@pytest.mark.parametrize("adaptive", ["rad", "rar_d", "r3"])
def test_points_follow_the_residual_when_they_are_resampled(adaptive):
    problem = Layer(adaptive=adaptive)
    data, source = problem.load("cpu", torch.float64), generator(0, "points")
    batch = problem.sample(data, SamplerState(), source)
    near = [float((batch[name].points[:, 1].abs() < 0.1).double().mean()) for name in ("peak", "start")]
    for _ in range(4):
        batch = problem.sample(data, SamplerState(batch, zero), source)
    after = [float((batch[name].points[:, 1].abs() < 0.1).double().mean()) for name in ("peak", "start")]
    assert all(b > 1.5 * a for a, b in zip(near, after, strict=True))
    sizes = {"rad": 400, "rar_d": 400 + 4 * 20, "r3": 400}
    assert len(batch["peak"].points) == sizes[adaptive]
    assert (batch["start"].points[:, 0] == 0).all()


def test_stages_may_ask_for_fewer_points():
    problem = Layer()
    data = problem.load("cpu", torch.float64)
    batch = problem.sample(data, SamplerState(points=0.25), generator(0, "points"))
    assert len(batch["peak"].points) == 100
    assert len(batch["start"].points) == 100
    assert len(problem.sample(data, SamplerState(), generator(0, "points"))["peak"].points) == 400
    with pytest.raises(InputError, match="got points=0"):
        Stage(GaussNewton, 3, points=0)


def test_unknown_adaptive_sampling_is_worded():
    with pytest.raises(InputError, match="unknown adaptive sampling 'rat': did you mean 'rad'"):
        Layer(adaptive="rat")
