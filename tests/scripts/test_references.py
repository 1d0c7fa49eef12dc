import numpy as np
import pytest

from problems.operators._etdrk4 import march
from problems.pde.allen_cahn import AllenCahn
from scripts.make_references import PINNACLE, REFERENCES, distance, home, two_levels, write
from scripts.references import cavity, evolution
from scripts.references.lshape import harmonic, lshape, particular
from scripts.references.spectral import on_grid, wave_numbers


@pytest.mark.parametrize("name", list(REFERENCES))
def test_files_are_small_and_state_their_error(name):
    path = home(name) / f"{name}.npz"
    assert path.stat().st_size < 200_000
    with np.load(path) as table:
        assert 0 < float(table["error"]) < (1e-2 if name in PINNACLE else 1e-3)


@pytest.mark.parametrize(
    ("name", "times"), [("allen_cahn", 21), ("kdv", 41), ("kuramoto_sivashinsky", 101), ("ks", 51)]
)
def test_a_coarse_solution_agrees_with_the_file(name, times):
    coarse = getattr(evolution, name)(0, times)
    with np.load(home(name) / f"{name}.npz") as table:
        stored = {n: table[n][:times] if n != "x" else table[n] for n in ("t", "x", "u")}
        error = float(table["error"])
    np.testing.assert_array_equal(coarse["t"], stored["t"])
    np.testing.assert_array_equal(coarse["x"], stored["x"])
    assert distance(coarse, stored) < 1.1 * error


def test_the_scheme_is_of_fourth_order_and_exact_for_linear_equations():
    n = 32
    linear = -0.1 * wave_numbers(n) ** 2
    start = np.fft.rfft(np.exp(np.sin(np.pi * (-1 + 2 * np.arange(n) / n))))
    exact = np.exp(linear) * start
    assert np.abs(march(start, linear, np.zeros_like, [(1.0, 3)])[-1] - exact).max() < 1e-12

    def logistic(v):
        u = np.fft.irfft(v)
        return np.fft.rfft(u - u**2)

    ends = [np.fft.irfft(march(start, linear, logistic, [(1.0, steps)])[-1]) for steps in (8, 16, 256)]
    ratio = np.abs(ends[0] - ends[2]).max() / np.abs(ends[1] - ends[2]).max()
    assert 12 < ratio < 20


def test_a_constant_state_follows_the_logistic_formula():
    # x-independent: u' = 5 u - 5 u^3 has the solution u0 e^(5t) / sqrt(1 + u0^2 (e^(10t) - 1))
    n, t = 8, 0.3
    start = np.fft.rfft(np.full(n, 0.2))
    end = march(start, 5 + 0 * wave_numbers(n), lambda v: np.fft.rfft(-5 * np.fft.irfft(v) ** 3), [(t, 600)])[-1]
    exact = 0.2 * np.exp(5 * t) / np.sqrt(1 + 0.04 * (np.exp(10 * t) - 1))
    assert np.abs(on_grid(end, 5) - exact).max() < 1e-12


def test_two_levels_report_the_difference_and_files_are_written(tmp_path, monkeypatch):
    def compute(level):
        return {"x": np.linspace(0, 1, 3), "u": np.array([[0.0, np.nan], [3.0, 4.0]]) * (1 + (1 - level) * 1e-6)}

    monkeypatch.setitem(REFERENCES, "made_up", lambda: two_levels(compute))
    path, error = write("made_up", tmp_path)
    assert error == pytest.approx(1e-6, rel=1e-3)
    with np.load(path) as table:
        assert float(table["error"]) == pytest.approx(1e-6, rel=0.1)
        assert np.isnan(table["u"][0, 1])
        assert table["u"][1, 1] == 4


def test_grids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="32 samples on 10 intervals: choose a multiple"):
        on_grid(np.zeros(17, complex), 11)
    assert AllenCahn().reference == "references/allen_cahn.npz"


def test_the_l_shape_terms_solve_the_equation_exactly():
    # then the largest value on the boundary bounds the error everywhere (maximum principle)
    generator = np.random.default_rng(0)
    z = generator.uniform(-0.9, 0.9, 200) + 1j * generator.uniform(-0.9, -0.1, 200)
    h = 2e-3
    steps = h * np.array([1, -1, 1j, -1j])

    def laplacian(function):  # of fourth order, by h and 2 h
        near, far = (sum(function(z + factor * s) for s in steps) - 4 * function(z) for factor in (1, 2))
        return (16 * near - far) / (12 * h**2)

    assert np.abs(laplacian(particular) + 1).max() < 1e-7
    assert np.abs(laplacian(lambda z: harmonic(z, 6))).max() < 1e-5


def test_the_bound_of_the_l_shape_holds_for_a_coarse_solution():
    with np.load(home("lshape") / "lshape.npz") as table:
        stored = {n: table[n] for n in ("x", "y", "u")}
    coarse, bound = lshape(12)
    assert 1e-9 < bound < 1e-3
    assert distance(coarse, stored) < bound
    np.testing.assert_array_equal(np.isnan(coarse["u"]), np.isnan(stored["u"]))


def test_corner_functions_satisfy_the_equation_order_by_order():
    # psi = sum Re^n r^(n + 1) f_n: what is left of the vorticity equation is of order Re^3 r^0, so it falls by 8
    def left(reynolds):
        h = 3e-4
        x, y = np.meshgrid(*[0.3 + h * np.arange(-3, 4), 0.2 + h * np.arange(-3, 4)], indexing="ij")
        r, s = np.hypot(x, y), 4 * np.arctan2(y, x) / np.pi - 1
        f = [[cavity.along(c, m, s) for m in range(3)] for c in cavity.angular(2)]
        psi = sum(reynolds**n * r ** (n + 1) * f[n][0] for n in range(3))
        zeta = sum(reynolds**n * r ** (n - 1) * ((n + 1) ** 2 * f[n][0] + f[n][2]) for n in range(3))
        zeta_x, zeta_y = np.gradient(zeta, h, edge_order=2)
        psi_x, psi_y = np.gradient(psi, h, edge_order=2)
        laplacian = np.gradient(zeta_x, h, edge_order=2)[0] + np.gradient(zeta_y, h, edge_order=2)[1]
        # the lid is below: the velocity along it is -psi_y
        return float((laplacian + reynolds * (psi_y * zeta_x - psi_x * zeta_y))[3, 3])

    assert left(8.0) / left(4.0) == pytest.approx(8, rel=0.2)


def test_corner_functions_move_with_the_lid():
    edge = np.linspace(0.01, 0.99, 21)
    for at, lid in ((1.0, 1.0), (0.0, 0.0)):
        known = cavity.known_part(edge, np.full_like(edge, at), 100.0)
        assert np.abs(known["y"] - lid).max() < 1e-13
        assert np.abs(known["x"]).max() < 1e-13
        known = cavity.known_part(np.full_like(edge, at), edge, 100.0)
        assert np.abs(known["x"]).max() < 1e-12 and np.abs(known["y"]).max() < 1e-12


def test_a_coarse_cavity_agrees_with_the_file_and_states_its_error():
    coarse, error = cavity.cavity(100.0, (28, 36))
    with np.load(home("cavity_100") / "cavity_100.npz") as table:
        stored = {n: table[n] for n in ("x", "y", "u", "v")}
    assert distance(coarse, stored) < error < 1e-4
