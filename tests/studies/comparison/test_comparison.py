"""The protocol of a comparison, with runs that cost nothing."""

import json
import math
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from nfsolve.cli.compare import compare_command, take_axes
from nfsolve.metrics import larger_is_better
from nfsolve.studies.comparison import Cell, Comparison, Settings, compare, grid, run_cells
from nfsolve.studies.comparison import study as study_module
from nfsolve.studies.comparison.jobs import Job, Outcome, Workers, read
from nfsolve.studies.comparison.results import Result
from problems.pde.poisson import Poisson

TINY = ("--field.width", "4", "--field.depth", "1")


def outcome(score, seconds=1.0, evaluations=10, steps=10):
    history = [{"step": s, "cpu_seconds": seconds * s / steps, "relative_l2": score * steps / s} for s in range(1, 11)]
    counts = {"cpu_seconds": seconds, "seconds": seconds, "evaluations": evaluations, "steps": steps, "parameters": 7}
    return Outcome({"relative_l2": score, **counts}, history)


class Fake:
    """Workers whose runs end at once: the score of a learning rate, the cost of a method."""

    done: list[Job]

    def __init__(self, score, cost):
        self.score, self.cost, self.done = score, cost, []

    def __call__(self, out, processes, threads):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def perform(self, jobs):
        for job in dict.fromkeys(jobs):
            self.done.append(job)
            rate = float(job.words[job.words.index("--optimizer.lr") + 1]) if "--optimizer.lr" in job.words else 0.0
            evaluations, seconds = self.cost(job.cell.name)
            yield job, outcome(self.score(job, rate), seconds * job.steps, evaluations * job.steps, job.steps)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    def make(score, cost=lambda name: (1, 0.1)):
        workers = Fake(score, cost)
        monkeypatch.setattr(study_module, "Workers", workers)
        return workers

    return make


def test_grid_combines_axes_and_options():
    cells = grid({"init": ["siren", "ws:alpha=2,kappa=0.3"], "optimizer": ["adam", "esgd"]})
    assert [cell.name for cell in cells][:2] == ["siren, adam", "siren, esgd"]
    assert cells[2].words == (
        *("--field.init", "ws", "--field.init.alpha", "2", "--field.init.kappa", "0.3"),
        *("--optimizer", "adam"),
    )


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"init": "siren"}, r"axis 'init' with the one word 'siren': a list"),
        ({"init": []}, "axis 'init' with values none"),
        ({"init": ["ws", "ws"]}, "different ones"),
        ({"init": ["ws:alpha"]}, "key=value"),
        ({"schedule": ["cosine:x=1"]}, "options after a colon only for"),
    ],
)
def test_grid_refuses(axes, words):
    with pytest.raises(ValueError, match=words):
        grid(axes)


def test_numbers_are_values_too():
    assert grid({"field.width": [4, 8]}) == grid({"field.width": ["4", "8"]})


def test_a_problem_is_compared_by_its_name():
    with pytest.raises(ValueError, match="the problem Poisson.*its name.*as options"):
        compare(Poisson(), {"field.width": [4, 8]})  # type: ignore[arg-type]


def test_one_seed_has_no_standard_error():
    cell = Cell((("optimizer", "adam"),))
    settings = {"tune": (), "clock": "cpu_seconds"}
    results = [Result("steps", cell, (), math.nan, 10, 0, outcome(0.25))]
    table = Comparison("poisson", "relative_l2", [cell], results, settings).table()
    assert "| 0.25 |" in table
    assert "+- -" not in table


def test_axes_are_taken_from_the_command_line():
    axes, rest = take_axes(["image", "--axis", "init", "siren", "ws", "--seeds", "2", "--axis", "lr", "1", "2"])
    assert axes == {"init": ["siren", "ws"], "lr": ["1", "2"]}
    assert rest == ["image", "--seeds", "2"]
    with pytest.raises(ValueError, match="--axis without a name: different names"):
        take_axes(["--axis"])


@pytest.mark.parametrize(
    ("axes", "options", "words"),
    [
        ({"optimizer": ["adam", "sagd"]}, (), "did you mean 'sgd'"),
        ({"init": ["ws:alpha=-1"]}, ("--optimizer", "adam"), "alpha"),
        ({"optimizer": ["adam"]}, ("--no-such", "1"), "cell 'adam' with options"),
    ],
)
def test_mistakes_show_before_the_first_run(axes, options, words, tmp_path, fake, capsys):
    workers = fake(lambda job, rate: 1.0)
    with pytest.raises(ValueError, match=words):
        compare("poisson", axes, Settings(tune=("lr",), out=tmp_path), options, None)
    assert not workers.done


