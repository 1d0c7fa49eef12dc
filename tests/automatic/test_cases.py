"""The exact solutions of the cases satisfy their equations, so that an error is an error."""

import pytest
import torch

from nfsolve._core.random import generator
from nfsolve.problem.problem import SamplerState
from tests.automatic import cases, later_cases, more_cases
from tests.automatic.trajectories import RIGHT

CASES = [*cases.CASES, *more_cases.CASES, *later_cases.CASES]
BY_SCIPY = {
    "VanDerPol": "van_der_pol",
    "Predators": "predators",
    "Lorenz": "lorenz",
    "Pendulum": "pendulum",
    "Duffing": "duffing",
    "Epidemic": "epidemic",
    "Neuron": "neuron",
}


@pytest.mark.parametrize("made", [case for case in CASES if case.__name__ not in BY_SCIPY])
def test_the_exact_solution_has_no_residual(made):
    problem = made()
    batch = problem.sample(problem.load("cpu", torch.float64), SamplerState(), generator(0, "points"))
    for name, residual in problem.residuals(problem.exact, batch).items():
        assert residual.abs().max() < 1e-11, name


@pytest.mark.parametrize("made", [case for case in CASES if case.__name__ in BY_SCIPY])
def test_the_trajectory_of_scipy_follows_the_equation(made):
    problem, step = made(), 1e-4
    t = torch.linspace(0.1, 1.9, 7, dtype=torch.float64)[:, None]
    shifted = [problem.exact(t + shift * step) for shift in (-1, 0, 1)]
    before, now, after = (torch.cat(v, -1) if isinstance(v, tuple) else v for v in shifted)
    slope, bend = (after - before) / (2 * step), (after - 2 * now + before) / step**2
    right = RIGHT[BY_SCIPY[made.__name__]]
    for i, at in enumerate(t[:, 0].tolist()):
        if now.shape[1] > 1:
            assert slope[i].tolist() == pytest.approx(right(at, now[i].tolist()), rel=1e-4, abs=1e-4)
        else:
            assert float(bend[i]) == pytest.approx(right(at, [float(now[i]), float(slope[i])])[1], rel=1e-4, abs=1e-4)
