"""A limit of time bounds everything: training, schedules, classical methods, scores, pictures and exports."""

import json
import signal
import time
from dataclasses import dataclass
from functools import partial

import pytest
import torch

import nfsolve as nf
from nfsolve import MLP, Box, Problem, Recipe, Stage
from nfsolve.plot.solution import save_pictures
from nfsolve.problem.registry import find
from nfsolve.run.clock import Deadline, OutOfTime
from nfsolve.run.report import note, reporter

SECONDS: dict[str, float] = {}


@dataclass
class Beside(Problem):
    """u = x, beside classical methods that take a while."""

    methods: tuple[str, ...] = ("quick", "slow")

    domain = Box(x=(0, 1))
    unknowns = "u"

    def load(self, device, dtype):
        return {"x": torch.linspace(0, 1, 9, dtype=dtype, device=device)[:, None], "classical": {}}

    def residuals(self, field, batch):
        return {"fit": field(batch["x"]) - batch["x"]}

    def baselines(self, data, check):
        def slow():
            for _ in range(200):
                check()
                time.sleep(0.01)
            return "done"

        return {name: {"quick": lambda: "done", "slow": slow}[name] for name in self.methods}

    def quick_metrics(self, field, data):
        return {"error": float((field(data["x"]) - data["x"]).abs().max())}

    def metrics(self, field, data):
        for _ in range(int(100 * SECONDS.get("scores", 0))):
            field(data["x"])
            time.sleep(0.01)
        done = {f"found_{name}": value for name, value in data["classical"].items() if value}
        return self.quick_metrics(field, data) | done | {"full": 1}

    def export(self, field, data, folder):
        for _ in range(int(100 * SECONDS.get("export", 0))):
            field(data["x"])
            time.sleep(0.01)
        (folder / "exported.txt").write_text("all of it")

    def recipe(self):
        return Recipe(partial(MLP, width=4, depth=1), (Stage(partial(torch.optim.Adam, lr=1e-2), 20),))


@pytest.fixture
def seconds(monkeypatch):
    """Seconds that scores and exports take, with a short grace after the limit."""
    monkeypatch.setattr("nfsolve.run.clock.LEAST_GRACE", 0.2)
    SECONDS.clear()
    yield SECONDS
    SECONDS.clear()


def test_a_training_is_saved_before_the_classical_methods_begin(tmp_path, monkeypatch, capsys):
    found = {}

    def baselines(self, data, check):
        return {"look": lambda: found.update({p.name: p.stat().st_size for p in tmp_path.iterdir()}) or "done"}

    monkeypatch.setattr(Beside, "baselines", baselines)
    solution = nf.solve(Beside(), out=tmp_path, report="lines")
    assert {"config.json", "history.csv", "checkpoint.pt", "field.pt"} <= set(found)
    assert solution.metrics["found_look"] == "done"
    assert "computing look for comparison" in capsys.readouterr().err


def test_classical_methods_are_left_out_where_time_is_up_and_eval_makes_them(tmp_path, capsys, seconds):
    solution = nf.solve(Beside(), steps=10, out=tmp_path, report="lines", time_limit=0.6)
    assert solution.stopped == "step limit: 10 steps done"
    assert {"found_quick", "full"} <= set(solution.metrics) and "found_slow" not in solution.metrics
    assert "left out slow: the time limit of 0.6 s has passed; `nfsolve eval" in capsys.readouterr().err
    again = nf.reopen(tmp_path)
    assert {"found_quick", "found_slow"} <= set(again.metrics)
    assert type(nf.load(tmp_path)) is type(solution.field)  # and computes none


def test_none_begin_after_the_limit_or_an_interrupt(tmp_path, capsys):
    limited = nf.solve(Beside(), steps=10**6, out=tmp_path / "a", report="lines", time_limit=0.2)
    assert limited.stopped == "time limit: 0.2 s"
    assert not {"found_quick", "found_slow"} & set(limited.metrics)
    assert "left out quick, slow: the time limit of 0.2 s has passed" in capsys.readouterr().err

    def interrupt(row):
        if row.get("step") == 0:
            signal.raise_signal(signal.SIGINT)

    stop = nf.solve(Beside(), steps=10**6, out=tmp_path / "b", report=interrupt)
    assert stop.interrupted and "found_quick" not in stop.metrics


def test_full_scores_and_exports_that_take_too_long_are_left_out(tmp_path, seconds):
    seconds |= {"scores": 30, "export": 30}
    said = []
    deadline, began = Deadline(0.2), time.perf_counter()
    solution = nf.solve(Beside(methods=()), steps=10**6, out=tmp_path, time_limit=0.2, report=None)
    assert "error" in solution.metrics and "full" not in solution.metrics
    assert json.loads((tmp_path / "metrics.json").read_text())["error"] == solution.metrics["error"]
    assert "nfsolve eval" in solution.metrics["quick_scores"]
    assert solution.metrics["quick_scores"] in solution.warnings
    assert "quick_scores" in json.loads((tmp_path / "metrics.json").read_text())
    save_pictures(solution, deadline, said.append)
    assert time.perf_counter() - began < 15
    assert any("left out the exports: the time limit has passed; `nfsolve eval" in text for text in said)
    seconds.clear()
    assert tmp_path / "exported.txt" in save_pictures(solution)


