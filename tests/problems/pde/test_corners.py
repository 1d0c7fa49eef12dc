"""Problems whose solution is singular at corners: L-shape and lid-driven cavity."""

import math

import numpy as np
import pytest
import torch

from nfsolve import MLP
from nfsolve._core.arrays import read_arrays
from nfsolve._core.random import generator
from nfsolve.data.tables import find_file
from nfsolve.problem import SamplerState
from problems.pde.cavity import Cavity, fade, scraper, scraper_pressure, velocity
from problems.pde.lshape import LShape


def loaded(problem):
    data = problem.load("cpu", torch.float64)
    return data, problem.sample(data, SamplerState(), generator(0, "points"))


def on_grid(data):
    inside = data["reference"].inside
    u = torch.full((len(inside), 1), torch.nan, dtype=torch.float64)
    u[inside] = data["reference"].values
    return u.reshape(data["reference"].sizes), inside.reshape(data["reference"].sizes)


def test_the_l_shape_is_sampled_and_its_reference_vanishes_on_all_sides():
    problem = LShape(n_points=3000)
    data, batch = loaded(problem)
    x, y = batch["balance"].points.T
    assert not ((x > 0) & (y > 0)).any()
    shares = [float(part.double().mean()) for part in ((x < 0) & (y < 0), (x > 0) & (y < 0), (x < 0) & (y > 0))]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)
    u, known = on_grid(data)
    assert int((~known).sum()) == 50 * 50 and 0 < data["reference"].floor < 1e-11
    assert (u[known] >= 0).all() and u[0].abs().max() == 0 and u[50, 50:].abs().max() == 0


def test_the_l_shape_equation_holds():
    problem = LShape(n_points=500)
    data, batch = loaded(problem)
    flat = problem.residuals(lambda x, y: -(x**2 + y**2) / 4, {"balance": batch["balance"]})
    assert flat["balance"].abs().max() < 1e-13
    # the reference by a nine-point stencil, h = 0.02, away from the corners
    u = on_grid(data)[0][6:45, 6:45]
    sides = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
    corners = u[2:, 2:] + u[:-2, 2:] + u[2:, :-2] + u[:-2, :-2]
    laplacian = (4 * sides + corners - 20 * u[1:-1, 1:-1]) / (6 * 0.02**2)
    assert (laplacian + 1).abs().max() < 1e-6


def test_the_l_shape_agrees_with_an_independent_solution(data_folder):
    path = data_folder / "pde_poisson_lshape_SELF.npz"
    if not path.is_file():
        pytest.skip("needs pde_poisson_lshape_SELF.npz in $NFSOLVE_DATA")
    ours = read_arrays(find_file(LShape().reference, LShape))["u"][::5, ::5]
    difference = ours - read_arrays(path)["u"][::8, ::8]
    assert np.nanmax(np.abs(difference)) < 1e-12
    assert np.isfinite(difference).sum() == 21**2 - 10**2


def bare(problem, psi=0.0):
    """The ansatz around a network whose stream function is a constant."""

    def field(points):
        x, y = points[:, :1], points[:, 1:]
        return torch.cat(problem.ansatz(psi + 0 * x, 0 * x, x, y), 1)

    return field


def test_the_cavity_keeps_its_walls_whatever_the_network_gives():
    along = torch.linspace(0.01, 0.99, 30, dtype=torch.float64)[:, None]
    for psi in (0.0, 3.0):
        field = bare(Cavity(), psi)
        for column, end in ((0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)):
            points = along.expand(-1, 2).clone()
            points[:, column] = end
            lid = float(column == 1 and end == 1)
            assert (velocity(field, points) - torch.tensor([lid, 0.0])).abs().max() < 1e-13


def test_the_scraper_is_stokes_flow():
    problem = Cavity()
    _, batch = loaded(problem)
    rows = {name: batch[name] for name in ("along", "across")}

    def field(reynolds):  # lid y = 1, wall x = 0
        def of_points(points):
            x, depth = points[:, :1], 1 - points[:, 1:]
            return torch.cat([scraper(x, depth), -scraper_pressure(x, depth) / reynolds], 1)

        return of_points

    # without inertia nothing is left; at Re = 100 only inertia is
    for r in Cavity(reynolds=1e-8).residuals(field(1e-8), rows).values():
        assert 1e-8 * r.abs().max() < 1e-6
    assert all(r.abs().max() > 1e-2 for r in problem.residuals(field(100.0), rows).values())


