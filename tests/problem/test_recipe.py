import math
from functools import partial

import pytest
import torch
from torch import nn

import nfsolve as nf
from nfsolve import Recipe, RunOptions, Stage, optim
from nfsolve._core.errors import InputError
from nfsolve.run.loop import _set_rate
from nfsolve.run.plan import Plan, make_plan, make_stages
from problems.pde.poisson import Poisson

SMALL = partial(nf.MLP, width=4, depth=1)


def rates(schedule: str, warmup: float, steps: int = 20) -> list[float]:
    stage = Stage(optim.Adam, steps, schedule=schedule, warmup=warmup)
    return [stage.rate(step) for step in range(steps)]


def test_schedules_without_warm_up_start_at_the_full_rate():
    assert rates("constant", 0.0) == [1.0] * 20
    assert rates("cosine", 0.0) == [0.5 * (1 + math.cos(math.pi * (k / 20))) for k in range(20)]
    assert rates("exponential", 0.0) == [0.01 ** (k / 20) for k in range(20)]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_warm_up_rises_linearly_and_the_schedule_takes_the_rest(schedule):
    found = rates(schedule, 0.2)
    assert found[:4] == [0.2, 0.4, 0.6, 0.8]
    assert found[4] == 1.0
    rest = rates(schedule, 0.0, 16)
    assert found[4:] == rest
    middle = {"constant": 1.0, "cosine": 0.5, "exponential": 0.1}[schedule]
    assert found[12] == pytest.approx(middle)
    assert max(found) == 1.0


def test_the_longest_warm_up_leaves_a_step_at_the_full_rate():
    assert rates("cosine", 0.99, 4) == [0.25, 0.5, 0.75, 1.0]
    assert rates("cosine", 0.5, 1) == [1.0]


@pytest.mark.parametrize("name", sorted(optim.named()))
def test_a_schedule_reaches_every_optimizer_with_a_learning_rate(name):
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 1)).double()
    made = optim.named()[name](list(net.parameters()))
    before = [group.get("lr") for group in made.param_groups]
    stage = Stage(optim.named()[name], 10, warmup=0.5)
    _set_rate(made, stage, 2)
    assert [group.get("lr") for group in made.param_groups] == [lr if lr is None else lr * 0.5 for lr in before]
    _set_rate(made, stage, 7)
    assert [group.get("lr") for group in made.param_groups] == before


@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_a_warm_up_that_is_no_fraction_is_worded(warmup):
    with pytest.raises(InputError, match=r"must be a fraction of its steps in \[0, 1\), got warmup="):
        Stage(optim.Adam, 10, warmup=warmup)


def test_a_number_of_steps_is_told_what_to_divide_by():
    with pytest.raises(InputError, match="warmup=50. Divide the number of steps by 400"):
        Stage(optim.Adam, 400, warmup=50)


def test_warm_up_goes_through_overrides_and_config():
    recipe = Poisson().recipe()
    stages = make_plan(Poisson(), optimizer=optim.Adam, run=RunOptions(steps=30, schedule="cosine", warmup=0.1)).stages
    assert [(s.warmup, s.schedule, s.steps) for s in stages] == [(0.1, "cosine", 30)]
    config = Plan.of(recipe, stages=stages).config(Poisson())
    assert config["stages"][0]["warmup"] == 0.1
    assert Plan.from_config(config)[1].stages[0].warmup == 0.1
    del config["stages"][0]["warmup"], config["stages"][0]["points"]  # as written by earlier versions
    assert Plan.from_config(config)[1].stages[0].warmup == 0.0


@pytest.mark.parametrize("stop_at", [3, 9])
def test_a_run_with_warm_up_resumes_bit_identically(tmp_path, monkeypatch, stop_at):
    def run(folder):
        adam = partial(optim.Adam, lr=0.01)
        options = {"steps": 14, "schedule": "cosine", "warmup": 0.5, "log_every": 2, "out": tmp_path / folder}
        return nf.solve(Poisson(n_points=20), SMALL, adam, report=None, **options)

    whole = run("whole")
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)
    save = nf.RunFolder.save_checkpoint

    def save_then_die(self, saved):
        save(self, saved)
        if saved["steps"] == stop_at:
            raise KeyError

    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", save_then_die)
    with pytest.raises(KeyError):
        run("parts")
    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", save)
    resumed = nf.resume(tmp_path / "parts", report=None)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    weights = whole.field.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in resumed.field.state_dict().items())