PROBLEMS = {
    "image": {"size": 64},
    "audio": {"seconds": 0.1},
    "sphere": {},
    "ct_phantom": {"size": 32, "classical": ()},
    "nerf_scene": {"size": 12, "views": 3},
    "deconvolution": {},
    "deeponet_antiderivative": {},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_scores_of_a_part_are_never_called_those_of_all(name, tmp_path, monkeypatch):
    monkeypatch.setattr("nfsolve.run.clock.LEAST_GRACE", 0.0)
    problem = find(name)(**PROBLEMS[name])
    solution = nf.solve(problem, steps=1, time_limit=1e-3, report=None, out=tmp_path)
    assert solution.stopped.startswith(("time limit", "step limit"))
    whole = nf.reopen(tmp_path)
    assert "quick_scores" in solution.metrics and "quick_scores" not in whole.metrics
    assert solution.metrics["quick_scores"] in str(solution)
    assert {*solution.metrics} - {"quick_scores"} <= {*whole.metrics}


def test_a_problem_without_quick_scores_is_scored_whole(monkeypatch):
    monkeypatch.setattr("nfsolve.run.clock.LEAST_GRACE", 0.0)
    solution = nf.solve(find("poisson")(), steps=1, time_limit=1e-3, report=None, recipe="own")
    assert "quick_scores" not in solution.metrics and "relative_l2/u" in solution.metrics


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_schedules_end_with_the_time_limit(schedule):
    rates = []

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    Watched([torch.nn.Parameter(torch.zeros(1))]).step()  # imports the compiler, which takes longer than the limit
    rates.clear()
    began = time.perf_counter()
    nf.solve(Beside(methods=()), optimizer=partial(Watched, lr=1.0), steps=10**6, schedule=schedule, time_limit=0.4)
    assert time.perf_counter() - began < 15
    assert rates[0] > 0.8 and rates[-1] < {"cosine": 0.01, "exponential": 0.02}[schedule]
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))


def test_a_stage_that_comes_last_has_the_time_that_is_kept_for_it():
    done = []

    class Last(torch.optim.SGD):
        def step(self, closure=None):
            done.append(time.perf_counter())
            return super().step(closure)

    adam, last = partial(torch.optim.Adam, lr=0.1), partial(Last, lr=1e-3)
    stages = (Stage(adam, 10**6, schedule="cosine"), Stage(last, 1, share=0.3))
    solution = nf.solve(Beside(methods=()), stages=stages, time_limit=0.5, report=None)
    assert len(done) == 1 and solution.steps > 1 and not solution.failed
    stages = (Stage(adam, 10**6), Stage(last, 1))
    nf.solve(Beside(methods=()), stages=stages, time_limit=0.2, report=None)
    assert len(done) == 1  # nothing was kept for it
    with pytest.raises(nf.InputError, match=r"share of a stage in the time limit must lie in \[0, 1\)"):
        Stage(adam, 1, share=1.0)
    with pytest.raises(nf.InputError, match="must sum to less than 1"):
        nf.solve(Beside(), stages=(Stage(adam, 1, share=0.6), Stage(last, 1, share=0.6)))


def test_a_stage_without_progress_ends_and_a_resumed_one_remembers_its_lowest_loss(tmp_path):
    still = partial(torch.optim.SGD, lr=1e-12)
    stages = (Stage(still, 400, patience=20), Stage(torch.optim.Adam, 3))
    solution = nf.solve(Beside(methods=()), stages=stages, report=None)
    assert 20 <= solution.steps - 3 < 100  # the next stage goes on
    stages = (Stage(still, 400, patience=60),)

    def stop_at_30(row):
        if row.get("step") == 30:
            raise nf.StopRun("enough")

    nf.solve(Beside(methods=()), stages=stages, out=tmp_path / "run", report=stop_at_30, log_every=1)
    resumed = nf.resume(tmp_path / "run", problem=Beside(methods=()), report=None)
    assert resumed.steps == 61 and "has not fallen by a tenth" in resumed.stopped
    with pytest.raises(nf.InputError, match="patience=-1"):
        Stage(still, 1, patience=-1)


def test_a_stage_that_fits_its_points_alone_ends():
    """With a bound on held-out residuals the stage ends at the row that shows them, and says by how much they are."""

    @dataclass
    class Steep(nf.PDE):
        domain = Box(x=(0, 1))
        unknowns = "u"

        @nf.interior
        def slope(self, u_x, x):
            return u_x - 40 / torch.cosh(40 * (x - 0.5)) ** 2

        @nf.face(x=0)
        def left(self, u):
            return u

    few = {"optimizer": nf.optim.GaussNewton, "steps": 100, "resample": 0, "points": 5 / 1500}
    options = {"field": partial(MLP, width=16, depth=2), "dtype": "float64", "log_every": 10, "report": None}
    solution = nf.solve(Steep(), stages=(Stage(**few, overfit=10.0),), **options)
    assert solution.steps < 100 and "times those at the trained points" in solution.stopped
    with pytest.raises(nf.InputError, match="overfit=0.5 times those at trained points only if that is more than 1"):
        Stage(**few, overfit=0.5)


def test_the_rate_follows_the_larger_of_steps_and_time():
    stage = Stage(torch.optim.Adam, 100, schedule="cosine", warmup=0.1)
    assert stage.rate(55, 0.2) == stage.rate(55) and stage.rate(20, 0.55) == pytest.approx(stage.rate(55))
    assert stage.rate(0, 0.05) == pytest.approx(stage.rate(5))
    assert stage.rate(1, 2.0) == pytest.approx(0.0)


def test_a_deadline_without_a_limit_never_comes():
    Deadline().check()
    with Deadline().within_grace(torch.nn.Linear(1, 1)) as nothing:
        assert nothing is None
    with pytest.raises(OutOfTime):
        Deadline(1.0, elapsed=2.0).check()


def test_progress_lines_hold_notes(capsys):
    note(reporter("lines", 3, None), "computing sirt")
    note(reporter(lambda row: pytest.fail("the user's callable gets rows"), 3, None), "computing sirt")
    assert capsys.readouterr().err == "computing sirt\n"
