"""Accuracy at full budget: each default run reaches its target (make accuracy)."""

import time

import pytest

import nfsolve as nf
from nfsolve._core.errors import InputError
from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from scripts.measure_gallery import CASES, SECONDS, default_of
from scripts.operators_table import CASES as OPERATORS

pytestmark = pytest.mark.slow

OTHERS = {
    "image": ("psnr_heldout", 22.0),
    "audio": ("psnr_heldout", 43.0),
    "sphere": ("psnr_heldout", 47.0),
    "ct_phantom": ("psnr", 36.0),
    "ct_limited": ("matthews", 0.98),
    "nerf_scene": ("psnr_heldout", 28.0),
}


@pytest.fixture(scope="module")
def solved():
    """Solutions by problem and parameters, for the cases that score the same run."""
    return {}


@pytest.mark.parametrize("name", CASES)
def test_a_pde_reaches_its_target(name, solved):
    case = CASES[name]
    key = (case.what, *case.parameters.items())
    if key not in solved:
        try:
            limit = SECONDS if default_of(case.what) == "own" else None
            solved[key] = nf.solve(find(case.what)(**case.parameters), report=None, time_limit=limit)
        except InputError as error:
            if "not found" not in str(error):
                raise
            pytest.skip(str(error))
    solution = solved[key]
    error = case.score(solution.metrics)
    print(f"\n{name}: {error:.2e} (target {case.target:g}) in {solution.seconds:.0f} s, {solution.stopped}")
    assert error <= case.target


@pytest.mark.parametrize("name", OTHERS)
def test_a_measurement_reaches_its_score(name):
    key, target = OTHERS[name]
    start = time.perf_counter()
    solution = nf.solve(find(name)(), report=None)
    print(f"\n{name}: {key} = {solution.metrics[key]:.4g}, {time.perf_counter() - start:.0f} s, {solution.stopped}")
    assert solution.metrics[key] >= target


@pytest.mark.parametrize(("data", "target"), [("", 3.0), ("ct_tigre_head_128.npz", 6.0)], ids=["phantom", "head"])
def test_the_cone_beam_is_better_than_feldkamps(data, target):
    try:
        solution = nf.solve(find("ct_cone")(data=data, classical=("fdk",)), report=None)
    except InputError as error:
        if "not found" not in str(error):
            raise
        pytest.skip(str(error))
    better = solution.metrics["psnr"] - solution.metrics["psnr_fdk"]
    print(f"\nct_cone {data}: {better:.2f} dB above FDK in {solution.seconds:.0f} s, {solution.stopped}")
    assert better >= target


@pytest.mark.parametrize("name", [name for name, case in OPERATORS.items() if case.goal])
def test_an_operator_reaches_its_goal(name):
    case = OPERATORS[name]
    request = read_request(find(case.what), list(case.words), case.what)
    solution = nf.solve(request.problem, **request.options, report=None)
    error = solution.metrics["relative_l2"]
    print(f"\n{name}: {error:.2e} (goal {case.goal:g}) in {solution.seconds:.0f} s, {solution.stopped}")
    assert error <= case.goal
