"""A network that grows where its loss falls no more."""

import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve.optim import GaussNewton
from nfsolve.problem import Recipe, RunOptions, Stage
from nfsolve.run.folder import RunFolder
from nfsolve.run.growing import GrowingNetwork
from nfsolve.run.relative import RelativeResidual


@dataclass
class Wavy(nf.PDE):
    """u'' = -400 sin(20 x), which two units do not follow."""

    domain = nf.Box(x=(0, 1))
    unknowns = "u"

    @nf.interior
    def balance(self, u_xx, x):
        """u_xx + 400 sin(20 x) = 0."""
        return u_xx + 400 * torch.sin(20 * x)

    @nf.face(x=(0, 1))
    def ends(self, u, x):
        """The exact values."""
        return 20 * (u - torch.sin(20 * x))

    def exact(self, x):
        """Return sin(20 x)."""
        return torch.sin(20 * x)


def recipe(wider, more, points=40, width=4):
    """A tiny network that is soon done."""
    return Recipe(
        field=partial(nf.MLP, width=round(wider * width), depth=2),
        stages=(Stage(GaussNewton, steps=60, points=more * points / 1500, patience=20, overfit=20.0),),
        run=RunOptions(dtype="float64", log_every=10),
    )


def grow(tell, folder=None, seconds=60.0, goal=None, **sizes):
    problem = Wavy()
    measure = RelativeResidual(problem, problem.load("cpu", torch.float64), 0)
    options = {"seed": 0, "device": "cpu", "time_limit": seconds, "tolerance": goal}
    return GrowingNetwork(problem, partial(recipe, **sizes), options, folder, None, measure, tell)


def test_a_network_that_is_too_small_grows():
    """The larger network goes on where the smaller one ended, and each growth is told."""
    told: list[str] = []
    growing = grow(told.append, width=2, points=60, goal=1e-4)
    solution = growing.go()
    assert "the network goes on with 3 units and 2 times as many points" in told[0]
    assert solution.field.config["width"] > 2
    assert solution.stopped.startswith("converged") and solution.metrics["relative_l2"] < 1e-3
    rows = solution.history
    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    assert steps == sorted(steps) and steps[-1] == growing.run.steps
    assert losses[-1] < 1e-6 * losses[0]


def test_few_points_become_more():
    """Where held-out residuals are far larger than those at trained points, points are added and no units."""
    told: list[str] = []
    solution = grow(told.append, width=4, points=40, goal=1e-4).go()
    assert "held-out residuals are larger" in told[0] and "units" not in told[0]
    assert solution.metrics["relative_l2"] < 1e-3


def test_what_grew_is_saved_and_goes_on(tmp_path):
    """The folder holds the larger network, which is loaded as it was, and more seconds are added to it."""
    growing = grow(lambda _: None, RunFolder(tmp_path / "run"), width=2, points=60, goal=1e-2)
    first = growing.go()
    assert first.field.config["width"] > 2
    points = torch.rand(10, 1, dtype=torch.float64)
    config = RunFolder(tmp_path / "run").config()
    assert f"{first.field.config['width']}" in str(config["field"])
    assert len(RunFolder(tmp_path / "run").history()) == len(first.history)
    growing.options["tolerance"] = 1e-4
    again = growing.go_on(60.0)
    assert again.seconds > first.seconds and again.metrics["loss"] < first.metrics["loss"]
    torch.testing.assert_close(nf.load(tmp_path / "run", problem=Wavy())(points), again.field(points))


def test_an_interruption_of_a_larger_network_is_one_of_all(monkeypatch):
    """Where the smaller network is taken after all, the solution still says that the run was stopped."""
    growing = grow(lambda _: None, width=2, points=60, goal=1e-9)
    train = growing._train

    def stopped_when_larger():
        left = train()
        if growing.wider > 1:
            growing.run.interrupted, growing.run.stopped = True, "stopped by user"
            return math.inf
        return left

    monkeypatch.setattr(growing, "_train", stopped_when_larger)
    solution = growing.go()
    assert solution.interrupted and solution.stopped == "stopped by user"
    assert solution.field.config["width"] == 2


@pytest.mark.parametrize("reason", ["time limit: 1 s", "converged: loss 1e-9 is within the tolerance 1e-8"])
def test_a_run_that_is_over_does_not_grow(reason):
    """Neither the time limit nor a tolerance is a reason to grow."""
    growing = grow(lambda _: None, goal=1e-2)
    growing.run.train()
    growing.run.stopped = reason
    assert growing._growth() is None