def test_a_score_that_no_run_has_is_refused_after_the_first(tmp_path, fake):
    workers = fake(lambda job, rate: 1.0)
    settings = Settings(seeds=2, score="relative_l3", out=tmp_path)
    with pytest.raises(ValueError, match="unknown score 'relative_l3': did you mean 'relative_l2'"):
        compare("poisson", {"field.width": ["4", "8"]}, settings, report=None)
    assert len(workers.done) == 1


def test_a_problem_without_an_axis_is_told_to_bring_one():
    with pytest.raises(ValueError, match="compare image: run folders, or a problem with an axis, as in --axis"):
        compare_command(["image"])


def test_a_process_that_dies_is_worded(tmp_path):
    workers = Workers(tmp_path, 1, 1)
    workers._pool = DyingPool()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="a process ended before its run was done.*fewer processes"):
        list(workers.perform([Job("poisson", Cell((("a", "b"),)), (), 0, 1)]))


class DyingPool:
    def submit(self, *_):
        future = Future()
        future.set_exception(BrokenProcessPool())
        return future


def test_every_method_is_tuned_on_its_own_and_beyond_the_edge(tmp_path, fake):
    best = {"adam": 1e-3, "sgd": 3.0}
    workers = fake(lambda job, rate: 1 + abs(math.log(rate / best[job.cell.name])) if rate else 1.0)
    settings = Settings(seeds=2, steps=10, tune=("lr",), rates=(1e-3, 1e-2), out=tmp_path, budgets=("steps",))
    found = compare("poisson", {"optimizer": ["adam", "sgd"]}, settings, (), None)
    tried = {name: {float(j.words[-1]) for j in workers.done if j.cell.name == name} for name in best}
    assert tried["adam"] == {1e-4, 1e-3, 1e-2}  # the best one lay at the lower edge once
    assert tried["sgd"] == {1e-3, 1e-2, 0.1, 1.0, 10.0}  # the grid grew three times
    assert {job.seed for job in workers.done if job.seed != 100} == {0, 1}
    rows = {row["method"]: row for row in found.rows()}
    assert rows["adam"]["tuned"] == "--optimizer.lr 0.001"
    assert rows["sgd"]["tuned"] == "--optimizer.lr 1"


def test_a_method_without_a_learning_rate_stays_untuned(tmp_path, fake):
    workers = fake(lambda job, rate: 1.0 + rate)
    settings = Settings(seeds=1, steps=10, tune=("lr",), out=tmp_path, budgets=("steps",))
    found = compare("poisson", {"optimizer": ["gauss_newton", "adam"]}, settings, (), None)
    assert found.rows()[0]["tuned"] == ""
    assert "--optimizer.lr" in found.rows()[1]["tuned"]
    assert sum(job.cell.name == "gauss_newton" for job in workers.done) == 2


def test_budgets_are_shared_in_evaluations_and_in_seconds(tmp_path, fake):
    costs = {"adam": (1, 0.1), "esgd": (3, 0.1), "sgd": (1, 0.05)}
    workers = fake(lambda job, rate: 1.0, lambda name: costs[name])
    settings = Settings(seeds=1, steps=60, tune_seed=5, out=tmp_path)
    found = compare("poisson", {"optimizer": list(costs)}, settings, (), None)
    steps = {(row["budget"], row["method"]): row["steps"] for row in found.rows()}
    assert steps == {
        ("equal evaluations", "adam"): 60,
        ("equal evaluations", "esgd"): 20,
        ("equal evaluations", "sgd"): 60,
        ("equal seconds", "adam"): 60,
        ("equal seconds", "esgd"): 60,
        ("equal seconds", "sgd"): 120,
    }
    assert all(job.seed in (5, 0) for job in workers.done)


def result(cell, seed, score, tuning=0.0, budget="steps"):
    return Result(budget, cell, (), tuning, 10, seed, outcome(score))


def comparison(scores, tuning=None, **more):
    cells = [Cell((("optimizer", name),)) for name in scores]
    results = [
        result(cell, seed, score, (tuning or {}).get(cell.name, 1.0))
        for cell in cells
        for seed, score in enumerate(scores[cell.name])
    ]
    settings = {"seeds": 3, "tune": (), "threads": 1, "options": "", "clock": "cpu_seconds"}
    return Comparison("poisson", "relative_l2", cells, results, settings, **more)