def test_warm_up_changes_the_run():
    ends = {
        warmup: nf.solve(Poisson(n_points=20), SMALL, optim.Adam, steps=6, warmup=warmup, report=None).history[-1][
            "loss"
        ]
        for warmup in (None, 0.0, 0.9)
    }
    assert ends[None] == ends[0.0] != ends[0.9]


@pytest.mark.parametrize(
    ("given", "steps", "shares"),
    [
        ((2000, 2), 100, (99, 1)),
        ((2000, 2), 2, (1, 1)),
        ((2000, 2), 1, (1, 0)),
        ((2, 2000, 0), 100, (1, 99, 0)),
        ((60, 30, 90), 60, (20, 10, 30)),
        ((60, 30), 90, (60, 30)),
        ((60, 30), 180, (120, 60)),
        ((7,), 3, (3,)),
        ((7,), 30, (30,)),
        ((0, 0), 0, (0, 0)),
    ],
)
def test_steps_are_shared_among_stages(given, steps, shares):
    recipe = nf.Recipe(nf.MLP, tuple(Stage(optim.Adam, n) for n in given))
    assert tuple(stage.steps for stage in make_stages(recipe.stages, RunOptions(steps=steps))) == shares


def test_options_said_by_the_user_go_before_the_recipe_and_this_before_the_defaults():
    recipe = nf.Recipe(SMALL, (Stage(optim.Adam, 9),), run=RunOptions(dtype="float64", log_every=3))
    run = Plan.of(recipe, RunOptions(log_every=1, steps=4)).run
    assert (run.log_every, run.dtype, run.seed, run.windows, run.steps) == (1, "float64", 0, 1, None)


@pytest.mark.parametrize("name", ["steps", "resample", "windows", "log_every", "time_limit", "tolerance"])
@pytest.mark.parametrize("value", [-1, float("nan"), -math.inf, "5", True])
def test_an_option_that_no_run_can_have_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must be .*, got {value!r}"):
        RunOptions(**{name: value})


def test_numbers_may_be_written_as_people_write_them():
    options = RunOptions(steps=1e4, seed=-1, dtype=torch.float64, time_limit=math.inf)
    assert (options.steps, options.dtype) == (10000, "float64")
    assert type(options.steps) is int


def test_an_option_is_given_once():
    options = RunOptions(seed=1, log_every=2)
    with pytest.raises(InputError, match=r"seed is given twice: seed=2 and run=RunOptions\(seed=1\)"):
        nf.solve(Poisson(), SMALL, seed=2, run=options)
    with pytest.raises(InputError, match="unknown argument of solve 'log_evry'.*did you mean 'log_every'"):
        nf.solve(Poisson(), SMALL, log_evry=2)
    with pytest.raises(InputError, match="steps is an option of a stage, but it was given in run="):
        nf.Recipe(SMALL, (Stage(optim.Adam, 9),), run=RunOptions(steps=3))


def test_a_set_of_options_serves_several_runs():
    options = RunOptions(steps=2, seed=3, log_every=1, dtype="float32", resample=0)
    one, other = (nf.solve(Poisson(n_points=8), SMALL, optim.Adam, run=options, report=None) for _ in range(2))
    assert [row["loss"] for row in one.history] == [row["loss"] for row in other.history]
    assert len(one.history) == 3 and next(one.field.parameters()).dtype is torch.float32


@pytest.mark.parametrize("stages", [(), [], (optim.Adam,), [(optim.Adam, 5)], 100])
def test_stages_that_are_none_are_refused(stages):
    with pytest.raises(InputError, match="stages must be one Stage or more, got .*Write stages="):
        nf.solve(Poisson(), stages=stages, report=None)


def test_one_stage_and_a_list_of_them_are_taken():
    stage = Stage(optim.Adam, 2)
    for stages in (stage, [stage]):
        assert Recipe(nf.MLP, stages).stages == (stage,)
