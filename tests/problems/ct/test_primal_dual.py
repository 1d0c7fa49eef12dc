"""Primal-dual steps on the image of a field: what they find, how it stands beside the field, and resumed runs."""

import json
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

import nfsolve
from nfsolve import Stage
from nfsolve.reconstruct import PrimalDual, norm_squared, step_for, total_variation
from problems.ct import _primal_dual, _tomography
from problems.ct._primal_dual import CONVEX, RISING, Correction, PrimalDualSteps
from problems.ct.cone import CTCone
from problems.ct.limited import CTLimited
from problems.ct.phantom import CTPhantom

SMALL: dict[str, Any] = {"views": 12, "size": 32, "classical": ()}
OPTIONS: dict[str, Any] = {"seed": 0, "device": "cpu", "report": None, "out": None}
STEPS = (Stage(PrimalDualSteps, 4),)


def test_the_default_ends_with_them_unless_the_prior_or_the_loss_is_another():
    assert CTPhantom(**SMALL).recipe().stages[-1].optimizer is PrimalDualSteps
    for other in (CTPhantom(**SMALL, tv=0.0), CTPhantom(**SMALL, loss="gaussian")):
        assert other.recipe().stages[-1].optimizer is not PrimalDualSteps


def test_the_error_of_the_head_falls():
    problem = CTPhantom(**SMALL)
    adam = replace(problem.recipe().stages[0], steps=60)
    before = nfsolve.solve(problem, stages=(adam,), **OPTIONS).metrics["psnr"]
    assert nfsolve.solve(problem, stages=(adam, *STEPS), **OPTIONS).metrics["psnr"] > before + 0.5


def test_the_last_steps_end_near_the_minimum_and_say_so():
    problem = CTPhantom(**SMALL, classical_tv=1e-3)
    solution = nfsolve.solve(problem, stages=(Stage(PrimalDualSteps, 200),), **OPTIONS)
    assert solution.stopped.startswith("converged: the last steps are within 1.0% of the minimum"), solution.stopped
    data = solution.data
    long = problem.load("cpu", torch.float64)["coarsened"][0.5]
    method = PrimalDual(
        *(long.projector, long.sinogram, long.shape, 2 * problem.contrast * 1e-3),
        step=step_for(2e-3),
    )
    least = method.advanced(method.start(), 2000)
    assert method.relative_gap(least) < 1e-3
    mean = torch.nn.functional.avg_pool2d(least.x[None, None], 2)[0, 0]
    with torch.no_grad():
        image = problem.image(solution.field, data)
    assert float((image - mean).norm() / mean.norm()) < 0.05


