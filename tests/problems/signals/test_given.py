"""Values of signals: mini-batches, what is held out, and that a run is scored on it."""

import math

import pytest
import torch

import nfsolve
from nfsolve import MLP
from problems.signals._given import Given, fresh, split
from problems.signals.audio import AudioFit
from problems.signals.image import ImageFit
from problems.signals.occupancy import Occupancy
from problems.signals.sphere import SphereFit

N = 12


@pytest.fixture
def rows() -> Given:
    points = torch.arange(N, dtype=torch.float64)[:, None]
    return Given(points, values=2 * points)


@pytest.mark.parametrize("batch", [0, N, N + 5])
def test_a_full_batch_is_everything_as_it_is(rows: Given, batch: int):
    assert rows.sample(batch, torch.Generator()) is rows


def test_a_mini_batch_keeps_values_with_their_points(rows: Given):
    some = rows.sample(7, torch.Generator().manual_seed(0))
    assert len(some) == 7 and some.weights is None
    assert torch.equal(some.values, 2 * some.points)
    assert torch.equal(some.points, rows.sample(7, torch.Generator().manual_seed(0)).points)


def test_what_is_not_given_is_held_out(rows: Given):
    mask = torch.arange(N) % 3 == 0
    parts = split(rows, mask)
    assert torch.equal(parts["given"].points[:, 0], torch.tensor([0.0, 3, 6, 9], dtype=torch.float64))
    assert len(parts["heldout"]) == 8 and fresh(parts, "sound")["sound"] is parts["heldout"]
    whole = split(rows, torch.ones(N, dtype=torch.bool))
    assert list(whole) == ["given"] and fresh(whole, "sound") == {}


SMALL = {
    "colour": ImageFit(size=48, gray=True, batch=64),
    "sound": AudioFit(seconds=0.1, batch=64),
    "field": SphereFit(rows=24, batch=64),
    "occupancy": Occupancy(pool=2000, batch=64),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SMALL)
def test_runs_carry_the_residual_of_what_was_held_out(name: str):
    problem = SMALL[name]
    solution = nfsolve.solve(problem, MLP.for_problem(problem, width=8, depth=1), steps=2, report=None)
    data, found = solution.data, solution.metrics
    rest = problem.fresh(data, torch.Generator(), {})[name]
    with torch.no_grad():
        off = problem.residuals(solution.field, {name: rest})[name]
    assert found[f"heldout/{name}"] == pytest.approx(float(off.square().mean().sqrt()), rel=1e-5)
    assert found[f"heldout_max/{name}"] == pytest.approx(float(off.abs().max()), rel=1e-5)
    if name == "sound":
        assert found["psnr_heldout"] == pytest.approx(-20 * math.log10(found[f"heldout/{name}"]), abs=1e-3)
    assert "heldout" not in found


@pytest.mark.parametrize("name", ["colour", "sound", "field"])
def test_a_fit_of_all_values_says_that_nothing_is_held_out(name: str):
    problem = SMALL[name].with_(stride=1)
    solution = nfsolve.solve(problem, MLP.for_problem(problem, width=8, depth=1), steps=1, report=None)
    assert solution.metrics["heldout"].startswith("none: all values were fitted")
    assert not any(key.startswith(("heldout/", "psnr_heldout")) for key in solution.metrics)
