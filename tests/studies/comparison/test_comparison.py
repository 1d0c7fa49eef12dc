"""The protocol of a comparison, with runs that cost nothing."""

import json
import math
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest
import torch

from nfsolve import MLP
from nfsolve.cli.compare import compare_command, take_axes
from nfsolve.metrics import larger_is_better
from nfsolve.studies.comparison import Comparison, Method, Settings, Words, compare, compare_words, grid
from nfsolve.studies.comparison import study as study_module
from nfsolve.studies.comparison.jobs import Job, Outcome, Workers, read
from nfsolve.studies.comparison.methods import method_of
from nfsolve.studies.comparison.results import Result
from problems.pde.poisson import Poisson

TINY = ("--field.width", "4", "--field.depth", "1")


def method(name="adam", optimizer="adam", **changes):
    """A method as `compare` makes it, on a network that costs nothing."""
    small = {"field": partial(MLP, width=4, depth=1), "optimizer": optimizer}
    made = method_of(name, Poisson(), changes, small, None)
    return Method((("optimizer", name),), made.run)


def outcome(score, seconds=1.0, evaluations=10, steps=10):
    history = [{"step": s, "cpu_seconds": seconds * s / steps, "relative_l2": score * steps / s} for s in range(1, 11)]
    counts = {"cpu_seconds": seconds, "seconds": seconds, "evaluations": evaluations, "steps": steps, "parameters": 7}
    return Outcome({"relative_l2": score, **counts}, history)


class Fake:
    """Workers whose runs end at once: the score of a learning rate, the cost of a method."""

    done: list[Job]

    def __init__(self, score, cost):
        self.score, self.cost, self.done = score, cost, []

    def __call__(self, out, processes, threads, problem, executor="processes"):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def perform(self, jobs):
        for job in dict.fromkeys(jobs):
            self.done.append(job)
            rate = dict(job.tuned).get("lr", 0.0)
            evaluations, seconds = self.cost(job.method.name)
            yield job, outcome(self.score(job, rate), seconds * job.steps, evaluations * job.steps, job.steps)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    def make(score, cost=lambda name: (1, 0.1)):
        workers = Fake(score, cost)
        monkeypatch.setattr(study_module, "Workers", workers)
        return workers

    return make


def test_grid_combines_axes_and_options():
    methods = grid({"init": ["siren", "ws:alpha=2,kappa=0.3"], "optimizer": ["adam", "esgd"]})
    assert [dict(method.labels) for method in methods][:2] == [
        {"init": "siren", "optimizer": "adam"},
        {"init": "siren", "optimizer": "esgd"},
    ]
    assert methods[2].words == (
        *("--field.init", "ws", "--field.init.alpha", "2", "--field.init.kappa", "0.3"),
        *("--optimizer", "adam"),
    )


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"init": "siren"}, r"axis 'init' needs a list of values, got 'siren'"),
        ({"init": []}, "needs at least one value and none twice, got none"),
        ({"init": ["ws", "ws"]}, "none twice, got ws, ws"),
        ({"init": ["ws:alpha"]}, "key=value"),
        ({"schedule": ["cosine:x=1"]}, "have options after a colon, got 'cosine:x=1'"),
    ],
)
def test_grid_refuses(axes, words):
    with pytest.raises(ValueError, match=words):
        grid(axes)


def test_numbers_are_values_too():
    assert grid({"field.width": [4, 8]}) == grid({"field.width": ["4", "8"]})


