"""How the references of PINNacle are computed, against closed forms and at lower resolution."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from scripts.make_references import distance, home, rounded
from scripts.references import cube, flows, materials, particular, planes
from scripts.references.heated_plate import hyperbola, transformed


def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(home(name) / f"{name}.npz") as table:
        return dict(table)


@pytest.mark.parametrize("k", [0.0, 8.0, 3 + 2j])
@pytest.mark.parametrize("smooth", [False, True])
def test_particular_solutions_satisfy_their_equation_and_have_their_slopes(k, smooth):
    z = np.array([0.3 + 0.2j, -0.4 + 0.7j, 0.11 - 0.6j])

    def functions(z):
        return particular.waves(z, 0.7, 4, k) if smooth else particular.multipoles(z, 0.1 - 0.2j, 0.3, 4, k)

    u, u_x, u_y = functions(z)
    h = 1e-4
    assert_allclose((functions(z + h)[0] - functions(z - h)[0]) / (2 * h), u_x, atol=1e-5)
    assert_allclose((functions(z + 1j * h)[0] - functions(z - 1j * h)[0]) / (2 * h), u_y, atol=1e-5)
    laplacian = functions(z + h)[1] - functions(z - h)[1] + functions(z + 1j * h)[2] - functions(z - 1j * h)[2]
    assert_allclose(laplacian / (2 * h), k**2 * u, atol=2e-4)


def test_a_coarse_plate_with_holes_is_within_its_bound():
    table, bound = particular.poisson2d_c(6)
    assert 1e-7 < bound < 1e-3
    assert distance(table, stored("poisson2d_c")) < bound


def test_the_forced_part_of_poisson2d_cg_satisfies_its_equation():
    z, h = np.array([0.3 + 0.2j, -0.4 + 0.7j]), 1e-3
    near = sum(particular.forced(z + s) - particular.forced(z) for s in h * np.array([1, -1, 1j, -1j]))
    far = sum(particular.forced(z + s) - particular.forced(z) for s in 2 * h * np.array([1, -1, 1j, -1j]))
    f = 10 * (17 + abs(z) ** 2) * np.sin(np.pi * z.real) * np.sin(4 * np.pi * z.imag)
    assert_allclose(-(16 * near - far) / (12 * h**2) + 64 * particular.forced(z), f, rtol=1e-5)


def test_laplace_transforms_are_inverted():
    for first, last in ((0.2, 0.8), (0.8, 3.0)):
        for t in (first, last):
            found = sum(w * np.exp(s * t) / s**1.5 for s, w in hyperbola(first, last, 14)).real
            assert found == pytest.approx(2 * np.sqrt(t / np.pi), abs=1e-6)


def test_the_heated_plate_satisfies_its_conditions_at_each_place():
    at = np.array([6 + 0j, 2 + 2j])
    coarse, left = transformed(1.0 + 0.5j, at, 6)
    fine, less = transformed(1.0 + 0.5j, at, 9)
    assert less < left < 1e-2
    assert_allclose(coarse, fine, rtol=1e-4)


def test_elements_interpolate_differentiate_and_integrate_polynomials():
    line = materials.Line(np.array([0, 0.2, 0.7, 1.0]), 4)
    u = line.nodes**4
    assert_allclose(line.slope @ u, 4 * line.places**3, atol=1e-12)
    assert line.weights @ (line.gather @ u) == pytest.approx(0.2)
    at = np.array([0, 0.1, 0.2, 0.55, 1.0])
    assert_allclose(line.interpolate(at) @ u, at**4, atol=1e-12)


def test_a_flux_that_is_constant_across_two_materials_leaves_nothing():
    line = materials.Line(np.array([0, 0.25, 0.5, 1.0]), 3)
    right = np.repeat([False, False, True], 4)
    matrix = materials.stiffness(line, lambda x, y: np.where(right[:, None], 1.0, 2.0) + 0 * y)
    x = np.repeat(line.nodes, len(line.nodes))
    left = matrix @ np.where(x < 0.5, x, 2 * x - 0.5)
    inside = (x > 0) & (x < 1)
    assert np.abs(left[inside]).max() < 1e-12 < np.abs(left[~inside]).max()


def test_a_straight_channel_has_a_parabola_and_a_linear_pressure():
    ends = np.linspace(0, 1, 3)
    flow = flows.Flow(2 * ends, ends, 4, None, False)
    x, y = flow.nodes
    wall = (x == 0) | (y == 0) | (y == 1)
    fixed = np.concatenate([wall, wall | (x == 2)])
    parabola = np.concatenate([4 * y * (1 - y), 0 * y])
    u, p = flows.steady(flow, fixed, parabola, False)
    assert_allclose(u, parabola, atol=1e-9)
    found = flow.on_grid(u, p, (np.array([0, 1.0, 2.0]), np.array([0.3])))
    assert_allclose(found[2][:, 0], [0.16, 0.08, 0], atol=1e-9)


def test_holes_take_their_volume_and_their_sections():
    volume = 1 - 4 / 3 * np.pi * (2 * 0.2**3 + 2 * 0.1**3)
    assert cube.sizes(30, None).sum() == pytest.approx(volume, rel=1e-4)
    across = cube.sizes(30, 2).sum((0, 1))  # at z = (i + 1 / 2) / 30
    z = (np.arange(30) + 0.5) / 30
    taken = sum(np.pi * np.maximum(r**2 - (z - c[2]) ** 2, 0) for c, r in cube.HOLES)
    assert_allclose(across, 1 - taken, atol=1e-3)


def test_finite_volumes_are_of_second_order(monkeypatch):
    monkeypatch.setattr(cube, "HOLES", [])
    monkeypatch.setattr(cube, "WAVE_NUMBERS", (8.0, 8.0))
    monkeypatch.setattr(
        cube,
        "source",
        lambda x, y, z: (64 + 14 * np.pi**2) * np.cos(np.pi * x) * np.cos(2 * np.pi * y) * np.cos(3 * np.pi * z),
    )
    gaps = []
    for n in (12, 24):
        axis = np.arange(n + 1) / n
        exact = np.cos(np.pi * axis[:, None, None]) * np.cos(2 * np.pi * axis[:, None]) * np.cos(3 * np.pi * axis)
        gaps.append(np.abs(cube.solve(n) - exact).max())
    assert gaps[1] < 0.02 and gaps[0] / gaps[1] == pytest.approx(4, rel=0.1)


def test_coarse_volumes_agree_with_the_reference():
    fine = stored("poisson3d_cg")
    found = np.where(np.isnan(fine["u"]), np.nan, cube.solve(50)[::2, ::2, ::2])
    assert distance({"u": found}, {"u": fine["u"]}) < 8e-3  # a fourth of it at 100 and less when extrapolated


def test_the_velocity_of_burgers_begins_as_a_coarse_one(monkeypatch):
    monkeypatch.setattr(planes, "BURGERS", ((96, 40),))
    coarse, fine = planes.burgers2d(0, 1), stored("burgers2d")
    first = {n: fine[n][:1] for n in "uv"}
    assert distance({n: coarse[n][:1] for n in "uv"}, first) < 1e-4  # as it was rounded
    second = {n: fine[n][1:2] for n in "uv"}
    assert distance({n: coarse[n][1:] for n in "uv"}, second) < 0.1  # shocks that are narrower than its points


def test_the_gray_scott_reference_begins_as_a_coarse_one():
    coarse, fine = planes.gs(0, 1), stored("gs")
    assert distance(coarse, {n: fine[n][:2] for n in "uv"}) < 1e-4


def test_values_are_rounded_to_a_hundredth_of_their_error():
    values = np.array([1.0, np.nan, 0.123456789])
    near = rounded(values, 1e-4)
    assert np.isnan(near[1]) and 0 < abs(near[2] - values[2]) < 1e-6
    assert np.isnan(rounded(np.full(3, np.nan), 1e-4)).all()
