import json
import math
import subprocess
from pathlib import Path

import pytest
import torch

import problems.pinnacle
from nfsolve.problem.pde.evaluate import as_field
from problems.pinnacle._benchmark import Benchmark
from scripts import measuring, pinnacle
from scripts.measuring import measure_rows, read_rows, solve_automatically
from tests.automatic.cases import DampedOscillator


def test_the_script_knows_every_problem_of_the_folder_by_its_label():
    folder = Path(problems.pinnacle.__file__).parent
    files = {path.stem for path in folder.glob("[!_]*.py")}
    assert files == {target.partition(":")[0] for target in pinnacle.PROBLEMS.values()}
    for name in pinnacle.PROBLEMS:
        cls = pinnacle.class_of(name)
        assert issubclass(cls, Benchmark) and cls.label == name


def row(name: str, seed: int, error: float, **more) -> dict:
    chosen = "least squares on 400 random features, more"
    scores = {"error": error, "estimate": 2 * error, "floor": 1e-15, "error_on_file": None}
    return {"problem": name, "seed": seed, "budget": 900.0, "chosen": chosen, "seconds": 20.0} | scores | more


def test_the_table_holds_the_median_against_the_best_published_error():
    text = pinnacle.table([row("PInv", s, error) for s, error in enumerate((1e-4, 2e-4, 9e-4))])
    line = text.splitlines()[2]
    assert "| PInv | 2.0e-04 | 4.0e-04 | 2.0e-02 | 1e+02 |" in line
    assert "| 3 | automatic | least squares on 400 random features | the source had" in line
    untold = pinnacle.table([row("PNd", 0, 5e-16, estimate="none"), row("Burgers1d", 0, 1e-9, error_on_file=1.3e-2)])
    first, second = untold.splitlines()[2:]
    assert "| Burgers1d |" in first and "| 1.3e-02 |" in first  # in the order of the benchmark
    assert "| PNd | 5.1e-16" not in second and "| not given | 4.7e-04 | 5e+11 |" in second  # no better than its floor


def test_rows_of_a_recipe_of_its_own_stand_beside_those_of_the_automatic_one():
    own = row("NS2d-C", 0, 3e-4, recipe="own", chosen="Splines, with cells that shrink")
    first, second = pinnacle.table([row("NS2d-C", 0, 7e-3), own]).splitlines()[2:]
    assert "| 7.0e-03 |" in first and "| automatic | least squares" in first
    assert "| 3.0e-04 |" in second and "| its own | Splines, with cells that shrink |" in second
    assert pinnacle.recipe_of("NS2d-C", "own") == "own" and pinnacle.recipe_of("NS2d-C", "auto") == "auto"
    assert pinnacle.recipe_of("PNd", "own") == "auto"  # which brings none
    assert pinnacle.first_line("Splines.\n\n    More.") == "Splines"


def test_a_row_without_an_error_has_an_estimate_alone():
    text = pinnacle.table([row("GS", 0, math.nan, estimate=1e-3, floor=math.nan)])
    assert "| GS | unknown | 1.0e-03 | 8.0e-02 | - | - | - |" in text


def test_a_solution_is_scored_on_the_benchmarks_file_as_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NFSOLVE_DATA", raising=False)
    problem = pinnacle.class_of("Heat2d-MS")()
    field = torch.nn.Linear(3, 1, dtype=torch.float64)
    assert pinnacle.error_on_file(problem, field) is None
    assert pinnacle.error_on_file(pinnacle.class_of("PNd")(), field) is None
    points = torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.3, 0.4], [0.5, 0.1, 0.2], [0.5, 0.3, 0.4]], dtype=torch.float64)
    u = as_field(problem.exact, problem.domain.names)(points)[:, 0].tolist()
    (tmp_path / "pinnacle").mkdir()
    text = f"% X Y u (1) @ t=0 u (1) @ t=0.5\n0.1 0.2 {u[0]} {u[2]}\n0.3 0.4 {u[1]} {u[3]}\n"
    (tmp_path / problem.public_file).write_text(text)

    class Twice(torch.nn.Linear):
        def forward(self, points):
            return 2 * as_field(problem.exact, problem.domain.names)(points)

    assert pinnacle.error_on_file(problem, Twice(3, 1, dtype=torch.float64)) == pytest.approx(1.0)


@pytest.mark.parametrize("again", [False, True])
def test_rows_are_measured_once_and_failures_are_told(tmp_path, monkeypatch, capsys, again):
    calls = []

    def started(command, **options):
        key = json.loads(command[-1])
        calls.append(key["seed"])
        columns = {"error": 0.1 * key["seed"], "estimate": 1.0, "seconds": 2.0}
        failed = key["seed"] == 3
        return subprocess.CompletedProcess(command, failed, "noise\n" + json.dumps(columns), "it broke")

    monkeypatch.setattr(measuring.subprocess, "run", started)
    path, keys = tmp_path / "rows.json", [{"problem": "PNd", "seed": seed} for seed in (1, 2, 3)]
    measure_rows(path, "scripts.pinnacle", keys, 1)
    assert [(r["seed"], r["error"]) for r in read_rows(path)] == [(1, 0.1), (2, 0.2)]
    assert "problem PNd, seed 3: failed\nit broke" in capsys.readouterr().err
    measure_rows(path, "scripts.pinnacle", keys, 1, again)
    assert calls == [1, 2, 3, *((1, 2, 3) if again else (3,))]
    assert sorted(r["seed"] for r in read_rows(path)) == [1, 2]


def test_a_row_of_the_automatic_recipe_holds_error_estimate_and_choice(monkeypatch):
    monkeypatch.setattr(measuring.time, "perf_counter", measuring.time.perf_counter)  # restored afterwards
    solution, made = solve_automatically(DampedOscillator(), 0, 20.0, 1, processor=True)
    assert made["error"] == solution.metrics["relative_l2"] < 1e-6 and made["floor"] == 1e-15
    assert measuring.told(made["estimate"]) != "not given"
    assert measuring.chosen(made).startswith("least squares") and made["seconds"] < 40
    assert made["seconds"] == pytest.approx(made["cpu_seconds"], abs=0.05)  # a busy machine does not matter