@pytest.mark.parametrize(
    ("problem", "methods", "settings", "words"),
    [
        ("poisson", {"a": {}}, {}, "compare takes a problem, such as Burgers.*got 'poisson'.*Build the problem"),
        (Poisson, {"a": {}}, {}, "compare takes a problem"),
        (Poisson(), {}, {}, "a comparison needs at least one method, got none"),
        (Poisson(), {"a b": {}, "a-b": {}}, {}, "methods must have different names, got a-b, a-b"),
        (Poisson(), {"a": {"optimiser": "adam"}}, {}, "change of method 'a' 'optimiser': did you mean 'optimizer'"),
        (Poisson(), {"a": {"optimizer": "adan"}}, {}, "unknown optimizer 'adan': did you mean 'adam'"),
        (Poisson(), {"a": {"field": "mpl"}}, {}, "unknown field 'mpl': did you mean 'mlp'"),
        (Poisson(), {"a": {"field": MLP.for_problem(Poisson())}}, {}, "builds a field of its own, got one that is"),
        (Poisson(), {"a": {"lr": 0.1}}, {}, "method 'a': lr is an option of an optimizer, got lr=0.1 without one"),
        (Poisson(), {"a": {"seed": 3}}, {}, "all methods share seed=, got one for method 'a'"),
        (Poisson(), {"a": {"stages": Poisson().recipe().stages, "schedule": "cosine"}}, {}, "got schedule= as well"),
        (Poisson(), {"a": {}}, {"tune_with": "--x 1"}, "options of the command line.*Give tune_on="),
        (Poisson(), {"a": {"optimizer": lambda params: None}}, {}, "holds what another process cannot be given"),
    ],
)
def test_mistakes_from_python_show_before_the_first_run(problem, methods, settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        compare(problem, methods, Settings(seeds=1, steps=2, out=tmp_path, budgets=("steps",), **settings), report=None)
    assert not list(tmp_path.rglob("metrics.json"))


def test_python_objects_make_the_same_runs_as_words(tmp_path):
    settings = Settings(seeds=1, steps=3, processes=1, out=tmp_path / "a", budgets=("steps",))
    small = {"field": partial(MLP, width=4, depth=1), "optimizer": "adam"}
    methods = {
        "adam": {"lr": 1e-3},
        "sgd": {"optimizer": partial(torch.optim.SGD, lr=1e-4)},
        "ntk": {"weighting": "ntk", "lr": 1e-3},
    }
    objects = compare(Poisson(), methods, settings, common=small, report=None).rows()
    said = [
            Words((("method", "adam"),), ("--optimizer", "adam", "--optimizer.lr", "1e-3")),
            Words((("method", "sgd"),), ("--optimizer", "sgd", "--optimizer.lr", "1e-4")),
            Words((("method", "ntk"),), ("--optimizer", "adam", "--optimizer.lr", "1e-3", "--weighting", "ntk")),
        ]  # fmt: skip
    settings = Settings(seeds=1, steps=3, processes=1, out=tmp_path / "b", budgets=("steps",))
    words = compare_words("poisson", said, settings, ("--field", "mlp", *TINY), None).rows()
    assert [row["case"] for row in objects] == ["poisson"] * 3
    assert [row["relative_l2"] for row in objects] == pytest.approx([row["relative_l2"] for row in words], rel=1e-12)
    assert len({row["relative_l2"] for row in objects}) == 3
    assert [row["options"] for row in objects] == ["lr=0.001", "optimizer=SGD(lr=0.0001)", "weighting=ntk, lr=0.001"]


def test_a_method_may_change_parameters_and_be_tuned_on_another_problem(tmp_path, fake):
    workers = fake(lambda job, rate: 1.0)
    settings = Settings(seeds=1, steps=4, tune=("lr",), rates=(0.1, 0.2), out=tmp_path, budgets=("steps",))
    methods = {"fine": {"waves": 3}, "coarse": {"waves": 2, "rates": (1.0,)}}
    other = Poisson(n_points=50)
    compare(Poisson(), methods, settings, common={"optimizer": "adam"}, tune_on=other, report=None)
    problems = {(job.method.name, job.pilot): job.start().problem for job in workers.done}
    assert {key: problem.waves for key, problem in problems.items() if not key[1]} == {
        ("fine", False): 3,
        ("coarse", False): 2,
    }
    assert [problem.n_points == 50 for problem in problems.values()] == [pilot for _, pilot in problems]
    rates = {(job.method.name, dict(job.tuned)["lr"]) for job in workers.done if job.pilot}
    assert {("fine", 0.1), ("fine", 0.2), ("coarse", 1.0)} <= rates


def test_a_problem_of_a_notebook_is_run_in_its_process(tmp_path, monkeypatch):
    import __main__

    local = type("Local", (Poisson,), {"__module__": "__main__"})
    monkeypatch.delattr(__main__, "__file__", raising=False)
    settings = Settings(seeds=1, steps=2, out=tmp_path, budgets=("steps",))
    found = compare(local(), {"a": {"lr": 1e-3}}, settings, common={"optimizer": "adam", "field": "mlp"}, report=None)
    assert found.rows()[0]["failed"] == ""
    assert found.rows()[0]["case"] == "Local"


def test_a_problem_of_a_file_is_known_to_other_processes(tmp_path):
    file = tmp_path / "own_poisson.py"
    file.write_text("from problems.pde.poisson import Poisson\n\n\nclass Own(Poisson):\n    pass\n")
    settings = Settings(seeds=1, steps=2, processes=1, out=tmp_path / "c", budgets=("steps",))
    found = compare_words(str(file), grid({"optimizer": ["adam"]}), settings, TINY, None)
    assert found.rows()[0]["failed"] == ""


def test_one_seed_has_no_standard_error():
    adam = method("adam")
    settings = {"tune": (), "clock": "cpu_seconds"}
    results = [Result("steps", adam, (), math.nan, 10, 0, outcome(0.25))]
    table = Comparison("poisson", "relative_l2", [adam], results, settings).table()
    assert "| 0.25 |" in table
    assert "+- -" not in table


def test_axes_are_taken_from_the_command_line():
    axes, rest = take_axes(["image", "--axis", "init", "siren", "ws", "--seeds", "2", "--axis", "lr", "1", "2"])
    assert axes == {"init": ["siren", "ws"], "lr": ["1", "2"]}
    assert rest == ["image", "--seeds", "2"]
    with pytest.raises(ValueError, match="every --axis needs a name of its own, got none"):
        take_axes(["--axis"])


@pytest.mark.parametrize(
    ("axes", "options", "words"),
    [
        ({"optimizer": ["adam", "sagd"]}, (), "did you mean 'sgd'"),
        ({"init": ["ws:alpha=-1"]}, ("--optimizer", "adam"), "alpha"),
        ({"optimizer": ["adam"]}, ("--no-such", "1"), "method 'adam' has options that nfsolve run refuses"),
    ],
)
def test_mistakes_show_before_the_first_run(axes, options, words, tmp_path, fake, capsys):
    workers = fake(lambda job, rate: 1.0)
    with pytest.raises(ValueError, match=words):
        compare_words("poisson", grid(axes), Settings(tune=("lr",), out=tmp_path), options, None)
    assert not workers.done


def test_a_score_that_no_run_has_is_refused_after_the_first(tmp_path, fake):
    workers = fake(lambda job, rate: 1.0)
    settings = Settings(seeds=2, score="relative_l3", out=tmp_path)
    with pytest.raises(ValueError, match="unknown score 'relative_l3': did you mean 'relative_l2'"):
        compare_words("poisson", grid({"field.width": ["4", "8"]}), settings, report=None)
    assert len(workers.done) == 1


def test_a_problem_without_an_axis_is_told_to_bring_one():
    with pytest.raises(
        ValueError, match="compare needs run folders, or a problem with an axis, got 'image'.*as in --axis"
    ):
        compare_command(["image"])


def test_a_process_that_dies_is_worded(tmp_path):
    workers = Workers(tmp_path, 1, 1, Poisson())
    workers._pool = DyingPool()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="a process ended before its run was done.*fewer processes"):
        list(workers.perform([Job(method(), (), 0, 1)]))