def test_the_fade_is_flat_at_both_ends():
    s = torch.tensor([[0.0], [1.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(fade(s).sum(), s, create_graph=True)
    assert fade(s).flatten().tolist() == [1.0, 0.0]
    assert slope.abs().max() < 1e-14
    (bend,) = torch.autograd.grad(slope.sum(), s)
    assert abs(float(bend[0])) < 1e-14


def test_a_known_flow_has_the_residuals_computed_by_hand():
    # psi = sin(pi x) sin(pi y), p = 0: u . grad u = pi^3 / 2 (sin(2 pi x), sin(2 pi y)), laplace(u) = -2 pi^2 u
    problem = Cavity(reynolds=7.0)
    _, batch = loaded(problem)
    rows = {name: batch[name] for name in ("along", "across")}
    got = problem.residuals(lambda x, y: (torch.sin(math.pi * x) * torch.sin(math.pi * y), 0 * x), rows)
    for name in rows:
        x, y = batch[name].points.T
        u = math.pi * torch.sin(math.pi * x) * torch.cos(math.pi * y)
        v = -math.pi * torch.cos(math.pi * x) * torch.sin(math.pi * y)
        velocity_part, along = (u, x) if name == "along" else (v, y)
        force = math.pi**3 / 2 * torch.sin(2 * math.pi * along) + 2 * math.pi**2 * velocity_part / 7
        weight = 0.64 * (x**2 + (1 - y) ** 2) * ((1 - x) ** 2 + (1 - y) ** 2)
        assert (got[name][:, 0] - weight * force).abs().max() < 1e-12


@pytest.mark.parametrize(("reynolds", "tolerance"), [(100.0, 2e-3), (400.0, 5e-3)])
def test_cavity_references_satisfy_walls_and_equations(reynolds, tolerance):
    problem = Cavity(reynolds=reynolds)
    data, _ = loaded(problem)
    assert 0 < data["floor"] < 1e-6
    arrays = read_arrays(find_file(f"references/cavity_{reynolds:.0f}.npz", Cavity))
    u, v = arrays["u"], arrays["v"]
    assert np.nanmax(np.abs(u[:, -1] - 1)) < 1e-11
    for wall in (u[0], u[-1], u[:, 0], v[0], v[-1], v[:, 0], v[:, -1]):
        assert np.nanmax(np.abs(wall[:-1])) < 1e-11
    assert np.isnan(u).sum() == np.isnan(v).sum() > 0

    # an oracle that shares nothing with the solver: fourth-order differences, away from the lid
    def slope(a, axis):
        return (8 * (np.roll(a, -1, axis) - np.roll(a, 1, axis)) - np.roll(a, -2, axis) + np.roll(a, 2, axis)) / 0.12

    inner = (slice(12, 70), slice(12, 70))
    vorticity = slope(v, 0) - slope(u, 1)
    advection = u * slope(vorticity, 0) + v * slope(vorticity, 1)
    diffusion = (slope(slope(vorticity, 0), 0) + slope(slope(vorticity, 1), 1)) / reynolds
    assert np.abs(slope(u, 0) + slope(v, 1))[inner].max() < 1e-4
    assert np.abs(advection - diffusion)[inner].max() < tolerance * np.abs(diffusion[inner]).max()


def test_a_cavity_without_reference_has_no_score():
    problem = Cavity(reynolds=250.0)
    data, _ = loaded(problem)
    assert problem.metrics(bare(problem), data) == {}


@pytest.mark.parametrize("reynolds", [100, 400])
def test_cavity_references_agree_with_independent_solutions(data_folder, reynolds):
    path = data_folder / "pde_ldc_unitlid_SELF.npz"
    if not path.is_file():
        pytest.skip("needs pde_ldc_unitlid_SELF.npz in $NFSOLVE_DATA")
    other, ours = read_arrays(path), read_arrays(find_file(f"references/cavity_{reynolds}.npz", Cavity))
    # both have nodes at multiples of 1/4 and lines through the centre
    for name in "uv":
        a, b = ours[name][::25, ::25][1:-1, 1:-1], other[f"{name}_Re{reynolds}"][::32, ::32][1:-1, 1:-1]
        assert np.abs(a - b).max() < 1e-5
    s = np.round(other["s"] * 100, 9) % 1 == 0
    below = slice(0, 81)  # higher up that file has lost digits to the corners
    assert np.abs(other[f"uc_Re{reynolds}"][s] - ours["u"][50])[below].max() < 1e-5
    assert np.abs(other[f"vc_Re{reynolds}"][s] - ours["v"][:, 50])[1:-1].max() < 2e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("problem", [Cavity(), Cavity(reynolds=400), LShape()], ids=repr)
def test_fields_are_finite_at_every_corner(problem, dtype):
    field = MLP.for_problem(problem, width=4, depth=1, dtype=dtype)
    corners = problem.domain.grid(3, 3, dtype=dtype)
    assert field(corners[problem.domain.contains(corners)]).isfinite().all()
