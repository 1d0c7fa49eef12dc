from dataclasses import dataclass
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Problem, RandomFeatures, Recipe, Stage, interior, optim
from nfsolve._core.errors import InputError
from nfsolve.problem import RunOptions
from nfsolve.run.folder import RunFolder
from nfsolve.run.loop import Run
from nfsolve.run.plan import Plan
from problems.pde.poisson import Poisson

SMALL = partial(nf.MLP, width=8, depth=2)


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.GaussNewton,
        partial(optim.ESGD, lr=1e-2),
        partial(torch.optim.Adam, lr=1e-2),
        partial(torch.optim.LBFGS, max_iter=4, line_search_fn="strong_wolfe"),
        partial(torch.optim.SGD, lr=1e-4),
    ],
)
def test_any_optimizer_runs_in_the_same_loop(optimizer):
    problem = Poisson(n_points=100)
    solution = nf.solve(problem, SMALL, optimizer, steps=30, resample=0, dtype="float64")
    assert solution.history[-1]["loss"] < solution.history[0]["loss"]
    assert solution.steps == 30
    assert solution.evaluations >= 30


def test_poisson_is_solved_to_six_digits():
    solution = nf.solve(Poisson(), steps=80, seed=0)
    assert solution.metrics["relative_l2"] < 1e-5
    assert "relative_l2" in str(solution)
    assert "stopped" in str(solution)


def test_the_reasons_are_worded():
    problem = Poisson(n_points=50)
    assert "step limit: 3 steps" in nf.solve(problem, SMALL, optim.GaussNewton, steps=3).stopped
    limited = nf.solve(problem, SMALL, optim.GaussNewton, steps=10**6, time_limit=0.3)
    assert limited.stopped == "time limit: 0.3 s"
    converged = nf.solve(problem, SMALL, optim.GaussNewton, steps=1000, tolerance=1.0, dtype="float64")
    assert converged.stopped.startswith("converged: loss")
    assert not converged.failed


def test_a_stalled_optimizer_is_not_silent_about_float32():
    solution = nf.solve(
        Poisson(n_points=100), SMALL, partial(torch.optim.SGD, lr=0.0), steps=100, resample=0, dtype="float32"
    )
    assert solution.stopped.startswith("no progress: the loss stayed at exactly")
    assert "try dtype float64" in solution.stopped
    assert solution.steps < 10


def test_a_residual_that_is_not_finite_is_named():
    @dataclass
    class Bad(PDE):
        domain = Box(x=(0, 1))

        @interior(points=10)
        def fine(self, u):
            return u

        @interior(points=10)
        def wrong(self, u, x):
            return u / (x - x)

    solution = nf.solve(Bad(), SMALL, partial(torch.optim.Adam, lr=1e-3), steps=5)
    assert solution.failed
    assert solution.stopped.startswith("non-finite residual 'wrong' at step 1: inf at x = ")


def test_nan_in_data_is_refused_at_the_door():
    @dataclass
    class Data(Problem):
        domain = Box(x=(0, 1))

        def load(self, device, dtype):
            return {"target": torch.tensor([[1.0], [float("nan")]], dtype=dtype)}

        def residuals(self, field, batch):
            return {"fit": field(torch.zeros(2, 1)) - batch["target"]}

        def recipe(self):
            return Recipe(SMALL, (Stage(optim.Adam, 10),))

    with pytest.raises(InputError, match="1 of 2 values of data 'target' are NaN or infinite"):
        nf.solve(Data())


def test_stages_follow_each_other_and_share_steps():
    stages = (Stage(partial(optim.Adam, lr=1e-3), 30), Stage(optim.GaussNewton, 10))
    solution = nf.solve(Poisson(n_points=50), SMALL, stages=stages, dtype="float64", log_every=10)
    assert [row["step"] for row in solution.history] == [0, 10, 20, 30, 40]
    assert solution.history[-1]["loss"] < 0.1 * solution.history[3]["loss"]