class DyingPool:
    def submit(self, *_):
        future = Future()
        future.set_exception(BrokenProcessPool())
        return future


def test_every_method_is_tuned_on_its_own_and_beyond_the_edge(tmp_path, fake):
    best = {"adam": 1e-3, "sgd": 3.0}
    workers = fake(lambda job, rate: 1 + abs(math.log(rate / best[job.method.name])) if rate else 1.0)
    settings = Settings(seeds=2, steps=10, tune=("lr",), rates=(1e-3, 1e-2), out=tmp_path, budgets=("steps",))
    found = compare_words("poisson", grid({"optimizer": ["adam", "sgd"]}), settings, (), None)
    tried = {name: {dict(j.tuned)["lr"] for j in workers.done if j.method.name == name} for name in best}
    assert tried["adam"] == {1e-4, 1e-3, 1e-2}  # the best one lay at the lower edge once
    assert tried["sgd"] == {1e-3, 1e-2, 0.1, 1.0, 10.0}  # the grid grew three times
    assert {job.seed for job in workers.done if job.seed != 100} == {0, 1}
    rows = {row["method"]: row for row in found.rows()}
    assert rows["adam"]["tuned"] == "lr 0.001"
    assert rows["sgd"]["tuned"] == "lr 1"


def test_a_method_without_a_learning_rate_stays_untuned(tmp_path, fake):
    workers = fake(lambda job, rate: 1.0 + rate)
    settings = Settings(seeds=1, steps=10, tune=("lr",), out=tmp_path, budgets=("steps",))
    found = compare_words("poisson", grid({"optimizer": ["gauss_newton", "adam"]}), settings, (), None)
    assert found.rows()[0]["tuned"] == ""
    assert "lr" in found.rows()[1]["tuned"]
    assert sum(job.method.name == "gauss_newton" for job in workers.done) == 2


