"""Inverse problems: diffusivity field, and coefficients of the flow behind a cylinder."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from nfsolve._core.errors import InputError
from nfsolve._core.random import generator
from nfsolve.problem import SamplerState
from problems.pde.inverse_diffusivity import InverseDiffusivity
from problems.pde.layers import Layers
from problems.pde.unknown_flux import UnknownFlux
from problems.pde.wake import Wake


def loaded(problem):
    data = problem.load("cpu", torch.float64)
    return data, problem.sample(data, SamplerState(), generator(0, "points"))


def test_exact_diffusivity_satisfies_the_equations_and_noiseless_data():
    problem = InverseDiffusivity(noise=0.0)
    data, batch = loaded(problem)
    residuals = problem.residuals(problem.exact, batch)
    assert set(residuals) == set(problem.weights()) == {"first", "second", "measurements"}
    assert all(r.abs().max() < 1e-12 for r in residuals.values())
    assert residuals["measurements"].shape == (1600, 2)
    wrong = problem.residuals(lambda x, y: (*problem.exact(x, y)[:2], 1 + 0 * x), batch)
    assert wrong["first"].abs().max() > 1 and wrong["second"].abs().max() > 1
    assert problem.metrics(problem.exact, data)["relative_l2/k"] == 0


def test_noise_has_the_size_asked_for_and_its_own_seed():
    clean, noisy, again, other = (
        InverseDiffusivity(noise=n, noise_seed=s)
        .load("cpu", torch.float64)["measured"]["measurements"]
        .columns["u_data"]
        for n, s in ((0.0, 0), (0.05, 0), (0.05, 0), (0.05, 1))
    )
    assert float((noisy - clean).std() / clean.square().mean().sqrt()) == pytest.approx(0.05, rel=0.1)
    assert torch.equal(noisy, again) and not torch.equal(noisy, other)


def test_two_experiments_never_lose_the_diffusivity_together():
    # k is seen where grad u or grad w is not zero
    problem = InverseDiffusivity()
    points = problem.domain.grid(41, 41).requires_grad_()
    size = 0
    for value in problem.exact(points[:, :1], points[:, 1:])[:2]:
        size = size + torch.autograd.grad(value.sum(), points)[0].square().sum(1)
    assert size.min() > 0.9


@pytest.mark.parametrize("options", [{"noise": -1.0}, {"sensors": 1}, {"noise": float("nan")}])
def test_bad_options_of_the_diffusivity_are_worded(options):
    with pytest.raises(InputError, match="noise must not be negative and sensors must be at least 2"):
        InverseDiffusivity(**options)


@pytest.mark.parametrize("problem", [UnknownFlux(noise=0.0), Layers(noise=0.0)], ids=["flux", "layers"])
def test_exact_solutions_of_inverse_problems_satisfy_all_residuals(problem):
    _, batch = loaded(problem)
    if isinstance(problem, UnknownFlux):
        residuals = problem.residuals(problem.exact, batch)
        assert all(r.abs().max() < 1e-12 for r in residuals.values())
    else:
        residuals = problem.residuals(lambda x: tuple(c + 0 * x for c in problem.exact(x)), batch)
        assert all(r.abs().max() < 1e-12 for r in residuals.values())


@pytest.mark.parametrize("make", [UnknownFlux, Layers])
@pytest.mark.parametrize("options", [{"noise": -1.0}, {"sensors": 1}, {"noise": float("nan")}])
def test_bad_options_of_flux_and_layers_are_worded(make, options):
    with pytest.raises(InputError, match="noise must not be negative and sensors must be at least 2"):
        make(**options)


def decaying_vortices(t, x, y):
    """Taylor & Green: an exact flow with lambda1 = 1, lambda2 = 0.01."""
    fall = torch.exp(-2 * 0.01 * t)
    u = -torch.cos(x) * torch.sin(y) * fall
    v = torch.sin(x) * torch.cos(y) * fall
    return u, v, -(torch.cos(2 * x) + torch.cos(2 * y)) / 4 * fall**2


@pytest.fixture
def wake_file(tmp_path):
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(1, 8, 12), np.linspace(-2, 2, 9), indexing="ij"))
    t = np.linspace(0, 19.9, 7)
    columns = [torch.from_numpy(a) for a in np.broadcast_arrays(t[None], x[:, None], y[:, None])]
    u, v, p = (a.numpy() for a in decaying_vortices(*columns))
    path = tmp_path / "flow.npz"
    np.savez(path, X_star=np.stack([x, y], 1), t=t, U_star=np.stack([u, v], 1), p_star=p)
    return path


def test_the_wake_reads_its_file_and_an_exact_flow_satisfies_it(wake_file):
    problem = Wake(data=str(wake_file), start=0.0, duration=20.0, n_data=300, n_points=50)
    data, batch = loaded(problem)
    problem.lambda1, problem.lambda2 = 1.0, 0.01  # as the objective binds them
    residuals = problem.residuals(decaying_vortices, batch)
    assert set(residuals) == {"along", "across", "incompressible", "measurements"}
    for name, r in residuals.items():
        assert r.abs().max() < 1e-13, name
    problem.lambda1 = 0.9
    assert problem.residuals(decaying_vortices, batch)["along"].abs().max() > 1e-2

    def shifted(points):
        u, v, p = decaying_vortices(*points.T[:, :, None])
        return torch.cat([u, v, p + 5], 1)

    scores = problem.metrics(shifted, data)
    assert scores["relative_l2"] < 1e-15 and scores["relative_l2/p"] < 1e-14
    assert scores["reference_floor/u"] > 0


def test_the_noise_of_the_wake_is_relative_to_each_velocity(wake_file):
    clean, noisy = (
        Wake(data=str(wake_file), start=0.0, duration=20.0, n_data=700, noise=n).load("cpu", torch.float64)["measured"][
            "measurements"
        ]
        for n in (0.0, 0.1)
    )
    assert torch.equal(clean.points, noisy.points)
    with np.load(wake_file) as arrays:
        spread = arrays["U_star"].std((0, 2))
    for name, size in zip(("u_data", "v_data"), spread, strict=True):
        assert float((noisy.columns[name] - clean.columns[name]).std()) == pytest.approx(0.1 * size, rel=0.1)


def test_bad_wake_files_and_options_are_worded(wake_file, tmp_path):
    with pytest.raises(InputError, match="data file 'nowhere.npz' was not found"):
        Wake(data="nowhere.npz").load("cpu", torch.float64)
    np.savez(tmp_path / "other.npz", X_star=np.zeros((3, 2)), t=np.zeros(2))
    with pytest.raises(InputError, match=r"must hold X_star \(points, 2\), t \(times\).*but it holds"):
        Wake(data=str(tmp_path / "other.npz")).load("cpu", torch.float64)
    with pytest.raises(InputError, match="the file has 108 values in that time, but n_data asks for 3000"):
        Wake(data=str(wake_file), start=0.0).load("cpu", torch.float64)
    with pytest.raises(InputError, match="duration must be between 0.2 and 20, and start not negative, got 21"):
        Wake(duration=21.0)
    with pytest.raises(InputError, match="n_data must be at least 1 and noise must not be negative"):
        Wake(noise=-0.1)


def test_the_real_wake_is_read(data_folder):
    if not (data_folder / "pde_cylinder_wake_nektar.npz").is_file():
        pytest.skip("needs pde_cylinder_wake_nektar.npz in $NFSOLVE_DATA")
    problem = Wake()
    data, batch = loaded(problem)
    assert batch["measurements"].points.shape == (3000, 3)
    problem.domain.check_points(batch["measurements"].points)
    assert data["middle"]["u"].shape == (5000, 1)


def steps_of_the_flow(arrays):
    """Return the time between neighbouring snapshots that the equations ask for, in units of what the file says."""
    x, y = np.unique(arrays["X_star"][:, 0]), np.unique(arrays["X_star"][:, 1])
    u, v, p = (a.reshape(len(y), len(x), -1) for a in (*arrays["U_star"].swapaxes(0, 1), arrays["p_star"]))
    inside = np.s_[4:-4, 4:-4]

    def slope(values, axis, order=1):
        return CubicSpline((y, x)[axis], values, axis=axis)(
            (y, x)[axis],
            order,
        )

    found = []
    for i, step in enumerate(np.diff(arrays["t"].ravel())):
        now = [(a[..., i] + a[..., i + 1]) / 2 for a in (u, v, p)]
        moved, driven = [], []
        for a, mean, axis in ((u, now[0], 1), (v, now[1], 0)):
            drive = 0.01 * (slope(mean, 0, 2) + slope(mean, 1, 2)) - slope(now[2], axis)
            driven.append((drive - now[0] * slope(mean, 1) - now[1] * slope(mean, 0))[inside].ravel())
            moved.append((a[..., i + 1] - a[..., i])[inside].ravel())
        moved, driven = np.concatenate(moved), np.concatenate(driven)
        found.append(moved @ driven / (driven @ driven) / step)
    return found


def test_the_first_snapshot_of_the_wake_is_wrong_and_left_out(data_folder):
    if not (data_folder / "pde_cylinder_wake_nektar.npz").is_file():
        pytest.skip("needs pde_cylinder_wake_nektar.npz in $NFSOLVE_DATA")
    steps = steps_of_the_flow(Wake(start=0.0, duration=0.5)._read()[0])
    assert steps[0] == pytest.approx(2, abs=0.03)
    assert steps_of_the_flow(Wake(duration=0.5)._read()[0]) == pytest.approx(np.ones(5), abs=0.01)
    assert steps[1:] == pytest.approx(np.ones(4), abs=0.01)