def test_stages_without_steps_are_said(monkeypatch):
    both = Recipe(SMALL, (Stage(partial(optim.Adam, lr=1e-3), 30), Stage(partial(optim.Adam, lr=1e-4), 2)))
    monkeypatch.setattr(Poisson, "recipe", lambda self: both)
    warning = "steps=1 leaves no step for stage 2 of 2; choose more steps"
    for steps, said in ((0, []), (1, [warning]), (3, [])):
        rows: list[dict] = []
        assert nf.solve(Poisson(n_points=20), steps=steps, report=rows.append).steps == steps
        assert [row["warning"] for row in rows if "warning" in row] == said


def test_bad_options_are_worded():
    with pytest.raises(InputError, match="unknown dtype 'float16'"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, dtype="float16")
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, device="gpu")
    with pytest.raises(InputError, match="time_limit must be a positive number of seconds, got -1"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, time_limit=-1)
    with pytest.raises(InputError, match="unknown schedule 'cosin': did you mean 'cosine'"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, schedule="cosin")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_worded():
    with pytest.raises(InputError, match="device 'cuda' needs a GPU.*Use --device cpu"):
        nf.solve(Poisson(), SMALL, optim.GaussNewton, device="cuda")


def test_rows_reach_the_reporter():
    rows = []
    nf.solve(Poisson(n_points=20), SMALL, optim.GaussNewton, steps=6, log_every=2, report=rows.append)
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    assert {"loss", "rms/balance", "rms/sides", "relative_l2", "evaluations"} <= rows[-1].keys()


def test_names_choose_as_on_the_command_line():
    options = {"steps": 2, "report": None, "dtype": "float64"}
    named = nf.solve(Poisson(), "siren", "adam", lr=1e-4, weighting="gradient_norm", **options)
    given = nf.solve(
        Poisson(),
        nf.preset("siren"),
        partial(torch.optim.Adam, lr=1e-4),
        weighting=nf.weighting.GradientNorm(),
        **options,
    )
    assert named.history[-1]["loss"] == given.history[-1]["loss"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm': did you mean 'adam'"),
        ({"field": "sirenn"}, "unknown field 'sirenn'"),
        ({"weighting": "ntkk"}, "unknown weighting 'ntkk'"),
        ({"lr": 0.1}, "lr is an option of an optimizer, got lr=0.1 without one"),
        ({"optimizer": "gauss_newton", "lr": 0.1}, "'gauss_newton' has no learning rate, got lr=0.1"),
        ({"stages": (nf.Stage(torch.optim.Adam, 2),), "steps": 5}, "got steps= as well"),
        (
            {"stages": (nf.Stage(torch.optim.Adam, 2),), "optimizer": "adam", "schedule": "cosine"},
            "optimizer= and sched",
        ),
    ],
)
def test_contradictions_and_unknown_names_are_refused(options, message):
    with pytest.raises(nf.InputError, match=message):
        nf.solve(Poisson(), **options, report=None)


def test_a_factorization_reaches_a_field_that_is_built_and_is_refused_for_one_that_exists():
    factored = nf.solve(
        Poisson(), partial(nf.MLP, width=8, depth=1), factorization="rwf", optimizer="adam", steps=1, report=None
    )
    assert factored.field.config["factorization"] == nf.RandomWeightFactorization()
    built = nf.MLP.for_problem(Poisson(), width=8, depth=1)
    with pytest.raises(nf.InputError, match="applies to a field that solve builds"):
        nf.solve(Poisson(), built, factorization="rwf", steps=1, report=None)


def test_a_run_that_told_nothing_is_saved_as_if_it_had_been_made_in_its_folder(tmp_path):
    problem = Poisson()
    plan = Plan.of(
        Recipe(RandomFeatures, (Stage(optim.LinearLeastSquares, 3, resample=0),)),
        RunOptions(device="cpu", dtype="float64"),
    )
    run = Run(problem, plan)
    run.train(silent=True)
    assert not run.history
    solution = run.finished(RunFolder(tmp_path / "run"), None)
    assert [row["step"] for row in solution.history] == [run.steps]
    again = nf.reopen(tmp_path / "run")
    assert again.metrics["loss"] == solution.metrics["loss"]
    assert again.stopped == solution.stopped
    assert nf.resume(tmp_path / "run", report=None).metrics["relative_l2"] == solution.metrics["relative_l2"]