def test_budgets_are_shared_in_evaluations_and_in_seconds(tmp_path, fake):
    costs = {"adam": (1, 0.1), "esgd": (3, 0.1), "sgd": (1, 0.05)}
    workers = fake(lambda job, rate: 1.0, lambda name: costs[name])
    settings = Settings(seeds=1, steps=60, tune_seed=5, out=tmp_path)
    found = compare_words("poisson", grid({"optimizer": list(costs)}), settings, (), None)
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


def result(made, seed, score, tuning=0.0, budget="steps"):
    return Result(budget, made, (), tuning, 10, seed, outcome(score))


def comparison(scores, tuning=None, **more):
    methods = [method(name) for name in scores]
    results = [
        result(made, seed, score, (tuning or {}).get(made.name, 1.0))
        for made in methods
        for seed, score in enumerate(scores[made.name])
    ]
    settings = {"seeds": 3, "tune": (), "threads": 1, "options": "", "clock": "cpu_seconds"}
    return Comparison("poisson", "relative_l2", methods, results, settings, **more)


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
    assert "one seed, which says nothing about its spread" in claims[2]


def test_a_failed_run_is_said():
    found = comparison({"adam": [1.0, 1.0], "soap": [1.0, 1.0]})
    found.results[-1] = Result("steps", found.methods[1], (), 1.0, 10, 1, Outcome({"stopped": "non-finite loss"}, []))
    assert "a run failed, no gain can be given" in found.claims()[0]
    assert "failed: non-finite loss" in found.table()


def test_time_to_target():
    found = comparison({"adam": [1.0, 1.0], "soap": [0.5, 0.5]})
    assert found.goal("steps") == 1.0
    assert found.reached("steps", found.methods[0], "step") == 10
    assert found.reached("steps", found.methods[1], "step") == 5
    assert found.reached("steps", found.methods[1], "cpu_seconds") == pytest.approx(0.5)
    far = comparison({"adam": [1.0]}, target=0.1)
    assert far.reached("steps", far.methods[0], "step") == math.inf


def test_runs_are_done_once_and_written_down(tmp_path):
    methods = grid({"optimizer": ["adam", "sgd:lr=1e-4"]})
    settings = Settings(seeds=2, steps=3, processes=1, out=tmp_path / "c", budgets=("steps",))
    lines: list[str] = []
    found = compare_words("poisson", methods, settings, TINY, lines.append)
    assert len(lines) == 4  # two seeds of each
    written = json.loads((tmp_path / "c" / "rows.json").read_text())
    assert [row["method"] for row in written["rows"]] == ["adam", "sgd:lr=1e-4"]
    assert (tmp_path / "c" / "curves.png").stat().st_size > 10_000
    assert "0.0001" not in (tmp_path / "c" / "report.md").read_text().split("Equal")[0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("metrics.json")}
    again = compare_words("poisson", methods, settings, TINY, None)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("metrics.json")}
    assert again.rows() == found.rows()


def test_a_method_that_cannot_be_built_fails_alone(tmp_path):
    methods = [
        Words((("field", "mlp"),)),
        Words((("field", "bad"),), ("--field.activation", "relu", "--field.init", "siren")),
    ]
    settings = Settings(seeds=1, steps=2, processes=1, out=tmp_path / "c", budgets=("steps",))
    found = compare_words("poisson", methods, settings, (*TINY, "--optimizer", "adam"), None)
    assert found.rows()[0]["failed"] == ""
    assert "an activation with an omega" in found.rows()[1]["failed"]


def test_parallel_runs_equal_those_one_by_one(tmp_path):
    adam = method()
    jobs = [Job(adam, (), seed, 3) for seed in range(2)]
    scores = []
    for processes in (1, 2):
        with Workers(tmp_path / str(processes), processes, 1, Poisson()) as workers:
            found = dict(workers.perform(jobs))
        scores.append([found[job].metrics["relative_l2"] for job in jobs])
        assert all(read(job.folder(tmp_path / str(processes))) is not None for job in jobs)
    assert scores[0] == scores[1]


def test_directions():
    assert larger_is_better("psnr_heldout") and larger_is_better("iou") and larger_is_better("ssim")
    assert not larger_is_better("relative_l2") and not larger_is_better("loss")
