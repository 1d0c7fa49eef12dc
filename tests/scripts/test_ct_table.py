"""The table of tomography: its cases are problems that exist, its rows are laid out, the best weight is found."""

import json
from functools import partial

import pytest
import torch

import nfsolve
from nfsolve.problem.registry import find
from problems.ct.cone import CTCone
from problems.ct.phantom import CTPhantom
from scripts import ct_table
from scripts.ct_table import CASES, Case, table


def row(method, seed=0, **changes):
    plain = {"case": "phantom", "method": method, "seed": seed, "psnr": 30.0, "ssim": 0.9, "residual": 0.01}
    return plain | {"cpu_seconds": 10.0, "seconds": 12.0, "machine": "one"} | changes


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setattr(ct_table, "PATH", tmp_path / "ct.json")
    return lambda *all_rows: (tmp_path / "ct.json").write_text(json.dumps(all_rows))


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_problem_with_these_options(name):
    case = CASES[name]
    problem = find(case.problem)(**case.options, classical=())
    assert case.goal and problem.score in ("psnr", "matthews")


def test_fields_are_averaged_over_seeds_and_classical_rows_stand_beside(rows):
    rows(
        row("field", 0, psnr=36.0, cpu_seconds=40.0, weight=3e-4),
        row("field", 1, psnr=38.0, cpu_seconds=44.0, weight=3e-4),
        row("fbp", psnr=22.0, cpu_seconds=None, seconds=0.25),
        row("tv", psnr=37.25, psnr_inside=38.5, unseen=0.0235, weight=2e-4, gap=3.2e-3),
        row("field", case="limited", psnr=20.0, matthews=0.9871),
    )
    whole = table()
    short = f"| {CASES['phantom'].title} | 37.0 dB | 37.2 dB | FBP 22.0 dB | not the field, by 0.25 dB |"
    assert short in whole.splitlines() and CASES["limited"].title not in ct_table.in_one_look()
    lines = [line for line in whole.partition(short)[2].splitlines() if line.startswith("| ")]
    title, goal = CASES["phantom"].title, CASES["phantom"].goal
    assert lines[0] == "| case | method | PSNR / dB | inside / dB | SSIM | Matthews | unseen / % | seconds | goal |"
    assert f"| {title} | field, weight 0.0003 | 37.00 +- 1.41 |  | 0.900 +- 0.000 |  |  | 42.0 | {goal} |" in lines
    assert f"| {title} | fbp | 22.00 |  | 0.900 |  |  | 0.2 | {goal} |" in lines
    assert f"| {title} | TV, weight 0.0002, gap 3e-03 | 37.25 | 38.50 | 0.900 |  | 2.35 | 10.0 | {goal} |" in lines
    assert any(
        line.startswith(f"| {CASES['limited'].title} | field of an older recipe | 20.00 |  | 0.900 | 0.987 |")
        for line in lines
    )
    assert len(lines) == 2 + 4


def test_without_rows_there_is_a_head_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ct_table, "PATH", tmp_path / "none.json")
    assert table().endswith(9 * "| --- " + "|\n") and ct_table.in_one_look().count("\n") == 2


@pytest.mark.parametrize("problem", [CTPhantom(views=8, size=24), CTCone(views=4, size=12)], ids=["plane", "cone"])
def test_the_weight_of_the_total_variation_is_the_best_that_was_tried(problem, monkeypatch):
    monkeypatch.setattr(ct_table, "SEARCH", 20)
    monkeypatch.setattr(ct_table, "CONVERGED", 30)
    data = problem.load("cpu", torch.float32)
    found = ct_table._best_total_variation("made", Case("", ""), problem, data)
    assert set(found["tried"]) >= {f"{weight:g}" for weight in ct_table.WEIGHTS}
    beside = [weight for weight in (found["weight"] / 2, 2 * found["weight"]) if weight > ct_table.LEAST]
    assert {f"{weight:g}" for weight in beside} <= set(found["tried"])  # the best is at no end
    assert len(found["tried"]) < 12
    assert found["tried"][f"{found['weight']:g}"] == max(found["tried"].values())
    assert found["method"] == "tv" and found["gap"] >= 0 and {"psnr", "ssim", "residual"} <= set(found)


def test_a_cone_is_measured_with_all_its_rows(rows, monkeypatch, capsys):
    rows()
    monkeypatch.setattr(ct_table, "SEARCH", 2)
    monkeypatch.setattr(ct_table, "CONVERGED", 3)
    case = Case("", "ct_cone", {"views": 3, "size": 12})
    monkeypatch.setattr(ct_table.nfsolve, "solve", partial(nfsolve.solve, steps=2))
    monkeypatch.setitem(ct_table.CASES, "cone", case)
    monkeypatch.setattr(ct_table, "FOLDER", ct_table.PATH.parent)
    words = ["ct_table", "--only", "cone", "--seeds", "2"]
    monkeypatch.setattr("sys.argv", words)
    ct_table.main()
    found = ct_table.read_rows(ct_table.PATH)
    assert [one["method"] for one in found] == ["field", "field", "fdk", "sirt", "cgls", "tv"]
    assert all({"psnr", "ssim", "residual", "seconds", "cpu_seconds"} <= set(one) for one in found)
    ct_table.write_rows(ct_table.PATH, [one for one in found if one["method"] != "sirt" and one["method"] != "tv"])
    capsys.readouterr()
    ct_table.main()  # goes on where it was stopped
    assert capsys.readouterr().out.count("'method'") == 2
    assert len(ct_table.read_rows(ct_table.PATH)) == 6
    ct_table.write_rows(ct_table.PATH, [one | {"date": "2020-01-01"} for one in ct_table.read_rows(ct_table.PATH)[:2]])
    monkeypatch.setattr("sys.argv", [*words, "--since", "2020-01-02"])
    ct_table.main()
    assert capsys.readouterr().out.count("'method'") == 6
    assert "| field, weight 0.0003 |" in (ct_table.FOLDER / "ct.md").read_text()


def test_total_variation_has_at_least_the_seconds_of_the_field(rows, monkeypatch):
    problem = CTPhantom(views=8, size=24)
    data, asked = problem.load("cpu", torch.float32), []

    def total_variation(data, weight, iterations):
        asked.append(iterations)
        return CTPhantom.total_variation(problem, data, weight, min(iterations, 50))

    monkeypatch.setattr(problem, "total_variation", total_variation)
    monkeypatch.setattr(ct_table, "CONVERGED", 30)
    rows(row("field", cpu_seconds=100.0))
    ct_table._best_total_variation("phantom", CASES["phantom"], problem, data)
    assert asked[-1] > 1000 * ct_table.SEARCH
    rows(row("field", cpu_seconds=1e-9))
    ct_table._best_total_variation("phantom", CASES["phantom"], problem, data)
    assert asked[-1] == 30


def test_measured_rows_replace_older_ones_of_the_same_run(rows, capsys):
    rows(row("field", 0, psnr=1.0), row("field", 1, psnr=2.0))
    ct_table._save("phantom", row("field", 0, psnr=9.0))
    kept = json.loads(ct_table.PATH.read_text())
    assert [(r["seed"], r["psnr"]) for r in kept] == [(1, 2.0), (0, 9.0)]
    assert "machine" not in capsys.readouterr().out
