"""The gallery behind measurement operators: what is measured, its rivals, and that the field comes close."""

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import InputError
from problems.measurements.deconvolution import Deconvolution
from problems.measurements.heat_source import HeatSource, by_evidence, tikhonov
from problems.measurements.impedance import Impedance, Voltages, elements, gauss_newton
from problems.measurements.mri import MRI, Lines, lowest_and_random
from problems.measurements.phase_retrieval import PhaseRetrieval, aligned, sizes


def test_lines_of_the_fourier_plane_have_the_lowest():
    lines = lowest_and_random(128, 32, nf.generator(0, "lines"))
    assert len(set(lines.tolist())) == 32
    assert set(range(60, 69)) <= set(lines.tolist())
    image = torch.randn(16, 16, dtype=torch.float64)
    whole = Lines(torch.arange(16), 16)
    torch.testing.assert_close(whole.A_adjoint(whole.A(image)), image)


@pytest.mark.parametrize(
    "problem",
    [MRI(size=32), Deconvolution(size=32), HeatSource(), PhaseRetrieval(), Impedance()],
    ids=lambda p: type(p).__name__,
)
def test_the_truth_has_the_misfit_of_the_noise(problem):
    data = problem.load("cpu", torch.float64)
    assert problem.scores(data["truth"], data)["misfit"] == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("problem", "steps", "rival"),
    [
        (MRI(size=40), 100, "zero_filled"),
        (Deconvolution(size=40), 100, "wiener"),
        (HeatSource(sensors=4, times=3), 15, "nonnegative_tikhonov"),
        (PhaseRetrieval(), 300, "input_output"),
    ],
    ids=["mri", "deconvolution", "heat_source", "phase_retrieval"],
)
def test_a_field_comes_near_and_stands_beside_its_rival(problem, steps, rival):
    metrics = nf.solve(problem, steps=steps, report=None).metrics
    assert metrics["psnr"] > 15
    assert metrics[f"psnr_{rival}"] > 12
    assert f"seconds_{rival}" in metrics


def test_the_heat_of_one_mode_is_that_of_the_equation():
    problem = HeatSource(sensors=3, times=2, duration=0.04)
    x, y = problem.points().numpy().T
    source = np.sin(np.pi * x) * np.sin(3 * np.pi * y)
    places = np.array([0.25, 0.5, 0.75])
    shape = np.outer(np.sin(np.pi * places), np.sin(3 * np.pi * places)).ravel()
    rate = 10 * np.pi**2
    grown = [(1 - np.exp(-rate * t)) / rate for t in (0.02, 0.04)]
    np.testing.assert_allclose(problem.matrix(20) @ source, np.outer(grown, shape).ravel(), atol=1e-14)


def test_readings_of_a_fine_and_a_coarse_grid_differ_by_less_than_the_noise():
    problem = HeatSource()
    fine, coarse = (problem.matrix(n) @ problem.truth(n).ravel() for n in (60, 20))
    assert 0 < abs(fine - coarse).max() < 0.02 * problem.noise * fine.max()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_tikhonov_leaves_the_misfit_that_is_wanted(nonnegative):
    A = np.random.default_rng(0).standard_normal((20, 30))
    data = A @ np.ones(30) + 0.5 * np.random.default_rng(1).standard_normal(20)
    found = tikhonov(A, data, 0.5, np.eye(30), nonnegative)
    assert np.mean((A @ found - data) ** 2) == pytest.approx(0.25, rel=0.03)
    assert not nonnegative or found.min() >= 0


def test_finite_volumes_converge_to_finite_elements():
    fine = elements(Impedance().truth(80)) - elements(np.ones((80, 80)))
    errors = []
    for side in (8, 16, 24):
        found = Voltages(side)(torch.as_tensor(Impedance().truth(side)).log()).numpy()
        errors.append(np.sqrt(np.mean((found - fine) ** 2)) / abs(fine).max())
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[1] < 0.015


def test_voltages_know_their_derivative():
    voltages, chance = Voltages(8), torch.Generator().manual_seed(0)
    m, step = (0.3 * torch.randn(8, 8, dtype=torch.float64, generator=chance) for _ in range(2))
    _, slope = torch.func.jvp(voltages, (m,), (step,))
    ahead, behind = voltages(m + 1e-5 * step), voltages(m - 1e-5 * step)
    torch.testing.assert_close(slope, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)


def test_the_classical_gauss_newton_method_leaves_the_misfit_that_is_wanted():
    problem = Impedance()
    observed = problem.observe()
    found = gauss_newton(observed.operator, observed.data, 0.95 * observed.noise)
    data = problem.load("cpu", torch.float64)
    scores = problem.scores(torch.as_tensor(found), data)
    assert scores["misfit"] == pytest.approx(0.95, abs=0.03)
    assert scores["psnr"] > 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: MRI(acceleration=0.5),
        lambda: Deconvolution(blur=0),
        lambda: HeatSource(noise=0),
        lambda: PhaseRetrieval(noise=0),
        lambda: Impedance(noise=0),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(InputError, match="positive|blur between"):
        make()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 1)])
def test_what_was_moved_and_turned_has_the_same_data_and_is_laid_back(turned, shift):
    truth = torch.zeros(16, 16, dtype=torch.float64)
    truth[5:10, 5:11] = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = (truth.flip(0, 1) if turned else truth).roll(shift, (0, 1))
    torch.testing.assert_close(sizes(moved), sizes(truth))
    torch.testing.assert_close(aligned(moved, truth), truth)


def test_the_weight_of_the_variation_follows_the_noise():
    solution = nf.solve(MRI(size=32, noise=0.05), steps=300, report=None)
    assert solution.history[-1]["weight/variation"] != pytest.approx(MRI().tv)
    fixed = nf.solve(MRI(size=32, noise=0.05), steps=300, weighting="constant", report=None)
    assert abs(solution.metrics["misfit"] - 0.87) < abs(fixed.metrics["misfit"] - 0.87)


def test_tikhonov_by_evidence_has_the_variance_of_what_was_drawn():
    chance = np.random.default_rng(0)
    A, noise, size = chance.standard_normal((300, 200)), 0.5, 3.0
    truth = size * chance.standard_normal(200)
    found = by_evidence(A, A @ truth + noise * chance.standard_normal(300), noise, np.eye(200))
    expected = np.linalg.solve(A.T @ A + (noise / size) ** 2 * np.eye(200), A.T @ (A @ truth))
    assert ((found - truth) ** 2).mean() < 0.2
    assert found == pytest.approx(expected, abs=0.2)