def test_claims_are_paired_by_seed_and_count_standard_errors():
    # both methods scatter by seed, their difference hardly does: unpaired this would be no difference
    found = comparison({"adam": [1.0, 2.0, 3.0], "soap": [0.9, 1.8, 2.85]})
    (claim,) = found.claims()
    gains = [0.1, 0.2, 0.15]
    middle = sum(gains) / 3
    error = math.sqrt(sum((g - middle) ** 2 for g in gains) / 2) / math.sqrt(3)
    assert f"gain +{middle:.3g} +- {error:.2g} (n = 3), +{middle / error:.1f} standard errors: better" in claim
    assert "optimizer soap (soap: 1.85) against the best without it (adam: 2)" in claim


def test_the_rival_is_the_best_one_of_the_table():
    found = comparison({"a": [1.0], "b": [0.5], "c": [0.7]}, tuning={"a": 0.1, "b": 0.2, "c": 0.3})
    claims = found.claims()
    assert "optimizer c (c: 0.7) against the best without it (b: 0.5)" in claims[2]
    assert "one seed, which says nothing of its spread" in claims[2]


def test_a_failed_run_is_said():
    found = comparison({"adam": [1.0, 1.0], "soap": [1.0, 1.0]})
    found.results[-1] = Result("steps", found.cells[1], (), 1.0, 10, 1, Outcome({"stopped": "non-finite loss"}, []))
    assert "a run failed, no gain can be given" in found.claims()[0]
    assert "failed: non-finite loss" in found.table()


def test_time_to_target():
    found = comparison({"adam": [1.0, 1.0], "soap": [0.5, 0.5]})
    assert found.goal("steps") == 1.0
    assert found.reached("steps", found.cells[0], "step") == 10
    assert found.reached("steps", found.cells[1], "step") == 5
    assert found.reached("steps", found.cells[1], "cpu_seconds") == pytest.approx(0.5)
    assert comparison({"adam": [1.0]}, target=0.1).reached("steps", found.cells[0], "step") == math.inf


def test_runs_are_done_once_and_written_down(tmp_path):
    cells = grid({"optimizer": ["adam", "sgd:lr=1e-4"]})
    settings = Settings(seeds=2, steps=3, processes=1, out=tmp_path / "c", budgets=("steps",))
    lines: list[str] = []
    found = run_cells("poisson", cells, settings, TINY, lines.append)
    assert len(lines) == 4  # two seeds of each
    written = json.loads((tmp_path / "c" / "rows.json").read_text())
    assert [row["method"] for row in written["rows"]] == ["adam", "sgd:lr=1e-4"]
    assert (tmp_path / "c" / "curves.png").stat().st_size > 10_000
    assert "0.0001" not in (tmp_path / "c" / "report.md").read_text().split("Equal")[0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("metrics.json")}
    again = run_cells("poisson", cells, settings, TINY, None)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("metrics.json")}
    assert again.rows() == found.rows()


def test_a_method_that_cannot_be_built_fails_alone(tmp_path):
    cells = [
        Cell((("field", "mlp"),)),
        Cell((("field", "bad"),), ("--field.activation", "relu", "--field.init", "siren")),
    ]
    settings = Settings(seeds=1, steps=2, processes=1, out=tmp_path / "c", budgets=("steps",))
    found = run_cells("poisson", cells, settings, (*TINY, "--optimizer", "adam"), None)
    assert found.rows()[0]["failed"] == ""
    assert "an activation with an omega" in found.rows()[1]["failed"]


def test_parallel_runs_equal_those_one_by_one(tmp_path):
    jobs = [Job("poisson", Cell((("a", "b"),), ("--optimizer", "adam")), TINY, seed, 3) for seed in range(2)]
    scores = []
    for processes in (1, 2):
        with Workers(tmp_path / str(processes), processes, 1) as workers:
            found = dict(workers.perform(jobs))
        scores.append([found[job].metrics["relative_l2"] for job in jobs])
        assert all(read(job.folder(tmp_path / str(processes))) is not None for job in jobs)
    assert scores[0] == scores[1]


def test_directions():
    assert larger_is_better("psnr_heldout") and larger_is_better("iou") and larger_is_better("ssim")
    assert not larger_is_better("relative_l2") and not larger_is_better("loss")
