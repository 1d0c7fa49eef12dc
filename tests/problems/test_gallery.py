import math

import numpy as np
import pytest
import torch

from nfsolve import PDE
from nfsolve._core.arrays import read_arrays
from nfsolve._core.random import generator
from nfsolve.data.tables import find_file
from nfsolve.problem import SamplerState
from nfsolve.problem.pde.evaluate import as_field
from nfsolve.problem.registry import find
from problems.pde.allen_cahn import AllenCahn
from problems.pde.convection import Convection
from problems.pde.helmholtz import Helmholtz
from problems.pde.kdv import KdV
from problems.pde.klein_gordon import KleinGordon
from problems.pde.kuramoto_sivashinsky import KuramotoSivashinsky
from problems.pde.poisson_5d import Poisson5D
from problems.pde.reaction import Reaction
from problems.pde.stefan import Stefan
from problems.pde.stl_poisson import StlPoisson
from problems.pde.two_materials import TwoMaterials
from problems.pde.volterra import Volterra
from problems.pde.wave import Wave


def loaded(problem: PDE):
    data = problem.load("cpu", torch.float64)
    return data, problem.sample(data, SamplerState(), generator(0, "points"))


# residuals of the exact solution, relative to the largest term of the equation
EXACT = [
    (Helmholtz(), 1e-11),
    (Helmholtz(k=3.0, a1=2, a2=3), 1e-11),
    (Convection(), 1e-12),
    (Convection(beta=80.0), 1e-12),
    (Reaction(), 1e-12),
    (Wave(), 1e-10),
    (Wave(c=1.0, beta=5), 1e-10),
    (Poisson5D(n_points=200, n_face=40), 1e-11),
    (KleinGordon(omega=5.0), 1e-11),
    (TwoMaterials(), 1e-11),
    (Volterra(), 1e-12),
    (Stefan(), 1e-12),
    (StlPoisson(n_points=200, n_face=40), 1e-12),
    (TwoMaterials(k_core=0.02, k_shell=3.0), 1e-11),
]


@pytest.mark.parametrize(("problem", "tolerance"), EXACT, ids=lambda value: getattr(type(value), "__name__", ""))
def test_exact_solutions_satisfy_their_problem(problem, tolerance):
    data, batch = loaded(problem)
    residuals = problem.residuals(problem.exact, batch)
    assert set(residuals) == set(problem.conditions())
    for name, r in residuals.items():
        assert r.abs().max() < tolerance, name
    assert problem.metrics(problem.exact, data)["relative_l2"] == 0
    bump = torch.arange(1, 1 + len(problem.outputs)).double()
    off = problem.residuals(lambda points: problem_values(problem, points) + bump * points[:, :1] ** 2, batch)
    assert all(r.abs().max() > 1e-3 for name, r in off.items() if name not in ("initial", "shape", "rest", "start"))


def problem_values(problem: PDE, points: torch.Tensor) -> torch.Tensor:
    return as_field(problem.exact, problem.domain.names)(points)


FILES = [(AllenCahn(), 1e-10), (KdV(), 1e-10), (KuramotoSivashinsky(), 1e-9)]


@pytest.mark.parametrize(("problem", "target"), FILES, ids=lambda value: getattr(type(value), "__name__", ""))
def test_references_start_from_the_initial_condition_and_are_periodic(problem, target):
    data, _ = loaded(problem)
    assert data["reference"].sizes == (101, 201)
    assert 0 < data["reference"].floor < target
    u = data["reference"].values.reshape(data["reference"].sizes)
    grid = data["reference"].points.reshape(*data["reference"].sizes, 2)
    for column, (low, high) in enumerate(problem.domain.bounds):
        assert grid[..., column].min() == low and grid[..., column].max() == high
    assert (problem.initial(u[0], grid[0, :, 1])).abs().max() < 2.0**-40
    assert torch.equal(u[:, 0], u[:, -1])