@pytest.mark.parametrize("problem", [CTPhantom(**SMALL | {"size": 64}), CTCone(views=8, size=32)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("side", [0.5, 1])
def test_the_norm_of_a_large_scan_is_that_of_merged_pixels(problem, side, monkeypatch):
    data = problem.load("cpu", torch.float32)["coarsened"]
    scan = data[side]
    exact = _primal_dual.norm_of(problem, data, scan)
    assert exact == norm_squared(scan.projector, scan.sinogram, scan.projector.shape[1], problem.fine_precision(scan))
    monkeypatch.setattr(_primal_dual, "WORK", data[2].projector.shape[1] * len(scan.geometry.angles))
    assert exact < _primal_dual.norm_of(problem, data, scan) < 1.06 * exact


def test_small_weights_take_longer_steps():
    assert [round(step_for(weight)) for weight in (1.0, 1e-3, 2e-4, 0.0)] == [10, 10, 50, 100]


@pytest.mark.parametrize("most", [10**8, 1], ids=["half pixels", "whole pixels"])
def test_the_result_is_that_of_least_variation_from_the_field_and_its_correction_what_changed(most, monkeypatch):
    monkeypatch.setattr(_tomography, "MOST_ENTRIES", most)
    problem = CTPhantom(**SMALL)
    solution: Any = nfsolve.solve(problem, stages=STEPS, **OPTIONS)
    bare = nfsolve.solve(problem, stages=(Stage(torch.optim.Adam, 0),), **OPTIONS)
    assert problem.finer == (2 if most > 1 else 1)
    scan = solution.data["coarsened"][1 / problem.finer]
    weight = problem.contrast * (2 * problem.fine_weight if most > 1 else problem.classical_weight)
    assert problem.classical_weight == 2 * problem.fine_weight > 0
    step = step_for(weight / problem.contrast)
    method = PrimalDual(scan.projector, scan.sinogram, scan.shape, weight, scan.known, step=step)
    with torch.no_grad():
        start = bare.field(scan.points).reshape(scan.shape)
        found = method.advanced(method.start(start), 80).x
    values = solution.field.auxiliary["correction"].values
    assert torch.allclose(values, found - start, atol=1e-5)
    side = problem.finer
    mean = torch.nn.functional.avg_pool2d(found[None, None], side)[0, 0]
    if side == 2:
        assert torch.allclose(problem.image(solution.field, solution.data), mean, atol=1e-5)
    whole = solution.trained  # evaluated anywhere, it has the correction
    assert torch.allclose(whole(scan.points).reshape(scan.shape), start + values, atol=1e-5)


def test_a_method_that_goes_on_is_the_method():
    problem = CTPhantom(**SMALL)
    scan = problem.load("cpu", torch.float64)["coarsened"][1]
    system = scan.projector, scan.sinogram, scan.shape, 1e-3
    method = PrimalDual(*system)
    there = method.advanced(method.advanced(method.start(), 7), 13)
    assert torch.equal(there.x, total_variation(*system, iterations=20).image)


def test_a_correction_is_linear_between_pixels_and_averages_over_them():
    correction = Correction((4, 6), ((0.0, 6.0), (-2.0, 2.0)))
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    correction.values.copy_(10 * rows + columns)
    points = torch.tensor([[0.5, 1.5], [1.0, 1.5], [5.5, -1.5], [3.0, 0.0]])  # row 0 lies at the largest y
    assert correction(points).flatten().tolist() == pytest.approx([0.0, 0.5, 35.0, 17.5], abs=1e-5)
    halved = correction.image((2, 3))
    assert halved is not None and halved.tolist() == [[5.5, 7.5, 9.5], [25.5, 27.5, 29.5]]
    assert correction.image((3, 3)) is None and correction.image((8, 12)) is None


def test_a_run_that_is_stopped_between_them_goes_on_to_the_same_image_and_is_loaded_with_it(tmp_path):
    problem, stages = CTPhantom(**SMALL), (Stage(torch.optim.Adam, 3), Stage(PrimalDualSteps, 4))
    options: dict[str, Any] = {"seed": 0, "stages": stages, "log_every": 1}
    whole = nfsolve.solve(problem, **options, report=None, out=tmp_path / "whole")
    stop = lambda row: row.get("step") == 5 and signal.raise_signal(signal.SIGINT)  # noqa: E731
    nfsolve.solve(problem, **options, report=stop, out=tmp_path / "part")
    assert json.loads((tmp_path / "part" / "metrics.json").read_text())["steps"] < 7
    again = nfsolve.resume(tmp_path / "part", report=None)
    assert torch.equal(*(problem.image(s.field, s.data) for s in (whole, again)))
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(nfsolve.load(tmp_path / "part")(points), whole.trained(points))
    assert not torch.equal(whole.trained(points), whole.field(points))


def test_of_one_material_all_pixels_are_drawn_to_it_or_to_air():
    shares = {}
    for one_material in (False, True):
        problem = CTLimited(size=32, arc=60.0, holes=3, classical=(), one_material=one_material)
        steps = (Stage(PrimalDualSteps, CONVEX + 2 * RISING),)
        solution: Any = nfsolve.solve(problem, stages=steps, **OPTIONS)
        fine = solution.trained(solution.data["coarsened"][1 / problem.finer].points).detach()
        between = ((fine > 0.2 * problem.peak) & (fine < 0.8 * problem.peak)).float().mean()
        shares[one_material] = float(between), solution.metrics["matthews"]
    assert shares[True][0] < 0.5 * shares[False][0]
    assert shares[True][1] > shares[False][1] - 0.02
