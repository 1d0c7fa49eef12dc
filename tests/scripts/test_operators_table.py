import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nfsolve.fields import FNO
from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from problems.operators.antiderivative import Antiderivative
from scripts import compare_operators, operators_table
from scripts.compare_operators import METHODS, TUNING
from scripts.operators_table import CASES

SMALL = ("--n-functions", "4", "--n-tests", "3", "--batch", "2", "--n-points", "8", "--sensors", "10")
SAID = {"device": "cpu", "threads": 1, "runs": None, "scale": 0.001}


@pytest.mark.parametrize("name", CASES)
def test_the_words_of_every_case_are_understood(name: str):
    case = CASES[name]
    problem = read_request(find(case.what), list(case.words), "x").problem
    assert problem.data is ("--data" in case.words or name.startswith("darcy"))
    if case.drawn:
        read_request(find(case.what), ["--data-seed", "1"], "x")


def test_a_case_is_measured_and_seeds_share_a_line(monkeypatch):
    case = replace(CASES["antiderivative"], words=SMALL)
    monkeypatch.setitem(CASES, "antiderivative", case)
    rows = [operators_table.measure("antiderivative", seed, argparse.Namespace(**SAID)) for seed in (0, 1)]
    rows = json.loads(json.dumps(rows))
    assert rows[0]["steps"] == 2 and rows[0]["relative_l2"] != rows[1]["relative_l2"]
    assert {"relative_l2_ood", "relative_l2_std", "cpu_seconds", "machine", "words"} <= set(rows[0])
    text = operators_table.table(rows)
    lines = [line for line in text.splitlines() if line.startswith("| antiderivative")]
    assert len(lines) == 1 and "+-" in lines[0] and "steps times 0.001" in lines[0]
    assert "one seed" in operators_table.table(rows[:1])


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch):
    case = replace(CASES["antiderivative"], words=SMALL)
    monkeypatch.setitem(CASES, "antiderivative", case)
    said = argparse.Namespace(**SAID | {"runs": tmp_path})
    first, again = (operators_table.measure("antiderivative", 0, said) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1 and first["relative_l2"] == again["relative_l2"]


def test_what_is_measured_already_is_not_measured_again(tmp_path: Path, monkeypatch):
    row = {"case": "darcy", "seed": 0, "device": "cpu", "scale": 1.0}
    (tmp_path / "operators.json").write_text(json.dumps([row]))
    monkeypatch.setattr("sys.argv", ["x", "--only", "darcy", "--seeds", "1", "--folder", str(tmp_path)])
    monkeypatch.setattr(operators_table, "measure", lambda *_: pytest.fail("measured again"))
    operators_table.main()


@pytest.mark.parametrize("name", compare_operators.METHODS)
def test_every_method_of_the_comparison_runs_and_is_tuned_on_other_functions(name, tmp_path, monkeypatch):
    seen = []

    def make(data_seed, **options):
        seen.append(data_seed)
        return Antiderivative(data_seed=data_seed, n_functions=6, n_tests=3, **{"batch": 2, "n_points": 4} | options)

    fno = {name: replace(m, field=m.field and partial(FNO, width=3, depth=1)) for name, m in METHODS.items()}
    short = replace(fno[name], values=fno[name].values[:2], problem=None)
    monkeypatch.setattr(compare_operators, "CASES", {"antiderivative": (make, ())})
    monkeypatch.setattr(compare_operators, "METHODS", {name: short})
    monkeypatch.setattr("time.perf_counter", time.perf_counter)  # which the script exchanges
    said = ["--seeds", "1", "--seconds", "0.05", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["x", *said])
    compare_operators.main()
    assert seen == [TUNING, TUNING, 0]
    compare_operators.main()  # all is measured
    assert seen == [TUNING, TUNING, 0]
    rows = json.loads((tmp_path / "operators_compared.json").read_text())
    assert [r["kind"] for r in rows] == ["tuning", "tuning", "reported"]
    assert rows[2]["value"] == min(rows[:2], key=lambda r: r["error"])["value"]
    text = (tmp_path / "operators_compared.md").read_text()
    assert f"| {name} | {short.tuned} {rows[2]['value']:g} | {rows[2]['error']:.2e}, one seed" in text


def test_the_methods_of_the_comparison_change_what_they_say():
    assert METHODS["SOAP, RWF"].factorization is not None and METHODS["SOAP, WS sines"].options
    assert {m.last[1] for m in METHODS.values() if m.last} == {"branches", "head"}
    assert {name for _, left in compare_operators.CASES.values() for name in left} <= set(METHODS)
