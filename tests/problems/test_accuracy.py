"""Accuracy at full budget: each default run reaches what the README says (make accuracy)."""

import time

import pytest

import nfsolve as nf
from nfsolve.find import find

pytestmark = pytest.mark.slow

TARGETS = {
    "burgers": ("relative_l2", 1e-4, "below"),
    "poisson": ("relative_l2", 1e-6, "below"),
    "image": ("psnr_heldout", 22.0, "above"),
    "ct_phantom": ("psnr", 33.0, "above"),
    "nerf_scene": ("psnr_heldout", 28.0, "above"),
    "deeponet_antiderivative": ("relative_l2", 1e-2, "below"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_default_run_reaches_its_accuracy(name):
    key, target, side = TARGETS[name]
    start = time.perf_counter()
    solution = nf.solve(find(name)())
    print(f"\n{name}: {key} = {solution.metrics[key]:.4g}, {time.perf_counter() - start:.0f} s, {solution.stopped}")
    reached = solution.metrics[key] <= target if side == "below" else solution.metrics[key] >= target
    assert reached, f"{key} = {solution.metrics[key]:.4g}, expected {side} {target:g}"