def spectral_derivative(u: np.ndarray, order: int) -> np.ndarray:
    """Derivative along x of samples on [-1, 1) by the discrete Fourier transform."""
    k = 1j * np.pi * np.arange(u.shape[-1] // 2 + 1)
    return np.fft.irfft(np.fft.rfft(u) * k**order, u.shape[-1])


@pytest.mark.parametrize(
    ("problem", "rows", "tolerance"),
    # where 200 points and a step of 0.01 resolve the solution
    [(AllenCahn(), slice(40, 70), 3e-6), (KdV(), slice(4, 20), 1e-7), (KuramotoSivashinsky(), slice(4, 97), 1e-6)],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_references_satisfy_their_equation(problem, rows, tolerance):
    """An oracle that shares nothing with the solver: x by the DFT of the file, t by eighth-order differences."""
    data, _ = loaded(problem)
    u = data["reference"].values.reshape(data["reference"].sizes).numpy()[:, :-1]
    h = problem.domain.bounds[0][1] / 100
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    u_t = sum(w * (np.roll(u, -s, 0) - np.roll(u, s, 0)) for s, w in weights.items()) / h
    u_x, u_xx, u_xxx, u_xxxx = (spectral_derivative(u, order) for order in (1, 2, 3, 4))
    terms = {
        AllenCahn: lambda: problem.reaction_diffusion(u, u_t, u_xx),
        KdV: lambda: problem.momentum(u, u_t, u_x, u_xxx),
        KuramotoSivashinsky: lambda: problem.balance(u, u_t, u_x, u_xx, u_xxxx),
    }
    residual = terms[type(problem)]()[rows]
    assert np.abs(residual).max() < tolerance * np.abs(u_t[rows]).max()


def test_a_problem_derived_elsewhere_keeps_its_reference(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text("from problems.pde.kdv import KdV\nclass Mine(KdV):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    data, _ = loaded(find("mine.py")())
    assert data["reference"].sizes == (101, 201)


def test_other_parameters_have_no_reference():
    for problem in (AllenCahn(nu=1e-3), KdV(dispersion=0.05)):
        data, _ = loaded(problem)
        assert "reference" not in data
        assert problem.metrics(lambda points: points[:, :1], data) == {}


INDEPENDENT = [  # tolerance: the error that the file's own makers found, with a margin
    (KdV, "pde_kdv_022_SELF.npz", 0.0, 1.0, 2e-10),
    (KuramotoSivashinsky, "pde_ks_SELF.npz", 0.0, 0.5, 5e-10),
    # before, the kink limits that file; after, its 512 points do not resolve the fronts
    (AllenCahn, "pde_allen_cahn_periodic_SELF.npz", 0.1, 0.6, 1e-6),
]


@pytest.mark.parametrize(("problem", "name", "start", "end", "tolerance"), INDEPENDENT)
def test_references_agree_with_independent_solutions(data_folder, problem, name, start, end, tolerance):
    path = data_folder / name
    if not path.is_file():
        pytest.skip(f"needs {name} in $NFSOLVE_DATA")
    other = read_arrays(path)
    ours = read_arrays(find_file(problem().reference, problem))
    shared = [(i, j) for i, t in enumerate(ours["t"]) for j in np.flatnonzero(np.abs(other["t"] - t) < 1e-12)]
    used = [(i, j) for i, j in shared if start <= ours["t"][i] <= end]
    mine, theirs = (list(rows) for rows in zip(*used, strict=True))
    assert len(mine) >= 20
    # their 512 samples, continued to our points by trigonometric interpolation
    coefficients = np.fft.rfft(other["u"][theirs, :-1]) / (len(other["x"]) - 1)
    k = np.arange(coefficients.shape[1])
    factor = np.where((k == 0) | (k == k[-1]), 1.0, 2.0)
    waves = np.exp(1j * math.pi * k[:, None] * (ours["x"] + 1))
    difference = ((coefficients * factor) @ waves).real - ours["u"][mine]
    assert np.abs(difference).max() < tolerance
